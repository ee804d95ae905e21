"""What a judge has said of a failed case: what the case earns by it, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_promptopt.failures import describe
from pytest_promptopt.failures.verdict_lines import verdict_lines
from pytest_promptopt.partial_credit import partial_credit, unmet_verdicts
from pytest_promptopt.records import Call, Case, CaseResult, Failure, Outcome, Split, Status
from pytest_promptopt.verdicts import Suggestion, Verdict

POOR = Verdict(0.25, ("no date",), (), (Suggestion("name the date", "content", "high"),), "It is vague.", "")
FAIR = replace(POOR, score=0.5, issues=("no date", "too long"), suggestions=(Suggestion("be brief"),))
GOOD = Verdict(0.9, (), ("clear",), (), "All is there.", "")


def failure(operator: str | None = None, actual: object = None) -> Failure:
    wanted = 1.0 if operator == "==" else None
    return Failure(
        "AssertionError", "assert False", "t.py:1", operator=operator, actual=actual, expected=wanted
    )


@pytest.mark.parametrize("operator", ["<", "<=", "!="])
def test_a_check_that_asks_for_a_low_score_earns_nothing_by_a_high_one(operator: str) -> None:
    assert partial_credit(failure(operator, 0.25), [GOOD, POOR]) == 0


@pytest.mark.parametrize("operator", [">", ">=", "=="])
def test_a_score_that_was_compared_is_what_the_case_earns(operator: str) -> None:
    assert unmet_verdicts(failure(operator, 0.25), [GOOD, POOR]) == (POOR,)
    assert partial_credit(failure(operator, 0.25), [GOOD, POOR]) == 0.25
    assert partial_credit(failure(operator, 0.9), [GOOD, POOR]) == 0.9, "a score above a bar of .95, too"


def test_a_verdict_that_is_not_true_is_what_a_plain_assert_is_about() -> None:
    assert unmet_verdicts(failure(), [GOOD, POOR, FAIR]) == (POOR, FAIR)
    assert partial_credit(failure(), [GOOD, POOR, FAIR]) == 0.25
    assert partial_credit(failure(), [GOOD]) == 0


@pytest.mark.parametrize(
    "other", [failure("in", "an answer"), failure("==", "an answer"), failure("<", True), failure("<", 17)]
)
def test_a_check_of_something_else_earns_nothing(other: Failure) -> None:
    assert unmet_verdicts(other, [replace(POOR, score=1.0), POOR]) == ()
    assert partial_credit(other, [POOR]) == 0


def test_without_a_failure_nothing_is_unmet() -> None:
    assert unmet_verdicts(None, [POOR]) == ()


def test_issues_are_told_and_reasons_where_there_are_none() -> None:
    assert [*verdict_lines([replace(POOR, criterion="is dated")])] == [
        'judged 0.25 (1 is best) for "is dated"',
        "issue: no date",
        "suggestion (high, content): name the date",
    ]
    assert [*verdict_lines([replace(POOR, issues=(), suggestions=())])][1:] == ["reasons: It is vague."]


def test_failures_of_one_judge_are_explained_by_what_it_found_most() -> None:
    results = []
    for name, verdict in {"a": POOR, "b": FAIR}.items():
        call = Call("say.md", {}, name, "an answer", "end_turn", None, None, 0.1, False)
        verdicts = (replace(verdict, criterion="is dated"),)
        outcome = Outcome(
            name, Status.FAILED, verdict.score, failure=failure(), calls=(call,), verdicts=verdicts
        )
        results.append(CaseResult(Case(name, ("say.md",), Split.TRAIN), (outcome,)))
    [category] = describe(results, prompt="say.md").categories
    assert category.name == "criterion not met"
    assert "median score 0.38" in category.observed
    assert category.cause == 'the judge found "no date" (2) and "too long" (1)'
    assert category.fix == "name the date; be brief", "what has most impact comes first"
