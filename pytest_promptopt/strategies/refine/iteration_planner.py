"""Plans the next step of a search: how many candidates are worth their calls, or that none is."""

from __future__ import annotations

import math

from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.halting import HaltReason, Phase, Stop
from pytest_promptopt.optimizer.proposal.case_batches import ENOUGH_CASES
from pytest_promptopt.optimizer.race import BATCH
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.records import Split
from pytest_promptopt.strategies.refine.economy import SHARE, Economy, Prospect, expected_best
from pytest_promptopt.strategies.refine.search_budget import RUN_SHARE, SearchBudget
from pytest_promptopt.strategies.refine.state import RefineState

#: A first set of examples is tried at once where its first batch takes at most one in so many calls left.
FIRST_SET = 40


class IterationPlanner:
    """Learns from the iterations of one search what the next one is worth."""

    def __init__(self, search: BaseSearch, state: RefineState, search_budget: SearchBudget) -> None:
        self._search = search
        self._state = state
        self._search_budget = search_budget

    def begin(self, cases: int) -> None:
        """Begin with so many deciding training cases."""
        settings = self._search.context.settings
        first = settings.candidates + 1 + RUN_SHARE * cases * self._search_budget.calls_per_case
        self._state.economy = Economy(floor=settings.least_gain / 100 * cases / 100, cost=first)

    def tried(self, kind: Kind, won: float) -> None:
        """A candidate won this share of what there was to win."""
        if kind in self._state.ways:
            self._state.ways[kind].note(won)

    def iterated(self, before: float, phase: Phase, calls: int, least: float) -> None:
        """An iteration is over, before which so many cases failed.

        :param calls: that it took; `least` were foreseen.
        """
        won = (before - self.open(phase)) / before if before else 0.0
        self._state.economy.note(won, calls, least)

    def open(self, phase: Phase) -> float:
        """How many cases of this phase the incumbent is expected to fail."""
        if phase is Phase.TRAINING:
            assert self._search.best.posterior is not None
            return self._search.best.posterior.failing
        results = [r.rate for r in self._search.best.evidence(Split.VALIDATION) if r.rate is not None]
        return len(results) - math.fsum(results)

    def unpaid(self, phase: Phase) -> Stop | None:
        """Why no further iteration is made that the ceiling, or what it would win, does not pay for."""
        economy, call_budget = self._state.economy, self._search.context.call_budget
        free, kept = call_budget.available(), call_budget.total_reserved
        least = 1 + self._search_budget.calls_for(min(ENOUGH_CASES, len(self._search.group.ids(Split.TRAIN))))
        if free is not None and free < least:
            return Stop(
                HaltReason.BUDGET,
                f"{free} calls are left for the search, and the next iteration takes {least} at least"
                + f"; {kept} are kept for judging the result" * bool(kept),
            )
        failing = self.open(phase)
        if self._search.iterations and not economy.pays(failing):
            least_gain = self._search.context.settings.least_gain
            points = 100 * economy.gain(failing) / max(1, self._search.best.foresight.cases)
            return Stop(
                HaltReason.RETURNS,
                f"the next iteration is expected to win {points:.1f} points for "
                f"{economy.expected_cost:.0f} calls, less than {least_gain:g} for 100",
            )
        return None

    def price(self) -> float:
        """What a call would win elsewhere, in cases."""
        return self._state.economy.price(self.prospects(), self._search.context.call_budget.available())

    def short(self) -> bool:
        """Whether there are so few calls that they must be spent where they win most."""
        return self.price() > 2 * self._state.economy.floor

    def prospects(self) -> list[Prospect]:
        """What asking for 1, 2, ... candidates promises: cases won, and calls.

        A first batch tells the candidates apart as far as is known of new texts; the best is kept if it is
        better than the incumbent.
        """
        best = self._search.best.posterior
        assert best is not None
        new = RatePosterior(best.cases, self._state.learning, base=best)
        mean = new.lead(best).mean
        apart = math.sqrt(new.foreseeable(self._search.run_order()[:BATCH]))
        look = ENOUGH_CASES * self._search_budget.calls_per_case
        each = 1 + BATCH * self._search_budget.calls_per_case
        return [
            Prospect(expected_best(count, mean, apart), look + count * each)
            for count in range(1, self._search.context.settings.candidates + 1)
        ]

    def worth_asking(self) -> int:
        """How many candidates to ask for: where their gain less the price of their calls is highest."""
        if not self._search.context.settings.writing:
            return 0
        price, prospects = self.price(), self.prospects()
        worth = [prospect.gain - price * prospect.calls for prospect in prospects]
        return worth.index(max(worth)) + 1

    def worth_drawing(self, most: int) -> int:
        """How many sets of examples to try besides: the more they have won, the more.

        Where calls are few they wait until rewriting has paid little.
        """
        examples, rewrites = self._state.ways[Kind.EXAMPLES], self._state.ways[Kind.REWRITE]
        if not examples.tries:
            free = self._search.context.call_budget.available()
            first = BATCH * self._search_budget.calls_per_case
            paid_little = rewrites.expected < SHARE / 2 or not self._search.context.settings.writing
            return int(paid_little or free is None or FIRST_SET * first <= free)
        paid, other = examples.expected**2, rewrites.expected**2 * self._search.context.settings.writing
        return round(most * paid / (paid + other))
