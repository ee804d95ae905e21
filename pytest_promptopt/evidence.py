"""How much a pass rate says: exact paired sign tests and the Wilson interval."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import NamedTuple

#: The 97.5 % quantile of the normal distribution, for two-sided 95 % intervals.
_Z = 1.959963984540054


def sign_test(better: int, worse: int) -> float:
    """The one-sided p-value of `better` against `worse` changed pairs; unchanged pairs say nothing.

    Exact: the chance of at least `better` heads in ``better + worse`` tosses of a fair coin, so 1.0
    without a change. This is McNemar's test in its binomial form (McNemar, Psychometrika 12, 1947; Dixon &
    Mood, JASA 41, 1946).
    """
    if better < 0 or worse < 0:
        raise ValueError(f"counts cannot be negative, got {better} and {worse}")
    pairs = better + worse
    return sum(math.comb(pairs, heads) for heads in range(better, pairs + 1)) / (1 << pairs)


def least_changes(alpha: float) -> int:
    """How many pairs must change, all for the better, to reach a p-value of `alpha`: 5 for 0.05."""
    return math.ceil(-math.log2(alpha))


def small_split(alpha: float) -> int:
    """Fewer held-out cases than this show little, since seldom more than half of them change."""
    return max(10, 2 * least_changes(alpha))


class Signs(NamedTuple):
    """The changed pairs of one stratum; each weighs `weight`, a whole number from 1 on."""

    better: int
    worse: int
    weight: int


def weighted_sign_test(first: Signs, second: Signs) -> float:
    """The one-sided p-value that the weighted sum of the signs is as high as it is; 1.0 without a change.

    Exact: under the null hypothesis that the two texts pass every case equally often, each changed pair is
    better or worse with the same chance, whatever its weight, so the p-value is the share of all ways to
    choose the signs whose sum is at least the observed one (Fisher, The Design of Experiments, 1935, ch. 3;
    Pitman, JRSS Suppl. 4, 1937). With equal weights it is `sign_test`.
    """
    pairs, others = first.better + first.worse, second.better + second.worse
    observed = first.weight * (first.better - first.worse) + second.weight * (second.better - second.worse)
    ways = [math.comb(others, heads) for heads in range(others + 1)]
    tails = [*accumulate(reversed(ways), initial=0)][::-1]
    count = 0
    for heads in range(pairs + 1):
        missing = observed - first.weight * (2 * heads - pairs) + second.weight * others
        needed = -(-missing // (2 * second.weight))
        count += math.comb(pairs, heads) * tails[min(max(needed, 0), others + 1)]
    return count / (1 << (pairs + others))


def wilson(rate: float, cases: int) -> tuple[float, float]:
    """The 95 % interval of a pass rate over `cases` cases (Wilson, JASA 22, 1927); (0, 1) without a case.

    With rates between 0 and 1 per case (samples, subtests) it is on the wide side.
    """
    if cases == 0:
        return 0.0, 1.0
    spread = _Z * _Z / cases
    center = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (rate * (1 - rate) + spread / 4)) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)
