"""How far a text is ahead of the one that it was made from, by what is believed of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from pytest_promptopt.optimizer.verdict_model import LUCK, Belief, Change, Seen, verdict_odds

_STANDARD = NormalDist()


@dataclass(frozen=True)
class Lead:
    """How many cases more a text passes than another by its meaning, over the cases both are counted on.

    :param mean: what is expected, and `variance` how uncertain that is; in cases.
    :param chance: how likely the text is better.
    """

    mean: float
    variance: float
    chance: float

    def __add__(self, other: Lead) -> Lead:
        """The lead over these cases and those of `other` together."""
        mean, variance = self.mean + other.mean, self.variance + other.variance
        return Lead(mean, variance, _above(mean, variance))

    def __neg__(self) -> Lead:
        """How far the other text is ahead of this one."""
        return Lead(-self.mean, self.variance, _above(-self.mean, self.variance))


class _Unrun(NamedTuple):
    """Sums over the cases that a text was not run on, of how likely its base passes and fails each.

    :param passed: how many it passes, `failed` fails; the others are the sums of squares and of products.
    """

    passed: float
    failed: float
    passed_squared: float
    failed_squared: float
    product: float

    @classmethod
    def of(cls, chances: Iterable[tuple[float, float]]) -> _Unrun:
        """:param chances: how likely it passes a case, and of how many cases this is true."""
        rows = [(n * p, n * (1 - p), n * p * p, n * (1 - p) ** 2, n * p * (1 - p)) for p, n in chances]
        return cls(*map(math.fsum, zip(*rows, strict=True))) if rows else cls(0.0, 0.0, 0.0, 0.0, 0.0)

    def lead(self, change: Change) -> tuple[float, float]:
        """Mean and variance of what the text fixes, less what it breaks, among them."""
        fixed, broken = change.fixes * self.failed, change.breaks * self.passed
        squares = (
            change.fixes**2 * self.failed_squared
            - 2 * change.fixes * change.breaks * self.product
            + change.breaks**2 * self.passed_squared
        )
        return fixed - broken, fixed + broken - squares


def lead_over_base(belief: Belief, run: Sequence[Seen], unrun: Sequence[Seen]) -> Lead:
    """How far ahead of its base a text is over the cases that it was run on, and over those it was not."""
    parts = list(_ahead(belief, run, unrun))
    mean, variance = mixture(parts)
    return Lead(mean, variance, math.fsum(weight * _above(ahead, var) for weight, ahead, var in parts))


def _ahead(
    belief: Belief, run: Sequence[Seen], unrun: Sequence[Seen]
) -> Iterator[tuple[float, float, float]]:
    """The mixture of its leads over its base: weight, mean and variance under each possibility."""
    ran = [
        [(base[place], count, verdict_odds(passed is True, luck)) for base, passed, count in run]
        for place, luck in enumerate(LUCK)
    ]
    others = [_Unrun.of((base[place], count) for base, _, count in unrun) for place in range(len(LUCK))]
    for weight, change in belief.parts:
        place, breaks, fixes = change
        mean, variance = others[place].lead(change)
        for before, count, odds in ran[place]:
            kept, broken = before * (1 - breaks) * odds, before * breaks
            fixed, failed = (1 - before) * fixes * odds, (1 - before) * (1 - fixes)
            total = kept + broken + fixed + failed
            step, moved = (fixed - broken) / total, (fixed + broken) / total
            mean += count * step
            variance += count * (moved - step * step)
        yield weight, mean, variance


def mixture(parts: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Mean and variance of a mixture of (weight, mean, variance)."""
    mean = math.fsum(weight * each for weight, each, _ in parts)
    return mean, math.fsum(weight * (var + (each - mean) ** 2) for weight, each, var in parts)


def _above(mean: float, variance: float) -> float:
    """How likely a count of about this mean and variance is 1 or more."""
    if variance < 1e-9:
        return float(mean > 1e-9)
    return 1 - _STANDARD.cdf((0.5 - mean) / math.sqrt(variance))
