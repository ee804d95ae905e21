"""The ways to search, each in the same small world: whatever the strategy, the run around it is the same."""

from __future__ import annotations

from dataclasses import replace

from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.halting import Stop
from pytest_promptopt.refine.search import SEARCHED, Search
from pytest_promptopt.refine.strategy import GroupSearch
from pytest_promptopt.refine.surroundings import Surroundings
from pytest_promptopt.strategies import BUILT_IN
from tests.refine_world import HELDOUT, World, needs


def test_refine_is_the_search_of_the_loop() -> None:
    assert BUILT_IN["refine"] is Search


# ----------------------------------------------------------------------------- one of somebody's own


class Blind(Search):
    """Tries one text that it knew beforehand."""

    def run(self) -> None:
        self._measure_original()
        (prompt,) = self.group.prompts
        overlay = {prompt.name: f"{prompt.prose} a b"}
        (results,) = self.evaluate([overlay], self.group.ids(*SEARCHED))
        found = {split: tuple(r for r in results if r.case.split is split) for split in SEARCHED}
        self.best = replace(self.original, id="1.1", overlay=overlay, results=found)
        self.stop = Stop("done", "one try is enough")


def test_a_strategy_finds_and_the_run_confirms_scores_and_writes() -> None:
    def blind(group: Group, around: Surroundings) -> GroupSearch:
        return Blind(group, around)

    world = World(needs("a b -") + needs("a", HELDOUT), strategy=blind)
    result = world.result()
    assert (result.outcome, result.stop) == ("improved", "done")
    assert world.written == {"route.md": "Route {{ ticket }}. a b"}
    assert result.confirmation is not None
    assert [(score.split, score.after) for score in result.scores] == [("train", 1.0), ("heldout", 1.0)]
