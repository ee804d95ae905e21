"""The plugin object that runs a session's prompt cases; registered only when there are any."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.assertions.judge_criteria import JUDGE
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.pytest_engine import internals, terminal_internals
from pytest_promptopt.pytest_engine.buffered_run import BufferedRun
from pytest_promptopt.pytest_engine.collection import collect_prompt_cases, references
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_engine.suspending_engine import CaseRun, SuspendingEngine
from pytest_promptopt.pytest_session import header
from pytest_promptopt.pytest_session.case_reports import (
    CaseReports,
    marked_thresholds,
    name_models,
    reported_sample,
)
from pytest_promptopt.pytest_session.interception_session import Interception
from pytest_promptopt.pytest_session.known_files import files_left_out, files_of
from pytest_promptopt.pytest_session.partial_runs import CAME_TO_ITS_END, count_cases, partial_prompts
from pytest_promptopt.pytest_session.running_case import RunningCase
from pytest_promptopt.pytest_session.session_calls import SessionCalls
from pytest_promptopt.pytest_session.worker_partition import WorkerPartition
from pytest_promptopt.records import Answer, Outcome, Request, Role
from pytest_promptopt.replay.current_run import own_run
from pytest_promptopt.replay.embedding_calls import RunEmbedder
from pytest_promptopt.replay.pending_sample import ReplayError
from pytest_promptopt.replay.prompt_calls import Prompt, Prompts
from pytest_promptopt.results import RunResult
from pytest_promptopt.settings import Settings
from pytest_promptopt.suites.similar_check import comparing_with
from pytest_promptopt.thresholds import GateName, thresholds, thresholds_of

if TYPE_CHECKING:
    from pytest_promptopt.pytest_session.earlier_texts import EarlierTexts
    from pytest_promptopt.pytest_session.judge_session import SessionJudge
    from pytest_promptopt.pytest_session.session_optimization import OptimizationRun
    from pytest_promptopt.pytest_session.worker_server import WorkerServer
    from pytest_promptopt.replay.judge_calls import CaseJudge


class CaseRunner:
    """Holds every run of a prompt case until it needs no unknown answer, then lets it be seen."""

    def __init__(
        self, session: pytest.Session, settings: Settings, *, deselected: Sequence[pytest.Item] = ()
    ) -> None:
        """:param deselected: cases of prompts that the command line left out; they cannot guard a rewrite."""
        self.session = session
        self.settings = settings
        collected = collect_prompt_cases(session.items, settings)
        self.cases = collected.cases
        self._problems = collected.problems
        name_models(self.cases)
        self._take_in_references(settings)
        self.marked = marked_thresholds(self.cases.values())
        self._deselected = deselected
        self.partial = self._find_partial()
        self._files = None if session.testsfailed else files_of([*self.cases.values(), *self._left_out])
        rated = frozenset(prompt for prompt, name, _ in self.marked if name is GateName.PASS_RATE)
        self._reports = CaseReports(settings, gated=rated, partial=self.partial.keys())
        self.notes: list[str] = []
        files = {file.name: file for case in self.cases.values() for file in case.files.values()}
        for hint in (hint for file in files.values() for hint in file.hints):
            self._note(hint)
        self.result: RunResult | None = None
        self.earlier: EarlierTexts | None = None
        self._optimization: OptimizationRun[Any, Any] | None = None
        share = WorkerPartition.of(session.config)
        self._divided = share.parts > 1
        concurrency = share.concurrency(settings.concurrency)
        self._server: WorkerServer | None = None
        if settings.runs_ahead and hasattr(session.config, "workerinput"):
            from pytest_promptopt.pytest_session.worker_server import serve_controller

            self._server = serve_controller(session.config, concurrency)
        self.calls = SessionCalls(
            session.config,
            settings,
            note=self._note,
            on_paid=self._paid,
            on_cached_answer=self._journal_cached_answer if settings.optimizing else None,
            concurrency=concurrency,
            client=None if self._server is None else self._server.client,
        )
        self.client = self.calls.client
        option = session.config.getoption
        self.engine = SuspendingEngine(
            session,
            self.cases,
            self.client,
            concurrency=concurrency,
            open_client=self.calls.open_own_client,
            reach=self.calls.reach,
            mine=share.has,
            divided=self._divided,
            # Both show or stop at every run, so there must be only one, of one sample.
            blocking=option("setupshow", False) or option("trace", False),
            max_failures=1 if option("stepwise", False) else option("maxfail", 0),
        )
        self.running = RunningCase(session, self.engine, self._reports, rootdir=str(settings.rootdir))
        self._interception = Interception(settings, self.calls.application, self.engine, files)

    def _take_in_references(self, settings: Settings) -> None:
        """Of a migration, also the cases with the model that it leaves."""
        self._no_migration: SettingsError | None = None
        if settings.migrating and self.cases:
            try:
                self.cases.add(references(self.cases, settings))
            except SettingsError as error:
                self._no_migration = error

    def _find_partial(self) -> dict[str, str]:
        """Prompts whose gate is not decided, and why."""
        if self.settings.gate_partial or not (self.marked or thresholds_of(self.settings)):
            return {}
        return partial_prompts(self.session.config, self.cases.values(), self._left_out)

    @cached_property
    def _left_out(self) -> Collection[PromptCase]:
        """Of the collected cases those that the session does not run."""
        return collect_prompt_cases(self._deselected, self.settings).cases.values()

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _paid(self, paid: PaidCall) -> None:
        if self._optimization is not None:
            self._optimization.paid(paid)
        elif self._server is not None:
            self._server.paid(paid)

    def _journal_cached_answer(self, request: Request, answer: Answer) -> None:
        if self._optimization is not None:
            self._optimization.journal_cached_answer(request, answer)

    @property
    def unwritten(self) -> Sequence[str]:
        """Prompts with a better text that could not be put into its file."""
        return () if self._optimization is None else self._optimization.unwritten

    def problems(self) -> list[str]:
        """What is wrong with cases, a sentence each."""
        return list(map(str, self._problems.values()))

    def refusal(self) -> str:
        """What `check` raises, in words; empty when it raises nothing."""
        try:
            self.check()
        except SettingsError as error:
            return str(error)
        return ""

    def check(self) -> None:
        """Raises `SettingsError`: marks differ, an untested judge would decide, or no case can migrate."""
        if self._no_migration is not None:
            raise self._no_migration
        if self.settings.earlier_ref is not None and self.earlier is None:
            from pytest_promptopt.pytest_session.baseline_session import earlier_texts

            self.earlier = earlier_texts(self.session.config, self.cases)
        thresholds((), self.marked)
        if any(JUDGE in case.fixtures for case in self.cases.values()):
            self._judge.check(case for case in self.cases.values() if self._decides(case))

    def _decides(self, case: PromptCase) -> bool:
        """Whether what is said of its answers decides what is written, or a gate."""
        return self.settings.optimizing or bool(self._reports.tolerance(case))

    def header(self) -> list[str]:
        """What the session is about to run; when optimizing, also what weakens the evidence."""
        counted = [case for case in self.cases.values() if not case.case.reference]
        lines = header.counts(counted)
        if self.settings.optimizing:
            files = files_left_out(self.session.config)
            lines += header.weaknesses(counted, self._left_out, files, alpha=self.settings.alpha)
        return lines

    def prompt(self, item: pytest.Item) -> Prompt:
        """Raises `SettingsError` when the mark names stages, `PromptFileError` when the file is unusable."""
        run = self._run_of(item)
        if "" not in run.case.files:
            raise SettingsError(
                f"{run.case.case.where}: the mark names stages {', '.join(run.case.files)}; use the fixture "
                '`prompts`: prompts["STAGE"](...)'
            )
        return Prompt(run, "")

    def prompts(self, item: pytest.Item) -> Prompts:
        return Prompts(self._run_of(item))

    def judge(self, item: pytest.Item) -> CaseJudge:
        """Raises `PromptoptError` when there is no judge: no model, or a prompt file that is none."""
        return self._judge.of(run := self._run_of(item), decides=self._decides(run.case))

    @cached_property
    def _judge(self) -> SessionJudge:
        from pytest_promptopt.pytest_engine.label_cases import label_files
        from pytest_promptopt.pytest_session.judge_session import SessionJudge

        return SessionJudge(self.settings, label_files(self.session.items, self.settings), note=self._note)

    def _embedder(self) -> RunEmbedder:
        """Of the case that is run just now, in whichever thread."""
        return RunEmbedder(own_run() or self.engine.run, self.client, self.settings.embedder)

    def _run_of(self, item: pytest.Item) -> CaseRun:
        if item in self._problems:
            raise self._problems[item]
        case = self.cases[item]
        run = self.engine.run
        # Outside of a run of ours (another plugin runs the item by itself) a call simply blocks.
        return run if run is not None and run.case is case else self.engine.open_run(case, {})

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Optimize first; pytest's own loop then describes the texts that are on disk."""
        self.engine.traffic.exchanges.install()
        self.engine.traffic.exchanges.watch_mock()
        self._interception.begin()
        collected = not session.testsfailed or session.config.option.continue_on_collection_errors
        comparing = comparing_with(self._embedder)
        with internals.compared_in_threads(self.running.pytest_assertrepr_compare), comparing:
            if self._server is not None:
                self._server.serve(self, collected=collected)
            elif self.settings.optimizing and collected:
                self._run_optimization()
            elif collected and not session.config.option.collectonly:
                if self.settings.most_gate_samples is not None:
                    self._take_gate_samples()
                if self.earlier is not None:
                    self.earlier.answer(self.engine, self._note)
            return (yield)

    def _take_gate_samples(self) -> None:
        from pytest_promptopt.pytest_session.gate_samples import GateSamples

        gates = GateSamples(self.cases, self.marked, self.partial.keys(), self.settings)
        gates.take(self.engine, partial(terminal_internals.write_line, self.session.config), self._note)

    def _run_optimization(self) -> None:
        from pytest_promptopt.pytest_session.optimization_step import OptimizationStep
        from pytest_promptopt.pytest_session.session_optimization import OptimizationRun
        from pytest_promptopt.runs.imported_code import imported_code

        config, calls = self.session.config, self.calls
        code = imported_code(config.rootpath, config.pluginmanager.get_plugins())
        self._optimization = OptimizationRun(
            config, self.cases, self.engine, calls.ledger, self.settings, calls.models, code
        )
        step = OptimizationStep(config, self._optimization, self.engine.withheld, self._note)
        try:
            result = step.run(next(iter(self._problems.values()), None))
        finally:
            self.result = step.result
        if result.interrupted:
            self.client.cancel()
            raise KeyboardInterrupt
        self.leave_out(self._optimization.left_out)

    def leave_out(self, cases: Collection[str]) -> None:
        """Skip the held-out cases that no step has run: the calls are used up."""
        ceiling = f"--promptopt-max-calls={self.settings.max_calls}"
        reason = f"not run: {ceiling} leaves calls for a sample of the held-out cases"
        for item, case in self.cases.items():
            if case.case.id in cases:
                item.add_marker(pytest.mark.skip(reason=reason))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        case = self.cases.get(item)
        if self.engine.buffered is not None:
            return (yield)
        if case is None:
            self.engine.traffic.wait_until_idle()  # nothing of ours goes on beside a test that is not ours
            return (yield)
        self.engine.traffic.exchanges.watch_mock()
        outcomes = self.engine.samples(item) if len(case.samples) > 1 else ()
        refusal = None if outcomes else self.engine.prepare(item)
        run, buffered = self._open(item, outcomes)
        run.refusal = refusal
        with self.engine.current(run, buffered), buffered:
            result = yield
        while run.missing and not buffered.committed:
            buffered.rollback()
            refusal = self._get_answers(item, run)
            run, buffered = self._open(item, outcomes)
            run.refusal = refusal
            with self.engine.current(run, buffered), buffered:
                result = item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        if not buffered.committed:
            buffered.commit()
        self.engine.finished(item, run, buffered.reports)
        return result

    def _open(self, item: pytest.Item, outcomes: Sequence[Outcome]) -> tuple[CaseRun, BufferedRun]:
        """A run that may be reported: with several samples, the one that stands for them."""
        case = self.cases[item]
        reported = reported_sample(case, outcomes)
        run, buffered = self.engine.hold(item, sample=reported)
        buffered.before_commit = lambda report: self._reports.describe(
            self.engine.run or run, buffered, outcomes, report
        )
        buffered.before_subtest = lambda report: self._reports.describe_subtest(
            self.engine.run or run, report
        )
        return run, buffered

    def _get_answers(self, item: pytest.Item, run: CaseRun) -> ReplayError | None:
        try:
            self.engine.suspended(item, run)
        except ReplayError as error:
            return error
        return None

    def pytest_keyboard_interrupt(self) -> None:
        """No further call, whoever was interrupted."""
        self.client.cancel()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.engine.traffic.exchanges.remove()
        self._interception.end()
        if self._divided and exitstatus in CAME_TO_ITS_END:
            self.client.end()
        self.calls.close()
        if self._optimization is not None:
            self._optimization.close()
        if self.result is not None:  # pytest's own loop may have paid for more, above all held-out cases
            spend = {role: self.calls.ledger.spend_of(role) for role in Role}
            self.result = replace(self.result, spend=spend)
        self.calls.close_ledger()
        output = getattr(self.session.config, "workeroutput", None)
        if output is not None:
            output["promptopt_told"] = self.told()

    def told(self) -> dict[str, Any]:
        """What whoever prints must know of this process when its session is over."""
        return {
            "notes": list(self.notes),
            "use": self.engine.use.to_json(),
            "paid": self.calls.paid.to_json(),
            "partial": self.partial,
            "cases": dict(count_cases(self.cases.values())),
            "deselected": len(self._deselected),
            "files": self._files,
        }
