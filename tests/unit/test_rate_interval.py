"""Intervals of rates miss the truth no more often than they say, whatever the rate, however few answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.rate_interval import BETTING, CLOPPER_PEARSON, Scores, clopper_pearson

score = st.floats(0, 1)
weight = st.floats(0.1, 10)


def test_the_textbooks_interval_of_verdicts() -> None:
    found = clopper_pearson(8, 10, 0.05)
    assert [found.low, found.high] == pytest.approx([0.4439, 0.9748], abs=1e-4)
    none = clopper_pearson(0, 20, 0.05)
    assert [none.low, none.high] == pytest.approx([0.0, 1 - 0.025 ** (1 / 20)])


@pytest.mark.parametrize("chance", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("of", [5, 30])
def test_verdicts_miss_the_truth_on_either_side_in_at_most_half_of_the_error(chance: float, of: int) -> None:
    """Summed up over all that can come out, so no luck is in it."""
    above = below = 0.0
    for count in range(of + 1):
        happens = comb(of, count) * chance**count * (1 - chance) ** (of - count)
        found = clopper_pearson(count, of, 0.1)
        above += happens * (found.low > chance)
        below += happens * (found.high < chance)
    assert above <= 0.05
    assert below <= 0.05


DRAWS: dict[str, tuple[Callable[[random.Random], float], float]] = {
    "rare full marks": (lambda rng: float(rng.random() < 0.02), 0.02),
    "graded": (lambda rng: rng.choice([0.0, 0.5, 0.5, 1.0]), 0.5),
    "nearly equal": (lambda rng: 0.8 + 0.1 * rng.random(), 0.85),
}


@pytest.mark.parametrize("name", DRAWS)
def test_bets_miss_the_mean_of_scores_in_at_most_half_of_the_error(name: str) -> None:
    """2,000 times at 20 %: an error of 10 % on a side would show more than 239 once in 1,000 times."""
    draw, mean = DRAWS[name]
    rng = random.Random(7)
    above = below = 0
    for _ in range(2000):
        found = Scores(tuple(draw(rng) for _ in range(12)), (1.0,) * 11 + (2.0,)).interval(0.2)
        above += found.low > mean
        below += found.high < mean
    assert max(above, below) <= 239


def test_cases_of_unequal_rates_have_the_interval_of_their_mean() -> None:
    """Half of the cases never fail, half are right in 6 of 10 times: bets on the mean win no more for it."""
    rng = random.Random(3)
    misses = 0
    for _ in range(2000):
        scores = tuple(0.5 + 0.5 * (case % 2 == 0 or rng.random() < 0.6) for case in range(20))
        found = Scores(scores).interval(0.2)
        misses += not found.low <= 0.9 <= found.high
    assert misses <= 400


@given(st.lists(st.tuples(score, weight), min_size=1, max_size=30))
@settings(max_examples=60)
def test_an_interval_holds_what_was_measured(pairs: list[tuple[float, float]]) -> None:
    scores = Scores(tuple(s for s, _ in pairs), tuple(w for _, w in pairs))
    found = scores.interval(0.05)
    assert 0 <= found.low <= scores.mean + 1e-6
    assert scores.mean - 1e-6 <= found.high <= 1


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=30))
@settings(max_examples=40)
def test_more_confidence_and_fewer_answers_make_it_wider(values: list[float]) -> None:
    scores = Scores(tuple(values))
    sure, unsure, twice = scores.interval(0.01), scores.interval(0.2), Scores(tuple(values * 2)).interval(0.2)
    assert sure.low <= unsure.low + 1e-6
    assert unsure.high <= sure.high + 1e-6
    assert unsure.low <= twice.low + 1e-6
    assert twice.high <= unsure.high + 1e-6


def test_scores_between_or_weights_take_bets_and_verdicts_do_not() -> None:
    assert Scores((1.0, 0.0)).interval(0.05).method == CLOPPER_PEARSON
    assert Scores((1.0, 0.0), (2.0, 2.0)).interval(0.05).method == CLOPPER_PEARSON
    assert Scores((1.0, 0.5)).interval(0.05).method == BETTING
    assert Scores((1.0, 0.0), (1.0, 2.0)).interval(0.05).method == BETTING


def test_the_order_does_not_matter() -> None:
    """Under xdist cases come in another order each time."""
    scores, weights = (0.0, 0.5, 1.0, 1.0), (1.0, 2.0, 3.0, 1.5)
    assert Scores(scores, weights).interval(0.05) == Scores(scores[::-1], weights[::-1]).interval(0.05)


@pytest.mark.parametrize("scores", [(1.0,) * 18 + (0.0,) * 2, (1.0,) * 18 + (0.5,) * 2])
@pytest.mark.parametrize("least", [0.8, 0.97])
def test_so_many_repeats_decide(scores: tuple[float, ...], least: float) -> None:
    repeats = Scores(scores).repeats_to_decide(least, 0.05)
    assert repeats is not None
    more = Scores(scores * (int(repeats) + 1)).interval(0.05)
    assert more.low >= least or more.high < least
    fewer = Scores(scores * max(1, int(repeats * 0.8))).interval(0.05)
    assert fewer.low < least <= fewer.high


def test_no_number_of_repeats_decides_about_the_very_rate() -> None:
    assert Scores((1.0,) * 8 + (0.0,) * 2).repeats_to_decide(0.8, 0.05) is None
    assert Scores((1.0, 0.5, 0.0)).repeats_to_decide(0.5, 0.05) is None


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=12), st.floats(0, 1))
@settings(max_examples=60)
def test_the_plan_can_be_made_for_any_scores(values: list[float], least: float) -> None:
    found = Scores(tuple(values)).repeats_to_decide(least, 0.05)
    assert found is None or found >= 1
