"""How much a pass rate says: exact paired tests and the Wilson interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

SIGN_TEST, PERMUTATION_TEST = "sign test", "paired permutation test"

#: Changes of rates are looked at in hundredths; in larger steps where there are more than so many of them,
#: so that the test stays fast.
_STEPS, _FINE = 100, 500

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


@dataclass(frozen=True)
class PairedTest:
    """What chance explains of the changes of the cases between two texts.

    :param better: the exact one-sided p-value of a gain; `worse` that of a loss.
    :param test: `SIGN_TEST`, or `PERMUTATION_TEST` where rates changed by less than a whole case.
    """

    better: float = 1.0
    worse: float = 1.0
    test: str = SIGN_TEST

    @property
    def either(self) -> float:
        """The two-sided p-value: where nobody said before which of the two should be better."""
        return min(1.0, 2 * min(self.better, self.worse))


def paired_test(changes: Sequence[float]) -> PairedTest:
    """The exact test of the changes of paired rates, each from -1 to 1.

    Where only whole cases changed it is the sign test. Else each change is as likely to be the other way
    round if neither text is better, and of all ways the share is counted whose sum is as high, or as low
    (Fisher, The Design of Experiments, 1935). A change is rounded the same in both directions, so rounding
    costs no exactness.
    """
    rounded = [round(_STEPS * change) for change in changes]
    if {0, _STEPS}.issuperset(map(abs, rounded)):
        up, down = rounded.count(_STEPS), rounded.count(-_STEPS)
        return PairedTest(sign_test(up, down), sign_test(down, up))
    if len(changes) > _FINE:
        steps = max(1, _STEPS * _FINE // len(changes))
        rounded = [round(steps * change) for change in changes]
    unit = math.gcd(*rounded) or 1
    gains, losses = ([side * each // unit for each in rounded if side * each > 0] for side in (1, -1))
    chances = _chances_of_sums([*gains, *losses])
    better, worse = (min(1.0, math.fsum(chances[sum(each) :])) for each in (gains, losses))
    return PairedTest(better, worse, PERMUTATION_TEST)


def _chances_of_sums(sizes: Sequence[int]) -> list[float]:
    """The chance of each sum from 0 on, when a fair coin says of each of `sizes` whether it is added."""
    chances = [1.0]
    for size in sorted(sizes):
        without, added = [*chances, *[0.0] * size], [*[0.0] * size, *chances]
        chances = [(one + other) / 2 for one, other in zip(without, added, strict=True)]
    return chances


def adjusted_for_pairs(p_values: Sequence[float], things: int) -> list[float]:
    """The p-values of all pairs of so many `things`, corrected so that any of them errs as seldom as one.

    Holm's step-down correction with the factors of Shaffer (JASA 81, 1986): where some pairs differ, not
    every number of the others can be equal, so the factor falls faster. Of three things it is 3 for the
    smallest p-value and 1 for the two others. In the order given.
    """
    pairs = math.comb(things, 2)
    if len(p_values) != pairs:
        raise ValueError(f"{things} things make {pairs} pairs, got {len(p_values)} p-values")
    adjusted, floor = [0.0] * pairs, 0.0
    for rejected, place in enumerate(sorted(range(pairs), key=lambda place: p_values[place])):
        factor = max(count for count in _possibly_equal(things) if count <= pairs - rejected)
        floor = max(floor, min(1.0, factor * p_values[place]))
        adjusted[place] = floor
    return adjusted


@cache
def _possibly_equal(things: int) -> frozenset[int]:
    """How many pairs of them can be equal at once: they fall into groups of equal ones."""
    if things <= 1:
        return frozenset({0})
    return frozenset(
        math.comb(group, 2) + more
        for group in range(1, things + 1)
        for more in _possibly_equal(things - group)
    )


def least_changes(alpha: float) -> int:
    """How many pairs must change, all for the better, to reach a p-value of `alpha`: 5 for 0.05."""
    return math.ceil(-math.log2(alpha))


def small_split(alpha: float) -> int:
    """Fewer held-out cases than this show little, since seldom more than half of them change."""
    return max(10, 2 * least_changes(alpha))


class SignLooks:
    """The sign test looked at again and again while pairs come in, with errors that add up to what it may.

    If no pair favours either text, each that differs is better or worse like the toss of a fair coin,
    however many differ. So the chance of every count so far, given that no look has shown a gain, is
    known exactly, and a look may take as many of the highest counts as it has error left to spend (Lan &
    DeMets, Biometrika 70, 1983, with the exact distribution instead of the normal one). How often is looked,
    and when, may depend on anything but on which text is ahead.

    :ivar p: the chance that the looks so far show a gain as clear as this one, or an earlier look did.
    :ivar shown: whether a look has shown a gain.
    """

    def __init__(self) -> None:
        self._chances = [1.0]  # that so many pairs are better, and nothing was shown
        self._spent = 0.0
        self.p = 1.0
        self.shown = False

    def look(self, better: int, worse: int, allowed: float) -> bool:
        """Whether a gain is shown by now.

        :param better: of all pairs so far; `worse` likewise.
        :param allowed: the error of all looks together, this one included.
        """
        if self.shown:
            return True
        for _ in range(better + worse + 1 - len(self._chances)):
            chances = self._chances
            self._chances = [(a + b) / 2 for a, b in zip([*chances, 0.0], [0.0, *chances], strict=True)]
        tails = [*accumulate(reversed(self._chances))][::-1]
        self.p = min(1.0, self._spent + tails[better])
        enough = next((count for count, tail in enumerate(tails) if self._spent + tail <= allowed), None)
        if enough is not None:
            # With fewer than half of the pairs on its side no text is better.
            enough = max(enough, (better + worse) // 2 + 1)
            self.shown = better >= enough
            self._spent += tails[enough]
            self._chances[enough:] = [0.0] * (len(self._chances) - enough)
        return self.shown


def repeated_gain_p(gain: float, rounds: int) -> float:
    """The p-value of a gain when every case has had the very same two results in all of `rounds` rounds.

    It holds for verdicts and for rates between 0 and 1, however often it is looked at. Of one case: let its
    mean rates be m and n, and what was seen x and y. Then y comes with a chance of at most ``1 - (y - n)``,
    x of at most ``1 - (m - x)``, both of at most ``exp((n - m) - (y - x))``. Where the means of all cases
    together do not rise, a whole round comes out so with a chance of at most ``exp(-gain)``, and whichever
    it is that comes again `rounds` - 1 times, with at most that power of it.

    :param gain: the sum of the gains of all cases in one round.
    """
    return math.exp(-gain * (rounds - 1)) if gain > 0 and rounds > 0 else 1.0


def effective_cases(weights: Iterable[float]) -> float:
    """How many cases of one weight say as much of a rate as these do (Kish, Survey Sampling, 1965)."""
    known = [*weights]
    return math.fsum(known) ** 2 / math.fsum(weight * weight for weight in known) if known else 0.0


def wilson_interval(rate: float, cases: float) -> tuple[float, float]:
    """The 95 % interval of a pass rate over `cases` cases (Wilson, JASA 22, 1927); (0, 1) without a case.

    :param cases: of weighted ones the `effective_cases`.

    With rates between 0 and 1 per case (samples, subtests) it is on the wide side.
    """
    if cases == 0:
        return 0.0, 1.0
    spread = _Z * _Z / cases
    center = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (rate * (1 - rate) + spread / 4)) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)
