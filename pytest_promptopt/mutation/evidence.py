"""Is it the broken instruction that makes cases fail, or luck? By fresh answers under both texts.

A case that failed once under a broken prompt may have failed by luck. It is asked again with the prompt as it
is and with the broken one. If the instruction makes no difference for it, all these answers are alike in
law: which of them were given under which text is like drawn by lot. So the chance that so many failures fall
on the broken prompt is known exactly, whatever the case's own rate is (Fisher's exact test, stratified by
case). Answers by which a case was chosen play no part in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

#: Further answers of one case that may be asked for, under the broken prompt and as it is.
MOST_BROKEN, MOST_WHOLE = 3, 12

#: What an answer to the prompt as it is costs beside one to a broken prompt: all instructions share it.
_SHARED = 0.5


@dataclass(frozen=True)
class Again:
    """The fresh answers of one case: how many there are under each text, and how many of them fail."""

    broken: int
    broken_failed: int
    whole: int
    whole_failed: int


def chance_of(cases: Sequence[Again]) -> float:
    """The exact one-sided p-value: that so many failures fall on the broken prompt by luck alone."""
    chances = [1.0]
    observed = sum(case.broken_failed for case in cases)
    for case in cases:
        of_case = _drawn(case.broken, case.whole, case.broken_failed + case.whole_failed)
        total = [0.0] * (len(chances) + len(of_case) - 1)
        for one, left in enumerate(chances):
            for other, right in enumerate(of_case):
                total[one + other] += left * right
        chances = total
    return min(1.0, math.fsum(chances[observed:]))


def _drawn(broken: int, whole: int, failed: int) -> list[float]:
    """The chance of each number of failures, from 0, among `broken` answers that are drawn from all."""
    ways = math.comb(broken + whole, broken)
    return [
        math.comb(failed, count) * math.comb(broken + whole - failed, broken - count) / ways
        for count in range(min(broken, failed) + 1)
    ]


@lru_cache(maxsize=256)
def answers_needed(cases: int, error: float) -> tuple[int, int]:
    """How many fresh answers of each of so many cases show that all of them notice, at the least cost.

    :return: under the broken prompt, and as it is.
    """
    plans = [
        (broken, whole)
        for broken in range(1, MOST_BROKEN + 1)
        for whole in range(1, MOST_WHOLE + 1)
        if math.comb(broken + whole, broken) ** -cases <= error
    ]
    return min(plans, key=lambda plan: plan[0] + _SHARED * plan[1], default=(MOST_BROKEN, MOST_WHOLE))
