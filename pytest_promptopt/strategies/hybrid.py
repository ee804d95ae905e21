"""`hybrid`: a diverse start, then refinement of the best that came of it."""

from __future__ import annotations

from dataclasses import replace

from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.halting import Stop
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.records import Split
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.refine.search import RefineSearch

#: One of different texts, one in which those that pass different cases are crossed.
GENERATIONS = 2


class Hybrid(RefineSearch):
    """The search `refine`, from the best text of two generations of `evolve` on."""

    # Two generations take more than an iteration of `refine`; all that follow them are its own.
    scoring_needs = replace(RefineSearch.scoring_needs, optimizer_model=True)

    def search(self) -> Stop:
        self._briefing.begin(self.original)
        start = Evolve(self.group, self.context, generations=GENERATIONS)
        start.take_over(self)
        try:
            start.search()
        finally:  # a ceiling ends it with what there is
            self.paid_before = start.paid_before
            self._accepted = [self._known(version) for version in start.bests[1:]]
            self.best = self._accepted[-1] if self._accepted else self.original
        return super().search()

    def _known(self, version: EvaluatedCandidate) -> EvaluatedCandidate:
        """A text of `evolve` with what is known of it."""
        original = self.original.posterior
        assert original is not None
        shown = self.shown(version)
        cases = [case for case in original.cases if case not in shown]
        posterior = RatePosterior(cases, self._learning, base=original, name=version.id)
        posterior.add(version.evidence(Split.TRAIN))
        posterior.settle()
        return replace(version, posterior=posterior)
