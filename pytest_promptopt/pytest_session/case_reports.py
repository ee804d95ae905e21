"""What a case puts on pytest's report of it: whether its failure counts, and what was answered and judged."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

import pytest

from pytest_promptopt.baselines.measured import digest
from pytest_promptopt.errors import ErrorKind, ModelError, NoModelError
from pytest_promptopt.pytest_engine.buffered_run import BufferedRun
from pytest_promptopt.pytest_engine.outcomes import outcome_of
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_engine.report_data import attach_data
from pytest_promptopt.pytest_engine.suspending_engine import CaseRun
from pytest_promptopt.pytest_engine.tolerated_failures import is_tolerated, report_as_passed
from pytest_promptopt.pytest_session import report_payload
from pytest_promptopt.records import EPSILON, CaseResult, Outcome, Split, Status
from pytest_promptopt.settings import Settings
from pytest_promptopt.stage_trace import stage_trace, trace_lines
from pytest_promptopt.text import cut_middle, printable
from pytest_promptopt.thresholds import Marked, Threshold
from pytest_promptopt.user_frames import leave_out_libraries

#: The property of a case in JUnit's report.
MODEL_PROPERTY = "promptopt.model"

#: Characters of an answer that stand under a failing test.
MAX_ANSWER = 2_000


class CaseReports:
    """Makes the reports of a session's cases say what the summary, the gate and the reader need."""

    def __init__(self, settings: Settings, *, gated: Set[str], partial: Set[str]) -> None:
        """:param gated: prompts of which a mark asks a pass rate; `partial`: their gate is not decided."""
        self._settings = settings
        self._gated = gated
        self._partial = partial

    def tolerance(self, case: PromptCase) -> str:
        """Why a failure of this case does not fail the session by itself; empty when it does."""
        if self._settings.optimizing and case.case.split is Split.HELDOUT:
            return "held-out"
        prompts = set(case.case.prompts)
        gated = self._settings.min_pass_rate is not None or prompts <= self._gated
        return "gated" if gated and prompts.isdisjoint(self._partial) else ""

    def describe(
        self, run: CaseRun, buffered: BufferedRun, outcomes: Sequence[Outcome], report: pytest.TestReport
    ) -> None:
        """Put what others need on the report, where xdist carries it along.

        :param outcomes: of all samples of the case, if there are several.
        """
        own = outcome_of(run, buffered.reports)
        if self._unpaid(run):
            path, line, _ = run.case.item.location
            report.outcome, report.longrepr = "skipped", (path, line or 0, f"Skipped: not run: {run.error}")
            report.__dict__.pop("wasxfail", None)
            own, outcomes = replace(own, status=Status.SKIPPED, error=None), ()
        elif own.status is Status.ERRORED and run.error is not None and (report.passed or report.skipped):
            report.outcome = "failed"
            report.__dict__.pop("wasxfail", None)
            report.longrepr = f"no usable answer from the model, and the test took no notice: {run.error}"
        if len(outcomes) > 1 and own.sample not in {outcome.sample for outcome in outcomes}:
            outcomes = (*outcomes, own)  # a rerun
        outcomes = outcomes if len(outcomes) > 1 else (own,)
        if len(outcomes) > 1:
            report.sections.append(_samples_section(run.case, outcomes))
        tolerated = self.tolerance(run.case) if own.status is Status.FAILED else ""
        inputs = digest(run.case.identity) if self._settings.measuring else ""
        payload = report_payload.payload(run.case, outcomes, own.status, tolerated=tolerated, inputs=inputs)
        if own.status is Status.FAILED:
            report.sections += _answer_sections(own)
        payload["unanswered"] = run.error is not None
        if isinstance(run.error, NoModelError) or (isinstance(run.error, ModelError) and run.error.stops_run):
            payload["lost"] = str(run.error)
        for each in buffered.reports:
            data = payload if each is report else {"tolerated": tolerated}
            if each is report or not is_tolerated(each):
                attach_data(each, report_as_passed(buffered.item, each, data) if tolerated else data)

    def shorten(self, config: pytest.Config, error: BaseException) -> None:
        """Show no frames of libraries where a model gave no answer, unless all are wanted."""
        if not (config.getoption("fulltrace", False) or config.getoption("usepdb", False)):
            leave_out_libraries(error, self._settings.rootdir)

    def describe_subtest(self, run: CaseRun, report: pytest.TestReport) -> None:
        """A failed subtest may be seen, and counted for ``-x``, long before its case is decided."""
        reason = self.tolerance(run.case)
        if reason and report.failed and run.used and run.error is None:
            attach_data(report, report_as_passed(run.case.item, report, {"tolerated": reason}))

    def _unpaid(self, run: CaseRun) -> bool:
        """Whether an optimization has left no call for a held-out case, or for any under its new text."""
        error = run.error
        refused = isinstance(error, ModelError) and error.kind is ErrorKind.BUDGET
        new = any(file.on_disk != file.first_read for file in run.case.files.values())
        return refused and self._settings.optimizing and (new or run.case.case.split is Split.HELDOUT)


