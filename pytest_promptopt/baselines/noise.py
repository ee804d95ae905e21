"""What a suite does by itself: how many cases flip under one text, and what change it can still show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap

from pytest_promptopt.statistics import sign_test


@dataclass(frozen=True)
class SuiteNoise:
    """One text, asked again.

    :param cases: those with several samples; `flipping` of them both passed and failed.
    :param smallest: the smallest change of the mean rate, a share, that a comparison of two such runs shows;
        None where not even a change of every case would be shown.
    """

    cases: int
    flipping: int
    smallest: float | None


def suite_noise(samples: Sequence[tuple[int, int]], alpha: float) -> SuiteNoise | None:
    """The noise of a suite; None where no case has several samples.

    The flipping cases let two runs of one text differ. That is put as a number of whole cases which change
    as often one way as the other, with the same variance. Beside these the smallest number of cases is looked
    for that, all changed the same way, have a p-value of `alpha` in the exact test of comparisons.

    :param samples: of each case how many passed, and how many there are.
    """
    several = [(passed, count) for passed, count in samples if count > 1]
    if not several:
        return None
    flipping = sum(0 < passed < count for passed, count in several)
    least = _least_shown(sum(starmap(_variance, several)), len(several) - flipping, alpha)
    return SuiteNoise(len(several), flipping, None if least is None else least / len(several))


def _variance(passed: int, count: int) -> float:
    """Of the difference between the rates of a case in two runs, without bias."""
    share = passed / count
    return 2 * share * (1 - share) / (count - 1)


def _least_shown(variance: float, steady: int, alpha: float) -> int | None:
    """How many steady cases must change beside the noise; None where there are not so many."""
    each_way = round(variance / 2)

    def shown(cases: int) -> bool:
        return sign_test(each_way + cases, each_way) <= alpha

    if not shown(steady):
        return None
    low, high = 0, steady  # `low` is not shown, `high` is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high
