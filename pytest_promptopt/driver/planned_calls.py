"""What a run's ceiling buys, first by its prompts alone, then by the calls that cases were seen to make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Generic

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.driver.case_engine import CaseEngine
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.optimizer.prompt_groups import connected_groups
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.optimizer.strategy import ScoringNeeds
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Case, CaseResult, Split, function_of
from pytest_promptopt.replay.case_table import CaseTable, K, S
from pytest_promptopt.runs.budget_plan import BudgetPlan
from pytest_promptopt.settings import Settings


class PlannedCalls(Generic[K, S]):
    """The plan of one run, and whether the ceiling holds its first iteration."""

    def __init__(
        self,
        prompts: Sequence[PromptFile],
        cases: CaseTable[K, S],
        engine: CaseEngine[K],
        ledger: Ledger,
        settings: Settings,
        needs: Sequence[ScoringNeeds],
    ) -> None:
        """Raises `SettingsError` when the ceiling is too low whatever the cases ask besides."""
        self._prompts = prompts
        self._cases = cases
        self._engine = engine
        self._ledger = ledger
        self.plan = BudgetPlan(connected_groups(prompts, cases.distinct), settings, needs)
        self._check()

    def see_calls(self, evaluate: Callable[[Sequence[Trial]], Sequence[Sequence[CaseResult]]]) -> str:
        """Under a ceiling, run one case of each test, and plan with as many calls as these make.

        An application may ask more than its prompt, above all for embeddings. The answers are kept, so the
        scoring of the original does not ask for them again.

        :return: why the ceiling is too low after all; empty when it is not.

        Raises `SettingsError` for that where nothing was paid.
        """
        if self.plan.settings.max_calls is None:
            return ""
        cases, paid = self._cases.distinct, self._ledger.spend.calls
        first: dict[tuple[str, ...], str] = {}
        for case in cases:
            if case.split is not Split.HELDOUT:
                first.setdefault(_test_of(case), case.id)
        with suppress(StopRun):  # the search will say so
            (results,) = evaluate([Trial({}, tuple(first.values()), (0,))])
            made = {_test_of(each.case): len(each.outcomes[0].all_calls) for each in results}
            self._cases.give_calls({case.id: made.get(_test_of(case), 0) for case in cases})
        self.plan = replace(self.plan, groups=connected_groups(self._prompts, self._cases.distinct))
        try:
            self._check(made=self._ledger.spend.calls - paid)
        except SettingsError as error:
            if not self._ledger.spend.calls:
                raise
            return str(error)
        return ""

    def _check(self, *, made: int = 0) -> None:
        """:param made: calls that were made for it, whose answers are known by now."""
        self.plan.check(self._known_calls() - made if self.plan.short else 0)

    def _known_calls(self) -> int:
        """How many calls of the first scoring have their answers in the cache.

        A case that needs no further answer of its prompts has those of its other calls as well.
        """
        calls = 0
        for item, keys in self._engine.probe().items():
            case = self._cases[item].case
            if case.split is not Split.HELDOUT:
                known = sum(map(self._engine.client.has_answer, keys))
                calls += case.calls_per_run if keys and known == len(keys) else known
        return calls


def _test_of(case: Case) -> tuple[str, ...]:
    """Cases of which this is the same make the same calls, as a rule."""
    return function_of(case.id), *case.prompts
