"""The statistics say what textbooks say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from math import prod
from statistics import NormalDist
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.statistics import (
    PairedTest,
    SignLooks,
    effective_cases,
    least_changes,
    paired_test,
    repeated_gain_p,
    sign_test,
    small_split,
    wilson_interval,
)

counts = st.integers(min_value=0, max_value=200)


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (1, 0, 0.5), (5, 0, 1 / 32), (9, 1, 11 / 1024), (3, 3, 42 / 64), (0, 4, 1.0)],
)
def test_p_is_the_tail_of_a_fair_coin(better: int, worse: int, p: float) -> None:
    assert sign_test(better, worse) == pytest.approx(p)


@pytest.mark.parametrize(
    ("alpha", "least", "split"), [(0.05, 5, 10), (0.5, 1, 10), (0.25, 2, 10), (0.01, 7, 14), (0.001, 10, 20)]
)
def test_a_smaller_alpha_takes_more_changed_cases(alpha: float, least: int, split: int) -> None:
    assert (least_changes(alpha), small_split(alpha)) == (least, split)
    assert sign_test(least - 1, 0) > alpha >= sign_test(least, 0)


def test_thousands_of_cases_do_not_overflow() -> None:
    assert sign_test(3000, 2000) < 1e-40
    assert sign_test(2000, 3000) == pytest.approx(1.0)


@given(better=counts.filter(bool), worse=counts)
def test_the_tail_and_the_rest_make_one(better: int, worse: int) -> None:
    assert sign_test(better, worse) + sign_test(worse + 1, better - 1) == pytest.approx(1.0)


@given(better=counts, worse=counts)
def test_one_more_fixed_case_never_weakens_the_evidence(better: int, worse: int) -> None:
    assert sign_test(better + 1, worse) <= sign_test(better, worse)


def test_counts_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="got -1 and 2"):
        sign_test(-1, 2)


@pytest.mark.parametrize(
    ("rate", "cases", "low", "high"),
    [(0.5, 10, 0.2366, 0.7634), (0.9, 10, 0.5958, 0.9821), (0.0, 10, 0.0, 0.2775), (1.0, 10, 0.7225, 1.0)],
)
def test_wilson_matches_published_values(rate: float, cases: int, low: float, high: float) -> None:
    assert wilson_interval(rate, cases) == pytest.approx((low, high), abs=5e-4)


def test_no_case_says_nothing() -> None:
    assert wilson_interval(0.0, 0) == (0.0, 1.0)
    assert effective_cases([]) == 0


def test_cases_of_several_weights_say_less_than_as_many_of_one() -> None:
    assert effective_cases([2.0] * 30) == pytest.approx(30)
    assert effective_cases([1.0] * 30 + [100.0]) == pytest.approx(1.69, abs=0.01)


@given(rate=st.floats(min_value=0, max_value=1), cases=st.integers(min_value=1, max_value=10_000))
def test_the_interval_holds_the_rate(rate: float, cases: int) -> None:
    low, high = wilson_interval(rate, cases)
    assert 0.0 <= low <= rate + 1e-12
    assert rate - 1e-12 <= high <= 1.0


def chance_of_a_look(differing: Sequence[int], allowed: Sequence[float], *, better: float = 0.5) -> float:
    """By brute force over all signs: the chance that one of the looks shows a gain."""
    chance = 0.0
    for signs in product((True, False), repeat=differing[-1]):
        looks = SignLooks()
        won = [sum(signs[:count]) for count in differing]
        shown = [
            looks.look(up, count - up, most) for up, count, most in zip(won, differing, allowed, strict=True)
        ]
        chance += shown[-1] * better ** sum(signs) * (1 - better) ** (len(signs) - sum(signs))
    return chance


@pytest.mark.parametrize("differing", [[5], [2, 5, 9], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [4, 4, 11]])
def test_the_errors_of_all_looks_add_up_to_what_is_allowed(differing: list[int]) -> None:
    for most in (0.05, 0.2):
        allowed = [most * (number + 1) / len(differing) for number in range(len(differing))]
        assert 0 < chance_of_a_look(differing, allowed) <= most
        assert chance_of_a_look(differing, allowed, better=0.8) > 3 * most


def test_many_looks_find_a_clear_gain_early_and_one_look_is_the_plain_test() -> None:
    looks = SignLooks()
    assert [looks.look(count, 0, 0.05) for count in range(7)] == [False] * 5 + [True] * 2
    once = SignLooks()
    assert once.look(9, 2, 0.05)
    assert once.p == pytest.approx(sign_test(9, 2))


@pytest.mark.parametrize(
    "means",
    [
        [(1.0, 0.0), (0.0, 0.5), (0.0, 0.5)],
        [(0.5, 0.0), (0.0, 0.5)],
        [(0.6, 0.0), (0.0, 0.3), (0.0, 0.3)] * 2,
    ],
)
@pytest.mark.parametrize("rounds", [2, 3])
def test_a_gain_that_repeats_is_as_rare_as_said_where_the_mean_does_not_rise(
    means: list[tuple[float, float]], rounds: int
) -> None:
    """By brute force: each case is better or worse in a pair with these chances."""
    chances = Counter[int]()
    for round_ in product((1, -1, 0), repeat=len(means)):
        each = [
            {1: up, -1: down, 0: 1 - up - down}[sign] for sign, (up, down) in zip(round_, means, strict=True)
        ]
        chance = prod(each)
        chances[sum(round_)] += chance**rounds  # type: ignore[assignment]
    for gain in range(1, len(means) + 1):
        assert sum(chances[each] for each in chances if each >= gain) <= repeated_gain_p(gain, rounds)


def test_what_did_not_repeat_or_is_no_gain_shows_nothing() -> None:
    assert [repeated_gain_p(3, 0), repeated_gain_p(3, 1), repeated_gain_p(0, 9), repeated_gain_p(-1, 9)] == [
        1.0
    ] * 4


hundredths = st.integers(min_value=-100, max_value=100).map(lambda number: number / 100)


def by_hand(changes: Sequence[float], side: int) -> float:
    """The share of all ways to turn the changes round whose sum is as high, or as low."""
    sizes = [round(100 * change) for change in changes]
    sums = [side * sum(a * b for a, b in zip(sizes, signs, strict=True)) for signs in ways(len(sizes))]
    return sum(each >= side * sum(sizes) for each in sums) / len(sums)


def ways(count: int) -> list[tuple[int, ...]]:
    return list(product((-1, 1), repeat=count))


@given(changes=st.lists(hundredths, max_size=8))
def test_graded_changes_are_tested_by_all_ways_to_turn_them_round(changes: list[float]) -> None:
    found = paired_test(changes)
    assert found.better == pytest.approx(by_hand(changes, 1))
    assert found.worse == pytest.approx(by_hand(changes, -1))


@given(better=st.integers(0, 30), worse=st.integers(0, 30), same=st.integers(0, 9))
def test_where_only_whole_cases_change_it_is_the_sign_test(better: int, worse: int, same: int) -> None:
    found = paired_test([1.0] * better + [0.0] * same + [-1.0] * worse)
    assert found == PairedTest(sign_test(better, worse), sign_test(worse, better), "sign test")


@given(changes=st.lists(hundredths, max_size=12))
def test_turned_round_the_two_sides_of_the_test_change_places(changes: list[float]) -> None:
    found, back = paired_test(changes), paired_test([-change for change in changes])
    assert (back.better, back.worse, back.test) == (found.worse, found.better, found.test)
    assert found.better + found.worse >= 1.0 - 1e-9, "as it is belongs to both"


@given(changes=st.lists(hundredths, max_size=12), size=hundredths.filter(lambda each: each > 0))
def test_one_more_graded_gain_never_weakens_the_evidence(changes: list[float], size: float) -> None:
    before, after = paired_test(changes), paired_test([*changes, size])
    assert after.better <= before.better + 1e-9
    assert after.worse >= before.worse - 1e-9


def test_graded_gains_that_never_pass_a_case_are_shown() -> None:
    assert paired_test([0.5] * 8 + [0.0] * 4) == PairedTest(1 / 256, 1.0, "paired permutation test")
    assert paired_test([-0.1] * 6).worse == 1 / 64


def test_changes_below_half_a_hundredth_count_as_none() -> None:
    assert paired_test([0.004, -0.004]) == PairedTest(1.0, 1.0, "sign test")


def test_five_hundred_graded_cases_are_tested_fast_and_thousands_too() -> None:
    """The figures of the normal distribution, which so many come near to."""
    for cases in (500, 3000):
        changes = [(number * 37 % 201 - 97) / 100 for number in range(cases)]
        began = process_time()
        found = paired_test(changes)
        assert process_time() - began < 10
        reach = sum(changes) / sum(change * change for change in changes) ** 0.5
        assert found.better == pytest.approx(1 - NormalDist().cdf(reach), abs=0.005)


def test_a_graded_test_errs_as_often_as_it_may() -> None:
    """Of all ways to turn changes round, which are alike likely, at most a share p has a p-value of p."""
    sizes = [0.05, 0.1, 0.25, 0.25, 0.4, 0.55, 0.6, 0.7, 1.0]
    found = [
        paired_test([side * size for side, size in zip(way, sizes, strict=True)]).better
        for way in ways(len(sizes))
    ]
    for p in (0.01, 0.05, 0.2, 0.5):
        assert sum(each <= p for each in found) / len(found) <= p
