"""When a confirmation looks at its pairs, and how much of alpha each look may spend."""

from __future__ import annotations

import math

from pytest_promptopt.optimizer.confirmation_power import SIGNS, STEP, UNDER_CEILING

#: Pairs from look to look: so many at least, or a tenth of those so far.
STEP_SHARE = 10


class AlphaSpending:
    """How alpha is spent: the error that all looks up to a number of pairs may have together.

    :param limit: the pairs that are planned, fixed before the first; `most`: those that may be asked at all.
    """

    def __init__(self, alpha: float, limit: int, most: int) -> None:
        self._alpha = alpha * SIGNS
        self.limit = limit
        self._more = most - limit

    def allowed(self, pairs: int) -> float:
        planned = UNDER_CEILING if self._more else 1.0
        share = planned * _spent(min(pairs, self.limit), self.limit)
        if pairs > self.limit:
            share += (1 - planned) * _spent(pairs - self.limit, self._more)
        return self._alpha * min(1.0, share)


def _spent(pairs: int, limit: int) -> float:
    """Half of it early, for the large gains, and half late, for the power."""
    return 0.5 * math.log1p(pairs / STEP) / math.log1p(limit / STEP) + 0.5 * (pairs / limit) ** 2


def planned_looks(limit: int, most: int) -> list[int]:
    """After how many pairs there is a look; the last planned one is among them."""
    ends, end = list[int](), 0
    while end < most:
        step = max(STEP, 2 * (end // (2 * STEP_SHARE)))
        end = min(end + step, limit if end < limit else most)
        ends.append(end)
    return ends
