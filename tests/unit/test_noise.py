"""No prompt has any effect: what does a run claim? The full table is in benchmarks/noise.py."""

from __future__ import annotations

from functools import cache

import pytest

from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.noise_world import SOUND, Claims, Judged, Noise, Scores, claims, noisy_cases, quarters, uniform

RUNS = 20

#: If one run in twenty claims something false, more than this are as rare as one round in a thousand.
MOST = 5


@cache
def many(
    strategy: Strategy, *, chance: float = 0.5, wording: bool = False, judged: Scores | None = None
) -> list[Claims]:
    cases = noisy_cases(25, heldout=30)
    worlds = (
        Noise(cases, chance=chance, wording=wording, judged=judged, seed=seed, strategy=strategy)
        for seed in range(RUNS)
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


@pytest.mark.parametrize("judged", [uniform, quarters])
def test_scores_of_a_judge_who_looks_at_nothing_hardly_ever_rewrite_a_prompt(judged: Scores) -> None:
    found = many(Evolve, judged=judged)
    assert sum(run.fresh for run in found) > 2 * MOST, "many searches have a winner"
    assert sum(run.written for run in found) <= MOST


def test_where_scores_hang_on_the_wording_alone_held_out_cases_tell() -> None:
    found = many(Evolve, wording=True, judged=uniform)
    assert sum(run.confirmed for run in found) > 2 * MOST, "fresh answers repeat that luck"
    assert sum(run.carries for run in found) <= MOST


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.8), (0.7, 0.8)])
def test_a_text_that_raises_all_scores_is_found_though_no_case_ever_passes(low: float, high: float) -> None:
    for seed in range(2):
        world = Judged(noisy_cases(30, heldout=20), low=low, high=high, found=0.5, seed=seed)
        result = world.result(candidates=3, max_iterations=2, seed=seed)
        assert SOUND in result.after
        assert (result.outcome, result.written, result.fixed) == ("improved", True, ())
        heldout = result.scores[-1]
        assert (heldout.fixed, heldout.chance.test) == (0, "paired permutation test")
        assert heldout.chance.better < 0.05


class WorseOnHeldout(Judged):
    """Where the search does not look, the text that raises all scores lowers them a little."""

    def score(self, text: str, case: str, sample: int = 0) -> float:
        score = super().score(text, case, sample)
        return score - 0.6 * (SOUND in text) if case.startswith("heldout") else score


def test_scores_that_fall_on_held_out_cases_keep_the_text_out_of_the_file() -> None:
    world = WorseOnHeldout(noisy_cases(30, heldout=20), found=1.0)
    result = world.result(candidates=1, max_iterations=1)
    assert (result.outcome, result.accepted, world.written) == ("worse", False, {})
    assert result.unwritten.startswith("on held-out cases it is worse than the original (")
    assert "0 fixed, 0 broken, " in result.unwritten
