"""A search can be left after any iteration, put away, and taken up by another one that decides the same."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import ACCEPTED, Candidate
from pytest_promptopt.optimizer.halting import Phase, Stop
from pytest_promptopt.optimizer.prompt_groups import connected_groups
from pytest_promptopt.optimizer.protocols import StopRun
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.optimizer.search_state import SearchState
from pytest_promptopt.settings import Settings
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.hybrid import Hybrid
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.paid_world import Paid, paid, paid_rules
from tests.reachable import reachable
from tests.refine_world import TRAIN, VALIDATION, World, needs
from tests.unit.test_strategies import learner

OWN: list[type[RefineSearch | Evolve]] = [RefineSearch, Evolve, Hybrid]

SETTINGS = Settings(rootdir=Path("."), candidates=2, examples=2, max_iterations=10, seed=2)


def small() -> Paid:
    """Five rules to find under a ceiling, and two more that only validation cases need."""
    cases = needs("a b c d e - - - " * 4) + needs("a b f g", VALIDATION)
    return paid(cases, learner, 400)  # type: ignore[arg-type]


def chancy() -> Paid:
    """Verdicts that are partly luck, and a ceiling that ends the search. The optimizer has a memory."""
    return paid_rules(300, seed=2)


def large() -> World:
    """More training cases than the search begins with."""
    world = World(needs("a b c d - - - - - - " * 21) + needs("a b c f", VALIDATION), learner)
    world.left = lambda: 3000
    return world


WORLDS = [small, chancy, large]


class Desk:
    """One world, and the searches that follow each other in it."""

    def __init__(self, kind: type[RefineSearch | Evolve], world: World) -> None:
        self.kind = kind
        self.world = world
        (self.group,) = connected_groups(world.prompts, world.cases)
        self.group = self.group.searched()
        self.context = world.search_context(self.group, SETTINGS)
        self.search = kind(self.group, self.context)

    def put_away_and_take_up(self) -> None:
        """Another search goes on, with a context of its own: all it knows is what was pickled."""
        state = pickle.loads(pickle.dumps(self.search.state))
        self.context = self.world.search_context(self.group, SETTINGS)
        self.search = self.kind(self.group, self.context, state)

    def decisions(self) -> dict[str, Any]:
        """All that was decided, measured, asked and paid."""
        search = self.search
        return {
            "iterations": [replace(iteration, elapsed=0.0) for iteration in search.iterations],
            "final": (search.final.id, search.final.overlay, search.final.results),
            "stop": search.stop,
            "notes": search.notes,
            "evaluated": self.world.evaluated,
            "asked": self.world.requests(),
            "paid": self.context.paid(),
        }


def whole(kind: type[RefineSearch | Evolve], world: Callable[[], World]) -> dict[str, Any]:
    """The decisions of a search that was never interrupted."""
    desk = Desk(kind, world())
    desk.search.run()
    return desk.decisions()


def test_the_worlds_lead_through_all_that_a_search_may_do() -> None:
    first, second, third = (whole(RefineSearch, world) for world in WORLDS)
    assert {iteration.phase for iteration in first["iterations"]} == {Phase.TRAINING, Phase.VALIDATION}
    assert (first["stop"].halt, second["stop"].halt) == ("plateau", "budget used up")
    assert "searched with 200 of 210 training cases" in third["notes"][0]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", OWN)
def test_a_search_that_is_taken_up_after_any_iteration_decides_what_one_without_a_break_does(
    kind: type[RefineSearch | Evolve], world: Callable[[], World]
) -> None:
    expected = whole(kind, world)
    made = len(expected["iterations"])
    assert made > 1
    for steps in {1, made // 2, made - 1}:
        desk = Desk(kind, world())
        assert desk.search.start_or_resume() is None
        assert {desk.search.step() for _ in range(steps)} == {None}
        desk.put_away_and_take_up()
        desk.search.run()
        assert desk.decisions() == expected


@pytest.mark.parametrize("kind", OWN)
def test_nothing_is_lost_when_every_iteration_is_made_by_another_search(
    kind: type[RefineSearch | Evolve],
) -> None:
    desk = Desk(kind, small())
    stop = desk.search.start_or_resume()
    while stop is None:
        desk.put_away_and_take_up()
        made = len(desk.search.iterations)
        stop = desk.search.step()
        assert len(desk.search.iterations) - made == (stop is None), "a step is one iteration"
    expected = whole(kind, small)
    found = desk.decisions()
    assert (stop, found["iterations"]) == (expected["stop"], expected["iterations"])


@pytest.mark.parametrize("kind", OWN)
def test_a_search_that_is_cut_off_at_any_evaluation_goes_on_when_it_may(
    kind: type[RefineSearch | Evolve],
) -> None:
    def world(interrupt: str = "") -> World:
        cases = needs("a b c - " * 2) + needs("a d", VALIDATION)
        return World(cases, learner, interrupt=interrupt, error=StopRun("budget used up", "no calls"))

    for moment in range(1, len(whole(kind, world)["evaluated"]) + 1):
        desk = Desk(kind, world(f"evaluate {moment}"))
        with suppress(StopRun):
            stop = desk.search.start_or_resume()
            while stop is None:
                stop = desk.search.step()
        made = len(desk.search.iterations)
        desk.world.interrupt = ""
        desk.put_away_and_take_up()
        desk.search.run()
        found = desk.search
        assert found.stop.halt not in ("error", "budget used up"), found.stop
        assert [each.number for each in found.iterations] == [*range(1, len(found.iterations) + 1)]
        assert len(found.iterations) >= made
        assert found.final.rate > found.original.rate
        assert len(found.final.evidence(VALIDATION)) == 2


class OnlyClasses(pickle.Unpickler):
    """Refuses a function, which stands for what is not in the state."""

    found: ClassVar[set[str]] = set()

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        assert isinstance(found, type), f"{module}.{name} is no class"
        return found


@pytest.mark.parametrize("kind", OWN)
def test_the_state_holds_no_function_and_nothing_of_the_run(kind: type[RefineSearch | Evolve]) -> None:
    desk = Desk(kind, chancy())
    desk.search.start_or_resume()
    for _ in range(3):
        desk.search.step()
        state = OnlyClasses(io.BytesIO(pickle.dumps(desk.search.state))).load()
        assert isinstance(state, SearchState)
        of_the_run = [
            way
            for way, found in reachable(vars(desk.search.state))
            if isinstance(found, World | SearchContext | Settings | BaseSearch)
        ]
        assert of_the_run == []


class ByStep(BaseSearch):
    """Tries the rules in turn, one in each iteration."""

    def step(self) -> Stop | None:
        if stop := self.halted(Phase.TRAINING, self.best):
            return stop
        text = "Route {{ ticket }}. " + "a b c"[: 2 * self.number - 1]
        candidate = Candidate(f"{self.number}.1", ("route.md",), "next", overlay={"route.md": text})
        candidate = candidate.ran(self.evaluate([candidate.overlay], self.group.ids(TRAIN))[0])
        self.best = candidate.to_evaluated()
        self.finish_iteration(Phase.TRAINING, [candidate.decided(ACCEPTED, "one rule more")], self.best)
        return None


class BySearch(ByStep):
    """The same, with the control in its own hands."""

    def search(self) -> Stop:
        while (stop := self.step()) is None:
            self.notes.append(f"{len(self.iterations)} made")
        return stop


@pytest.mark.parametrize("kind", [ByStep, BySearch])
def test_a_strategy_has_steps_or_a_search_of_its_own(kind: type[BaseSearch]) -> None:
    result = World(needs("a b c"), strategy=kind).result()
    assert (result.stop, result.after) == ("target reached", "Route {{ ticket }}. a b c")
    assert [iteration.best for iteration in result.iterations] == [pytest.approx(n / 3) for n in (1, 2, 3)]


def test_a_strategy_that_has_neither_is_told_so() -> None:
    class Idle(BaseSearch):
        pass

    result = World(needs("a b c"), strategy=Idle).run()
    assert result.prompts[0].stop == "error"
    assert "the strategy Idle has neither `step` nor `search`" in str(result.errors)
