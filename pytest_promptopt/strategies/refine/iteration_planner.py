"""Plans the next step of a search: how many candidates are worth their calls, or that none is."""

from __future__ import annotations

import math
from collections.abc import Collection

from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.halting import HaltReason, Phase, Stop
from pytest_promptopt.optimizer.proposal.case_batches import ENOUGH_CASES
from pytest_promptopt.optimizer.race import BATCH
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.records import Split
from pytest_promptopt.strategies.refine.economy import SHARE, Economy, Payoff, Prospect, expected_best
from pytest_promptopt.strategies.refine.search_budget import RUN_SHARE, SearchBudget
from pytest_promptopt.strategies.refine.state import RefineState

#: A first set of examples is tried at once where its first batch takes at most one in so many calls left.
FIRST_SET = 40

#: Sets of examples are tried by twos at least, where it is their turn alone: none takes a request.
FEWEST_SETS = 2


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
        self._state.economy = Economy(floor=self._least(cases), cost=first)

    def _least(self, cases: int) -> float:
        """What a call must win at least, in cases, where so many decide."""
        return self._search.context.settings.least_gain / 100 * cases / 100

    def tried(self, kind: Kind, won: float) -> None:
        """A candidate won this share of what there was to win."""
        if kind in self._state.ways:
            self._state.ways[kind].note(won)

    def forget_rewrites(self) -> None:
        """The incumbent has examples now: what texts won without any tells little of rewrites with them."""
        self._state.ways[Kind.REWRITE] = Payoff()

    def begin_validation(self) -> None:
        """From now on validation cases decide: what training iterations won last tells little of them."""
        self._state.economy.stages = {}

    def turn_to(self, stage: str) -> None:
        """The next iteration will probably rewrite this prompt."""
        self._state.economy.stage = self._state.stage = stage

    def iterated(
        self, before: float, phase: Phase, calls: int, least: float, stages: Collection[str]
    ) -> None:
        """An iteration is over, before which so many cases failed.

        :param calls: that it took; `least` were foreseen.
        :param stages: the prompts that it rewrote.
        """
        won = (before - self.open(phase)) / before if before else 0.0
        self._state.economy.note(won, calls, least, stages)

    def open(self, phase: Phase) -> float:
        """How many cases of this phase the incumbent is expected to fail by its meaning."""
        if phase is Phase.TRAINING:
            assert self._search.best.posterior is not None
            return self._search.best.posterior.failing
        return self._state.failing_on_validation(self._search.best)

    def _counted(self, phase: Phase) -> int:
        """How many cases of this phase the incumbent is judged by."""
        if phase is Phase.TRAINING:
            return self._search.best.foresight.cases
        return sum(result.rate is not None for result in self._search.best.evidence(Split.VALIDATION))

    def unpaid(self, phase: Phase) -> Stop | None:
        """Why no further iteration is made that the ceiling, or what it would win, does not pay for."""
        economy, call_budget = self._state.economy, self._search.context.call_budget
        if stop := call_budget.stop_below(1 + self._search_budget.calls_for(self._least_runs(phase))):
            return stop
        failing, cases = self.open(phase), self._counted(phase)
        if self._search.iterations and not economy.pays(failing, self._least(cases)):
            least_gain = self._search.context.settings.least_gain
            points = 100 * economy.gain(failing) / max(1, cases)
            return Stop(
                HaltReason.RETURNS,
                f"the next iteration is expected to win {points:.1f} points for "
                f"{economy.expected_cost:.0f} calls, less than {least_gain:g} for 100",
            )
        limited = call_budget.left() is not None
        if phase is Phase.TRAINING and limited and self._validation_promises_more():
            return Stop(
                HaltReason.RETURNS,
                f"the next iteration is expected to mend {economy.iterations.expected:.0%} of what fails; "
                "one that goes by the validation cases promises more for its calls",
            )
        return None

    def _least_runs(self, phase: Phase) -> int:
        """Runs of cases without which no candidate of an iteration can be accepted."""
        group = self._search.group
        deciding = len(group.ids(Split.VALIDATION)) if phase is Phase.VALIDATION else 0
        return min(ENOUGH_CASES, len(group.ids(Split.TRAIN))) + deciding

    def _validation_promises_more(self) -> bool:
        """Whether the first iteration that goes by validation cases is expected to win more for its calls.

        Nothing was chosen by these cases yet, so what any first one wins is expected of it. It runs
        a text on them besides.
        """
        cases = len(self._search.group.ids(Split.VALIDATION))
        if not cases or self._search.best is self._search.original:
            return False
        economy = self._state.economy
        cost = economy.expected_cost
        return economy.iterations.expected / cost < SHARE / (cost + self._search_budget.calls_for(cases))

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
        best, writing = self._search.best.posterior, self._search.context.settings.writing
        assert best is not None
        kind = Kind.REWRITE if writing else Kind.EXAMPLES
        new = RatePosterior(best.cases, self._state.learning, base=best, kind=kind)
        mean = new.lead(best).mean
        apart = math.sqrt(new.foreseeable(self._search.run_order()[:BATCH]))
        look = ENOUGH_CASES * self._search_budget.calls_per_case
        each = writing + BATCH * self._search_budget.calls_per_case
        return [
            Prospect(expected_best(count, mean, apart), look + count * each)
            for count in range(1, self._search.context.settings.candidates + 1)
        ]

    def worth_running(self, posterior: RatePosterior, cases: int) -> bool:
        """Whether a first batch of training cases is worth running a candidate on so many cases in all."""
        base = posterior.base
        assert base is not None
        apart = math.sqrt(posterior.foreseeable(self._search.run_order()[:BATCH]))
        gain = expected_best(1, posterior.lead(base).mean, apart)
        return gain > self.price() * cases * self._search_budget.calls_per_case

    def worth_making(self, iteration: int) -> tuple[int, int]:
        """How many candidates to ask for, and how many sets of examples to try; journaled with the reason.

        So many that their gain less the price of their calls is highest; of both kinds, the more the kind has
        won. Where calls are few, sets of examples wait until rewriting has paid little.
        """
        price, prospects = self.price(), self.prospects()
        worth = [prospect.gain - price * prospect.calls for prospect in prospects]
        count = worth.index(max(worth)) + 1
        asked, drawn = self._by_kind(count)
        promised = prospects[count - 1]
        self._search.context.record(
            "planned",
            iteration=iteration,
            candidates=asked,
            examples=drawn,
            why=f"{count} of them promise {promised.gain:.2g} cases for {promised.calls:.0f} calls; "
            f"elsewhere a call wins {price:.2g}",
        )
        return asked, drawn

    def _by_kind(self, count: int) -> tuple[int, int]:
        """Of so many that are worth making: how many to ask for, and how many sets of examples to try."""
        if not self._search.context.settings.writing:
            return 0, max(count, FEWEST_SETS)
        examples, rewrites = (self._state.ways[kind] for kind in (Kind.EXAMPLES, Kind.REWRITE))
        if not examples.tries:
            free = self._search.context.call_budget.available()
            first = BATCH * self._search_budget.calls_per_case
            return count, int(rewrites.expected < SHARE / 2 or free is None or FIRST_SET * first <= free)
        paid, other = examples.expected**2, rewrites.expected**2
        drawn = self._in_turn(Kind.EXAMPLES, max(count, FEWEST_SETS) * paid / (paid + other))
        return self._in_turn(Kind.REWRITE, count * min(1.0, 2 * other / (paid + other))), drawn

    def _in_turn(self, kind: Kind, share: float) -> int:
        """A share as whole candidates; what is left of it counts in the next iteration."""
        due = self._state.carried_over.get(kind, 0.0) + share
        count = round(due)
        self._state.carried_over[kind] = due - count
        return count
