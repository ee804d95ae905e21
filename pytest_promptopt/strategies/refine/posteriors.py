"""What is believed of the candidates of one search, on the cases of each split."""

from __future__ import annotations

from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import Candidate
from pytest_promptopt.optimizer.rate_posterior import RatePosterior, posterior_of
from pytest_promptopt.records import Split
from pytest_promptopt.strategies.refine.state import RefineState


class Posteriors:
    """Makes the posteriors of the candidates of one search."""

    def __init__(self, search: BaseSearch, state: RefineState) -> None:
        self._search = search
        self._state = state

    def on_training(self, candidate: Candidate, base: RatePosterior) -> RatePosterior:
        """What is believed of it on the training cases before it is run on any.

        What it did on validation cases, if it was run there, is taken in.

        :param base: what is believed of the text that it was made from.
        """
        assert self._search.original.posterior is not None
        cases = self._search.original.posterior.cases
        made = RatePosterior(cases, self._state.learning, base=base, kind=candidate.kind, name=candidate.id)
        if Split.VALIDATION in candidate.results:
            made.see_beside(self.on_validation(candidate))
        return made

    def on_validation(self, candidate: Candidate) -> RatePosterior:
        """What is known and believed of it on the validation cases, beside the incumbent."""
        before = self._search.best.evidence(Split.VALIDATION)
        rates = {result.case.id: result.rate for result in before if result.rate is not None}
        learning = self._state.learning
        base = posterior_of(rates, learning)
        made = RatePosterior(base.cases, learning, base=base, kind=candidate.kind, name=candidate.id)
        made.add(candidate.results[Split.VALIDATION])
        return made
