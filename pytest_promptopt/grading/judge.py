"""A judge: asks a model whether an answer meets a criterion, or which of two answers does it better."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from pytest_promptopt.completion import told_answer
from pytest_promptopt.errors import SettingsError, UnusableVerdict
from pytest_promptopt.grading.judge_prompts import JudgePrompt
from pytest_promptopt.grading.judge_setup import JudgeSetup
from pytest_promptopt.grading.rubrics import check_text
from pytest_promptopt.grading.verdict_reading import (
    PREFERENCE_SCHEMA,
    VERDICT_SCHEMA,
    read_preference,
    read_verdict,
)
from pytest_promptopt.labels import Kind
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.models.registry import canonical_name, takes_schema
from pytest_promptopt.records import Answer, Request, Role, StopReason
from pytest_promptopt.verdicts import (
    Comparison,
    Panel,
    Verdict,
)

T = TypeVar("T")
#: What a judge is asked for.
Found = TypeVar("Found", Panel, Comparison)

#: Questions, each answered before the next; then what came of them.
Asking = Generator["Question", tuple[Answer, ...], T]

#: Added to the sample of a request that is asked again since its reply was no verdict: above all samples that
#: any step asks for, those of a confirmation among them.
AGAIN = 10**18


@dataclass(frozen=True)
class Question:
    """What a judge asks at once.

    :param requests: in flight together.
    :param given: what the judge was given, by the names of its arguments.
    """

    requests: tuple[Request, ...]
    given: Mapping[str, str]

    @property
    def kind(self) -> Kind:
        return "pairs" if "a" in self.given else "answers"


class Asker(Protocol):
    """Asks models for a judge.

    Answers come in the order of the requests. What it raises, a `ModelError` or a suspension, goes through.
    """

    def ask(self, question: Question) -> tuple[Answer, ...]: ...

    async def aask(self, question: Question) -> tuple[Answer, ...]: ...


@dataclass(frozen=True)
class ClientAsker:
    """Asks over a session's model client, and waits."""

    client: ModelClient

    def ask(self, question: Question) -> tuple[Answer, ...]:
        self._submit(question)
        return tuple(self.client.ask(request, Role.JUDGE) for request in question.requests)

    async def aask(self, question: Question) -> tuple[Answer, ...]:
        self._submit(question)
        return tuple([await self.client.aask(request, Role.JUDGE) for request in question.requests])

    def _submit(self, question: Question) -> None:
        for request in question.requests:
            if self.client.look_up(request) is None:
                self.client.submit(request, Role.JUDGE)


