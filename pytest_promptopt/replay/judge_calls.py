"""The judge of a case: its calls are the run's own, and never the answer under test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from pytest_promptopt.errors import ModelError, PromptoptError, SettingsError
from pytest_promptopt.grading.calibration import Kind
from pytest_promptopt.grading.judge import Judge, panel_models
from pytest_promptopt.grading.labels import AnyLabel, Label, PairLabel
from pytest_promptopt.models.client import CallResult
from pytest_promptopt.records import Answer, Call, Request, Role
from pytest_promptopt.replay.run import Run
from pytest_promptopt.replay.run_calls import RunCalls, answers_of
from pytest_promptopt.verdicts import Comparison, Panel, Verdict


@dataclass(frozen=True)
class RunAsker:
    """Asks for a judge in a run, which is suspended until the answers are there.

    :param inputs: what the judge was given.
    :param of_prompt: whether the judge's prompt is the prompt that the case checks; then the calls are its.
    """

    run: Run[Any]
    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    of_prompt: bool = False

    def ask(self, requests: Sequence[Request]) -> tuple[Answer, ...]:
        __tracebackhide__ = True
        self._note(requests)
        return self._told(requests, self._calls.ask(requests))

    async def aask(self, requests: Sequence[Request]) -> tuple[Answer, ...]:
        __tracebackhide__ = True
        self._note(requests)
        return self._told(requests, await self._calls.aask(requests))

    @property
    def _calls(self) -> RunCalls:
        return RunCalls(self.run, self.name, Role.TARGET if self.of_prompt else Role.JUDGE)

    def _note(self, requests: Sequence[Request]) -> None:
        run, asked = self.run, [(self.name, self.inputs)] * len(requests)
        if self.of_prompt:
            run.asked += asked
            return
        run.asked_of_judge += asked
        keys = {request.key for request in requests}
        run.judge_keys |= keys
        run.missing_otherwise |= keys

    def _told(self, requests: Sequence[Request], results: Sequence[CallResult]) -> tuple[Answer, ...]:
        answers = answers_of(results)
        for request, answer, known in zip(requests, answers, results, strict=True):
            call = Call.of(answer, self.name, self.inputs, request.key, cached=known.cached)
            (self.run.calls if self.of_prompt else self.run.other_calls).append(call)
        return answers


class CaseJudge:
    """Grades answers in a test: ``assert judge(answer, "cites the policy").score >= 0.7``.

    Called with an answer and a criterion, a sentence or the path of a rubric file, it gives a `Verdict`: a
    `score` from 0 to 1, `issues`, `strengths`, `suggestions` and `reasons`, and true when the score reaches
    the ini value ``promptopt_judge_threshold``. ``await judge.acall(...)`` in an async test.
    """

    def __init__(
        self,
        run: Run[Any],
        judge: Judge,
        admit: Callable[[Judge, str, Kind], None],
        *,
        under_test: bool = False,
    ) -> None:
        """:param admit: raises where a criterion is not the judge's to decide, of answers or of pairs.
        :param under_test: whether the judge's prompt is what the case checks.
        """
        self._run = run
        self._judge = judge
        self._admit = admit
        self._under_test = under_test

    def __repr__(self) -> str:
        return f"<Judge {self._judge.name} {self._judge.model}>"

    def __call__(
        self, answer: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Verdict:
        """Grade `answer`.

        :param criterion: what it is graded for: a sentence, or the path of a file with a rubric.
        :param reference: a good answer, to compare with.
        :param context: what the answer was made from, and must be true to.
        :raises UnusableVerdict: when the judge gives no verdict; the case is errored then, not failed.
        """
        __tracebackhide__ = True
        given = {"reference": reference, "context": context}
        try:
            verdict = self._asking(criterion, {"answer": answer, **given})(answer, criterion, **given)
        except PromptoptError as error:
            self._fail(error)
        self._run.verdicts.append(verdict)
        return verdict

    async def acall(
        self, answer: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Verdict:
        """``judge(...)`` for async tests; several in a ``gather`` are in flight at once."""
        __tracebackhide__ = True
        given = {"reference": reference, "context": context}
        try:
            verdict = await self._asking(criterion, {"answer": answer, **given}).acall(
                answer, criterion, **given
            )
        except PromptoptError as error:
            self._fail(error)
        self._run.verdicts.append(verdict)
        return verdict

    def compare(
        self, a: str, b: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Comparison:
        """Which of two answers meets the criterion better: both orders are asked, so no place can decide.

        `better` is ``"a"``, ``"b"`` or ``"tie"``; `position_bias` is the place that won in both orders.
        """
        __tracebackhide__ = True
        given = {"reference": reference, "context": context}
        try:
            return self._asking(criterion, {"a": a, "b": b, **given}).compare(a, b, criterion, **given)
        except PromptoptError as error:
            self._fail(error)

    async def acompare(
        self, a: str, b: str, criterion: str, *, reference: str | None = None, context: str | None = None
    ) -> Comparison:
        """``judge.compare(...)`` for async tests."""
        __tracebackhide__ = True
        given = {"reference": reference, "context": context}
        try:
            return await self._asking(criterion, {"a": a, "b": b, **given}).acompare(a, b, criterion, **given)
        except PromptoptError as error:
            self._fail(error)

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
        """Grade `answer` by several models, or several times: mean score, majority, disagreement."""
        __tracebackhide__ = True
        given = {"reference": reference, "context": context}
        try:
            panel = self._asking(criterion, {"answer": answer, **given}, models).panel(
                answer, criterion, models=models, samples=samples, **given
            )
        except PromptoptError as error:
            self._fail(error)
        self._run.verdicts.append(panel.verdict)
        return panel

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
        given = {"reference": reference, "context": context}
        try:
            panel = await self._asking(criterion, {"answer": answer, **given}, models).apanel(
                answer, criterion, models=models, samples=samples, **given
            )
        except PromptoptError as error:
            self._fail(error)
        self._run.verdicts.append(panel.verdict)
        return panel

    def decide(self, label: AnyLabel) -> str:
        """What the judge says of a labelled answer: ``good`` or ``bad``; of a pair ``a``, ``b`` or ``tie``.

        For tests of the judge itself: ``assert judge.decide(label) == label.expected``.
        """
        __tracebackhide__ = True
        if not isinstance(label, Label | PairLabel):
            self._fail(SettingsError(f"judge.decide(...): it takes a label, got {label!r}"))
        given = {"reference": label.reference, "context": label.context}
        if isinstance(label, PairLabel):
            return self.compare(label.a, label.b, label.criterion, **given).better
        return "good" if self(label.answer, label.criterion, **given) else "bad"

    def _asking(self, criterion: str, given: Mapping[str, str | None], models: Sequence[str] = ()) -> Judge:
        """The judge, with its calls in the run. Raises where the criterion is not its to decide.

        :param models: who is asked in its place.
        """
        __tracebackhide__ = True
        name = self._judge.rubric(criterion).name
        for model in panel_models(models) or (self._judge.model,):
            self._admit(replace(self._judge, model=model), name, "pairs" if "a" in given else "answers")
        inputs = {"criterion": criterion} | {name: text for name, text in given.items() if text is not None}
        asker = RunAsker(self._run, self._judge.name, inputs, of_prompt=self._under_test)
        return replace(self._judge, asker=asker, sample=self._run.sample)

    def _fail(self, error: PromptoptError) -> NoReturn:
        """A judge that does not judge is an error of the case, also where the test swallows it."""
        __tracebackhide__ = True
        self._run.error = self._run.error or error
        model = error.model if isinstance(error, ModelError) else ""
        self._run.judge_failed = self._run.error is error and model == self._judge.model
        raise error.with_traceback(None) from None
