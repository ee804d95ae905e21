"""Limits of cost and latency: what was measured, with each model, and what cannot be known."""

from __future__ import annotations

import pytest

from pytest_promptopt.prompt_check import PromptCheck, all_gates_hold
from pytest_promptopt.records import Call, Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.reports.check_report import gate_lines
from pytest_promptopt.reports.wording import small_seconds
from pytest_promptopt.thresholds import GateName, Threshold

ROUTE = "route.md"
MOST = {
    GateName.COST: Threshold(0.002, "t.py:3"),
    GateName.LATENCY: Threshold(2.0, "--promptopt-p95-latency"),
}


def call(cost: float | None = 0.001, latency: float = 1.0, prompt: str = ROUTE) -> Call:
    return Call(prompt, {}, "key", "text", "end_turn", None, cost, latency, False)


def result(number: int, *calls: Call, model: str = "demo", status: Status = Status.PASSED) -> CaseResult:
    case = Case(f"t.py::test[{number}-{model}]", (ROUTE,), Split.TRAIN, models=(model,))
    return CaseResult(case, (Outcome(case.id, status, float(status is Status.PASSED), 0, calls=calls),))


def check(*results: CaseResult) -> PromptCheck:
    return PromptCheck.of(ROUTE, results, MOST)


def lines(*results: CaseResult) -> list[str]:
    return [line.text for line in gate_lines([check(*results)])]


def test_the_cost_of_a_case_is_that_of_all_its_calls_of_this_prompt() -> None:
    dear = result(0, call(0.001), call(0.002), call(9.0, prompt="other.md"))
    assert lines(dear, result(1, call(0.001)))[0] == (
        "gate: route.md has $0.00200 a case, at most $0.00200 a case: holds (2 runs of its cases; t.py:3)"
    )
    assert lines(dear)[0] == (
        "gate: route.md has $0.00300 a case, at most $0.00200 a case: FAILED (1 run of its cases; t.py:3)"
    )


@pytest.mark.parametrize(("slow", "held"), [(1, True), (2, False)])
def test_95_of_100_answers_must_come_in_time(slow: int, held: bool) -> None:
    results = [result(number, call(latency=9.0 if number < slow else 1.0)) for number in range(20)]
    said = "holds" if held else "FAILED"
    assert lines(*results)[1] == (
        f"gate: route.md has {1 if held else 9}s, at most 2s for 95% of its answers: {said} "
        "(20 answers; --promptopt-p95-latency)"
    )
    assert all_gates_hold([check(*results)]) is held


def test_a_near_miss_shows_the_digits_that_decide() -> None:
    dear, slow = lines(result(0, call(0.0020004, latency=2.00004)))
    assert "has $0.0020004 a case, at most $0.0020000 a case: FAILED" in dear
    assert "has 2.00004s, at most 2s for 95% of its answers: FAILED" in slow


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0125, "0.0125s"), (2.0, "2s"), (99.96, "100s"), (3_600.0, "3,600s"), (0.0, "0s")],
)
def test_seconds_are_written_without_an_exponent(seconds: float, shown: str) -> None:
    assert small_seconds(seconds) == shown


def test_a_price_that_is_not_known_keeps_no_limit() -> None:
    found = check(result(0, call(None)), result(1, call(0.001)))
    assert [(gate.measured, gate.held) for gate in found.limits] == [(None, False), (1.0, True)]
    assert (
        "has no known price, at most $0.00200 a case: FAILED (1 of 2 answers have none"
        in lines(result(0, call(None)), result(1, call(0.001)))[0]
    )


def test_without_an_answer_no_limit_is_kept() -> None:
    assert "has nothing that was measured" in lines(result(0, status=Status.ERRORED))[0]
    assert check(result(0, status=Status.ERRORED)).passed is False


def test_skipped_cases_decide_nothing() -> None:
    assert check(result(0, status=Status.SKIPPED)).passed is None


def test_each_of_several_models_has_to_keep_it() -> None:
    several = result(0, call(0.001), model="a"), result(0, call(0.009), model="b")
    assert [(gate.name, gate.model, gate.held) for gate in check(*several).limits] == [
        (GateName.COST, "a", True),
        (GateName.LATENCY, "a", True),
        (GateName.COST, "b", False),
        (GateName.LATENCY, "b", True),
    ]
    assert "gate: route.md with b has $0.00900 a case" in lines(*several)[2]
