"""No prompt has any effect: what does a run claim? The full table is in benchmarks/noise.py."""

from __future__ import annotations

from functools import cache

import pytest

from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.noise_world import Claims, Noise, claims, noisy_cases

RUNS = 20

#: If one run in twenty claims something false, more than this are as rare as one round in a thousand.
MOST = 5


@cache
def many(strategy: Strategy, *, chance: float, wording: bool) -> list[Claims]:
    cases = noisy_cases(25, heldout=30)
    worlds = (
        Noise(cases, chance=chance, wording=wording, seed=seed, strategy=strategy) for seed in range(RUNS)
    )
    iterations = 3 if strategy is Evolve else 2
    return [claims(world, candidates=3, max_iterations=iterations) for world in worlds]


@pytest.mark.parametrize("chance", [0.5, 0.9])
def test_the_luckiest_of_all_candidates_is_hardly_ever_written(chance: float) -> None:
    """A strategy that takes what it counted for the truth has a winner nearly always."""
    found = many(Evolve, chance=chance, wording=False)
    assert sum(run.fresh for run in found) > 2 * MOST, "many searches have a winner"
    assert sum(run.written for run in found) <= MOST


@pytest.mark.parametrize("chance", [0.5, 0.9])
def test_the_search_itself_hardly_ever_writes_one_either(chance: float) -> None:
    found = many(RefineSearch, chance=chance, wording=False)
    assert sum(run.written for run in found) <= MOST


def test_where_most_cases_pass_the_search_is_rarely_fooled_by_luck() -> None:
    found = many(RefineSearch, chance=0.9, wording=False)
    assert sum(run.fresh for run in found) <= MOST


def test_held_out_cases_tell_when_a_wording_only_happens_to_suit_the_others() -> None:
    found = many(Evolve, chance=0.9, wording=True)
    assert sum(run.confirmed for run in found) > 2 * MOST, "fresh answers repeat that luck"
    assert sum(run.carries for run in found) <= MOST
