"""The statistics say what textbooks say."""

from __future__ import annotations

from itertools import product
from operator import mul

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.evidence import Signs, least_changes, sign_test, small_split, weighted_sign_test, wilson

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
    assert wilson(rate, cases) == pytest.approx((low, high), abs=5e-4)


def test_no_case_says_nothing() -> None:
    assert wilson(0.0, 0) == (0.0, 1.0)


@given(rate=st.floats(min_value=0, max_value=1), cases=st.integers(min_value=1, max_value=10_000))
def test_the_interval_holds_the_rate(rate: float, cases: int) -> None:
    low, high = wilson(rate, cases)
    assert 0.0 <= low <= rate + 1e-12
    assert rate - 1e-12 <= high <= 1.0


@given(better=counts, worse=counts, weight=st.integers(1, 9))
def test_with_equal_weights_the_weighted_test_is_the_plain_one(better: int, worse: int, weight: int) -> None:
    first, second = Signs(better, 2, weight), Signs(1, worse, weight)
    assert weighted_sign_test(first, second) == pytest.approx(sign_test(better + 1, worse + 2))


@given(
    signs=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=9),
    weights=st.tuples(*[st.integers(1, 7)] * 2),
)
def test_the_weighted_test_counts_every_way_to_choose_the_signs(
    signs: list[tuple[bool, bool]], weights: tuple[int, int]
) -> None:
    """By brute force: each differing pair is in one of two strata, and is better or worse."""
    sizes = [weights[stratum] for stratum, _ in signs]
    observed = sum(size if better else -size for size, (_, better) in zip(sizes, signs, strict=True))
    ways = list(product((-1, 1), repeat=len(sizes)))
    as_high = sum(sum(map(mul, way, sizes)) >= observed for way in ways)
    strata = [
        Signs(signs.count((stratum, True)), signs.count((stratum, False)), weights[stratum])
        for stratum in (False, True)
    ]
    assert weighted_sign_test(*strata) == pytest.approx(as_high / len(ways))
