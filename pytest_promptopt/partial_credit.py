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
        return tuple(each for each in verdicts if _is_compared(failure.actual, each))
    if failure.operator is None:
        return tuple(each for each in verdicts if not (each or each.better))
    return ()


def _is_compared(value: object, verdict: Verdict) -> bool:
    """Whether a test has compared the score of `verdict`, or which of two answers it prefers."""
    if verdict.better:
        return value == verdict.better
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value - verdict.score) <= EPSILON


def partial_credit(failure: Failure | None, verdicts: Sequence[Verdict]) -> float:
    """The score of a failed case: what the judge gave, where that was not enough; else 0."""
    unmet = unmet_verdicts(failure, verdicts)
    # Of two answers the other one was better, so there is something to earn for a tie only.
    scores = (each.score if each.better in ("", "tie") else 0.0 for each in unmet)
    return min(scores, default=0.0)
