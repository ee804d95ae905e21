"""A run against a local server that is killed again and again, and what may never happen then."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from textwrap import dedent

from pytest_promptopt import journal
from pytest_promptopt.journal import JournalError
from pytest_promptopt.models.demo.feedback import is_feedback
from pytest_promptopt.models.demo.optimizer import propose
from pytest_promptopt.models.demo.target import answer
from pytest_promptopt.optimizer.confirmation import FIRST_SAMPLE
from pytest_promptopt.records import Message
from tests.wire import Body, WireServer

PROMPT = "Sort the message into one of these: card_arrival, exchange_rate, pin_blocked.\n\n{{ message }}\n"

TESTS = """
import pytest

WORDS = {
    "card_arrival": ["card", "arrive", "delivery", "post"],
    "exchange_rate": ["exchange", "rate", "euros", "dollars"],
    "pin_blocked": ["pin", "blocked", "unlock", "digits"],
}
CASES = [
    pytest.param(f"{first} and {second}, number {n}", label, marks=[] if n < 3 else pytest.mark.validation)
    for label, words in WORDS.items()
    for first in words
    for second in words
    if first != second
    for n in [words.index(first)]
]

@pytest.mark.prompt("prompts/sort.md")
@pytest.mark.parametrize(("message", "label"), CASES)
def test_sort(prompt, message, label):
    assert prompt(message=message) == label
"""

#: Asks the server by HTTP, as plainly as possible: no SDK has to be imported after each kill.
CONFTEST = """
import asyncio, json
from pytest_promptopt.records import Answer, Usage

