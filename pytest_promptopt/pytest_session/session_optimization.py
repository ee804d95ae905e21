"""`--optimize` inside a pytest session: what the session brings to the optimization."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.driver.case_engine import CaseEngine
from pytest_promptopt.driver.optimization_driver import C, OptimizationDriver
from pytest_promptopt.models.user_models import UserModels
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.pytest_engine import terminal_internals
from pytest_promptopt.pytest_session.live_session import LIVE, LiveSession
from pytest_promptopt.pytest_session.next_steps import selection
from pytest_promptopt.pytest_session.user_hooks import chosen_strategies, user_search_hooks
from pytest_promptopt.replay.case_table import CaseTable, K
from pytest_promptopt.reports.live import Progress, SilentProgress, progress_for
from pytest_promptopt.settings import Settings


class OptimizationRun(OptimizationDriver[K, C]):
    """One `--optimize` run of a pytest session."""

    def __init__(
        self,
        config: pytest.Config,
        cases: CaseTable[K, C],
        engine: CaseEngine[K],
        ledger: Ledger,
        settings: Settings,
        models: UserModels,
        code: Iterable[Path],
    ) -> None:
        super().__init__(cases, engine, ledger, settings, models, code)
        self._config = config

    def _selection(self) -> str:
        return selection(self._config)

    def _strategies(self) -> dict[str, Strategy]:
        return chosen_strategies(self._config, self._settings.strategy)

    def _user_hooks(self) -> SearchHooks:
        return user_search_hooks(self._config)

    @property
    def _heldout_advice(self) -> str:
        return "leave some tests without @pytest.mark.heldout, or set promptopt_split = 60/20/20"

    def _say(self, line: str) -> None:
        terminal_internals.write_line(self._config, line)

    def _open_progress(self) -> Progress:
        live: LiveSession | None = self._config.pluginmanager.get_plugin(LIVE)
        if live is not None:
            live.clear()
        reporter: pytest.TerminalReporter | None
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or reporter.verbosity < 0:
            return SilentProgress()
        stream = getattr(*terminal_internals.terminal_place(reporter))
        return progress_for(stream, stream.isatty())
