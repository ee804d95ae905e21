"""A suite of one prompt, read and scored without the plugin: its own tests, a model's address, no cache.

A suite is a pytest project: `prompts/*.md` and tests that take the fixture `prompt` and are parametrized;
those of the later splits have the mark `validation` or `heldout`. Its tests are called as plain functions.
"""

from __future__ import annotations

import importlib.util
import json
import random
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from _pytest.mark import ParameterSet

from pytest_promptopt.completion import Completion
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Answer, Message, Split
from tests.benchmarks.relay import PATIENCE, tokens_of

#: From the variables of a call to the messages to send.
Render = Callable[[Mapping[str, object]], Sequence[Message]]


@dataclass(frozen=True)
class SuiteCase:
    """One test with its parameters; `test` takes what stands for the prompt, and raises when it fails."""

    split: Split
    parameters: Mapping[str, Any]
    test: Callable[[object], object]

    def given(self) -> Mapping[str, object]:
        """What the test gives to the prompt."""
        seen: list[Mapping[str, object]] = []

        def prompt(**variables: object) -> Completion:
            seen.append(variables)
            return _completion("")

        self._passes(prompt)
        return seen[0]

    def wanted(self) -> str:
        """An answer that passes: the parameters that the prompt is not given; several as JSON."""
        given = self.given()
        rest = {name: value for name, value in self.parameters.items() if value not in given.values()}
        (first, *more) = rest.values()
        answer = first if isinstance(first, str) and not more else json.dumps(rest if more else first)
        if not self._passes(lambda **_: _completion(answer)):
            raise SystemExit(f"{answer!r}, made of the parameters {rest}, does not pass its test")
        return answer

    def answered(self, ask: Callable[[Sequence[Message]], str], render: Render) -> tuple[bool, str]:
        """Whether it passes, and the last answer."""
        said = ""

        def prompt(**variables: object) -> Completion:
            nonlocal said
            said = ask(render(variables))
            return _completion(said)

        return self._passes(prompt), said

    def _passes(self, prompt: Callable[..., Completion]) -> bool:
        try:
            self.test(prompt)
        except Exception:  # what a test raises is its verdict, whatever it is
            return False
        return True


class Suite:
    """A suite in its folder.

    :param file: its prompt, as it is on disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (path,) = [found for found in folder.glob("prompts/*") if found.suffix in (".md", ".txt")]
        self.file = PromptFile.load(path, rootdir=folder)
        self.cases = [
            case for test in sorted(folder.glob("tests/test_*.py")) for case in _cases(_module(test))
        ]

    def of(self, *splits: Split) -> list[SuiteCase]:
        return [case for case in self.cases if case.split in splits]

    def written(self, prose: str) -> PromptFile:
        return self.file.with_prose(prose)


@dataclass
class Target:
    """The model that is asked, by its address; an answer that is known is not asked again, but counted.

    :param front: the parameters that the prompt's front matter names.
    :param in_flight: requests that are sent at once.
    :param counted: requests since `start`, with their tokens.
    """

    address: str
    model: str
    front: Mapping[str, Any]
    in_flight: int = 8
    known: dict[str, tuple[str, int]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, file: PromptFile, address: str, model: str, *, in_flight: int) -> Target:
        front = {**file.front.parameters}
        if file.front.max_tokens is not None:
            front["max_tokens"] = file.front.max_tokens
        return cls(address.rstrip("/"), model.rpartition("/")[2], front, in_flight)

    def start(self) -> None:
        """Count from here on."""
        self.counted = {}

    def ask(self, messages: Sequence[Message]) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        key = json.dumps(turns)
        if key not in self.known:
            body = json.dumps({"model": self.model, "messages": turns, **self.front}).encode()
            request = urllib.request.Request(
                f"{self.address}/v1/chat/completions",
                body,
                {"Content-Type": "application/json", "Authorization": "Bearer x"},
            )
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                answer = json.load(response)
            text = answer["choices"][0]["message"]["content"] or ""
            self.known[key] = text, tokens_of(answer)
        with self._lock:
            self.counted[key] = self.known[key][1]
        return self.known[key][0]

    def score(self, cases: Sequence[SuiteCase], render: Render) -> list[tuple[bool, str]]:
        """Of each case whether it passes, and what was answered."""
        with ThreadPoolExecutor(self.in_flight) as pool:
            return list(pool.map(lambda case: case.answered(self.ask, render), cases))


def rate(scored: Sequence[tuple[bool, str]]) -> float:
    return sum(passed for passed, _ in scored) / len(scored)


@dataclass(frozen=True)
class Turns:
    """The prompt with examples before it, as turns of a chat."""

    file: PromptFile
    examples: Sequence[SuiteCase]

    @classmethod
    def drawn(cls, suite: Suite, count: int, draw: int) -> Turns:
        training = suite.of(Split.TRAIN)
        return cls(suite.file, random.Random(f"{draw}/{count}").sample(training, min(count, len(training))))

    def __call__(self, variables: Mapping[str, object]) -> list[Message]:
        shown = [*self._shown(), *self.file.render(variables)]
        # A system message is said once, at the begin.
        return [turn for number, turn in enumerate(shown) if turn.role != "system" or number == 0]

    def _shown(self) -> Iterator[Message]:
        for case in self.examples:
            yield from self.file.render(case.given())
            yield Message("assistant", case.wanted())


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"suite_{abs(hash(path))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _cases(module: ModuleType) -> Iterator[SuiteCase]:
    for owner in (module, *(found for name, found in vars(module).items() if name.startswith("Test"))):
        for name, function in vars(owner).items():
            if not name.startswith("test_"):
                continue
            test = getattr(owner() if isinstance(owner, type) else owner, name)
            marks = {mark.name: mark for mark in getattr(function, "pytestmark", ())}
            split = next((split for split in Split if split in marks), Split.TRAIN)
            names, values = marks["parametrize"].args
            names = names.replace(",", " ").split() if isinstance(names, str) else names
            for each in values:
                wrapped = isinstance(each, ParameterSet)
                given = each.values if wrapped else each if len(names) > 1 else [each]
                yield _case(split, test, dict(zip(names, given, strict=True)))


def _case(split: Split, test: Callable[..., object], parameters: dict[str, Any]) -> SuiteCase:
    return SuiteCase(split, parameters, lambda prompt: test(prompt=prompt, **parameters))


def _completion(text: str) -> Completion:
    return Completion(Answer(text, "", "end_turn", None, None, 0.0))
