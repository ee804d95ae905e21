"""From all that a strategy is handed no way leads to a held-out case, the journal, the cache or a file."""

from __future__ import annotations

import copy
import functools
import gc
import io
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.failures import FailedCase
from pytest_promptopt.journal import Journal
from pytest_promptopt.optimizer.call_budget import CallBudget
from pytest_promptopt.optimizer.foreign_errors import ForeignErrors
from pytest_promptopt.optimizer.halting import Stop
from pytest_promptopt.optimizer.opaque_callables import drop_opaque, make_opaque
from pytest_promptopt.optimizer.proposal.proposer import ProposalRequest, propose_texts
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply
from pytest_promptopt.optimizer.protocols import Ask
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.screening import ScreeningEvaluator
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.supervised_search import SupervisedSearch
from pytest_promptopt.records import Case, Split
from pytest_promptopt.response_cache import ResponseCache
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.hybrid import Hybrid
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.reachable import reachable
from tests.refine_world import HELDOUT, VALIDATION, Need, World, needs

#: Stands in the id, the input and the expected value of every held-out case, and nowhere else.
MARK = "0f-the-judge"

KEPT = [
    Need(f"case-{MARK}-{number}", rule, HELDOUT, expected=f"label-{MARK}", secret=f"asks {MARK}")
    for number, rule in enumerate("ab")
]

OF_THE_RUN = (
    World,
    Journal,
    ResponseCache,
    io.IOBase,
    RunContext,
    CallBudget,
    ForeignErrors,
    ScreeningEvaluator,
    SupervisedSearch,
)


def leaks(start: object) -> Iterator[str]:
    """The ways from `start` to what a search may not have."""
    for way, found in reachable(start):
        told = isinstance(found, str) and MARK in found
        kept = isinstance(found, Case) and found.split is Split.HELDOUT
        if told or kept or isinstance(found, OF_THE_RUN):
            yield f"{way}: {type(found).__name__}"


#: Every search of this test, and what led too far while it ran.
SEARCHES: list[Any] = []
FOUND: list[str] = []


class Looking:
    """Looks around in a search of another class, at its beginning and at every halt."""

    def search(self) -> Stop:
        SEARCHES.append(self)
        FOUND.extend(leaks(self))
        stop: Stop = super().search()  # type: ignore[misc]
        FOUND.extend(leaks(self))
        return stop


class LookingRefine(Looking, RefineSearch): ...


class LookingEvolve(Looking, Evolve): ...


class LookingHybrid(Looking, Hybrid): ...


def looking_proposer(request: ProposalRequest, ask: Ask) -> list[Reply | InvalidReply]:
    """A hook is handed the same `ask` as a search, and a request that its search has made."""
    FOUND.extend(leaks((request, ask)))
    return propose_texts(request, ask)


def looking_categorizer(case: FailedCase) -> None:
    FOUND.extend(leaks(case))


def looking_observer(*told: object) -> None:
    FOUND.extend(leaks(told))


@pytest.mark.parametrize("strategy", [LookingRefine, LookingEvolve, LookingHybrid])
def test_a_walk_from_a_search_reaches_nothing_held_out(strategy: Any, tmp_path: Path) -> None:
    SEARCHES.clear()
    FOUND.clear()
    hooks = SearchHooks(
        propose=looking_proposer,
        categorize=looking_categorizer,
        progress=looking_observer,
        iteration_finished=looking_observer,
    )
    world = World(
        needs("a b c -") + needs("a b", VALIDATION) + KEPT,
        ["a", "a b", "a b c"] * 20,
        hooks=hooks,
        strategy=strategy,
        left=lambda: 1000,
    )
    journal = Journal.create(tmp_path, "r")
    result = world.run(journal=journal, candidates=2)
    journal.close()
    assert result.prompts[0].outcome == "improved", "the held-out cases had their turn"
    assert [score.after for score in result.prompts[0].scores if score.split is HELDOUT] == [1.0]
    assert not result.errors
    assert SEARCHES
    assert FOUND == []
    assert [leak for search in SEARCHES for leak in leaks(search)] == [], "nor when the run is over"


def test_a_search_still_works_through_what_it_cannot_see() -> None:
    """The walk goes far enough to see what a search does have."""
    SEARCHES.clear()
    world = World(needs("a b") + KEPT, ["a b"], strategy=LookingRefine)
    world.run()
    texts = {found for _, found in reachable(SEARCHES[0]) if isinstance(found, str)}
    assert "train-1-a" in texts
    assert any("asks about a" in text for text in texts)


# ---------------------------------------------------------------------------- the walk sees what it should


@dataclass(frozen=True)
class Slotted:
    __slots__ = ("held",)
    held: object


class Owner:
    def __init__(self, held: object) -> None:
        self.held = held

    def method(self) -> object:
        return self.held


def closed_over(held: object) -> Callable[[], object]:
    return lambda: held


def defaulting(held: object) -> Callable[..., object]:
    def function(*, given: object = held) -> object:
        return given

    return function


@pytest.mark.parametrize(
    "wrap",
    [
        Owner,
        Slotted,
        closed_over,
        defaulting,
        lambda held: Owner(held).method,
        lambda held: functools.partial(print, held),
        lambda held: functools.partial(print, end=held),
        lambda held: functools.partial(closed_over(held)),
        lambda held: functools.wraps(closed_over(held))(lambda: None),
        lambda held: {1: [(held,)]},
        lambda held: {held: 1},
        lambda held: type("Own", (), {"of_all": held})(),
        lambda held: [weakref.ref(held)],
        lambda held: closed_over(functools.partial(Owner(Slotted(held)).method)),
    ],
)
def test_the_walk_follows_every_kind_of_reference(wrap: Callable[[object], object]) -> None:
    class Treasure: ...

    treasure = Treasure()
    assert treasure in [found for _, found in reachable(wrap(treasure))]


def test_the_walk_ends_at_an_opaque_callable() -> None:
    treasure = Owner("gold")
    front = make_opaque(treasure.method)
    assert front() == "gold"
    assert treasure not in [found for _, found in reachable(front)]


def test_an_opaque_callable_is_copied_as_a_function_is() -> None:
    """Engines of other libraries copy what holds a search."""
    front = make_opaque(Owner("gold").method)
    for copied in (copy.copy(front), copy.deepcopy({"held": front})["held"]):
        assert copied is front
        assert copied() == "gold"


def test_what_stands_behind_goes_with_its_front() -> None:
    treasure = Owner("gold")
    front = make_opaque(treasure.method)
    seen = weakref.ref(treasure)
    del treasure
    assert front() == "gold"
    del front
    gc.collect()
    assert seen() is None


def test_what_stands_behind_is_dropped_when_the_search_is_over() -> None:
    """Whoever keeps the front, a plugin's hook for example, keeps nothing but it."""
    treasure = Owner("gold")
    front = treasure.held = make_opaque(treasure.method)
    seen = weakref.ref(treasure)
    drop_opaque(front)
    del treasure
    gc.collect()
    assert seen() is None
    with pytest.raises(RuntimeError, match="the search that this was a part of is over"):
        front()


def test_what_is_no_opaque_callable_is_not_dropped() -> None:
    drop_opaque([])


def test_the_walk_names_the_way_to_a_leak() -> None:
    assert list(leaks(Owner([KEPT[0].record()]))) == ["it.held[0]: Case", "it.held[0].id: str"]
