"""Finds the stage at fault where what is known leaves it unclear: by a few runs, else by a judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_promptopt.errors import ModelError
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.protocols import Run
from pytest_promptopt.optimizer.race import BATCH
from pytest_promptopt.optimizer.redaction import redact_result
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.optimizer.stage_faults.known_runs import KnownRun, known_runs
from pytest_promptopt.optimizer.stage_faults.naming import StageFault
from pytest_promptopt.optimizer.stage_faults.signs import Kind, Sign, share_of_one
from pytest_promptopt.optimizer.stage_faults.stage_faults import StageFaults
from pytest_promptopt.optimizer.stage_faults.stage_judge import (
    CASES as JUDGED_CASES,
)
from pytest_promptopt.optimizer.stage_faults.stage_judge import (
    Trace,
    compose_stage_request,
    read_stages,
)
from pytest_promptopt.optimizer.stage_faults.tries import CASES, Try, carry_out, retry, swap
from pytest_promptopt.records import CaseResult, Outcome, Split
from pytest_promptopt.text import value_text

#: Calls for tries, for each failing case and stage, on average at most.
CALLS_EACH = 1.5


@dataclass(frozen=True)
class Investigation:
    """Looks into the failing cases of one search.

    :param run: runs trials and keeps what they show of texts.
    """

    context: SearchContext
    faults: StageFaults
    run: Run

    def look_into(self, incumbent: EvaluatedCandidate, results: Sequence[CaseResult]) -> None:
        """Add signs for failing cases whose stage is unclear. May raise `StopRun`.

        :param results: of `incumbent`, passing cases as well.
        """
        self.faults.follow(incumbent.overlay)
        runs = self.faults.failing_runs(incumbent.overlay, results)
        if not runs:
            return
        self._try(incumbent, results, runs)
        named = self._named(incumbent, results)
        training = [r for r in results if r.case.split is Split.TRAIN]
        unclear = [r for r in training if r.case.id in named and named[r.case.id].stage is None]
        if unclear and 2 * len(unclear) > sum(r.case.id in named for r in training):
            self._ask(incumbent, unclear, training, runs)

    def _named(
        self, incumbent: EvaluatedCandidate, results: Sequence[CaseResult]
    ) -> Mapping[str, StageFault]:
        return self.faults.named(incumbent.overlay, results)

    # ------------------------------------------------------------------------------------------------- tries

    def _try(
        self, incumbent: EvaluatedCandidate, results: Sequence[CaseResult], runs: Mapping[str, KnownRun]
    ) -> None:
        """Try stage by stage, the last one first, until the stage of each case is known."""
        order = list(dict.fromkeys(name for run in runs.values() for name in run.names))
        pairs = sum(len(run.names) for run in runs.values())
        left = CALLS_EACH * pairs - self.faults.state.tried_calls
        for stage in reversed(order):
            named = self._named(incumbent, results)
            unclear = [run for case, run in runs.items() if named[case].stage is None]
            texts = self.faults.mending_texts(stage, runs.values())
            tries = list(self._tries_at(stage, incumbent, unclear[:CASES], texts))
            calls = sum(each.calls for each in tries)
            if not tries or calls > left or not self.context.call_budget.affords(calls):
                continue
            left -= calls
            self.faults.state.tried_calls += calls
            for each, sign in carry_out(tries, self.run):
                self.faults.note_try(each, sign)
                self.context.record(
                    "stage_tried",
                    case=each.failing.case,
                    stage=stage,
                    by="answer" if each.answers else "text",
                    passes=None if sign is None else sign.speaks_for,
                )

    def _tries_at(
        self, stage: str, incumbent: EvaluatedCandidate, runs: Iterable[KnownRun], texts: Sequence[str]
    ) -> Iterable[Try]:
        log = self.faults.state.log
        for run in runs:
            if stage not in run.names:
                continue
            found = swap(run, stage, incumbent.overlay, log) if self.faults.may_swap(run, stage) else None
            found = found or retry(run, stage, incumbent.overlay, texts, log)
            if found is not None:
                yield found

    # ------------------------------------------------------------------------------------------------- judge

    def _ask(
        self,
        incumbent: EvaluatedCandidate,
        unclear: Sequence[CaseResult],
        results: Sequence[CaseResult],
        runs: Mapping[str, KnownRun],
    ) -> None:
        """Have a model read a few traces: once for a text, where there are calls for what is to follow."""
        state, settings, budget = self.faults.state, self.context.settings, self.context.call_budget
        names = next(iter(runs[r.case.id].names for r in unclear))
        open_stages = [prompt for prompt in self.faults.prompts if prompt.name in names]
        alike = [r for r in unclear if runs[r.case.id].names == names][:JUDGED_CASES]
        if len(open_stages) < 2 or incumbent.id in state.judged or state.unread or not settings.writing:
            return
        if not budget.affords(1 + settings.candidates + BATCH):
            return
        texts = {name: self.faults.text(name, incumbent) for name in names}
        passing = next((self._trace(r) for r in results if (r.rate or 0.0) >= 1.0 and self._trace(r)), None)
        traces = {r.case.id: trace for r in alike if (trace := self._trace(r)) is not None}
        cases = list(traces)
        request = compose_stage_request(texts, list(traces.values()), passing, model=settings.optimizer_model)
        (answer,) = self.context.ask([request])
        state.judged.add(incumbent.id)
        found = {} if isinstance(answer, ModelError) else read_stages(answer, texts, len(cases))
        # Whoever names none once will name none later.
        state.unread = not found
        said = {cases[number - 1]: stage for number, stage in found.items()}
        weight = share_of_one(len(said))
        for case, stage in said.items():
            sign = Sign(Kind.JUDGE, stage, True, "a model that read its trace says so", weight=weight)
            self.faults.add_sign(runs[case], sign)
        self.context.record("stages_judged", cases=cases, stages=said)

    def _trace(self, result: CaseResult) -> Trace | None:
        """What may be told of a case."""
        told = redact_result(result, self.context.hooks.redact)
        outcome = told.failing or next(iter(told.counted), None)
        run = next(iter(known_runs(result.case, [outcome])), None) if outcome is not None else None
        if run is None or outcome is None:
            return None
        reasons = {grade.prompt: grade.why for grade in outcome.grades}
        return Trace(run, _wanted(outcome) if result.failing else "", reasons)


def _wanted(outcome: Outcome) -> str:
    failure = outcome.failure
    if outcome.expected is not None:
        return f"it fails; expected {value_text(outcome.expected)}"
    return f"it fails; {failure.message}" if failure else "it fails"
