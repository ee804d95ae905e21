"""`--optimize` as a step of the session: its errors are the user's, its end is told, its result is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.pytest_session.hook_calls import tell_hook
from pytest_promptopt.pytest_session.session_optimization import OptimizationRun
from pytest_promptopt.replay.withheld_cases import WithheldCases
from pytest_promptopt.results import RunResult


class OptimizationStep:
    """:param note: told in a sentence what the user should know."""

    def __init__(
        self,
        config: pytest.Config,
        optimization: OptimizationRun[Any, Any],
        withheld: WithheldCases,
        note: Callable[[str], None],
    ) -> None:
        self._config = config
        self._optimization = optimization
        self._withheld = withheld
        self._note = note
        #: What was found, as soon as it is: Ctrl-C may come before `run` returns it.
        self.result: RunResult | None = None

    def run(self, problem: PromptoptError | None) -> RunResult:
        """Optimize. Raises `UsageError` for what must be mended before a first call is paid.

        :param problem: what is wrong with a collected case.
        """
        try:
            if problem is not None:
                raise problem
            try:
                result = self.result = self._optimization.run()
            finally:
                self._end_of_search()
        except PromptoptError as error:
            raise pytest.UsageError(str(error)) from None
        finally:
            self._optimization.release_interrupts()
        try:
            tell_hook(self._config, "pytest_promptopt_run_finished", result=result)
        except PromptoptError as error:  # the files are written, and what was found is to be shown
            result = self.result = replace(result, errors=(*result.errors, str(error)))
        return result

    def _end_of_search(self) -> None:
        if withheld := self._withheld.end_with_note():
            self._note(withheld)
