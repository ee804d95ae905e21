"""`hybrid`: a diverse start, then refinement of the best that came of it."""

from __future__ import annotations

from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.search import Search
from pytest_promptopt.refine.surroundings import Surroundings
from pytest_promptopt.strategies.evolve import Evolve

#: One of different texts, one in which those that pass different cases are crossed.
GENERATIONS = 2


class Hybrid(Search):
    """The search `refine`, from the best text of two generations of `evolve` on."""

    def __init__(self, group: Group, around: Surroundings) -> None:
        super().__init__(group, around)
        self._start = Evolve(group, around, generations=GENERATIONS)

    def _measure_original(self) -> None:
        start = self._start
        try:
            start.stop = start.begin() or start.search()
        finally:  # a ceiling ends it with what there is
            self.original, self.incumbent = start.original, start.best
            self.iterations = start.iterations
            self._accepted = start.bests[1:]
        self._checks = start.checks
