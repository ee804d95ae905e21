"""Is a gain more than noise? Worlds whose truth is known; the full table is in benchmarks/confirmation.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_promptopt.records import Case, Split
from pytest_promptopt.refine.confirmation import detectable, least_pairs, planned_pairs
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.results import Confirmation
from tests.confirmation_world import confirmed

Chances = Sequence[tuple[float, float]]


def many(
    chances: Chances, *, runs: int, candidates: int = 1, alpha: float = 0.05
) -> list[tuple[Confirmation, int]]:
    """The confirmations, with their calls, of the runs whose search has a winner."""
    found = (confirmed(chances, seed=seed, candidates=candidates, alpha=alpha) for seed in range(runs))
    return [(confirmation, calls) for confirmation, calls in found if confirmation is not None]


def improved(found: Sequence[tuple[Confirmation, int]], *, within: int = 1200) -> int:
    return sum(confirmation.verdict == "improved" and calls <= within for confirmation, calls in found)


def group(cases: int, *, heldout: int = 0, prompts: int = 1) -> Group:
    splits = [Split.TRAIN] * cases + [Split.HELDOUT] * heldout
    names = tuple(f"{number}.md" for number in range(prompts))
    return Group((), tuple(Case(str(number), names, split) for number, split in enumerate(splits)))


@pytest.mark.parametrize("chance", [0.5, 0.9])
def test_the_best_of_many_candidates_without_effect_is_hardly_ever_confirmed(chance: float) -> None:
    found = many([(chance, chance)] * 60, runs=120, candidates=10)
    assert len(found) > 100
    assert improved(found) <= 10


@pytest.mark.parametrize(("alpha", "most"), [(0.01, 4), (0.2, 25)])
def test_alpha_is_how_often_luck_is_confirmed(alpha: float, most: int) -> None:
    found = many([(0.5, 0.5)] * 20, runs=60, candidates=10, alpha=alpha)
    assert len(found) > 50
    assert improved(found) <= most
    assert all((one.verdict == "improved") == (one.p <= alpha) for one, _ in found)


@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.5])
def test_one_case_fixed_for_good_is_shown_at_every_alpha(alpha: float) -> None:
    for same in (0, 1, 99):
        found = many([(0.0, 1.0)] + [(1.0, 1.0)] * same, runs=2, alpha=alpha)
        assert improved(found) == 2


def test_a_loss_spread_over_the_cases_that_looked_unchanged_is_seen() -> None:
    chances = [(0.0, 1.0)] * 3 + [(1.0, 0.95)] * 97
    found = many(chances, runs=60, candidates=60)
    assert len(found) > 50
    assert improved(found) <= 1
    assert sum(confirmation.estimate < 0 for confirmation, _ in found) > 40


@pytest.mark.parametrize(("before", "within"), [(0.5, 1200), (0.7, 900), (0.85, 500)])
def test_ten_points_of_a_hundred_noisy_cases_are_mostly_shown(before: float, within: int) -> None:
    found = many([(before, before + 0.1)] * 100, runs=60)
    assert improved(found, within=within) >= 0.8 * len(found)


@pytest.mark.parametrize(
    ("fixed", "broken", "same", "most"),
    [(3, 0, 7, 26), (1, 0, 0, 12), (1, 0, 99, 210), (60, 0, 0, 120), (3, 1, 20, 96), (12, 9, 79, 1200)],
)
def test_a_net_gain_of_a_model_that_always_answers_the_same_is_confirmed_each_time(
    fixed: int, broken: int, same: int, most: int
) -> None:
    chances = [(0.0, 1.0)] * fixed + [(1.0, 0.0)] * broken + [(1.0, 1.0)] * same
    found = many(chances, runs=5)
    assert improved(found) == 5
    assert all(calls <= most for _, calls in found)
    confirmation, _ = found[0]
    assert confirmation.estimate == pytest.approx((fixed - broken) / len(chances))


def test_a_loss_beyond_chance_is_told_as_one() -> None:
    found = many([(0.7, 0.4)] * 10, runs=50, candidates=10)
    assert len(found) > 10, "some searches are that lucky"
    assert {confirmation.verdict for confirmation, _ in found} <= {"worse", "not shown"}
    assert sum(confirmation.verdict == "worse" for confirmation, _ in found) > len(found) / 2


def test_too_many_cases_for_the_calls_are_sampled_from_both_strata() -> None:
    found, calls = confirmed([(0.0, 1.0)] * 200 + [(1.0, 1.0)] * 600, seed=1)
    assert found is not None
    assert (found.verdict, found.pairs, calls) == ("improved", 200, 400)
    assert found.estimate == pytest.approx(0.25), "each stratum weighs what it weighs among all cases"


class TestThePlan:
    def test_it_grows_with_the_cases_up_to_a_limit(self) -> None:
        assert planned_pairs([group(1), group(10, heldout=50), group(500)], None, 0.05) == [6, 60, 600]

    def test_a_smaller_alpha_takes_more_pairs_and_shows_less_with_as_many(self) -> None:
        assert [least_pairs(alpha) for alpha in (0.5, 0.05, 0.01, 0.001)] == [3, 6, 8, 12]
        assert planned_pairs([group(1), group(10), group(500)], None, 0.01) == [8, 80, 600]
        assert planned_pairs([group(10)], 48, 0.01) == [8]
        assert planned_pairs([group(10)], 47, 0.01) == [0]
        assert planned_pairs([group(10)], 18, 0.5) == [3]
        assert detectable(600, 0.5) < detectable(600, 0.05) < detectable(600, 0.001)
        assert planned_pairs([group(1)], None, 1e-300) == [998]
        assert 0.8 < detectable(998, 1e-300) < 0.9

    def test_a_ceiling_gives_it_a_third(self) -> None:
        assert planned_pairs([group(100)], 600, 0.05) == [100]
        assert planned_pairs([group(1), group(99)], 600, 0.05) == [6, 99]
        assert planned_pairs([group(100, prompts=2)], 600, 0.05) == [50], "both prompts of a pipeline call"

    def test_what_cannot_show_anything_is_not_set_aside(self) -> None:
        assert planned_pairs([group(10)], 36, 0.05) == [6]
        assert planned_pairs([group(10)], 35, 0.05) == [0]
        assert planned_pairs([group(10), group(10)], 71, 0.05) == [0, 0]

    def test_a_prompt_with_held_out_cases_only_takes_no_part(self) -> None:
        assert planned_pairs([group(0, heldout=5)], 600, 0.05) == [0]
        assert planned_pairs([group(0, heldout=5), group(100)], 600, 0.05) == [0, 100]
        assert planned_pairs([group(0, heldout=5), group(10)], 36, 0.05) == [0, 6]

    def test_the_gain_it_shows_is_ten_points_for_a_hundred_noisy_cases(self) -> None:
        assert detectable(600, 0.05) == pytest.approx(0.1, abs=0.01)
        assert detectable(150, 0.05) == pytest.approx(2 * detectable(600, 0.05))
        assert detectable(1, 0.05) == 1.0
