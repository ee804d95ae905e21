"""What a test may give as the grade of a stage, and what several grades of one stage come to."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real

from pytest_promptopt.records import StageGrade
from pytest_promptopt.text import cut_middle

#: Characters of the reasons of one grade: they are shown beside an answer, and sent to an optimizer.
MAX_WHY = 500


def grade_problem(score: object, why: object) -> str:
    """What is wrong with the arguments of ``grade(score, why)``; empty when nothing is."""
    if not isinstance(score, Real) or not 0 <= float(score) <= 1:  # NaN neither
        return f"score must be a number from 0 to 1, True or False, got {score!r:.200}"
    if not isinstance(why, str):
        return f"why must be a text, got {why!r:.200}"
    return ""


def joined_grades(given: Iterable[StageGrade]) -> tuple[StageGrade, ...]:
    """One grade for each prompt, in the order of their first ones: the lowest score, and all reasons.

    A stage that is called several times is as good as its worst answer: that one may lose the case.
    """
    by_prompt: dict[str, list[StageGrade]] = {}
    for grade in given:
        by_prompt.setdefault(grade.prompt, []).append(grade)
    return tuple(_joined(prompt, grades) for prompt, grades in by_prompt.items())


def _joined(prompt: str, grades: list[StageGrade]) -> StageGrade:
    reasons = dict.fromkeys(grade.why.strip() for grade in grades)
    why = cut_middle("; ".join(filter(None, reasons)), MAX_WHY)
    return StageGrade(prompt, min(grade.score for grade in grades), why)
