"""What pytest is told of the case that runs just now, and what keeps it fit to be run again."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest

from pytest_promptopt.assertions.operand_capture import Operands, failure_of
from pytest_promptopt.errors import ModelError, SettingsError
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.hook_inspection import failure_in_report
from pytest_promptopt.pytest_engine.shared_fixture_output import SharedFixtureOutput
from pytest_promptopt.pytest_engine.suspended_tests import ends_plainly, is_async, shown_suspension
from pytest_promptopt.pytest_engine.suspending_engine import SuspendingEngine
from pytest_promptopt.pytest_engine.threaded_bodies import end_of
from pytest_promptopt.pytest_session.case_reports import CaseReports
from pytest_promptopt.replay.current_run import own_run
from pytest_promptopt.text import escape_controls


class RunningCase:
    """The hooks that pytest calls within one run of a case; a plugin object beside `CaseRunner`."""

    def __init__(
        self, session: pytest.Session, engine: SuspendingEngine, reports: CaseReports, *, rootdir: str
    ) -> None:
        self._session = session
        self._engine = engine
        self._reports = reports
        self._rootdir = rootdir

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Take over what a body in a thread of its own has shown."""
        run = self._engine.run
        if run is None or run.body is None or run.case.item is not pyfuncitem:
            return None
        end_of(run.body)
        return True

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        run = own_run() or self._engine.run
        if run is not None:
            run.compared.append(Operands.here(op, left, right))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        run = self._engine.run
        if run is not None and isinstance(run.error, ModelError) and call.excinfo is not None:
            self._reports.shorten(item.config, call.excinfo.value)
        report = yield
        if run is None or run.case.item is not item or not report.failed:
            return report
        if call.excinfo is not None and isinstance(call.excinfo.value, SettingsError):
            run.error = run.error or call.excinfo.value  # a check that nobody can decide: no verdict
        if run.failure is None and not run.missing:
            if call.excinfo is None:
                run.failure = failure_in_report(report, run.case.case.where)
            else:
                run.failure = failure_of(
                    call.excinfo.value,
                    run.compared,
                    run.calls,
                    rootdir=self._rootdir,
                    stated=run.case.expected,
                    failing=(AssertionError, pytest.fail.Exception),
                )
        run.compared.clear()
        # What a model wrote must not steer a terminal; apart from that the report is pytest's own.
        terminal: pytest.TerminalReporter | None = item.config.pluginmanager.get_plugin("terminalreporter")
        safe = partial(escape_controls, colored=terminal is not None and terminal.hasmarkup)
        report.longrepr = internals.rewrite_failure(report.longrepr, safe)  # type: ignore[assignment]
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        buffered = self._engine.buffered
        if buffered is None or buffered.committed:
            return (yield)
        if fixturedef.scope == "function" and is_async(fixturedef.func):
            private: Any = fixturedef
            function, private.func = fixturedef.func, ends_plainly(fixturedef.func)
            try:
                return (yield)
            finally:
                private.func = function
        if fixturedef.scope != "function":
            waits = self._engine.run.waiting() if self._engine.run is not None else nullcontext()
            shared_output = self._engine.shared_output.setdefault(
                buffered.item, SharedFixtureOutput(self._session.config)
            )
            with shared_output.collect(), buffered.before.suite_properties_stay(), waits:
                return (yield)
        with shown_suspension(self._engine.run, fixturedef, request):
            result = yield
        if fixturedef.argname == "tmp_path":
            buffered.owns_directory(result)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        run, buffered = self._engine.run, self._engine.buffered
        if run is not None and buffered is not None and buffered.item is item:
            if isinstance(item, pytest.Function) and is_async(item.obj):
                item.obj = ends_plainly(item.obj)
            if buffered.decided:
                # Another plugin runs the item again: the same answer could only have the same end.
                run.close()
                sample = run.sample + run.case.case.samples
                self._engine.run = self._engine.open_run(run.case, run.overlay, sample=sample)
                buffered.start_again()
        if item in self._engine.shared_output:
            self._engine.shared_output[item].repeat()

    def pytest_enter_pdb(self) -> None:
        """Whoever opens a debugger wants to see what was printed, and wants this run to be the real one."""
        buffered = self._engine.buffered
        if buffered is not None and buffered.reportable() and not buffered.committed:
            buffered.commit()
