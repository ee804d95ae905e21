"""``--promptopt-otel``: what a session does is told to OpenTelemetry, from each of its processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from pytest_promptopt import __version__
from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.models.answer_validation import error_words
from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.models.secret_redaction import without_secrets
from pytest_promptopt.pytest_engine.outcomes import from_json
from pytest_promptopt.pytest_engine.report_data import read_data
from pytest_promptopt.pytest_session.hook_calls import HookError, redact
from pytest_promptopt.records import Case, Split, Status
from pytest_promptopt.results import Iteration, RunResult
from pytest_promptopt.settings import Settings
from pytest_promptopt.spans.span_writer import SpanWriter
from pytest_promptopt.spans.tracing import (
    captures_content,
    carrier_of,
    open_tracing,
    parent_context,
)
from pytest_promptopt.text import encodable, printable

#: Under this name the plugin object is registered, and what xdist's workers are told of their session's span.
NAME = "promptopt-spans"

#: By the conventions, of what has another word than failure.
_SUITE_STATUS = {
    pytest.ExitCode.OK: "success",
    pytest.ExitCode.INTERRUPTED: "aborted",
    pytest.ExitCode.NO_TESTS_COLLECTED: "skipped",
}


class SpanSession:
    """The plugin object that hears of calls, cases, iterations and the end.

    On xdist's workers it writes the spans of their cases, below the session of the controller.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config, self._settings = config, settings
        self._writer: SpanWriter | None = None
        self._carrier: dict[str, str] = {}
        self._problem = ""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """By now each ``conftest.py`` at the top has set up what it wants to."""
        if self._writer is not None:
            return
        told: dict[str, str] | None = getattr(self._config, "workerinput", {}).get(NAME)
        carrier = {"traceparent": os.environ.get("TRACEPARENT", "")} if told is None else told
        try:
            tracing = open_tracing(__version__)
        except PromptoptError as error:
            if told is not None:  # the controller has one; a worker without any goes on without spans
                return
            raise pytest.UsageError(str(error)) from None
        self._writer = SpanWriter(tracing, parent_context(carrier), self._shown())
        if told is None:
            name = self._settings.rootdir.name
            mode, optimizing = self._settings.mode.value, self._settings.optimizing
            self._carrier = carrier_of(self._writer.begin_session(name, mode, optimizing=optimizing))

    def _shown(self) -> Callable[[str], str] | None:
        return cache(self._redacted) if captures_content() else None

    def _redacted(self, text: str) -> str:
        try:
            return encodable(without_secrets(redact(self._config, text)))
        except HookError:  # an observer ends nothing, and shows nothing that was not redacted
            return "(not shown: pytest_promptopt_redact raised)"

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        self.pytest_sessionstart()  # xdist starts its workers in its own hook of this name
        node.workerinput[NAME] = self._carrier

    def paid(self, call: PaidCall) -> None:
        """A call was paid for in this process; called from any thread."""
        if self._writer is not None:
            self._writer.paid(call)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = read_data(report)
        if "case" not in data or hasattr(report, "node"):  # xdist: the worker itself tells of it
            return
        told = data["case"]
        lists = {name: tuple(told[name]) for name in ("prompts", "models")}
        case = Case(**{**told, **lists, "split": Split(told["split"])})
        outcomes = [from_json(outcome) for outcome in data["outcomes"]]
        start = int(report.start * 1e9)
        self._tell(lambda writer: writer.case(case, outcomes, Status(data["status"]), start))

    def pytest_promptopt_iteration_finished(self, iteration: Iteration) -> None:
        self._tell(lambda writer: writer.iteration(iteration))

    def pytest_promptopt_run_finished(self, result: RunResult) -> None:
        self._tell(lambda writer: writer.run_finished(result))

    def _tell(self, what: Callable[[SpanWriter], None]) -> None:
        """Whatever a provider of others raises ends the spans, and nothing else."""
        if self._writer is not None:
            try:
                what(self._writer)
            except Exception as error:
                self._writer = None
                self._problem = f"no further spans: a tracer provider raised {error_words(error)}"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        status = next((said for code, said in _SUITE_STATUS.items() if code == session.exitstatus), "failure")
        self._close(status)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self._close("aborted")  # a session that did not come to its end

    def _close(self, status: str) -> None:
        self._tell(lambda writer: writer.close(status))
        self._writer = None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._problem:
            terminalreporter.write_line(f"promptopt: {printable(self._problem)}", yellow=True)


def spans_of(config: pytest.Config) -> SpanSession | None:
    """The session's spans, where they are asked for."""
    found: SpanSession | None = config.pluginmanager.get_plugin(NAME)
    return found
