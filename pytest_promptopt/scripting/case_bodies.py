"""What a case of a script does in one run: it asks, and judges the answer."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_promptopt.assertions.function_source import TestSource, source_of
from pytest_promptopt.assertions.operand_capture import failure_of, failure_of_check
from pytest_promptopt.assertions.plain_values import readable_value
from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.optimizer.protocols import StopRun
from pytest_promptopt.records import Failure
from pytest_promptopt.replay.prompt_calls import Prompt, Prompts
from pytest_promptopt.replay.run import Run
from pytest_promptopt.scripting.given_cases import Check, takes
from pytest_promptopt.text import MAX_QUOTE, safe_repr

#: Items of a list or a dict that a function's case may be about.
MAX_INPUTS = 20


@dataclass(frozen=True)
class Verdict:
    """How one run was judged.

    :param score: 1.0 passed, less is failed, with partial credit.
    """

    score: float
    failure: Failure | None = None


class CaseBody(Protocol):
    """What a case does in one run."""

    @property
    def expected(self) -> Any | None:
        """What the answer is compared with, JSON-like; None where that is not known."""

    @property
    def source(self) -> TestSource:
        """The source of the check, as far as there is one."""

    def run(self, run: Run[Any]) -> Verdict:
        """Ask and judge. Raises what ends a run without a verdict."""


@dataclass(frozen=True)
class ExpectedAnswer:
    """The answer must equal a text or a JSON value.

    :param stage: of the prompt that is asked.
    """

    inputs: Mapping[str, Any]
    wanted: Any
    stage: str

    @property
    def expected(self) -> Any:
        return readable_value(self.wanted)

    @property
    def source(self) -> TestSource:
        return TestSource("answer == expected")

    def run(self, run: Run[Any]) -> Verdict:
        answer = Prompt(run, self.stage)(**self.inputs)
        actual: Any = str(answer).strip()
        if isinstance(self.wanted, str):
            same = actual == self.wanted.strip()
        else:
            try:
                actual = json.loads(answer)
                same = bool(actual == self.expected)
            except (ValueError, RecursionError):
                same = False
        if same:
            return Verdict(1.0)
        said = f"assert {safe_repr(actual)[:MAX_QUOTE]} == {safe_repr(self.wanted)[:MAX_QUOTE]}"
        failure = Failure("AssertionError", said, run.case.case.where, "==", self.expected, actual)
        return Verdict(0.0, failure)


@dataclass(frozen=True)
class CheckedAnswer:
    """A function of the user's judges the answer."""

    inputs: Mapping[str, Any]
    check: Check
    stage: str
    rootdir: str
    expected: None = field(default=None, init=False)

    @property
    def source(self) -> TestSource:
        return source_of(self.check)

    def run(self, run: Run[Any]) -> Verdict:
        answer = Prompt(run, self.stage)(**self.inputs)
        try:
            found: object = self.check(answer)
            if inspect.isawaitable(found):
                found = finish(found)
        except Exception as error:
            failure = failure_of(error, (), run.calls, rootdir=self.rootdir, rewritten=False)
            return Verdict(0.0, failure)
        if not isinstance(found, (bool, int, float)) or not 0 <= found <= 1:
            name = getattr(self.check, "__name__", type(self.check).__name__)
            raise StopRun(
                HaltReason.ERROR,
                f"{run.case.case.id}: the check {name} returned {safe_repr(found)[:MAX_QUOTE]}; accepted: "
                "True, False or a number from 0 to 1",
            )
        if found == 1:
            return Verdict(1.0)
        said = f"the check returned {found!r}"
        failure = failure_of_check(self.check, answer, run.calls, said=said, where=run.case.case.where)
        return Verdict(float(found), failure)


@dataclass(frozen=True)
class FunctionBody:
    """A function of the user's calls the prompt and asserts, as a test does under pytest."""

    function: Callable[..., Any]
    rootdir: str

    @functools.cached_property
    def values(self) -> Mapping[str, Any]:
        """The plain data that the function is bound to: arguments, defaults, variables around it."""
        bound = inspect.signature(self.function)
        defaults = {n: p.default for n, p in bound.parameters.items() if p.default is not p.empty}
        inner = plain_function(self.function)
        around = inspect.getclosurevars(inner).nonlocals if inspect.isfunction(inner) else {}
        found = {**around, **defaults}
        return {name: found[name] for name in sorted(found) if _is_input(found[name])}

    @property
    def source(self) -> TestSource:
        return source_of(plain_function(self.function), frozenset(self.values))

    @property
    def expected(self) -> Any | None:
        return self.source.known_expected(self.values)

    def run(self, run: Run[Any]) -> Verdict:
        wanted = takes(self.function)
        given = Prompts(run) if wanted == "prompts" else Prompt(run, next(iter(run.files)))
        try:
            found = self.function(**{wanted: given})
            if inspect.isawaitable(found):
                finish(found)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if run.missing:
                raise
            failure = failure_of(
                error, (), run.calls, rootdir=self.rootdir, stated=self.expected, rewritten=False
            )
            return Verdict(0.0, failure)
        return Verdict(1.0)


def _is_input(value: object) -> bool:
    """Whether a case may be about it: plain data, and no table of all cases nor an object of the program."""
    if isinstance(value, (dict, list, tuple)):
        inside = value.values() if isinstance(value, dict) else value
        return len(value) <= MAX_INPUTS and all(map(_is_input, inside))
    return value is None or isinstance(value, (str, int, float, bool))


def plain_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function inside partials and decorators."""
    while isinstance(function, functools.partial):
        function = function.func
    inside: Callable[..., Any] = inspect.unwrap(function)
    return inside


def finish(awaited: Awaitable[Any]) -> Any:
    """The result of a coroutine, on an event loop of its own: also where the caller's loop is running."""

    async def whole() -> Any:
        return await awaited

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(whole())
    ended: list[BaseException | None] = [None]
    result: list[Any] = [None]

    def beside() -> None:
        try:
            result[0] = asyncio.run(whole())
        except BaseException as error:
            ended[0] = error

    thread = threading.Thread(target=beside, name="promptopt-case", daemon=True)
    thread.start()
    thread.join()
    if ended[0] is not None:
        raise ended[0]
    return result[0]
