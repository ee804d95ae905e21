"""What a failed case earns by a judge's verdicts: which of them the failed check is about."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_promptopt.records import EPSILON, Failure
from pytest_promptopt.verdicts import Verdict

#: Errors by which a test says that a check of its own does not hold.
_FAILED = ("AssertionError", "Failed")
_CALLED = re.compile(r"([\w.]+)\(")
#: Functions that only ask whether verdicts are true.
_ASKING_TRUTH = frozenset({"all", "any", "bool"})


def unmet_verdicts(failure: Failure | None, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """The verdicts that `failure` is about: those whose score was not enough.

    None where the failed check looked at something else, or asked for a lower score: the higher the score,
    the worse the answer.
    """
    if failure is None:
        return ()
    if failure.operator is None:
        unmet = (each for each in verdicts if not (each or each.better))
        return tuple(unmet) if _is_of_verdicts(failure) else ()
    preferred = tuple(each for each in verdicts if each.better and failure.actual == each.better)
    if failure.operator == "==" and preferred:
        return preferred
    if failure.operator in (">", ">=") or (failure.operator == "==" and _asks_for_more(failure)):
        given = failure.actual
        return tuple(each for each in verdicts if each.score < 1 and _is_score(given, each))
    return ()


def partial_credit(failure: Failure | None, verdicts: Sequence[Verdict]) -> float:
    """The score of a failed case: what the judge gave, where that was not enough; else 0. Never 1."""
    unmet = unmet_verdicts(failure, verdicts)
    # Of two answers the other one was better, so there is something to earn for a tie only.
    scores = (each.score if each.better in ("", "tie") else 0.0 for each in unmet)
    return min(scores, default=0.0)


def _is_of_verdicts(failure: Failure) -> bool:
    """Whether a check that compares nothing can be about a verdict: no other function has decided it."""
    if failure.constraint is None:
        return failure.kind in _FAILED
    if re.search(r"\bjudge\b", failure.constraint):
        return True
    return set(_CALLED.findall(failure.constraint)) <= _ASKING_TRUTH


def _asks_for_more(failure: Failure) -> bool:
    wanted, given = failure.expected, failure.actual
    return isinstance(wanted, (int, float)) and isinstance(given, float) and wanted > given


def _is_score(value: object, verdict: Verdict) -> bool:
    """Scores are floats: a count of 1 is none."""
    return isinstance(value, float) and not verdict.better and abs(value - verdict.score) <= EPSILON
