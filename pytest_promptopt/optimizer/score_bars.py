"""A rate between 0 and 1 as a share of passes: what a judge's score says beside another.

A score, or a share of subtests or samples, is taken for the share of bars that an answer clears, each bar
the same for all texts: from the lowest one up to its rate the case passes, above it fails. So a case whose
rate rises from .4 to .8 is a pass with two fifths of it, fixed with two more, and still fails with the last:
a text may be ahead though no case ever passes as a whole. What is counted so has the right mean, and equal
scores are no change; it is believed a bit less than it could be, since a part of a case counts as uncertain
as a whole one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from pytest_promptopt.optimizer.verdict_model import LUCK
from pytest_promptopt.records import EPSILON

#: Chances of passing, one for each share of luck.
Chances = tuple[float, ...]

#: The bars of a case, from the lowest: up to which share of them it passes with which chances. The last share
#: is 1; of a case that passes or fails as a whole it is the only one.
Bars = tuple[tuple[float, Chances], ...]

#: A share of the bars, the chances there, whether a text passes there; None: it was not run.
Part = tuple[float, Chances, bool | None]


def with_verdicts(bars: Bars, rate: float | None) -> Iterator[Part]:
    """The bars of a case, from the lowest, with the verdicts of a text of this rate; None: it was not run."""
    start = 0.0
    for end, chances in bars:
        if rate is None:
            yield end - start, chances, None
        else:
            cleared = min(max(rate, start), end)
            if cleared - start > EPSILON:
                yield cleared - start, chances, True
            if end - cleared > EPSILON:
                yield end - cleared, chances, False
        start = end


def joined(parts: Iterable[Part]) -> Bars:
    """The bars again; those with a pass are taken together, and those with a failure."""
    alike: list[tuple[bool | None, list[tuple[float, Chances]]]] = []
    for share, chances, passed in sorted(parts, key=lambda part: not part[2]):
        if passed is None or not alike or alike[-1][0] != passed:
            alike.append((passed, []))
        alike[-1][1].append((share, chances))
    ends = accumulate(sum(share for share, _ in each) for _, each in alike)
    return tuple((end, _averaged(each)) for end, (_, each) in zip(ends, alike, strict=True))


def all_bars(bars: Bars) -> Chances:
    """The chances of a case as a whole."""
    starts = [0.0, *(end for end, _ in bars)]
    return _averaged([(end - start, each) for start, (end, each) in zip(starts, bars, strict=False)])


def _averaged(parts: Sequence[tuple[float, Chances]]) -> Chances:
    """The mean of chances with these shares."""
    if len(parts) == 1:
        return parts[0][1]
    whole = math.fsum(share for share, _ in parts)
    return tuple(
        math.fsum(share * chances[place] for share, chances in parts) / whole for place in range(len(LUCK))
    )


def cleared_by_side(before: float | None, after: float) -> Iterator[tuple[bool, float]]:
    """The share of the bars that a text clears of those that its base clears (True), and of the others."""
    both = after if before is None else min(before, after)
    yield True, both / before if before else after
    yield False, (after - both) / (1 - before) if before is not None and before < 1 else after