@dataclass(frozen=True, eq=False, repr=False)
class Judge:
    """A prompt with a model that grades: ``judge(answer, "cites the policy").score``.

    Called with an answer and a criterion, a sentence or the path of a rubric file, it gives a `Verdict`: a
    `score` from 0 to 1, `issues`, `strengths`, `suggestions` and `reasons`, and true when the score reaches
    the threshold. All its methods take

    * ``reference=``, a good answer to compare with;
    * ``context=``, what the answer was made from and must be true to;

    and raise `UnusableVerdict` when a model, asked twice, gives no verdict.

    :param sample: which of several independent verdicts this judge gives: the number of the test's run.
    """

    asker: Asker
    setup: JudgeSetup
    sample: int = 0

    def __repr__(self) -> str:
        return f"<Judge {self.name} {self.model}>"

    @property
    def name(self) -> str:
        """The path of its prompt."""
        return self.setup.name

    @property
    def model(self) -> str:
        """Who is asked."""
        return self.setup.model

    @property
    def fingerprint(self) -> str:
        """sha256 of its prompts with their parameters, and of its model."""
        return self.setup.fingerprint

    def __call__(
        self, answer: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Verdict:
        """Grade `answer`."""
        __tracebackhide__ = True
        return self._asked(self._grading(answer, criterion, reference, context)).verdicts[0]

    async def acall(
        self, answer: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Verdict:
        """``judge(...)`` for async tests; several in a ``gather`` are in flight at once."""
        __tracebackhide__ = True
        return (await self._aasked(self._grading(answer, criterion, reference, context))).verdicts[0]

    def compare(
        self, a: str, b: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Comparison:
        """Which of two answers meets the criterion better: both orders are asked, so no place can decide.

        `better` is ``"a"``, ``"b"`` or ``"tie"``; `position_bias` is the place that won in both orders.
        """
        __tracebackhide__ = True
        return self._asked(self._comparing(a, b, criterion, reference, context))

    async def acompare(
        self, a: str, b: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Comparison:
        """``judge.compare(...)`` for async tests."""
        __tracebackhide__ = True
        return await self._aasked(self._comparing(a, b, criterion, reference, context))

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
        """Grade `answer` by several models, or several times: mean score, majority, disagreement.

        Each of `models` is asked `samples` times; the judge's own model if none is named.
        """
        __tracebackhide__ = True
        return self._asked(self._grading(answer, criterion, reference, context, models, samples))

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
        """``judge.panel(...)`` for async tests."""
        __tracebackhide__ = True
        return await self._aasked(self._grading(answer, criterion, reference, context, models, samples))

    def _asked(self, asking: Asking[Found]) -> Found:
        __tracebackhide__ = True
        try:
            question = next(asking)
            while True:
                question = asking.send(self.asker.ask(question))
        except StopIteration as end:
            result: Found = end.value
            return result

    async def _aasked(self, asking: Asking[Found]) -> Found:
        __tracebackhide__ = True
        try:
            question = next(asking)
            while True:
                question = asking.send(await self.asker.aask(question))
        except StopIteration as end:
            result: Found = end.value
            return result

    def _grading(
        self,
        answer: str,
        criterion: str,
        reference: str | None,
        context: str | None,
        models: Sequence[str] = (),
        samples: int = 1,
    ) -> Asking[Panel]:
        __tracebackhide__ = True
        check_text("the answer", answer)
        answer = told_answer(answer)
        rubric = self.setup.rubric(criterion)
        besides = _optional(reference, context)
        shown = {"answer": answer, "criterion": rubric.text, **besides}
        read = partial(read_verdict, criterion=rubric.name, threshold=self.setup.threshold)
        count = _checked(samples)
        requests = tuple(
            self._request(self.setup.prompt, shown, VERDICT_SCHEMA, model, self.sample * count + number)
            for model in panel_models(models) or (self.model,)
            for number in range(count)
        )
        given = {"criterion": criterion, "answer": answer, **besides}
        verdicts = yield from _read_all(Question(requests, given), read)
        return Panel(
            tuple(replace(each, model=asked.model) for asked, each in zip(requests, verdicts, strict=True))
        )

    def _comparing(
        self, a: str, b: str, criterion: str, reference: str | None, context: str | None
    ) -> Asking[Comparison]:
        __tracebackhide__ = True
        check_text("the first answer", a)
        check_text("the second answer", b)
        a, b = told_answer(a), told_answer(b)
        rubric = self.setup.rubric(criterion)
        besides = _optional(reference, context)
        requests = tuple(
            self._request(
                self.setup.comparing,
                {"first": first, "second": second, "criterion": rubric.text, **besides},
                PREFERENCE_SCHEMA,
                self.model,
                self.sample,
            )
            for first, second in ((a, b), (b, a))
        )
        given = {"criterion": criterion, "a": a, "b": b, **besides}
        (one, why), (two, why_two) = yield from _read_all(Question(requests, given), read_preference)
        return Comparison((one, two), (why, why_two), rubric.name, self.model)

    def _request(
        self,
        prompt: JudgePrompt,
        shown: Mapping[str, str],
        schema: Mapping[str, Any],
        model: str,
        sample: int,
    ) -> Request:
        front = prompt.file.front
        return Request(
            model=model,
            messages=prompt.messages(shown),
            max_tokens=front.max_tokens,
            stop=front.stop,
            parameters=front.parameters,
            response_schema=schema if takes_schema(model) else None,
            sample=sample,
        )


def _read_all(question: Question, read: Callable[[str], T]) -> Asking[tuple[T, ...]]:
    """What the replies say. One that cannot be used is asked for again, once.

    Raises `UnusableVerdict` when the second reply cannot be used either.
    """
    requests = question.requests
    answers = yield question
    found: dict[int, T] = {}
    for number, answer in enumerate(answers):
        try:
            found[number] = _read(answer, read)
        except UnusableVerdict:
            continue
    missing = [number for number in range(len(requests)) if number not in found]
    if missing:
        asked = tuple(replace(requests[n], sample=requests[n].sample + AGAIN) for n in missing)
        again = yield replace(question, requests=asked)
        for number, answer in zip(missing, again, strict=True):
            try:
                found[number] = _read(answer, read)
            except UnusableVerdict as error:
                raise UnusableVerdict(
                    f"{requests[number].model} was asked twice: {error}; replies that are in the cache stay "
                    "what they are, --promptopt-cache=refresh asks for others"
                ) from None
    return tuple(found[number] for number in range(len(requests)))


def _read(answer: Answer, read: Callable[[str], T]) -> T:
    if answer.stop_reason == StopReason.MAX_TOKENS:
        raise UnusableVerdict("the judge's reply is no verdict, since it was cut off at the token limit")
    if answer.stop_reason == StopReason.REFUSAL:
        raise UnusableVerdict("the judge's reply is no verdict, since the model refused to answer")
    return read(answer.text)


def _optional(reference: str | None, context: str | None) -> dict[str, str]:
    """Those of the two that are given."""
    given = {"reference": reference, "context": context}
    found = {name: value for name, value in given.items() if value is not None}
    for name, value in found.items():
        check_text(f"{name}=", value)
    return found


def panel_models(names: Sequence[str]) -> tuple[str, ...]:
    """The models of a panel by their full names. Raises `SettingsError`."""
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"judge.panel(...): models= must be a list of names, got {names!r}")
    return tuple(map(canonical_name, names))


def _checked(samples: object) -> int:
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise SettingsError(f"judge.panel(...): samples= must be a whole number from 1, got {samples!r}")
    return samples
