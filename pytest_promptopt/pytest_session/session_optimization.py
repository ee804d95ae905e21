"""`--optimize` inside a pytest session: what the session brings to the optimization."""

from __future__ import annotations

import shlex

import pytest

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.driver.optimization_driver import OptimizationDriver
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.models.user_models import UserModels
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_engine.splits import identity
from pytest_promptopt.pytest_engine.suspending_engine import SuspendingEngine
from pytest_promptopt.pytest_session.user_hooks import chosen_strategies, user_search_hooks
from pytest_promptopt.reports.live import Progress, SilentProgress, progress_for
from pytest_promptopt.runs.run_store import Foundation, models_by_prompt
from pytest_promptopt.settings import Settings


class OptimizationRun(OptimizationDriver[pytest.Item, PromptCase]):
    """One `--optimize` run: the session's items are its cases, run by the suspending engine."""

    def __init__(
        self,
        config: pytest.Config,
        items: dict[pytest.Item, PromptCase],
        engine: SuspendingEngine,
        ledger: Ledger,
        settings: Settings,
        models: UserModels,
    ) -> None:
        super().__init__(items, engine, ledger, settings, models)
        self._config = config

    def _selection(self) -> str:
        """How the command line chose among all tests; empty when it did not."""
        option = self._config.getoption
        given = [(f"-{flag}", option(name)) for flag, name in (("k", "keyword"), ("m", "markexpr"))]
        chosen = [part for flag, value in given if value for part in (flag, value)]
        return shlex.join([*chosen, *option("file_or_dir")])

    def _foundation(self) -> Foundation:
        cases = list(self._items.values())
        return Foundation(
            files={file.name: file for case in cases for file in case.files.values()},
            cases=[case.case for case in cases],
            inputs={case.case.id: identity(case.item, case.case.prompts) for case in cases},
            models=models_by_prompt(cases),
            tests={case.item.path for case in cases},
            modules=self._config.pluginmanager.get_plugins(),
        )

    def _files(self) -> dict[str, PromptFile]:
        """The prompts that no mark freezes. Raises `SettingsError` when there is none."""
        files: dict[str, PromptFile] = {}
        frozen = set()
        for case in self._items.values():
            files |= {file.name: file for file in case.files.values()}
            frozen |= {case.files[stage].name for stage in case.mark.freeze}
        if files and frozen >= files.keys():
            raise SettingsError("--optimize: every prompt is frozen (freeze= in @pytest.mark.prompt)")
        return {name: file for name, file in files.items() if name not in frozen}

    def _strategies(self) -> dict[str, Strategy]:
        return chosen_strategies(self._config, self._settings.strategy)

    def _user_hooks(self) -> SearchHooks:
        return user_search_hooks(self._config)

    @property
    def _heldout_advice(self) -> str:
        return "leave some tests without @pytest.mark.heldout, or set promptopt_split = 60/20/20"

    @property
    def _reporter(self) -> pytest.TerminalReporter | None:
        reporter: pytest.TerminalReporter | None
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        return reporter

    def _say(self, line: str) -> None:
        """Write a line above the progress, unless pytest is to be quiet."""
        if self._reporter is not None and self._reporter.verbosity >= 0:
            self._reporter.write_line(line)

    def _open_progress(self) -> Progress:
        reporter = self._reporter
        if reporter is None or reporter.verbosity < -1:
            return SilentProgress()
        stream = internals.terminal_stream(reporter)
        return progress_for(stream, stream.isatty())
