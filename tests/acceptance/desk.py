"""`Desk`: a project whose red prompt `--optimize` turns green, with a log of what its models are asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_promptopt import journal
from pytest_promptopt.models.demo import DemoModel
from pytest_promptopt.records import Message, Request
from tests.acceptance.projects import Project

#: The model `demo` answers the first in a sentence and the second with a label, as the cases want it.
WEAK = "Sort the message into one of these: card_arrival, exchange_rate, pin_blocked.\n\n{{ message }}\n"
GOOD = WEAK.replace("\n\n", "\n\nAnswer with the label only.\n\n")

TRAIN = [
    ("my card has not arrived", "card_arrival"),
    ("what is the exchange rate today", "exchange_rate"),
    ("my pin is blocked", "pin_blocked"),
    ("unblock my blocked pin please", "pin_blocked"),
]
VALIDATION = [("when will the card arrive", "card_arrival"), ("a fair exchange rate", "exchange_rate")]
#: No prompt makes the last one pass.
HELDOUT = [("the exchange rate for euros", "exchange_rate"), ("is my pin blocked now", "lost_card")]

#: Another case wants another answer to the very same.
HOPELESS = ("my pin is blocked", "lost_card")

TESTS = """
TRAIN, VALIDATION, HELDOUT = {train}, {validation}, {heldout}
CASES = [
    *TRAIN,
    *(pytest.param(*case, marks=pytest.mark.validation) for case in VALIDATION),
    *(pytest.param(*case, marks=pytest.mark.heldout) for case in HELDOUT),
]

@pytest.mark.prompt("prompts/sort.md")
@pytest.mark.parametrize(("message", "label"), CASES)
def test_sort(prompt, message, label):
    assert prompt(message=message) == label
"""
#: `demo`, with a log of what it is asked; at the call given in `ctrl-c` the user presses Ctrl-C, or what else
#: is in `signals` arrives. A question that holds what is in `broken` gets no answer.
CONFTEST = """
import asyncio, json, os, signal
from pathlib import Path
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.demo import DemoModel

HERE = Path(__file__).parent
CTRL_C = HERE / "ctrl-c"
SIGNALS = HERE / "signals"

class Spy:
    def __init__(self):
        self.asked = 0

    async def complete(self, request):
        self.asked += 1
        with (HERE / "asked.log").open("a", encoding="utf-8") as log:
            log.write(json.dumps([message.content for message in request.messages]) + chr(10))
        if CTRL_C.exists() and self.asked == int(CTRL_C.read_text()):
            for name in SIGNALS.read_text().split() if SIGNALS.exists() else ["SIGINT"]:
                os.kill(os.getpid(), getattr(signal, name))
            await asyncio.sleep(60)
        broken = HERE / "broken"
        if broken.exists() and broken.read_text() in request.messages[-1].content:
            raise ModelError(ErrorKind.BAD_REQUEST, "scripted", model=request.model)
        return await DemoModel().complete(request)

    async def aclose(self):
        pass

def pytest_promptopt_resolve_model(name):
    return Spy()
"""
DEMO = ("promptopt_model = demo", "promptopt_optimizer_model = demo")


class Desk(Project):
    """Sorts messages with `prompts/sort.md`, whose text is weak, and asks `demo`."""

    def __init__(self, pytester: pytest.Pytester, prompt: str | bytes = WEAK) -> None:
        super().__init__(pytester)
        self.write("conftest.py", CONFTEST)
        self.ini(*DEMO)
        self.cases()
        self.prompt = self.path / "prompts" / "sort.md"
        self.prompt.write_bytes(prompt if isinstance(prompt, bytes) else prompt.encode())

    def cases(
        self,
        *,
        train: Sequence[tuple[str, str]] = TRAIN,
        validation: Sequence[tuple[str, str]] = VALIDATION,
        heldout: Sequence[tuple[str, str]] = HELDOUT,
        more: str = "",
    ) -> None:
        self.tests(TESTS.format(train=train, validation=validation, heldout=heldout) + more)

    def optimize(self, *args: str, process: bool = False) -> pytest.RunResult:
        """Nothing about the width of a terminal may depend on the machine."""
        return self.run("--optimize", "--tb=no", "--promptopt-report=report.json", *args, process=process)

    @property
    def text(self) -> str:
        return self.prompt.read_bytes().decode()

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "report.json").read_text(encoding="utf-8"))
        return found

    @property
    def told(self) -> list[str]:
        """All text of every request, in order."""
        log = self.path / "asked.log"
        return ["\n".join(json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()]

    @property
    def events(self) -> list[journal.Event]:
        """The journal of the only run."""
        (path,) = self.path.glob(".promptopt/runs/*/journal.jsonl")
        return journal.read_events(path)

    def kinds(self) -> list[str]:
        return [event.event for event in self.events]


def passing(text: str, cases: Sequence[tuple[str, str]]) -> list[bool]:
    """Which cases pass under a prompt's text, without any code of a run."""

    async def ask() -> list[bool]:
        model = DemoModel()
        prompts = [text.rstrip("\n").replace("{{ message }}", message) for message, _ in cases]
        answers = [await model.complete(Request("demo", (Message("user", prompt),))) for prompt in prompts]
        return [answer.text == label for answer, (_, label) in zip(answers, cases, strict=True)]

    return asyncio.run(ask())
