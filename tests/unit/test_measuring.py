"""The worlds and figures of the benchmarks: they measure what they say."""

from __future__ import annotations

import pytest

from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.records import Role
from tests.foresight import Calibration, Shown
from tests.noise_world import Noise, noisy_cases
from tests.paid_world import paid_noise, paid_rules
from tests.rule_world import START


def shown(rate: float, truth: float, *, sd: float = 0.1, share: float = 0.5) -> Shown:
    return Shown(rate, rate - 1.645 * sd, rate + 1.645 * sd, sd, truth, share)


def test_rates_that_are_too_high_have_a_bias() -> None:
    found = Calibration.of([shown(0.9, 0.7), shown(0.8, 0.7)])
    assert found.bias == pytest.approx(0.15)
    assert found.held == 0.5


def test_intervals_that_are_too_narrow_show_in_their_spread() -> None:
    errors = (-0.2, 0.1, 0.2, -0.1)
    wide, narrow = (Calibration.of([shown(0.5 + e, 0.5, sd=sd) for e in errors]) for sd in (0.2, 0.05))
    assert wide.spread is not None
    assert narrow.spread is not None
    assert wide.spread < 1 < narrow.spread
    assert wide.held == 1.0
    assert narrow.held == 0.0


def test_a_text_that_was_run_whole_says_nothing_of_foresight() -> None:
    assert Calibration.of([shown(0.5, 0.5, sd=0.0, share=1.0)] * 3).held is None


def test_a_case_is_paid_once_for_each_text_and_sample() -> None:
    world = paid_rules(1000, seed=0)
    cases = tuple(need.id for need in world.needs[:10])
    for trial in (
        Trial({}, cases),
        Trial({}, cases),
        Trial({}, cases, (7,)),
        Trial({"route.md": "x"}, cases),
    ):
        world.evaluate([trial])
    assert world.made[Role.TARGET] == 30


def test_no_call_is_made_above_the_ceiling() -> None:
    world = paid_rules(30, seed=0)
    with pytest.raises(StopRun, match="ceiling of 30 calls"):
        world.evaluate([Trial({}, tuple(need.id for need in world.needs))])
    assert sum(world.made.values()) == 30


@pytest.mark.parametrize("ceiling", [150, 400])
def test_a_whole_run_keeps_to_the_ceiling(ceiling: int) -> None:
    for world in (paid_rules(ceiling, seed=1), paid_noise(ceiling, seed=1, chance=0.5)):
        world.result(candidates=3, max_iterations=20, max_calls=ceiling)
        assert 75 <= sum(world.made.values()) <= ceiling


def test_a_share_of_the_verdicts_is_turned_round_by_each_text() -> None:
    world = Noise(noisy_cases(400), chance=0.9, flipped=0.2)
    first, second = ([world.score(text, need.id) for need in world.needs] for text in ("one", "two"))
    turned = sum(one != two for one, two in zip(first, second, strict=True)) / 400
    assert turned == pytest.approx(2 * 0.2 * 0.8, abs=0.06)
    assert sum(first) / 400 == pytest.approx(0.9 * 0.8 + 0.1 * 0.2, abs=0.06)
    assert first == [world.score("one", need.id, sample=3) for need in world.needs], "for good"


def test_more_verdicts_are_turned_where_a_world_says_so() -> None:
    calm, wild = (paid_rules(300, seed=0, flipped=flipped) for flipped in (0.0, 0.35))
    assert all(calm.passes(START, need) == calm.holds(START, need) for need in calm.needs)
    turned = sum(wild.passes(START, need) != wild.holds(START, need) for need in wild.needs)
    assert turned / len(wild.needs) == pytest.approx(0.35, abs=0.15)
