"""``house.py`` of every example project: the scripted model, its answers as a function, and a notebook.

The model says back what it is asked. ``house/together-N`` answers when N calls are in flight at once, so that
a run in which they do not overlap is told from one in which they do without looking at a clock.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LATENCY = 0.01
#: How long a call waits for company before it gives up.
PATIENCE = 1.5


def note(text: str) -> None:
    """Write down that something happened, in the order of the session."""
    _append("notes.log", text)


def _append(name: str, line: str) -> None:
    with open(HERE / name, "a", encoding="utf-8") as log:
        log.write(line + "\n")


def content(path: Path) -> str:
    """A prompt file without its front matter."""
    return re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def reply(text: str) -> str:
    question = text.partition("Say: ")[2].strip()
    if question.startswith("error"):
        raise RuntimeError(f"no answer to {question!r}")
    return question


class House:
    """The model as the plugin sees it. Logs the start and the end of each call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.together = int(name.partition("together-")[2].partition("-")[0] or 0)
        self.numbers = itertools.count()
        self.met = asyncio.Event()
        self.in_flight = 0

    async def complete(self, request: Any) -> Any:
        from pytest_promptopt.errors import ErrorKind, ModelError
        from pytest_promptopt.records import Answer

        text = request.messages[-1].content
        call = f"{os.getpid()}-{next(self.numbers)}\t{text.partition('Say: ')[2].strip()!r}"
        _append("calls.log", f"start\t{call}")
        await self._take_time()
        _append("calls.log", f"end\t{call}")
        try:
            answer = reply(text)
        except RuntimeError as error:
            raise ModelError(ErrorKind.BAD_REQUEST, str(error), model=self.name) from None
        if self.name.endswith("sampled"):
            answer += str(request.sample)
        return Answer(answer, self.name, "end_turn", None, None, LATENCY)

    async def _take_time(self) -> None:
        self.in_flight += 1
        if self.in_flight >= self.together:
            self.met.set()
        if self.together:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.met.wait(), PATIENCE)
        await asyncio.sleep(LATENCY)
        self.in_flight -= 1

    async def aclose(self) -> None:
        pass
