"""What a suite does by itself: how many cases flip under one text, and what change it can still show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from pytest_promptopt.statistics import least_changes, paired_test


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

    Two runs of one text differ in the flipping cases, each by what its samples let expect, as often one way
    as the other. Beside that the smallest number of whole cases is looked for that, all changed the same
    way, have a p-value of `alpha` in the exact test of comparisons.

    :param samples: of each case how many passed, and how many there are.
    """
    several = [(passed, count) for passed, count in samples if count > 1]
    if not several:
        return None
    noise = sorted(change for each in several if (change := _expected_change(*each)))
    changes = [side * change for change, side in zip(noise, cycle((1, -1)), strict=False)]
    room = len(several) - len(changes)
    least = _least_shown(changes, room, alpha)
    return SuiteNoise(len(several), len(changes), None if least is None else least / len(several))


def _expected_change(passed: int, count: int) -> float:
    """How much the rate of a case differs between two runs, in whole samples; 0 for a steady one."""
    if not 0 < passed < count:
        return 0.0
    share = passed / count
    variance = share * (1 - share) / (count - 1)  # of the mean, without bias
    return min(1.0, max(1, round(count * math.sqrt(2 * variance))) / count)


def _least_shown(noise: Sequence[float], room: int, alpha: float) -> int | None:
    """How many steady cases must change beside the noise; None where there are not so many."""

    def shown(cases: int) -> bool:
        return paired_test([*noise, *[-1.0] * cases]).worse <= alpha

    if not shown(room):
        return None
    low, high = 0, room  # `low` is not shown, `high` is
    # The exact test takes its time where many cases flip; the guess is seldom far from the truth.
    least = least_changes(alpha)
    guess = round(1.6 * math.sqrt(sum(change * change for change in noise) + least) + 1)
    for step in (guess, guess + 2, guess - 2):
        if low < step < high:
            low, high = (low, step) if shown(step) else (step, high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high
