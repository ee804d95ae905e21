"""What a failed case earns by a judge's verdicts: which of them the failed check is about."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_promptopt.records import EPSILON, Failure
from pytest_promptopt.verdicts import Verdict


def unmet_verdicts(failure: Failure | None, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """The verdicts that `failure` is about: those whose score was compared, or was not enough.

    None where the failed check looked at something else.
    """
    if failure is None:
        return ()
    if failure.operator in ("<", "<=", ">", ">=", "==", "!="):
        given = failure.actual
        return tuple(each for each in verdicts if _is_score(given, each.score))
    if failure.operator is None:
        return tuple(each for each in verdicts if not each)
    return ()


def _is_score(value: object, score: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value - score) <= EPSILON


def partial_credit(failure: Failure | None, verdicts: Sequence[Verdict]) -> float:
    """The score of a failed case: what the judge gave, where that was not enough; else 0."""
    unmet = unmet_verdicts(failure, verdicts)
    return min((each.score for each in unmet), default=0.0)
