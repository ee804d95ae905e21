"""`hybrid`: a diverse start, then refinement of the best that came of it."""

from __future__ import annotations

from pytest_promptopt.refine.halting import Stop
from pytest_promptopt.refine.search import Search
from pytest_promptopt.strategies.evolve import Evolve

#: One of different texts, one in which those that pass different cases are crossed.
GENERATIONS = 2


class Hybrid(Search):
    """The search `refine`, from the best text of two generations of `evolve` on."""

    def search(self) -> Stop:
        start = Evolve(self.group, self.around, generations=GENERATIONS)
        start.original = start.best = self.original
        start.checks, start.iterations = self.checks, self.iterations
        try:
            start.search()
        finally:  # a ceiling ends it with what there is
            self.best, self._accepted = start.best, start.bests[1:]
        return super().search()
