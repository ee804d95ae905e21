"""A judge: asks a model whether an answer meets a criterion, or which of two answers does it better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_promptopt.grading.judge_prompts import JudgePrompt
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.records import Answer, Request
from pytest_promptopt.verdicts import THRESHOLD, Comparison, Panel, Verdict


class Asker(Protocol):
    """Asks models for a judge. One call may hold several requests, which are in flight together.

    Answers come in the order of the requests. What it raises, a `ModelError` or a suspension, goes through.
    """

    def ask(self, requests: Sequence[Request]) -> tuple[Answer, ...]: ...

    async def aask(self, requests: Sequence[Request]) -> tuple[Answer, ...]: ...


@dataclass(frozen=True)
class ClientAsker:
    """Asks over a session's model client, and waits."""

    client: ModelClient

    def ask(self, requests: Sequence[Request]) -> tuple[Answer, ...]:
        raise NotImplementedError

    async def aask(self, requests: Sequence[Request]) -> tuple[Answer, ...]:
        raise NotImplementedError


@dataclass(frozen=True)
class Rubric:
    """What an answer is graded for.

    :param name: how verdicts, labels and certificates call it: the sentence, or the rubric file's path.
    :param text: what the judge reads: the sentence, or the rubric file's text.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Judge:
    """A prompt with a model that grades.

    :param model: who is asked, ``provider/model`` or ``demo``.
    :param prompt: that grades one answer.
    :param comparing: that compares two answers.
    :param folders: where the path of a rubric file may begin, the nearest first: of the test, rootdir.
    :param sample: which of several independent verdicts this judge gives: the number of the test's run.
    """

    asker: Asker
    model: str
    prompt: JudgePrompt
    comparing: JudgePrompt
    threshold: float = THRESHOLD
    folders: tuple[Path, ...] = ()
    sample: int = 0

    @property
    def name(self) -> str:
        """The path of its prompt."""
        return self.prompt.name

    @property
    def fingerprint(self) -> str:
        """sha256 of its prompts, its model and their parameters."""
        raise NotImplementedError

    def rubric(self, criterion: str) -> Rubric:
        """The criterion as a rubric: the text of its file when it is the path of one, else itself."""
        raise NotImplementedError

    def __call__(
        self, answer: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Verdict:
        """Grade `answer`. Raises `UnusableVerdict` when the model gives no verdict, asked twice."""
        raise NotImplementedError

    async def acall(
        self, answer: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Verdict:
        """`judge(...)` for an async test."""
        raise NotImplementedError

    def compare(
        self, a: str, b: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Comparison:
        """Which of two answers meets the criterion better; asked in both orders."""
        raise NotImplementedError

    async def acompare(
        self, a: str, b: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Comparison:
        """`judge.compare(...)` for an async test."""
        raise NotImplementedError

    def panel(
        self,
        answer: str,
        criterion: str,
        *,
        models: Sequence[str] = (),
        samples: int = 1,
        reference: str | None = None,
        context: str | None = None,
    ) -> Panel:
        """Grade `answer` `samples` times by each of `models`; the judge's own model if none is named."""
        raise NotImplementedError

    async def apanel(
        self,
        answer: str,
        criterion: str,
        *,
        models: Sequence[str] = (),
        samples: int = 1,
        reference: str | None = None,
        context: str | None = None,
    ) -> Panel:
        """`judge.panel(...)` for an async test."""
        raise NotImplementedError