def marked_thresholds(cases: Iterable[PromptCase]) -> list[Marked]:
    """What marks ask of prompts."""
    return [
        (prompt, name, Threshold(value, case.case.where))
        for case in cases
        for name, value in case.mark.thresholds.items()
        for prompt in case.case.prompts
    ]


def name_models(cases: Mapping[pytest.Item, PromptCase]) -> None:
    """Have reports name the model of each case, where the same case runs with several."""
    for item, case in cases.items():
        if case.case.pair:
            item.user_properties.append((MODEL_PROPERTY, ", ".join(dict.fromkeys(case.case.models))))


def reported_sample(case: PromptCase, outcomes: Sequence[Outcome]) -> int:
    """Which sample's run is reported: one that agrees with the verdict over all of them."""
    if not outcomes:
        return case.samples.start
    counted = CaseResult(case.case, tuple(outcomes)).counted
    rate = sum(outcome.status is Status.PASSED for outcome in counted) / len(counted) if counted else 0.0
    wanted = Status.PASSED if counted and rate >= case.mark.min_case_rate - EPSILON else Status.FAILED
    return next((outcome.sample for outcome in outcomes if outcome.status is wanted), case.samples.start)


def _samples_section(case: PromptCase, outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """How many samples of a case passed, as a section of its report."""
    result = CaseResult(case.case, tuple(outcomes))
    passed = sum(outcome.status is Status.PASSED for outcome in result.counted)
    lost = f", {result.lost} not answered" if result.lost else ""
    least = f"min_case_rate is {case.mark.min_case_rate:g}"
    return "promptopt samples", f"{passed} of {len(result.counted)} samples passed{lost}; {least}"


def _answer_sections(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """What models have answered and judges have said, as sections under the report of a failing test."""
    if stages := stage_trace(outcome):
        width = shutil.get_terminal_size().columns
        yield "stages: grade, input -> answer", "\n".join(trace_lines(stages, width))
    for call in outcome.calls:
        lines = cut_middle(call.words, MAX_ANSWER).splitlines()
        yield f"answer of {printable(call.prompt)}", "\n".join(map(_unobeyed, lines))
    if outcome.verdicts:
        from pytest_promptopt.failures.verdict_lines import verdict_lines

        yield "verdicts of the judge", "\n".join(map(_unobeyed, verdict_lines(outcome.verdicts)))


def _unobeyed(line: str) -> str:
    """One line of what a model wrote, harmless for a terminal and for the log of a CI job.

    GitHub Actions takes lines that begin with ``::`` or ``##[``, after blanks, for commands to the job.
    """
    shown = printable(line)
    return f"\\{shown}" if shown.lstrip().startswith(("::", "##[")) else shown
