"""A team gates its build on pass rates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.gate import check_prompts, parse_rate
from pytest_promptopt.prompt_check import PromptCheck, all_gates_hold
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.thresholds import GateName, Threshold, thresholds

ROUTE, TONE = "prompts/route.md", "prompts/tone.md"
P, F, E, S = Status.PASSED, Status.FAILED, Status.ERRORED, Status.SKIPPED


def at(rate: float, where: str) -> dict[GateName, Threshold]:
    return {GateName.PASS_RATE: Threshold(rate, where)}


def marked(rate: float, where: str) -> tuple[str, GateName, Threshold]:
    return ROUTE, GateName.PASS_RATE, Threshold(rate, where)


def result(number: int, *statuses: Status) -> CaseResult:
    case = Case(f"test_route.py::test_queue[{number}]", (ROUTE,), Split.TRAIN, samples=len(statuses))
    return CaseResult(case, tuple(Outcome(case.id, s, float(s is P)) for s in statuses))


def checked(*cases: tuple[Status, ...], least: float | None = None) -> PromptCheck:
    results = [result(number, *statuses) for number, statuses in enumerate(cases)]
    asked = {} if least is None else {ROUTE: at(least, "test_route.py:3")}
    (only,) = check_prompts({ROUTE: results}, asked)
    return only


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("0.9", 0.9),
        ("90%", 0.9),
        (" 90 % ", 0.9),
        ("1", 1.0),
        ("100%", 1.0),
        ("0", 0.0),
        (".5", 0.5),
        ("87.5%", 0.875),
    ],
)
def test_a_rate_is_a_share_or_a_percentage(written: str, rate: float) -> None:
    assert parse_rate(written, name="--promptopt-min-pass-rate") == pytest.approx(rate)


@pytest.mark.parametrize("number", [0, 1, 0.25])
def test_a_mark_gives_a_number(number: float) -> None:
    assert parse_rate(number, name="min_pass_rate") == number


@pytest.mark.parametrize(
    "written",
    [
        "",
        "90",
        "1.01",
        "-0.1",
        "101%",
        "nan",
        "inf",
        "1e-1",
        "0,9",
        "%",
        "x",
        "٠.٩",
        None,
        True,
        -1,
        2,
        float("nan"),
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(written: object) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_rate(written, name="--promptopt-min-pass-rate")
    assert str(caught.value) == (
        f"--promptopt-min-pass-rate: {written!r} is not a rate; accepted are a share from 0 to 1 (0.9) "
        "or a percentage (90%)"
    )


@given(st.text())
def test_no_text_crashes_the_parser(text: str) -> None:
    try:
        rate = parse_rate(text, name="rate")
    except SettingsError:
        return
    assert 0.0 <= rate <= 1.0


def test_a_mark_beats_the_option() -> None:
    found = thresholds(
        [ROUTE, TONE],
        [marked(0.5, "test_route.py:3")],
        at(0.9, "--promptopt-min-pass-rate"),
    )
    assert found == {
        ROUTE: at(0.5, "test_route.py:3"),
        TONE: at(0.9, "--promptopt-min-pass-rate"),
    }


def test_without_option_only_marked_prompts_have_a_threshold() -> None:
    assert thresholds([ROUTE, TONE], [marked(0.5, "a.py:1")]) == {ROUTE: at(0.5, "a.py:1")}


def test_the_same_rate_may_be_asked_twice() -> None:
    marks = [marked(0.5, "a.py:1"), marked(0.5, "b.py:2")]
    assert thresholds([ROUTE], marks) == {ROUTE: at(0.5, "a.py:1")}


def test_a_limit_is_a_threshold_of_its_own() -> None:
    limit = Threshold(0.002, "a.py:1")
    found = thresholds([ROUTE], [(ROUTE, GateName.COST, limit)], at(0.9, "the option"))
    assert found == {ROUTE: {GateName.COST: limit, **at(0.9, "the option")}}


def test_two_different_rates_are_refused_naming_both_lines() -> None:
    marks = [marked(0.5, "tests/a.py:1"), marked(0.9, "tests/b.py:2")]
    with pytest.raises(
        SettingsError, match=r"prompts/route\.md.* 0\.5 at tests/a\.py:1 and 0\.9 at tests/b\.py:2"
    ):
        thresholds([ROUTE], marks)


def test_errored_cases_are_in_neither_numerator_nor_denominator() -> None:
    measured = checked((P,), (P,), (F,), (E,), (E,), least=0.6)
    assert (measured.cases, measured.failing, measured.errored) == (5, 1, 2)
    assert measured.rate == pytest.approx(2 / 3)
    assert measured.held is True


def test_skipped_cases_are_no_cases() -> None:
    measured = checked((P,), (S,))
    assert (measured.cases, measured.rate, measured.held) == (1, 1.0, None)


def test_samples_count_by_their_share() -> None:
    measured = checked((P, P, F, E), (P, P, P, P))
    assert (measured.cases, measured.failing, measured.errored) == (2, 1, 0)
    assert measured.rate == pytest.approx((2 / 3 + 1) / 2)


def test_a_rate_that_is_met_exactly_holds() -> None:
    assert checked(*[(P,)] * 9, (F,), least=0.9).held is True
    assert checked((P,), (P,), (F,), least=2 / 3).held is True


def test_no_evidence_never_holds() -> None:
    measured = checked((E,), least=0.0)
    assert (measured.rate, measured.held) == (None, False)


def test_one_prompt_below_its_threshold_fails_the_gate() -> None:
    good, bad, free = checked((P,), least=1.0), checked((P,), (F,), least=0.8), checked((F,))
    assert all_gates_hold([good, free]) is True
    assert all_gates_hold([good, bad]) is False
    assert all_gates_hold([]) is True


def test_a_prompt_of_which_nothing_ran_is_not_checked() -> None:
    assert check_prompts({ROUTE: []}, {ROUTE: at(0.5, "a.py:1")}) == ()
