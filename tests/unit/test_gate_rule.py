"""What a gate decides by an interval: these cases or their kind, all or the held-out ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_promptopt.gate_rule import GateRule, GateVerdict, decide, look_sizes
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.settings import GateMode, GatePopulation, Undecided

BY_INTERVAL = GateRule(GateMode.INTERVAL)
OF_CASES = GateRule(GateMode.INTERVAL, population=GatePopulation.CASES)


def asked(*scores: float, weight: float = 1.0, case: str = "t.py::test") -> CaseResult:
    """One case with these samples."""
    outcomes = tuple(
        Outcome(case, Status.PASSED if score == 1 else Status.FAILED, score, sample)
        for sample, score in enumerate(scores)
    )
    return CaseResult(Case(case, ("p.md",), Split.TRAIN, weight=weight), outcomes)


def cases(passed: int, failed: int, *, samples: int = 1) -> list[CaseResult]:
    return [asked(*[1.0] * samples)] * passed + [asked(*[0.0] * samples)] * failed


@pytest.mark.parametrize(
    ("passed", "failed", "verdict"),
    [
        (99, 1, GateVerdict.PASS),
        (90, 10, GateVerdict.UNDECIDED),
        (60, 40, GateVerdict.FAIL),
        (5, 0, GateVerdict.UNDECIDED),
    ],
)
def test_three_verdicts(passed: int, failed: int, verdict: GateVerdict) -> None:
    found = decide(cases(passed, failed), 0.85, BY_INTERVAL)
    assert found.verdict is verdict
    assert found.interval is not None


def test_an_undecided_gate_says_how_many_samples_would_do() -> None:
    found = decide(cases(90, 10), 0.85, BY_INTERVAL)
    assert found.samples is not None
    assert decide(cases(90 * (1 + found.samples), 10 * (1 + found.samples)), 0.85, BY_INTERVAL).verdict is (
        GateVerdict.PASS
    )
    assert found.cases is None


@pytest.mark.parametrize(("most", "sizes"), [(None, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_each_look_has_twice_the_samples(most: int | None, sizes: list[int]) -> None:
    assert look_sizes(most) == sizes


def test_a_gate_that_may_be_looked_at_again_asks_more_of_each_look() -> None:
    once, often = BY_INTERVAL, replace(BY_INTERVAL, looks=4)
    one, four = (decide(cases(90, 10), 0.85, rule).interval for rule in (once, often))
    assert one is not None
    assert four is not None
    assert (four.low < one.low, four.high > one.high) == (True, True)
    assert often.error * 4 == pytest.approx(1 - often.confidence)


def test_a_rate_within_the_margin_is_good_enough() -> None:
    with_margin = replace(BY_INTERVAL, margin=0.05)
    assert decide(cases(450, 50), 0.9, BY_INTERVAL).verdict is GateVerdict.UNDECIDED
    held = decide(cases(450, 50), 0.9, with_margin)
    assert (held.verdict, held.by_margin) == (GateVerdict.PASS, True)
    assert not decide(cases(490, 10), 0.9, with_margin).by_margin
    assert decide(cases(400, 100), 0.9, with_margin).verdict is GateVerdict.FAIL


def test_with_a_margin_some_number_of_samples_decides_at_any_rate() -> None:
    at_the_threshold = cases(90, 10)
    assert decide(at_the_threshold, 0.9, BY_INTERVAL).samples is None
    found = decide(at_the_threshold, 0.9, replace(BY_INTERVAL, margin=0.02))
    assert found.verdict is GateVerdict.UNDECIDED
    assert found.samples is not None
    more = cases(90 * (1 + found.samples), 10 * (1 + found.samples))
    assert decide(more, 0.9, replace(BY_INTERVAL, margin=0.02)).verdict is GateVerdict.PASS


def test_where_no_answer_ever_varied_more_cases_are_needed() -> None:
    found = decide(cases(45, 5, samples=2), 0.85, BY_INTERVAL)
    assert (found.verdict, found.samples) == (GateVerdict.UNDECIDED, None)
    assert found.cases is not None
    varied = [*cases(45, 4, samples=2), asked(1.0, 0.0)]
    assert decide(varied, 0.85, BY_INTERVAL).samples is not None


def test_of_cases_that_were_drawn_more_samples_say_little() -> None:
    """Ten answers of each of ten cases are a hundred about these, and ten about their kind."""
    results = cases(9, 1, samples=10)
    assert decide(results, 0.8, BY_INTERVAL).verdict is GateVerdict.PASS
    of_cases = decide(results, 0.8, OF_CASES)
    assert of_cases.verdict is GateVerdict.UNDECIDED
    assert of_cases.cases is not None
    assert of_cases.interval is not None
    assert of_cases.interval.low == pytest.approx(0.555, abs=1e-3)


def test_a_case_counts_by_its_weight_and_not_by_its_samples() -> None:
    often, once = asked(*[1.0] * 30), asked(0.0)
    found = decide([often, once], 0.4, BY_INTERVAL)
    assert found.interval is not None
    assert found.interval.low < 0.4, "one of two cases fails"
    heavy = decide([asked(1.0, weight=9)] * 20 + [asked(0.0)] * 20, 0.6, BY_INTERVAL)
    light = decide([asked(1.0)] * 20 + [asked(0.0)] * 20, 0.6, BY_INTERVAL)
    assert heavy.interval is not None
    assert light.interval is not None
    assert heavy.interval.low > light.interval.low


def test_no_evidence_reaches_nothing() -> None:
    lost = CaseResult(Case("t", ("p.md",), Split.TRAIN), (Outcome("t", Status.ERRORED, 0.0),))
    assert decide([lost], 0.0, BY_INTERVAL).verdict is GateVerdict.FAIL


def test_what_an_undecided_gate_does_is_the_teams_choice() -> None:
    assert not BY_INTERVAL.holds(GateVerdict.UNDECIDED)
    assert GateRule(GateMode.INTERVAL, undecided=Undecided.PASS).holds(GateVerdict.UNDECIDED)
    assert not GateRule(GateMode.INTERVAL, undecided=Undecided.PASS).holds(GateVerdict.FAIL)
