"""How well a judge agrees with people: precision, recall, Cohen's kappa, and how sure these figures are."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate

from pytest_promptopt.rate_interval import at_least, clopper_pearson

#: Half of what a two-sided 95 % interval leaves out.
TAIL = 0.025

DRAWS = 10_000
_SEED = 0

#: More labels than this are never asked for.
MOST_LABELS = 20_000


@dataclass(frozen=True)
class Estimate:
    """A figure with its two-sided 95 % interval.

    :param method: how the interval was found.
    """

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Confusion:
    """Verdicts against labels: true and false positives, false and true negatives.

    Of single answers the positive ones are the good ones, of pairs those in which `a` is better.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def labels(self) -> int:
        return self.tp + self.fp + self.fn + self.tn

    @property
    def positive(self) -> int:
        """Labels of the positive class, whatever the judge said."""
        return self.tp + self.fn

    @property
    def negative(self) -> int:
        return self.fp + self.tn

    @property
    def precision(self) -> Estimate:
        """Of what the judge calls positive, the share that is."""
        return proportion(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Estimate:
        """Of what is positive, the share that the judge calls so."""
        return proportion(self.tp, self.positive)

    @property
    def accuracy(self) -> Estimate:
        return proportion(self.tp + self.tn, self.labels)

    @property
    def kappa(self) -> Estimate:
        """Cohen's kappa: how far the agreement is above chance (Educational and Psychological Measurement
        20, 1960), with a percentile bootstrap over labels (Efron & Tibshirani 1993)."""
        return _kappa_estimate(self)


def proportion(count: int, of: int) -> Estimate:
    """A share with its exact interval (Clopper & Pearson, Biometrika 26, 1934)."""
    if of == 0:
        return Estimate(0.0, 0.0, 1.0, "nothing counted")
    interval = clopper_pearson(count, of, 2 * TAIL)
    return Estimate(count / of, interval.low, interval.high, interval.method)


def enough_for_share(count: int, of: int, floor: float) -> int | None:
    """The smallest number of cases, at the share seen now, whose exact interval lies above `floor`.

    Successes are whole, so the share is rounded down. None when no number up to `MOST_LABELS` would do.
    """
    if of == 0 or count / of <= floor:
        return None
    sizes = range(1, MOST_LABELS + 1)
    return next((n for n in sizes if at_least(count * n // of, n, floor) <= TAIL), None)


def enough_for_kappa(confusion: Confusion) -> int | None:
    """About how many labels, at the shares seen now, have an interval of kappa above 0.

    An interval is half as wide with four times the labels; None when no number would do.
    """
    kappa = confusion.kappa
    if kappa.value <= 0:
        return None
    labels = confusion.labels
    if kappa.low > 0:
        return labels
    needed = math.floor(labels * ((kappa.value - kappa.low) / kappa.value) ** 2) + 1
    return needed if needed <= MOST_LABELS else None


def kappa_of(tp: int, fp: int, fn: int, tn: int) -> float:
    """Cohen's kappa of a table; 0 when one word is all that both ever say, for that shows nothing."""
    expected = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    return 2 * (tp * tn - fp * fn) / expected if expected else 0.0


@lru_cache(maxsize=256)
def _kappa_estimate(table: Confusion) -> Estimate:
    value = kappa_of(table.tp, table.fp, table.fn, table.tn)
    if table.labels == 0:
        return Estimate(0.0, -1.0, 1.0, "nothing counted")
    if table.fp + table.fn == 0 and value == 1:
        # Drawn again, a table without an error has none: a bootstrap would call ten labels certain.
        chance = (table.positive**2 + table.negative**2) / table.labels**2
        low = (table.accuracy.low - chance) / (1 - chance)
        return Estimate(1.0, max(-1.0, low), 1.0, "Clopper-Pearson of the agreement")
    drawn = sorted(bootstrap_kappas(table))
    left_out = int(TAIL * DRAWS)
    return Estimate(value, drawn[left_out], drawn[-1 - left_out], f"bootstrap, {DRAWS:,} draws")


def bootstrap_kappas(table: Confusion) -> list[float]:
    """Kappa of `DRAWS` tables drawn with the shares of this one, always the same ones.

    Each cell in turn is a binomial draw from what the cells before have left, by inversion: the number is
    the first whose cumulated chance reaches a uniform one.
    """
    uniform = random.Random(_SEED).random
    rest, chances = table.labels, []
    for count in (table.tp, table.fp, table.fn):
        chances.append(count / rest if rest else 0.0)
        rest -= count
    binomial = cache(_cumulated)
    found = []
    for _ in range(DRAWS):
        tp = bisect_left(binomial(table.labels, chances[0]), uniform())
        fp = bisect_left(binomial(table.labels - tp, chances[1]), uniform())
        fn = bisect_left(binomial(table.labels - tp - fp, chances[2]), uniform())
        found.append(kappa_of(tp, fp, fn, table.labels - tp - fp - fn))
    return found


def _cumulated(of: int, chance: float) -> list[float]:
    """The chances of at most 0, 1, ... and `of - 1` successes; any number above the last means `of`."""
    if chance >= 1:
        return [0.0] * of
    if chance <= 0:
        return [1.0] * of
    log_chance, log_rest, log_all = math.log(chance), math.log1p(-chance), math.lgamma(of + 1)
    logs = (
        log_all - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * log_chance + (of - k) * log_rest
        for k in range(of)
    )
    return [*accumulate(map(math.exp, logs))]
