"""Exact intervals of rates: how far the true one may be from what was measured.

Nothing here hangs on large numbers: whatever the rate and however few the answers, an interval misses the
truth no more often than it says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

CLOPPER_PEARSON, BETTING = "Clopper-Pearson", "betting"

#: Shares of the largest possible stake that are bet at once, each with an equal part of the capital.
_STAKES = tuple(0.9 * 2.0**-step for step in range(8))

#: More repeats than this are never asked for.
MOST_REPEATS = 10_000


#: How often there is each score, with its weight in such units that the weights have the mean 1.
Counted = Mapping[tuple[float, float], int]


@dataclass(frozen=True)
class RateInterval:
    """A two-sided interval of a rate from 0 to 1.

    :param method: how it was found: `CLOPPER_PEARSON` or `BETTING`.
    """

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Scores:
    """Independent scores from 0 to 1 with the weights they count by, and the interval of their mean.

    The true means may differ from score to score; the interval is then that of the mean of them.
    """

    scores: tuple[float, ...]
    weights: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        return _mean(self._shared())

    @property
    def whole(self) -> bool:
        """Whether they are verdicts of equal weight."""
        return len(set(self.weights)) <= 1 and {0.0, 1.0}.issuperset(self.scores)

    def interval(self, error: float) -> RateInterval:
        """Of verdicts that of Clopper & Pearson, else that of bets.

        :param error: how often the truth is outside, half of it on each side.
        """
        if self.whole:
            return clopper_pearson(round(math.fsum(self.scores)), len(self.scores), error)
        shared = self._shared()
        return RateInterval(_least_mean(shared, error), 1 - _least_mean(_reversed(shared), error), BETTING)

    def repeats_to_decide(self, least: float, error: float) -> float | None:
        """How often all scores must have been seen, at the mean seen now, for an interval without `least`.

        From 1 on; None when no number up to `MOST_REPEATS` would do.
        """
        mean, count = self.mean, len(self.scores)
        if self.whole:

            def is_decided(repeats: float) -> bool:
                tail = at_least if mean > least else at_most
                return tail(mean * count * repeats, count * repeats, least) <= error / 2
        else:
            shared = self._shared()
            if mean < least:
                shared, least = _reversed(shared), 1 - least
            logs = _log_wins(shared, least)

            def is_decided(repeats: float) -> bool:
                return _log_mean([repeats * log for log in logs]) >= math.log(2 / error)

        if mean == least or not is_decided(MOST_REPEATS):
            return None
        low, high = 1.0, float(MOST_REPEATS)
        while high - low > 0.01 * low:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if is_decided(middle) else (middle, high)
        return high

    def _shared(self) -> Counted:
        weights = self.weights or (1.0,) * len(self.scores)
        mean = math.fsum(weights) / len(weights)
        return Counter((score, weight / mean) for score, weight in zip(self.scores, weights, strict=True))


def clopper_pearson(count: int, of: int, error: float) -> RateInterval:
    """The interval of the chance of success, from `count` successes in `of` trials (Biometrika 26, 1934).

    Where the chance differs from trial to trial it is the interval of its mean (Hoeffding, Annals of
    Mathematical Statistics 27, 1956).

    :param error: how often the truth is outside, half of it on each side.
    """
    half = error / 2
    low = _solved(lambda p: at_least(count, of, p) - half) if count else 0.0
    high = _solved(lambda p: half - at_most(count, of, p)) if count < of else 1.0
    return RateInterval(low, high, CLOPPER_PEARSON)


def at_least(count: float, of: float, chance: float) -> float:
    """The chance of `count` or more successes in `of` trials.

    Numbers that are not whole are interpolated, for plans.
    """
    if count > of:
        return 0.0
    return beta_share(chance, count, of - count + 1) if count > 0 else 1.0


def at_most(count: float, of: float, chance: float) -> float:
    """The chance of `count` or fewer successes in `of` trials; see `at_least`."""
    return 1.0 if count >= of else beta_share(1 - chance, of - count, count + 1)


def _mean(scored: Counted) -> float:
    whole = math.fsum(n * score * share for (score, share), n in scored.items())
    return whole / sum(scored.values())


def _reversed(scored: Counted) -> Counted:
    return {(1 - score, share): n for (score, share), n in scored.items()}


def _least_mean(scored: Counted, error: float) -> float:
    """The lower end of the interval: the lowest mean that bets on a higher one do not win enough against.

    Bets win only against a wrong mean: under the true one the capital exceeds ``2 / error`` times what it
    began with in at most ``error / 2`` of all cases (Waudby-Smith & Ramdas, JRSS B 86, 2024). The stakes are
    fixed before, so that this holds for scores of unequal means too: of all with this mean of means, equal
    ones win the most.
    """
    measured, needed = _mean(scored), math.log(2 / error)
    if measured <= 0:
        return 0.0
    # Against a mean above what was measured such bets win nothing.
    return measured * _solved(lambda part: needed - _log_mean(_log_wins(scored, max(part, 1e-9) * measured)))


def _log_wins(scored: Counted, mean: float) -> list[float]:
    """The logarithm of what each stake has made of a capital of 1, by bets on a higher mean than `mean`."""
    largest = 1 / (max(mean, 1e-12) * max(share for _, share in scored))
    steps = [(n, largest * share * (score - mean)) for (score, share), n in scored.items()]
    return [math.fsum(n * math.log1p(part * step) for n, step in steps) for part in _STAKES]


def _log_mean(logs: Sequence[float]) -> float:
    """The logarithm of the mean of numbers whose logarithms are given."""
    top = max(logs)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs) / len(logs))


def _solved(rising: Callable[[float], float]) -> float:
    """Where a function that rises from below 0 to above it is 0, from 0 to 1."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def beta_share(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function, by its continued fraction (Lentz 1976; Abramowitz & Stegun
    26.5.8): the tail of a binomial without a sum over its terms."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300
    c, d, result = 1.0, 0.0, 1.0
    for step in range(10_000):
        half = step // 2
        if step == 0:
            term = 1.0
        elif step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        d = 1 / ((1 + term * d) or tiny)
        c = (1 + term / c) or tiny
        result *= c * d
        if step and abs(1 - c * d) < 1e-14:
            break
    return math.exp(log_front) * (result - 1) / a
