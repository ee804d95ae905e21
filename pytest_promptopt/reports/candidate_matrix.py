"""Which text passed which case: a row for each case, a column for each text that was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_promptopt.records import EPSILON
from pytest_promptopt.reports.tried_texts import ORIGINAL, TriedTexts

#: Rows and columns that a reader can still take in; what is left out is counted.
MAX_ROWS = 150
MAX_COLUMNS = 80

#: How a cell is written down, and what the page calls it.
NOT_RUN, ERRORED, PASSED, FAILED, PARTLY = ".", "e", "p", "f", "h"


def matrix_data(prompt: str, candidates: Sequence[str], tried: TriedTexts) -> dict[str, Any] | None:
    """The cases that not every text passes, the hardest first; None where no text was run on any case.

    Held-out cases are not among them: no candidate is run on these.

    :param candidates: their ids, in the order in which they were made.
    """
    cases = tried.cases.get(prompt, ())
    columns = [
        each for each in (ORIGINAL, *candidates) if any(case in tried.rates.get(each, {}) for case in cases)
    ]
    if not columns:
        return None
    rows = {case: [_cell(tried.rates.get(each, {}), case) for each in columns] for case in cases}
    telling = {case: cells for case, cells in rows.items() if set(cells) - {PASSED, NOT_RUN}}
    hardest = sorted(telling, key=lambda case: _share_passed(telling[case]))
    shown = columns[:MAX_COLUMNS]
    return {
        "columns": shown,
        "rows": [[case, "".join(rows[case][: len(shown)])] for case in hardest[:MAX_ROWS]],
        "passed": len(rows) - len(telling),
        "more": [max(0, len(hardest) - MAX_ROWS), len(columns) - len(shown)],
    }


def _cell(rates: Mapping[str, float | None], case: str) -> str:
    if case not in rates:
        return NOT_RUN
    rate = rates[case]
    if rate is None:
        return ERRORED
    return PASSED if rate >= 1 - EPSILON else FAILED if rate <= EPSILON else PARTLY


def _share_passed(cells: Sequence[str]) -> float:
    return cells.count(PASSED) / (len(cells) - cells.count(NOT_RUN))