class Remote:
    async def complete(self, request):
        messages = [[message.role, message.content] for message in request.messages]
        body = json.dumps({"key": request.key, "sample": request.sample, "messages": messages}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        try:
            writer.write(b"POST /chat HTTP/1.1\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            size = int(head.lower().partition(b"content-length: ")[2].split()[0])
            reply = json.loads(await reader.readexactly(size))
        finally:
            writer.close()
        text = reply["choices"][0]["message"]["content"]
        return Answer(text, request.model, "end_turn", Usage(10, 5), None, 0.0)

    async def aclose(self):
        pass

def pytest_promptopt_resolve_model(name):
    return Remote()
"""


def reply(body: Body) -> str:
    """What `demo` answers."""
    return _reply(tuple(Message(role, content) for role, content in body["messages"]))


@cache  # the optimizer thinks for seconds, and every run asks it the same
def _reply(messages: tuple[Message, ...]) -> str:
    asked = next((m.content for m in messages if is_feedback(m.content)), None)
    return answer(messages) if asked is None else propose(asked)


#: So many requests of the process, and then so many seconds.
Moment = tuple[int, float]


@dataclass
class Tally:
    """What the kills showed. `wrong` is empty when nothing happened that may not."""

    kills: int = 0
    runs: int = 0
    unique: int = 0
    requests: int = 0
    allowed: int = 0
    wrong: list[str] = field(default_factory=list)


class Killing:
    """One project, run in processes of their own that are killed at random moments.

    :param latency: seconds of every answer.
    :param concurrency: calls in flight at most.
    :param seed: of the moments.
    """

    def __init__(self, path: Path, *, latency: float, concurrency: int, seed: int) -> None:
        self._path = path
        self._latency = latency
        self._concurrency = concurrency
        self._random = random.Random(seed)
        self._server = WireServer(answer=reply, latency=latency)
        self._prompt = path / "prompts" / "sort.md"
        self._seen: set[str] = set()

    def run(self, kills: int, *, say: Callable[[str], None] = lambda line: None) -> Tally:
        """Kill `kills` times; each run that comes to its end is followed by a new one."""
        tally = Tally()
        with self._server, self._watching():
            self._reset()
            self._process(resume=False, moment=None)
            text, searched = self._text, self._searched()
            while tally.kills < kills:
                self._reset()
                killed = self._one_run(tally, kills)
                asked = self._keys()
                tally.runs += 1
                tally.requests += len(asked)
                # How many a confirmation takes hangs on its order, which each run draws for itself.
                unique = len(set(asked))
                tally.unique += unique
                tally.allowed += unique + self._concurrency * killed
                if len(asked) > unique + self._concurrency * killed:
                    tally.wrong.append(f"{len(asked) - unique} requests paid again after {killed} kills")
                if differing := self._searched() ^ searched:
                    tally.wrong.append(f"{len(differing)} requests differ")
                if self._text != text:
                    tally.wrong.append("another final prompt")
                say(f"run {tally.runs}: {killed} kills, {len(asked)} requests, {unique} of them unique")
        if self._seen - {PROMPT, text}:
            tally.wrong.append(f"the prompt file was neither old nor new: {self._seen - {PROMPT, text}}")
        return tally

    def _one_run(self, tally: Tally, kills: int) -> int:
        """One run to its end, through as many kills as it takes; how many there were."""
        killed = 0
        while True:
            known, before = self._journaled(), len(self._server.requests)
            moment = None if tally.kills >= kills else self._random.choice(self._moments)()
            ended = self._process(killed > 0, moment)
            for key in self._keys()[before:]:
                if key in known:
                    tally.wrong.append("a request whose answer was in the journal")
            if ended:
                return killed
            killed += 1
            tally.kills += 1

    @property
    def _moments(self) -> list[Callable[[], Moment]]:
        """Mostly at some request, whatever the speed of the machine; now and then at any time."""

        def at_request() -> Moment:
            return self._random.randint(1, 60), self._random.uniform(0, 2 * self._latency)

        return [at_request] * 4 + [lambda: (0, self._random.uniform(0, 3))]

    def _process(self, resume: bool, moment: Moment | None) -> bool:
        """Whether it came to its end before the `moment` of its kill."""
        begun = self._begun() if resume else ""
        args = [f"--optimize-resume={begun}"] if begun else self._args()
        options = ["-q", "--tb=no", "-p", "no:asyncio", "-p", "no:cacheprovider"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *args],
            cwd=self._path,
            env={**os.environ, "PYTHONPATH": str(Path(journal.__file__).parent.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            output, _ = process.communicate(timeout=None if moment is None else self._wait(process, *moment))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return False
        if process.returncode not in (0, 1):
            raise RuntimeError(f"pytest ended with {process.returncode}:\n{output}")
        return True

    def _wait(self, process: subprocess.Popen[str], requests: int, seconds: float) -> float:
        """Wait for so many further requests, or the end; the seconds that are left then."""
        due = len(self._server.requests) + requests
        while requests and len(self._server.requests) < due and process.poll() is None:
            time.sleep(0.001)
        return seconds

    def _args(self) -> list[str]:
        # Without the cache there is only the journal.
        limits = ["--promptopt-max-iterations=4", f"--promptopt-concurrency={self._concurrency}"]
        return ["--optimize", "--promptopt-cache=off", *limits]

    def _reset(self) -> None:
        shutil.rmtree(self._path / ".promptopt", ignore_errors=True)
        self._server.requests.clear()
        conftest = CONFTEST.replace("PORT", self._server.url.rpartition(":")[2])
        ini = "[pytest]\npromptopt_model = demo\npromptopt_optimizer_model = demo\n"
        for name, text in (("conftest.py", conftest), ("test_it.py", TESTS), ("pytest.ini", ini)):
            (self._path / name).write_text(dedent(text), encoding="utf-8")
        self._prompt.parent.mkdir(exist_ok=True)
        replacement = self._path / "sort.new"
        replacement.write_text(PROMPT, encoding="utf-8")
        replacement.replace(self._prompt)

    def _searched(self) -> set[str]:
        """The keys of all requests but those of a confirmation: its answers belong to one run alone."""
        bodies = (received.body for received in self._server.requests)
        return {body["key"] for body in bodies if body["sample"] < FIRST_SAMPLE}

    def _keys(self) -> list[str]:
        return [received.body["key"] for received in self._server.requests]

    @property
    def _text(self) -> str:
        return self._prompt.read_text(encoding="utf-8")

    def _events(self) -> list[journal.Event]:
        try:
            (path,) = self._path.glob(".promptopt/runs/*/journal.jsonl")
            return journal.read_events(path)
        except (ValueError, JournalError):
            return []

    def _begun(self) -> str:
        """The run to continue; none when the kill came before it had begun."""
        events = self._events()
        if not events:
            shutil.rmtree(self._path / ".promptopt" / "runs", ignore_errors=True)
        return events[0].run if events else ""

    def _journaled(self) -> set[str]:
        return {e.data["key"] for e in self._events() if e.event == "call" and e.data["answer"] is not None}

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Look at the prompt file all the time."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.002):
                if self._prompt.exists():
                    self._seen.add(self._text)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
