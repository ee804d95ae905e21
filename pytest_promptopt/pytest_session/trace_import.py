"""``--promptopt-from-traces``: recorded requests are written as cases; no test is run."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.models.secret_redaction import without_secrets
from pytest_promptopt.prompts import PromptFile, locate_prompt_file
from pytest_promptopt.prompts.template_languages import LANGUAGES
from pytest_promptopt.pytest_engine.case_files import CaseItem
from pytest_promptopt.pytest_engine.collection import collect_prompt_cases
from pytest_promptopt.pytest_session.hook_calls import redact
from pytest_promptopt.settings import Settings
from pytest_promptopt.suites import file_endings
from pytest_promptopt.suites.suite import SkippedCase
from pytest_promptopt.suites.suite_reading import read_suite
from pytest_promptopt.text import encodable, printable
from pytest_promptopt.traces.importing import OPTION, import_traces


class TraceImport:
    """The plugin object that runs instead of the tests.

    All tests are collected first: they name the prompts, and their ``conftest.py`` may redact.
    """

    def __init__(self, session: pytest.Session, settings: Settings) -> None:
        self._session, self._config, self._settings = session, session.config, settings
        self._lines: tuple[str, ...] = ()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return None  # pytest says what is wrong
        here = self._config.invocation_params.dir
        try:
            imported = import_traces(
                [here / each for each in self._config.option.promptopt_from_traces],
                self._prompts(),
                self._folder(here),
                self._settings.rootdir,
                redact=cache(self._redact),
            )
        except PromptoptError as error:
            raise pytest.UsageError(str(error)) from None
        self._lines = imported.lines
        return True

    def _redact(self, text: str) -> str:
        return encodable(without_secrets(redact(self._config, text)))

    def _prompts(self) -> list[PromptFile]:
        """The prompt that the command line names, else all that the collected tests use.

        Raises `PromptoptError`.
        """
        root, named = self._settings.rootdir, self._settings.prompt
        if named is not None:
            here = self._config.invocation_params.dir
            place = locate_prompt_file(named, test_dir=here, rootdir=root, where="--promptopt-prompt")
            return [PromptFile.load(place, rootdir=root)]
        found = collect_prompt_cases(self._session.items, self._settings)
        files = {file.name: file for case in found.cases.values() for file in case.files.values()}
        for file in _of_unreviewed(self._session.items, root):
            files.setdefault(file.name, file)
        return list(files.values())

    def _folder(self, here: Path) -> Path:
        """The first that pytest was started with, or that ``testpaths`` names; else the current one."""
        for each in self._config.args:
            path = here / each.partition("::")[0]
            if path.exists():
                return path if path.is_dir() else path.parent
        return here

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._lines and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._lines:
            terminalreporter.section(f"promptopt: {OPTION.removeprefix('--promptopt-').replace('-', ' ')}")
        for line in self._lines:
            terminalreporter.write_line(printable(line))


def _of_unreviewed(items: Iterable[pytest.Item], rootdir: Path) -> Iterable[PromptFile]:
    """The prompts of suites none of whose cases is run yet. Raises `PromptoptError`."""
    suites = dict.fromkeys(
        item.path for item in items if isinstance(item, CaseItem) and isinstance(item.given, SkippedCase)
    )
    for path in suites:
        if path.name.endswith(file_endings.SUITES):
            suite = read_suite(path, rootdir)
            for each in suite.prompts:
                place = locate_prompt_file(each, test_dir=path.parent, rootdir=rootdir, where=path.name)
                yield PromptFile.load(place, rootdir=rootdir, language=LANGUAGES.get(suite.template))
