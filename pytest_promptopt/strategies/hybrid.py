"""`hybrid`: a diverse start, then refinement of the best that came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.halting import Stop
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.records import Split
from pytest_promptopt.strategies.evolve import Evolve, EvolveState
from pytest_promptopt.strategies.refine.search import RefineSearch
from pytest_promptopt.strategies.refine.state import RefineState

#: One of different texts, one in which those that pass different cases are crossed.
GENERATIONS = 2


@dataclass(kw_only=True)
class HybridState(RefineState):
    """The state of a search of `hybrid`.

    :param start: where the search `evolve` stands that it begins with; None before it, and after.
    :param refining: whether that is over.
    """

    start: EvolveState | None = None
    refining: bool = False


class Hybrid(RefineSearch):
    """The search `refine`, from the best text of two generations of `evolve` on."""

    # Two generations take more than an iteration of `refine`; all that follow them are its own.
    scoring_needs = replace(RefineSearch.scoring_needs, optimizer_model=True)
    state: HybridState

    def new_state(self) -> HybridState:
        return HybridState.of(self.group, self.context.settings.seed, self.context.told)

    def step(self) -> Stop | None:
        if not self.state.refining and not self._generations_made():
            return None
        return super().step()

    def _generations_made(self) -> bool:
        """Make a generation of `evolve`, or take over the best when all are made; whether they are."""
        start = self.state.start = self.state.start or self._first()
        self._search_budget.reserve_for_judging()  # a search that is taken up has nothing kept yet
        over = True
        try:
            over = Evolve(self.group, self.context, start, generations=GENERATIONS).step() is not None
        finally:  # a ceiling ends it with what there is
            if over:
                self._take_over(start)
        return over

    def _first(self) -> EvolveState:
        """A search `evolve` from here: with what is known of refused texts, and its iterations are ours."""
        self._briefing.begin(self.original)
        state = self.state
        return EvolveState.of(
            self.group,
            self.context.settings.seed,
            original=state.original,
            best=state.original,
            checks=state.checks,
            iterations=state.iterations,
            critiques=state.critiques,
            faults=state.faults,
            paid_before=state.paid_before,
        )

    def _take_over(self, start: EvolveState) -> None:
        """Go on from the best that came of the generations."""
        state = self.state
        state.start, state.refining, state.paid_before = None, True, start.paid_before
        state.accepted = [self._known(version) for version in start.bests[1:]]
        self.best = state.accepted[-1] if state.accepted else self.original

    def _known(self, version: EvaluatedCandidate) -> EvaluatedCandidate:
        """A text of `evolve` with what is known of it."""
        original = self.original.posterior
        assert original is not None
        posterior = RatePosterior(original.cases, self.state.learning, base=original, name=version.id)
        posterior.add(version.evidence(Split.TRAIN))
        posterior.settle()
        return replace(version, posterior=posterior)
