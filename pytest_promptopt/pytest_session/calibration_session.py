"""``--promptopt-calibrate``: the judge is tested on labels, in the place of the session's tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.grading.calibrating import JudgeTest, run_judge_test
from pytest_promptopt.grading.certificates import (
    certificate_path,
    check_writable,
    missing,
    write_certificates,
)
from pytest_promptopt.grading.judge import ClientAsker, Judge
from pytest_promptopt.grading.judge_setup import JudgeSetup
from pytest_promptopt.grading.judge_trust import LabelFile
from pytest_promptopt.labels import AnyLabel
from pytest_promptopt.models.unpatched_asyncio import asyncio
from pytest_promptopt.pytest_engine import terminal_internals
from pytest_promptopt.pytest_engine.collection import collect_prompt_cases
from pytest_promptopt.pytest_engine.label_cases import label_files, seen_labels
from pytest_promptopt.pytest_engine.tolerated_failures import OWN, tell_junit
from pytest_promptopt.pytest_session.judge_session import SessionJudge
from pytest_promptopt.pytest_session.session_calls import SessionCalls
from pytest_promptopt.reports.calibration_report import calibration_lines
from pytest_promptopt.reports.lines import Line, print_section
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import plural, printable, shown_path


class CalibrationSession:
    """The plugin object that runs instead of the tests."""

    def __init__(self, session: pytest.Session, settings: Settings) -> None:
        """Raises `SettingsError` when there are no labels, a file of them is wrong, or there is no judge."""
        self._config, self._settings = session.config, settings
        files = label_files(session.items, settings)
        self._labels = [(file, file.labels()) for file in files]
        self._notes: list[str] = []
        self._judge = SessionJudge(settings, files, note=self._note)
        self._judge.model()
        for file in files:
            check_writable(certificate_path(file.path))
        self._seen = seen_labels(collect_prompt_cases(session.items, settings).cases.values())
        self._lines: Callable[..., list[Line]] = lambda width: []
        self._certified = False
        if not self._labels:
            raise SettingsError(
                "--promptopt-calibrate: there are no labels: mark a test with "
                '@pytest.mark.judge_labels("labels.jsonl"), or set the ini value promptopt_judge_labels'
            )

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return None  # pytest says what is wrong
        calls = SessionCalls(
            self._config,
            self._settings,
            note=self._note,
            on_paid=lambda paid: None,
            on_cached_answer=None,
            concurrency=self._settings.concurrency,
        )
        judge = Judge(ClientAsker(calls.client), self._judge.setup())
        try:
            tested = [(file, self._tested(judge, labels)) for file, labels in self._labels]
            self._store(judge.setup, tested)
        except PromptoptError as error:
            self._note(f"the judge could not be tested: {error}")
        except KeyboardInterrupt:
            calls.client.cancel()
            raise
        finally:
            calls.close()
            self._note(_spent(calls))
            calls.close_ledger()
        return True

    def _tested(self, judge: Judge, labels: Sequence[AnyLabel]) -> JudgeTest:
        if left_out := sum(label in self._seen for label in labels):
            count = plural(left_out, "label")
            why = "an optimization of the judge's prompt sees them"
            self._note(f"{count} of train and validation left out: {why}")
        return asyncio.run(run_judge_test(judge, labels, seen=self._seen, seed=self._settings.seed))

    def _store(self, judge: JudgeSetup, tested: Sequence[tuple[LabelFile, JudgeTest]]) -> None:
        why = [
            [missing(each, each.judge, floor=self._settings.judge_floor) for each in test.certificates]
            for _, test in tested
        ]
        self._lines = partial(
            calibration_lines,
            judge,
            [(file.path, test) for file, test in tested],
            why,
            rootdir=self._settings.rootdir,
        )
        self._certified = all(not each for of_file in why for each in of_file) and any(map(len, why))
        for file, test in tested:
            path = certificate_path(file.path)
            name = shown_path(path, self._settings.rootdir)
            try:
                if not test.certificates:
                    raise SettingsError("no label has a usable verdict")
                write_certificates(path, test.certificates)
                self._note(f"stored in {name}: keep it with the labels")
            except (PromptoptError, OSError) as error:
                self._certified = False
                self._note(f"{name} was not written: {error}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.OK if self._certified else pytest.ExitCode.TESTS_FAILED
            if not self._certified:
                tell_junit(self._config, (), [(OWN, "calibrate", "the judge is not certified")])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        width = terminal_internals.terminal_width(terminalreporter)
        print_section(terminalreporter, "test of the judge", self._lines(width=width))
        for note in self._notes:
            terminalreporter.write_line(f"promptopt: {printable(note)}", yellow=True)


def _spent(calls: SessionCalls) -> str:
    spend = calls.ledger.spend
    cost = f", ${spend.cost:.4f}" if spend.cost else ""
    return f"{plural(spend.calls, 'call')} paid{cost}"
