"""What the session says about its prompts: statuses, the gate's verdict, the last sections, the reports."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.prompt_check import PromptCheck, all_gates_hold
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.pytest_engine import internals, terminal_internals
from pytest_promptopt.pytest_engine.prompt_use import PromptUse
from pytest_promptopt.pytest_engine.report_data import forget_case, read_data
from pytest_promptopt.pytest_engine.tolerated_failures import OWN, Fault, is_tolerated, tell_junit
from pytest_promptopt.pytest_session import report_payload
from pytest_promptopt.pytest_session.baseline_session import baseline_of
from pytest_promptopt.pytest_session.hook_calls import HookError, categorize
from pytest_promptopt.pytest_session.known_files import remember_files
from pytest_promptopt.pytest_session.paid_calls import PaidCalls
from pytest_promptopt.pytest_session.partial_runs import CAME_TO_ITS_END, share_in_words
from pytest_promptopt.records import Status
from pytest_promptopt.results import RunResult
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import plural, printable

if TYPE_CHECKING:
    from pytest_promptopt.failures import Feedback
    from pytest_promptopt.pytest_session.case_runner import CaseRunner
    from pytest_promptopt.pytest_session.mutation_session import MutationSession
    from pytest_promptopt.reports.session_report import SessionReport

#: Why a failure is tolerated -> (category in the last line, letter, word).
TOLERATED = {
    "held-out": ("held-out failed", "h", "HELD-OUT FAILED"),
    "gated": ("gated failed", "g", "FAILED (gated)"),
}


class Summary:
    """Collects reports of prompt cases in the process that prints, whoever ran them."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._tally = report_payload.ReportTotals()
        self._paid = PaidCalls()
        self._use = PromptUse()
        self._notes: list[str] = []
        self._partial: dict[str, str] = {}
        #: Prompt -> how many cases the session was to run.
        self._planned: dict[str, int] = {}
        #: Prompt -> the files that its cases are in; None where not all could be collected.
        self._files: dict[str, list[str]] | None = None
        #: How many cases a model costs that cannot be asked: no key, no credit, a refused parameter.
        self._lost: Counter[str] = Counter()
        #: The cases that fail the session; what a gate decides on is not there.
        self._failed: set[str] = set()
        self._runner: CaseRunner | None = None
        #: Whether Ctrl-C has ended the session, after it had begun to run cases.
        self._interrupted = False
        self._checks: tuple[PromptCheck, ...] = ()
        self._feedbacks: dict[str, Feedback] = {}
        self._baseline = baseline_of(config)

    def add(self, report: pytest.TestReport) -> None:
        """Take note of a report before anybody counts it."""
        if is_tolerated(report):
            internals.write_to_junit(self._config, report, str(read_data(report).get("message", "")))
        self._tally.add(report)
        if report.failed and (case := read_data(report).get("case")):
            self._failed.add(case["id"])
        if reason := read_data(report).get("lost"):
            self._lost[reason] += 1

    def remember_tolerated_failure(self, report: pytest.TestReport) -> None:
        """A report was seen by all: what is tolerated stays a failure for ``--lf``, which runs it again."""
        if is_tolerated(report):
            internals.remember_failure(self._config, report.nodeid)
        forget_case(report)

    def count_cached(self, paid: Set[str]) -> int:
        """How many answers of the cases reported so far came from the cache.

        :param paid: keys of calls that were paid for in this session.
        """
        return self._tally.count_cached(paid)

    def note(self, notes: Iterable[str]) -> None:
        self._notes += [note for note in notes if note not in self._notes]

    def close(self, runner: CaseRunner) -> None:
        """Take over what the runner of this process has to say."""
        self._runner = runner
        self.take_in(runner.told())

    def take_in(self, told: Mapping[str, Any]) -> None:
        """Take over what the runner of any process has told at its end."""
        self.note(told["notes"])
        self._partial.update(told["partial"])
        self._planned.update(told["cases"])
        self._files = told["files"] or self._files
        self._use.add(told["use"])
        self._paid.add_told(told["paid"])
        if self._baseline is not None:
            self._baseline.note_deselected(told["deselected"])

    def status(self, report: pytest.TestReport) -> tuple[str, str, object] | None:
        """A status of its own for what is no plain failure: without an answer, or decided on by a rate."""
        data = read_data(report)
        if report.outcome not in ("passed", "failed", "skipped"):
            return None  # of another plugin, above all a run that will be repeated
        if report.failed and data.get("unanswered"):
            return "error", "E", "ERROR"
        if is_tolerated(report):
            category, letter, word = TOLERATED[data["tolerated"]]
            return category, letter, (word, {"yellow": True})
        return None

    def note_interrupt(self) -> None:
        """Ctrl-C: what comes now is the end."""
        self._interrupted = True

    def finish(self, session: pytest.Session) -> None:
        """Decide the gate and the exit status, and write the reports."""
        self._interrupted = self._interrupted and session.exitstatus == pytest.ExitCode.INTERRUPTED
        if self._files is not None:
            remember_files(self._config, self._files)
        self.note(self._use.sentences())
        self.note(f"{plural(n, 'case')} not answered: {reason}" for reason, n in self._lost.items())
        try:
            checks = self._tally.checks(self._settings)
        except SettingsError as error:  # under xdist only the workers have seen the marks
            self._notes.append(str(error))
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        faults: list[Fault] = []
        self.note(_lost_samples(checks))
        self._checks = tuple(self._without_undecidable_gate(check, session.exitstatus) for check in checks)
        try:
            self._feedbacks = {check.prompt: self._describe(check) for check in self._checks if check.failing}
        except HookError as error:
            self._notes.append(str(error))
            faults.append((OWN, "error", str(error)))
            if session.exitstatus in CAME_TO_ITS_END:
                session.exitstatus = (
                    pytest.ExitCode.USAGE_ERROR if self._run is None else pytest.ExitCode.TESTS_FAILED
                )
        for feedback in self._feedbacks.values():
            self.note(feedback.notes)
        faults += [*self._faults_of_run(), *self._compare(session)]
        if self._baseline is not None:
            self.note(self._baseline.save(session))
            faults += self._baseline.unsaved
        faults += self._write_reports()
        if session.exitstatus == pytest.ExitCode.OK and (faults or not all_gates_hold(self._checks)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        tell_junit(self._config, self._checks, faults)

    def _faults_of_run(self) -> Iterator[Fault]:
        """What went wrong in an optimization."""
        for prompt in () if self._runner is None else self._runner.unwritten:
            yield prompt, "write", "a better text could not be put into the file; see the terminal's report"
        for error in () if self._run is None else self._run.all_errors:
            yield OWN, "error", error

    def _compare(self, session: pytest.Session) -> list[Fault]:
        """What is worse than the baseline."""
        if self._baseline is None:
            return []
        earlier = None if self._runner is None else self._runner.earlier
        inputs, feedbacks = self._tally.inputs, self._feedbacks
        self._baseline.take(session, self._checks, inputs, feedbacks, earlier, self._describe)
        return self._baseline.worse()

    def _without_undecidable_gate(self, check: PromptCheck, status: int) -> PromptCheck:
        part = self._part_in_words(check, status)
        if not part or not check.thresholds:
            return check
        self.note(
            [f"gate of {check.prompt} not decided: {part}; --promptopt-gate-partial=on decides it by these"]
        )
        return replace(check, thresholds={})

    def _part_in_words(self, check: PromptCheck, status: int) -> str:
        """Which of a prompt's cases were run; empty where all were, or the gate is to go by those that were.

        A session that has passed is decided whatever lacks: its failing cases have been tolerated.
        """
        if check.prompt in self._partial or status == pytest.ExitCode.OK or self._settings.gate_partial:
            return self._partial.get(check.prompt, "")
        planned = self._planned.get(check.prompt)
        if planned is None:  # as of xdist's workers, whom nobody heard any more
            return "" if status in CAME_TO_ITS_END else "the run did not come to its end"
        return share_in_words(len(check.results), planned) if len(check.results) < planned else ""

    @property
    def _run(self) -> RunResult | None:
        """What `--optimize` did; None without it."""
        return self._runner.result if self._runner is not None else None

    def _describe(self, check: PromptCheck) -> Feedback:
        from pytest_promptopt.failures import describe
        from pytest_promptopt.optimizer.stage_faults.telling import without_faults_of_others

        custom = partial(categorize, self._config)
        try:
            file = PromptFile.load(check.prompt, rootdir=self._settings.rootdir)
            # People count lines from the first of the file.
            prose = "\n" * (file.first_line - 1) + file.prose
        except PromptoptError:
            prose = ""
        own = without_faults_of_others(check.prompt, check.results)
        return describe(own, prompt=check.prompt, prose=prose, custom=custom)

    def _report(self) -> SessionReport:
        """All that the session measured, as each of its reports shows it."""
        from pytest_promptopt import __version__
        from pytest_promptopt.reports.session_report import SessionCalls, SessionReport

        paid, baseline, mutation = self._paid, self._baseline, self._mutation
        return SessionReport(
            checks=self._checks,
            run=self._run,
            feedbacks=self._feedbacks,
            settings=self._settings,
            version=__version__,
            notes=tuple(self._notes),
            calls=SessionCalls(self._count_cached(), paid.calls, paid.spend),
            compared=() if baseline is None else baseline.found,
            compared_with="" if baseline is None else baseline.compared_with,
            mutation=None if mutation is None else mutation.result,
        )

    @property
    def _mutation(self) -> MutationSession | None:
        """The session of `--promptopt-mutate`; None without it."""
        found: MutationSession | None = self._config.pluginmanager.get_plugin("promptopt-mutation")
        return found

    def _count_cached(self) -> int:
        """How many answers came from the cache."""
        keys, mutation = self._paid.keys, self._mutation
        return self._tally.count_cached(keys) if mutation is None else mutation.count_cached(keys)

    def _write_reports(self) -> list[Fault]:
        """Returns those that could not be written."""
        wanted = self._settings.reports or self._settings.pr_body
        if wanted or os.environ.get("GITHUB_STEP_SUMMARY"):
            from pytest_promptopt.pytest_session.session_reports import write_reports

            faults, told = write_reports(self._report())
            self._notes += [*(problem for _, _, problem in faults), *told]
            return faults
        return []

    def show(self, reporter: pytest.TerminalReporter) -> None:
        """Print the sections, each only if it has something to say."""
        width = terminal_internals.terminal_width(reporter)
        if self._run is not None:
            self._show_run(self._run, reporter, width)
        elif reporter.verbosity > -2 and not reporter.no_summary:
            self._show_failures(reporter, width)
            self._show_models(reporter, width)
            if self._baseline is not None:
                self._baseline.show(reporter, width)
        self._show_calls(reporter)
        self._show_noise(reporter)
        for note in self._notes:
            reporter.write_line(f"promptopt: {printable(note)}", yellow=True)
        if os.environ.get("GITHUB_ACTIONS"):
            from pytest_promptopt.pytest_session.session_reports import annotation_lines

            for command in annotation_lines(self._config, self._report(), self._failed):
                reporter.write_line(command)
        self._show_next_steps(reporter)
        self._show_verdicts(reporter)

    def _show_next_steps(self, reporter: pytest.TerminalReporter) -> None:
        if self._run is not None or self._interrupted:
            from pytest_promptopt.pytest_session.next_steps import next_steps

            steps = next_steps(self._config, self._settings, self._run, interrupted=self._interrupted)
            for step in steps:
                reporter.write_line(printable(step), bold=True)

    def _show_verdicts(self, reporter: pytest.TerminalReporter) -> None:
        """Last of all: what has become of the prompts, what the gates say, what is worse than before."""
        if self._run is not None:
            from pytest_promptopt.reports.verdicts import run_verdicts

            for line in run_verdicts(self._run, alpha=self._settings.alpha):
                reporter.write_line(line.text, **line.markup)
        if any(check.thresholds for check in self._checks):
            from pytest_promptopt.reports.check_report import gate_lines

            for line in gate_lines(self._checks):
                reporter.write_line(line.text, **line.markup)
        if self._baseline is not None:
            self._baseline.show_verdicts(reporter)

    def _show_calls(self, reporter: pytest.TerminalReporter) -> None:
        """Say what a check has asked and paid; an optimization has a table of its own."""
        from pytest_promptopt.reports.wording import calls_line

        line = calls_line(self._count_cached(), self._paid.calls, self._paid.spend)
        if line and self._run is None and reporter.verbosity >= 0:
            reporter.write_line(line)

    def _show_failures(self, reporter: pytest.TerminalReporter, width: int) -> None:
        checks = [each for each in self._checks if not self._is_unreached(each)]
        if not any(check.failing or check.errored for check in checks):
            return  # what explains failures is not worth its import then
        from pytest_promptopt.reports.check_report import failure_section
        from pytest_promptopt.reports.lines import print_section

        lines = failure_section(checks, self._feedbacks, width=width)
        print_section(reporter, "why prompts fail", lines)

    def _show_models(self, reporter: pytest.TerminalReporter, width: int) -> None:
        """Several models on the same cases, side by side."""
        if not any(len(check.by_model) > 1 for check in self._checks):
            return
        from pytest_promptopt.model_comparison import compare_models
        from pytest_promptopt.reports.lines import print_section
        from pytest_promptopt.reports.model_table import model_tables

        compared = compare_models(self._checks)
        lines = model_tables(compared, alpha=self._settings.alpha, width=width)
        print_section(reporter, "models compared", lines)

    def _show_noise(self, reporter: pytest.TerminalReporter) -> None:
        """What the suite does by itself, where cases ran several times."""
        several = any(len(result.counted) > 1 for check in self._checks for result in check.results)
        if several and reporter.verbosity > -2 and not reporter.no_summary:
            from pytest_promptopt.reports.baseline_report import noise_lines

            for line in noise_lines(self._checks, self._settings.alpha):
                reporter.write_line(line.text, **line.markup)

    def _is_unreached(self, check: PromptCheck) -> bool:
        """Whether no run has used the prompt: then no failure is its fault, and no other text would help."""
        ran = [each.case.id for each in check.results if each.counted or each.errored]
        return bool(ran) and self._use.without_prompt.issuperset(ran)

    def _show_run(self, run: RunResult, reporter: pytest.TerminalReporter, width: int) -> None:
        from pytest_promptopt.reports.comparison import comparison_summary
        from pytest_promptopt.reports.lines import print_section
        from pytest_promptopt.reports.optimization import run_summary

        if run.compared:
            lines = comparison_summary(run, alpha=self._settings.alpha, width=width)
            print_section(reporter, "strategies compared", lines)
        else:
            lines = run_summary(run, alpha=self._settings.alpha, width=width)
            print_section(reporter, "prompt optimization", lines)


def _lost_samples(checks: Iterable[PromptCheck]) -> Iterator[str]:
    """A sentence about samples without an answer; while others of their case have one, no report shows it."""
    answered = {result.case.id: result for check in checks for result in check.results if result.counted}
    lost = [
        (case, outcome.error)
        for case, result in answered.items()
        for outcome in result.outcomes
        if outcome.status is Status.ERRORED
    ]
    if lost:
        cases = plural(len({case for case, _ in lost}), "case")
        yield f"{plural(len(lost), 'sample')} of {cases} not answered, the others count: {lost[0][1]}"
