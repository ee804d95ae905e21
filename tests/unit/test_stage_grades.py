"""Grades of stages: what may be given, what several come to, and that they travel between processes."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest

from pytest_promptopt.pytest_engine.outcomes import from_json, to_json
from pytest_promptopt.records import Outcome, StageGrade, Status
from pytest_promptopt.replay.stage_grades import MAX_WHY, grade_problem, joined_grades


@pytest.mark.parametrize("score", [0, 1, 0.5, True, False, Fraction(1, 3)])
def test_scores_that_fit(score: object) -> None:
    assert grade_problem(score, "") == ""


@pytest.mark.parametrize("score", [-0.1, 1.01, 3, math.nan, math.inf, "good", None, [1]])
def test_a_score_that_does_not_fit_is_named_with_what_would(score: object) -> None:
    assert grade_problem(score, "") == f"score must be a number from 0 to 1, True or False, got {score!r}"


@pytest.mark.parametrize("why", [None, 3, ["no plan"]])
def test_a_reason_is_a_text(why: object) -> None:
    assert grade_problem(1, why) == f"why must be a text, got {why!r}"


def test_of_several_grades_of_a_stage_the_lowest_counts_and_all_reasons_are_kept() -> None:
    given = [
        StageGrade("plan.md", 1.0, "three steps"),
        StageGrade("code.md", 0.5),
        StageGrade("plan.md", 0.25, "no test "),
        StageGrade("plan.md", 0.5),
        StageGrade("plan.md", 0.5, "no test"),
    ]
    assert joined_grades(given) == (
        StageGrade("plan.md", 0.25, "three steps; no test"),
        StageGrade("code.md", 0.5),
    )
    assert joined_grades([]) == ()


def test_reasons_without_end_are_cut() -> None:
    (grade,) = joined_grades(StageGrade("plan.md", 0.0, f"{number}" * 200) for number in range(9))
    assert MAX_WHY < len(grade.why) < 2 * MAX_WHY
    assert "characters left out" in grade.why


def test_an_outcome_comes_back_from_another_process_with_its_grades() -> None:
    grades = (StageGrade("plan.md", 0.25, "no test"), StageGrade("code.md", 1.0))
    helpers = ("def clean(answer):\n    return answer.strip()",)
    outcome = Outcome("t.py::test_it", Status.FAILED, 0.0, helpers=helpers, grades=grades)
    again = from_json(json.loads(json.dumps(to_json(outcome))))
    assert again == outcome
    assert again.grade_of("code.md") == StageGrade("code.md", 1.0)
    assert again.grade_of("spec.md") is None
