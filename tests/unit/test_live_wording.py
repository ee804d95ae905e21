"""What is said of cases and calls while they are under way."""

from __future__ import annotations

import pytest

from pytest_promptopt.records import Spend
from pytest_promptopt.reports.live_wording import (
    CallFigures,
    CheckFigures,
    TimeLeft,
    check_line,
    packed,
    run_parts,
)

CALLS = CallFigures(in_flight=50, longest=92.0, made=132, spend=Spend(calls=132, cost=0.0132), cached=0.2)


def test_a_log_is_told_all_of_a_check_in_one_line() -> None:
    figures = CheckFigures(done=58, cases=144, rate=0.914, calls=CALLS, elapsed=14.2, left=21.3)
    assert check_line(figures) == (
        "promptopt: 58 of 144 cases done, 91.4% pass, waiting for 50 answers, the first for 1m 32s, "
        "132 calls made, $0.0132, 20.0% of answers from the cache, 14.2s so far, about 21s left"
    )


def test_what_nobody_knows_is_not_said() -> None:
    figures = CheckFigures(done=0, cases=1, rate=None, calls=CallFigures(), elapsed=2.0)
    assert check_line(figures) == (
        "promptopt: 0 of 1 case done, waiting for no answer, 0 calls made, 2.0s so far"
    )


def test_samples_for_gates_are_asked_before_all_cases() -> None:
    figures = CheckFigures(done=0, cases=4, rate=None, calls=CallFigures(), ahead=(3, 12))
    assert check_line(figures).startswith("promptopt: asking ahead: 3 of 12 samples done, ")


def test_calls_without_a_known_price_are_not_said_to_be_free() -> None:
    figures = CheckFigures(1, 2, 1.0, CallFigures(made=3, spend=Spend(calls=3, unpriced=3)))
    assert "3 calls made, price unknown" in check_line(figures)


def test_an_optimization_tells_what_is_left_of_its_step() -> None:
    assert run_parts(CALLS, (18, 72), 14.2, 5.0) == [
        "18 of 72 runs done",
        "waiting for 50 answers",
        "the first for 1m 32s",
        "132 calls made",
        "$0.0132",
        "20.0% of answers from the cache",
        "14.2s so far",
        "about 5s left of this step",
    ]
    assert run_parts(CALLS, (0, 0), 14.2, None)[0] == "waiting for 50 answers"


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (80, ["one part, another part, a third"]),
        (24, ["one part, another part,", "a third"]),
        (23, ["one part, another part,", "a third"]),
        (22, ["one part,", "another part, a third"]),
        (5, ["one part,", "another part,", "a third"]),
    ],
)
def test_parts_are_put_into_as_few_lines_as_have_room(width: int, lines: list[str]) -> None:
    assert packed(["one part", "another part", "a third"], width) == lines


def test_what_is_left_is_foreseen_by_what_the_last_cases_took() -> None:
    left = TimeLeft()
    assert left.estimate(0.0, 0, 100) is None
    assert left.estimate(1.0, 4, 100) is None, "of so few nothing can be foreseen"
    assert left.estimate(10.0, 20, 100) == pytest.approx(40.0)


def test_cached_cases_at_the_start_are_forgotten() -> None:
    left = TimeLeft()
    for second in range(200):
        found = left.estimate(float(second), 0 if second == 0 else 1000 + second, 2000)
    assert found == pytest.approx(2000 - 1199, abs=1)


def test_while_nothing_ends_nobody_says_when_it_will() -> None:
    left = TimeLeft()
    for second in range(200):
        found = left.estimate(float(second), min(second, 50), 100)
    assert found is None


def test_a_step_says_nothing_of_the_next() -> None:
    left = TimeLeft()
    assert left.estimate(0.0, 0, 72) is None
    assert left.estimate(10.0, 72, 72) == 0.0
    assert left.estimate(10.5, 0, 24) is None
    assert left.estimate(12.5, 12, 24) == pytest.approx(2.0)
    assert left.estimate(12.5, 12, 12) is None
