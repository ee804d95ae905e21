"""Spans of a session: its cases with their calls, its iterations with their candidates.

Apart from the session and its search, a span is written when it is over, with the times that it had: calls
are made long before the case that needs them has ended, and one answer may serve several cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any

from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.records import Call, Case, Outcome, Status, function_of
from pytest_promptopt.results import CandidateResult, Iteration, PromptResult, RunResult
from pytest_promptopt.spans import names
from pytest_promptopt.spans.call_attributes import Shown, given, of_known, of_paid, operation_of
from pytest_promptopt.spans.tracing import Tracing
from pytest_promptopt.unpatched import time

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

#: Hexadecimal digits of a digest in the name of a case.
DIGITS = 8

_LABELS = {Status.PASSED: "pass", Status.FAILED: "fail", Status.ERRORED: "error"}


@dataclass(frozen=True)
class _Paid:
    call: PaidCall
    start: int
    end: int


class SpanWriter:
    """`paid` may be called from any thread, all else from the main one.

    :param parent: what the session is a part of.
    :param shown: what may be shown of contents.
    """

    def __init__(self, tracing: Tracing, parent: Context | None, shown: Shown) -> None:
        self._tracing, self._tracer = tracing, tracing.tracer
        self._shown = shown
        self._top = parent
        self._session: Span | None = None
        self._search: Span | None = None
        #: Earlier calls for answers that were asked for again.
        self._earlier: list[_Paid] = []
        #: When the last iteration was over.
        self._reached = 0
        self._lock = Lock()
        #: Calls that stand in no span yet, by the keys of their requests.
        self._paid: dict[str, _Paid] = {}

    def begin_session(self, name: str, mode: str, *, optimizing: bool) -> Span:
        """The session's own span; without it spans stand below `parent`."""
        from opentelemetry import trace

        attributes = {names.SUITE_NAME: name, names.MODE: mode}
        self._reached = time.time_ns()
        self._session = self._start("promptopt session", self._top, self._reached, attributes)
        self._top = trace.set_span_in_context(self._session)
        if optimizing:
            self._search = self._start("promptopt optimize", self._top, self._reached, {})
        return self._session

    def paid(self, call: PaidCall) -> None:
        """A call is over; its span is written with the case, or the iteration, that it belongs to."""
        end = time.time_ns()
        seconds = 0.0 if call.answer is None else call.answer.latency
        with self._lock:
            if (before := self._paid.get(call.request.key)) is not None:
                self._earlier.append(before)
            self._paid[call.request.key] = _Paid(call, end - int(max(0.0, seconds) * 1e9), end)

    def case(self, case: Case, outcomes: Sequence[Outcome], status: Status, start: int) -> None:
        """A case was reported, with all its samples.

        :param start: when its test began; its calls may have begun before.
        """
        calls = [call for outcome in outcomes for call in outcome.all_calls]
        made = self._take(call.key for call in calls)
        start = min([start, *(each.start for each in made.values())])
        name = self._name(case.id)
        attributes = {
            names.CASE_NAME: name,
            names.CASE_STATUS: {"passed": "pass", "failed": "fail"}.get(status.value),
            names.STATUS: status.value,
            names.PROMPTS: list(case.prompts),
            names.SPLIT: case.split.value,
        }
        span = self._start(f"case {name}", self._top, start, attributes)
        for outcome in outcomes:
            own = [self._call(span, case, call, made.pop(call.key, None)) for call in outcome.all_calls]
            # The conventions want it at the answer that was judged, where there is one.
            judged = own[0] if len(outcome.calls) == 1 else span
            self._evaluated(judged, case, outcome)
            for each in own:
                each.end()
        if status in (Status.FAILED, Status.ERRORED):
            self._fail(span, status.value)
        span.end(time.time_ns())

    def _call(self, case_span: Span, case: Case, call: Call, made: _Paid | None) -> _Open:
        if made is not None:
            return _Open(self._paid_span(made, self._below(case_span), call.prompt), made.end)
        model = case.model_of(call.prompt)
        attributes = {**of_known(call, model, self._shown), names.PROMPT: call.prompt or None}
        now = time.time_ns()
        name = f"{attributes[names.OPERATION]} {model}".strip()
        return _Open(self._start(name, self._below(case_span), now, attributes), now)

    def _paid_span(self, made: _Paid, parent: Context | None, prompt: str = "") -> Span:
        from opentelemetry.trace import SpanKind

        request = made.call.request
        attributes = {**of_paid(made.call, self._shown), names.PROMPT: prompt}
        name = f"{operation_of(request)} {request.model}"
        span = self._start(name, parent, made.start, attributes, kind=SpanKind.CLIENT)
        if made.call.error is not None:
            self._fail(span, made.call.error.kind.value)
        return span

    def _evaluated(self, span: Span | _Open, case: Case, outcome: Outcome) -> None:
        """What the test, and its judge, have said of an answer."""
        if outcome.status is Status.SKIPPED:
            return
        event = {
            names.EVALUATION_NAME: function_of(case.id),
            names.SCORE: None if outcome.status is Status.ERRORED else float(outcome.score),
            names.LABEL: _LABELS[outcome.status],
            names.ERROR_TYPE: "_OTHER" if outcome.status is Status.ERRORED else None,
            names.EXPLANATION: outcome.failure and self._show(outcome.failure.message),
            names.SAMPLE: outcome.sample or None,
        }
        span.add_event(names.EVALUATION, given(event))
        for verdict in outcome.verdicts:
            said = "; ".join(verdict.issues) or verdict.reasons
            judged = {
                names.EVALUATION_NAME: "judge",
                names.SCORE: float(verdict.score),
                names.LABEL: "pass" if verdict else "fail",
                names.EXPLANATION: self._show(said),
            }
            span.add_event(names.EVALUATION, given(judged))

    # ------------------------------------------------------------------------------------ optimization

    def iteration(self, iteration: Iteration) -> None:
        """An iteration is over."""
        start, self._reached = self._reached, time.time_ns()
        attributes = {
            names.ITERATION: iteration.number,
            names.PHASE: iteration.phase,
            names.PROMPTS: list(iteration.prompts),
            names.RATE_BEFORE: iteration.before,
            names.RATE_BEST: iteration.best,
            names.COST: iteration.spend.cost,
        }
        span = self._start(f"iteration {iteration.number}", self._within_search, start, attributes)
        self._write_rest(span)
        for candidate in iteration.candidates:
            self._candidate(candidate, self._below(span), start)
        span.end(self._reached)

    def _candidate(self, candidate: CandidateResult, parent: Context | None, start: int) -> None:
        attributes = {
            names.CANDIDATE: candidate.id,
            names.PROMPTS: list(candidate.prompts),
            names.DIRECTION: candidate.direction,
            names.VERDICT: candidate.verdict.value,
            names.REASON: self._show(candidate.reason),
            names.FIXED: len(candidate.fixed),
            names.BROKEN: len(candidate.broken),
        }
        span = self._start(f"candidate {candidate.id}", parent, start, attributes)
        if candidate.rate is not None:
            split = "" if candidate.split is None else f".{candidate.split.value}"
            label = candidate.verdict.value or "undecided"
            self._rated(span, f"pass_rate{split}", candidate.rate, label)
        span.end(self._reached)

    def run_finished(self, result: RunResult) -> None:
        """The search, the confirmation and the held-out score are over."""
        if self._search is None:
            return
        start = self._reached
        span = self._start("confirm and score", self._within_search, start, {})
        self._write_rest(span)
        for prompt in result.prompts:
            self._prompt(span, prompt)
        end = time.time_ns()
        span.end(end)
        self._search.end(end)
        self._search = None

    def _prompt(self, parent: Span, prompt: PromptResult) -> None:
        attributes = {
            names.PROMPT: prompt.prompt,
            names.OUTCOME: prompt.outcome.value,
            names.WRITTEN: prompt.written,
        }
        span = self._start(f"result {prompt.prompt}", self._below(parent), time.time_ns(), attributes)
        for score in prompt.scores:
            for when, rate in (("before", score.before), ("after", score.after)):
                if rate is not None:
                    self._rated(span, f"pass_rate.{score.split.value}.{when}", rate, prompt.outcome.value)
        span.end(time.time_ns())

    def _rated(self, span: Span, name: str, rate: float, label: str) -> None:
        event = given({names.EVALUATION_NAME: name, names.SCORE: float(rate), names.LABEL: label})
        span.add_event(names.EVALUATION, event)

    # ------------------------------------------------------------------------------------------ the end

    def close(self, status: str) -> None:
        """End what is open, also after Ctrl-C, and send all; safe to call twice.

        :param status: of the session, by the conventions: success, failure, aborted.
        """
        if self._search is not None:  # it was interrupted, or ended by an error
            self._write_rest(self._search)
            self._fail(self._search, "interrupted")
            self._search.end(time.time_ns())
            self._search = None
        self._write_rest(None)
        if self._session is not None:
            self._session.set_attribute(names.SUITE_STATUS, status)
            if status not in ("success", "skipped"):
                self._fail(self._session, status)
            self._session.end(time.time_ns())
            self._session = None
        self._tracing.close()

    def _take(self, keys: Iterable[str]) -> dict[str, _Paid]:
        with self._lock:
            return {key: self._paid.pop(key) for key in dict.fromkeys(keys) if key in self._paid}

    def _write_rest(self, parent: Span | None) -> None:
        """Calls of no case that was reported: of the optimizer, and of cases under candidates."""
        with self._lock:
            rest = [*self._earlier, *self._paid.values()]
            self._earlier, self._paid = [], {}
        context = self._top if parent is None else self._below(parent)
        for made in rest:
            self._paid_span(made, context).end(made.end)

    @property
    def _within_search(self) -> Context | None:
        return self._top if self._search is None else self._below(self._search)

    def _name(self, case: str) -> str:
        """What a case is called. Its parameters are in that name, and mostly they are what a model is asked.

        So where no contents are shown, a digest tells the cases of one function apart.
        """
        function = function_of(case)
        if function == case:
            return case
        if self._shown is not None:
            return self._shown(case)
        return f"{function}[{sha256(case.encode()).hexdigest()[:DIGITS]}]"

    def _show(self, text: str) -> str | None:
        return None if self._shown is None or not text else self._shown(text)

    def _below(self, span: Span) -> Context:
        from opentelemetry import trace

        return trace.set_span_in_context(span)

    def _start(
        self, name: str, parent: Context | None, start: int, attributes: Mapping[str, Any], **more: Any
    ) -> Span:
        return self._tracer.start_span(name, parent, attributes=given(attributes), start_time=start, **more)

    def _fail(self, span: Span, why: str) -> None:
        from opentelemetry.trace import StatusCode

        span.set_attribute(names.ERROR_TYPE, why)
        span.set_status(StatusCode.ERROR)


@dataclass(frozen=True)
class _Open:
    """The span of a call that is over, and has not been told what its answer was worth."""

    span: Span
    end_at: int

    def add_event(self, name: str, attributes: Mapping[str, Any]) -> None:
        self.span.add_event(name, attributes)

    def end(self) -> None:
        self.span.end(self.end_at)
