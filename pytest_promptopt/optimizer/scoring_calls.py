"""The calls that scoring held-out cases takes, which are kept for it."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_promptopt.records import Case

#: What the calls for scoring are reserved for in the call budget.
SCORING = "scoring held-out cases"


def heldout_scoring_calls(cases: Iterable[Case]) -> int:
    """Calls that score held-out cases under two texts, as far as they are known before."""
    return 2 * sum(case.samples * case.calls_per_run for case in cases)
