"""A judge that goes by length or place is caught, one that does not is left alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.grading import judge_bias
from pytest_promptopt.grading.judge_bias import (
    BiasTest,
    ComparedLengths,
    GradedLength,
    Share,
    length_bias,
    length_bias_of_pairs,
    permutation_test,
    position_bias,
)
from pytest_promptopt.verdicts import Better
from tests.benchmarks.judge_bias import BIASED, Judge
from tests.judge_world import AnswerWorld, PairWorld

#: What was preferred with `a` shown first, and with `b` shown first.
FIRST: tuple[Better, Better] = ("a", "b")
SECOND: tuple[Better, Better] = ("b", "a")
A: tuple[Better, Better] = ("a", "a")


class TestThePermutationTest:
    def test_two_values_are_fishers_exact_test(self) -> None:
        # The lady tasting tea: 3 of 4 cups right. Two-sided as in R's fisher.test: 34/70.
        cups = [(1.0, True)] * 3 + [(1.0, False)] + [(0.0, True)] + [(0.0, False)] * 3
        side, p = permutation_test([cups])
        assert side == 1
        assert p == pytest.approx(34 / 70)

    def test_ranks_are_wilcoxons_test(self) -> None:
        values = [(float(n), n >= 4) for n in range(7)]
        side, p = permutation_test([values])
        assert side == 1
        assert p == pytest.approx(2 / comb(7, 3))

    @given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=7), max_size=2))
    def test_it_counts_every_choice(self, strata: list[list[tuple[int, bool]]]) -> None:
        _, p = permutation_test([[(float(value), flag) for value, flag in stratum] for stratum in strata])
        assert p == pytest.approx(by_enumeration(strata))

    def test_turning_all_flags_turns_the_side_and_nothing_else(self) -> None:
        values = [(1.0, True), (2.0, False), (3.0, True), (4.0, True), (9.0, True)]
        side, p = permutation_test([values])
        turned, same = permutation_test([[(value, not flag) for value, flag in values]])
        assert turned == -side
        assert same == pytest.approx(p)

    def test_many_labels_are_approximated_closely(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = random.Random(2)
        values = [(n / 150, rng.random() < 0.2 + 0.2 * n / 150) for n in range(150)]
        side, exact = permutation_test([values])
        monkeypatch.setattr(judge_bias, "_COUNTED", 0)
        same_side, p = permutation_test([values])
        assert same_side == side
        assert p != exact
        assert p == pytest.approx(exact, abs=0.005)

    def test_nothing_to_compare_shows_nothing(self) -> None:
        flat: list[list[tuple[float, bool]]] = [
            [],
            [(1.0, True)],
            [(1.0, False), (2.0, False)],
            [(3.0, True), (3.0, False)],
        ]
        assert permutation_test([]) == (0, 1.0)
        assert permutation_test(flat) == (0, 1.0)
        assert [permutation_test([stratum]) for stratum in flat] == [(0, 1.0)] * 4


def by_enumeration(strata: Sequence[Sequence[tuple[int, bool]]]) -> float:
    """The two-sided p-value by trying every choice of flags; the ranks are the package's."""
    sums, seen, mean = [0.0], 0.0, 0.0
    for stratum in strata:
        steps = judge_bias._ranked([float(value) for value, _ in stratum])
        taken = sum(flag for _, flag in stratum)
        choices = [sum(choice) for choice in combinations(steps, taken)]
        sums = [a + b for a in sums for b in choices]
        seen += sum(step for step, (_, flag) in zip(steps, stratum, strict=True) if flag)
        mean += sum(choices) / len(choices)
    return sum(abs(total - mean) >= abs(seen - mean) - 1e-9 for total in sums) / len(sums)


class TestLengthOfAnswers:
    def test_long_ones_that_pass_more_often_than_short_ones_of_their_class(self) -> None:
        answers = [GradedLength(length, good, length > 50) for length in range(100) for good in (True, False)]
        found = length_bias(answers)
        assert (found.direction, found.rejects) == ("long", True)
        assert found.shares == (Share(98, 100), Share(0, 100))

    def test_it_does_not_count_that_good_answers_are_the_longer_ones(self) -> None:
        answers = [GradedLength(length, length > 50, length > 50) for length in range(100)]
        assert length_bias(answers).p == 1

    def test_no_answer_is_no_bias(self) -> None:
        assert length_bias([]) == BiasTest("", 1.0, (Share(0, 0), Share(0, 0)))


class TestLengthOfPairs:
    def test_misses_where_the_worse_one_is_longer(self) -> None:
        pairs = [ComparedLengths(10, 20, n > 20) for n in range(50)] + [ComparedLengths(20, 10, True)] * 50
        found = length_bias_of_pairs(pairs)
        assert (found.direction, found.rejects, found.shares) == ("long", True, (Share(21, 50), Share(0, 50)))

    def test_misses_where_the_worse_one_is_shorter(self) -> None:
        pairs = [ComparedLengths(20, 10, n > 20) for n in range(50)] + [ComparedLengths(10, 20, True)] * 50
        assert length_bias_of_pairs(pairs).direction == "short"

    def test_errors_to_one_side_are_no_bias_where_nearly_all_pairs_are_of_that_kind(self) -> None:
        # Nine errors to the short side and one to the long: a sign test would call that a bias at .05.
        pairs = [ComparedLengths(20, 10, n >= 18) for n in range(360)]
        pairs += [ComparedLengths(10, 20, n >= 2) for n in range(40)]
        assert length_bias_of_pairs(pairs).p > 0.5

    def test_equal_lengths_say_nothing(self) -> None:
        pairs = [ComparedLengths(10, 20, False)] * 8 + [ComparedLengths(20, 10, True)] * 8
        equal = [ComparedLengths(5, 5, False)] * 30
        assert length_bias_of_pairs([*pairs, *equal]).p == length_bias_of_pairs(pairs).p
        assert length_bias_of_pairs(equal).p == 1


class TestPosition:
    def test_first_whatever_stands_there(self) -> None:
        orders: list[tuple[Better, Better]] = [("tie", "a")]
        for count, order in ((13, FIRST), (2, SECOND), (100, A)):
            orders += [order] * count
        found = position_bias(orders)
        assert (found.direction, found.shares) == ("first", (Share(13, 116), Share(2, 116)))
        assert found.p == pytest.approx(2 * (1 + 15 + 105) / 2**15)  # of 15 tosses, 13 or more on one side
        assert found.rejects

    def test_contradictions_to_both_sides_alike_are_no_bias(self) -> None:
        orders = [FIRST, SECOND] * 20
        assert position_bias(orders).p == 1
        assert position_bias([]).p == 1


def test_a_bias_test_is_stored_and_read() -> None:
    test = BiasTest("long", 0.25, (Share(1, 2), Share(3, 4)))
    assert BiasTest.from_json(test.to_json()) == test


@pytest.mark.parametrize("world", [AnswerWorld(), PairWorld()], ids=["answers", "pairs"])
def test_a_judge_that_prefers_long_answers_is_caught_and_another_is_not(
    world: AnswerWorld | PairWorld,
) -> None:
    """100 of the draws of `tests/benchmarks/judge_bias.py`, for answers and for pairs."""
    assert Judge(world, 200, BIASED).rejected(100) >= 0.80
    assert Judge(world, 200).rejected(100) <= 0.06
