"""The judge of a case: its calls are the run's own, and never the answer under test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pytest_promptopt.errors import ModelError, PromptoptError, SettingsError
from pytest_promptopt.grading.judge import Asking, Found, Judge, Question
from pytest_promptopt.labels import AnyLabel, Kind, Label, PairLabel
from pytest_promptopt.models.call_records import CallResult
from pytest_promptopt.records import Answer, Call, Role
from pytest_promptopt.replay.run import Run
from pytest_promptopt.replay.run_calls import RunCalls


@dataclass(frozen=True)
class RunAsker:
    """Asks for a judge in a run, which is suspended until the answers are there.

    :param name: the path of the judge's prompt.
    :param admit: raises where a model may not decide about a criterion, of answers or of pairs.
    :param of_prompt: whether the judge's prompt is the prompt that the case checks; then the calls are its.
    """

    run: Run[Any]
    name: str
    admit: Callable[[str, str, Kind], None] = lambda model, criterion, kind: None
    of_prompt: bool = False

    def ask(self, question: Question) -> tuple[Answer, ...]:
        __tracebackhide__ = True
        self._note(question)
        return self._told(question, self._calls.ask(question.requests))

    async def aask(self, question: Question) -> tuple[Answer, ...]:
        __tracebackhide__ = True
        self._note(question)
        return self._told(question, await self._calls.aask(question.requests))

    @property
    def _calls(self) -> RunCalls:
        return RunCalls(self.run, self.name, Role.TARGET if self.of_prompt else Role.JUDGE)

    def _note(self, question: Question) -> None:
        __tracebackhide__ = True
        for model in dict.fromkeys(request.model for request in question.requests):
            self.admit(model, question.given["criterion"], question.kind)
        run, asked = self.run, [(self.name, question.given)] * len(question.requests)
        if self.of_prompt:
            run.asked += asked
            return
        run.asked_of_judge += asked
        run.judge_keys.update(request.key for request in question.requests)

    def _told(self, question: Question, results: Sequence[CallResult]) -> tuple[Answer, ...]:
        answers = []
        # Outcomes travel between processes; what was graded is in them already, as a call of the prompt.
        given = question.given if self.of_prompt else {}
        for request, known in zip(question.requests, results, strict=True):
            assert known.answer is not None
            call = Call.of(known.answer, self.name, given, request.key, cached=known.cached)
            (self.run.calls if self.of_prompt else self.run.other_calls).append(call)
            answers.append(known.answer)
        return tuple(answers)


@dataclass(frozen=True, eq=False, repr=False)
class CaseJudge(Judge):
    """The judge as a test uses it. What it says is noted in the run; so is that it says nothing."""

    asker: RunAsker

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

    def _asked(self, asking: Asking[Found]) -> Found:
        __tracebackhide__ = True
        try:
            return self._noted(super()._asked(asking))
        except PromptoptError as error:
            self._fail(error)

    async def _aasked(self, asking: Asking[Found]) -> Found:
        __tracebackhide__ = True
        try:
            return self._noted(await super()._aasked(asking))
        except PromptoptError as error:
            self._fail(error)

    def _noted(self, found: Found) -> Found:
        self.asker.run.verdicts.append(found.verdict)
        return found

    def _fail(self, error: PromptoptError) -> NoReturn:
        """A judge that does not judge is an error of the case, also where the test swallows it."""
        __tracebackhide__ = True
        self.asker.run.error = self.asker.run.error or error
        model = error.model if isinstance(error, ModelError) else ""
        judges = self.asker.run.error is error and model == self.model
        self.asker.run.failed_role = Role.JUDGE if judges else None
        raise error.with_traceback(None) from None
