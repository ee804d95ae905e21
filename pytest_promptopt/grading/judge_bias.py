"""Whether a judge prefers long answers, or the answer that is shown first: exact tests.

Both biases are described by Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena".
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from pytest_promptopt.statistics import sign_test
from pytest_promptopt.verdicts import Better

#: A test of bias rejects below this.
BIAS_ALPHA = 0.01

#: Lengths are compared by rank, in this many steps: enough to lose nothing, few enough to count exactly.
_STEPS = 20
#: Answers times verdicts of the rarer kind, up to which the distribution is counted and not approximated.
_COUNTED = 20_000
#: What sums of floats may be off by.
_TINY = 1e-9

Direction = Literal["long", "short", "first", "second", ""]


@dataclass(frozen=True)
class GradedLength:
    """A single answer: its length, whether people call it good, and whether the judge does."""

    length: int
    good: bool
    judged_good: bool


@dataclass(frozen=True)
class ComparedLengths:
    """A pair: the lengths of the better and the worse answer, and whether the judge found the better one."""

    better: int
    worse: int
    found: bool


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    count: int
    of: int

    def __str__(self) -> str:
        return f"{self.count} of {self.of}"


@dataclass(frozen=True)
class BiasTest:
    """The result of a test of bias.

    :param direction: what the judge leans to, whether or not that is shown; empty when to neither side.
    :param p: two-sided.
    :param shares: what is compared, see the function that made it.
    """

    direction: Direction
    p: float
    shares: tuple[Share, Share]

    @property
    def rejects(self) -> bool:
        return self.p < BIAS_ALPHA

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "shares": [[share.count, share.of] for share in self.shares]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BiasTest:
        first, second = (Share(int(count), int(of)) for count, of in data["shares"])
        return cls(data["direction"], float(data["p"]), (first, second))


def length_bias(answers: Sequence[GradedLength]) -> BiasTest:
    """Whether, among answers that people call alike, the longer ones pass more often than the shorter ones.

    Good and bad answers are two strata, so that it does not count when good answers are the longer ones: an
    exact permutation test of the sum of ranks (Wilcoxon, Biometrics Bulletin 1, 1945; strata as in van
    Elteren 1960). Shares: of the answers that are longer than the median of their class, and of all others,
    those that pass.
    """
    classes = [[a for a in answers if a.good is good] for good in (True, False)]
    classes = [answers for answers in classes if answers]
    strata = [[(float(a.length), a.judged_good) for a in answers] for answers in classes]
    middles = [median(a.length for a in answers) for answers in classes]
    pairs = [(a, a.length > m) for answers, m in zip(classes, middles, strict=True) for a in answers]
    shares = tuple(
        Share(sum(a.judged_good for a, long in pairs if long is side), sum(long is side for _, long in pairs))
        for side in (True, False)
    )
    lean, p = permutation_test(strata)
    return BiasTest(("short", "", "long")[lean + 1], p, (shares[0], shares[1]))


def length_bias_of_pairs(pairs: Sequence[ComparedLengths]) -> BiasTest:
    """Whether the judge misses the better answer more often where the worse one is longer.

    A sign test on errors alone would not do: where nine of ten better answers are long, a judge without a
    bias errs nine times to the short one. So rates of errors are compared (Fisher's exact test, The Design
    of Experiments, 1935). Shares: of the pairs whose worse answer is longer, and of those whose better answer
    is, those that were missed.
    """
    stratum = [(float(p.worse > p.better), not p.found) for p in pairs if p.worse != p.better]
    lean, p = permutation_test([stratum])
    shares = (
        _missed(pair for pair in pairs if pair.worse > pair.better),
        _missed(pair for pair in pairs if pair.worse < pair.better),
    )
    return BiasTest(("short", "", "long")[lean + 1], p, shares)


def position_bias(orders: Iterable[tuple[Better, Better]]) -> BiasTest:
    """Whether pairs that are judged otherwise in the other order are judged for one place more often.

    An exact sign test. Shares: pairs in which whatever was shown first was preferred in both orders, and
    those in which whatever was shown second was, of all.

    :param orders: of each pair what was preferred with `a` shown first, and with `b` shown first.
    """
    given = [*orders]
    first, second = given.count(("a", "b")), given.count(("b", "a"))
    p = min(1.0, 2 * sign_test(max(first, second), min(first, second)))
    direction: Direction = "first" if first > second else "second" if second > first else ""
    return BiasTest(direction, p, (Share(first, len(given)), Share(second, len(given))))


def permutation_test(strata: Iterable[Sequence[tuple[float, bool]]]) -> tuple[int, float]:
    """Whether high values and flags go together within strata: 1, -1 or 0 for the side, and a two-sided p.

    Given how many flags a stratum has, each choice of that many of its values is as likely as any other if
    the two have nothing to do with each other. What is compared is the sum of the ranks of flagged values;
    p is the chance of one as far from what is expected. It is counted; only with very many labels, where it
    makes no difference, it is taken from the normal distribution.
    """
    drawn = [_Stratum.of(stratum) for stratum in strata if stratum]
    seen = sum(stratum.seen for stratum in drawn)
    mean = sum(stratum.taken * stratum.mean for stratum in drawn)
    lean = (seen > mean + _TINY) - (seen < mean - _TINY)
    if sum(len(stratum.steps) * stratum.taken for stratum in drawn) > _COUNTED:
        variance = sum(stratum.variance for stratum in drawn)
        return lean, math.erfc(abs(seen - mean) / math.sqrt(2 * variance)) if variance else 1.0
    total = math.prod(stratum.choices for stratum in drawn)
    width = total.bit_length() // 8 + 1
    ways = math.prod(stratum.subset_sums(width) for stratum in drawn)
    digits = ways.to_bytes((ways.bit_length() // 8 // width + 1) * width, "little")
    far = abs(seen - mean) - _TINY
    as_far = sum(
        int.from_bytes(digits[at : at + width], "little")
        for at in range(0, len(digits), width)
        if abs(at // width - mean) >= far
    )
    return lean, as_far / total


@dataclass(frozen=True)
class _Stratum:
    """Values as ranks from 0, of which so many are flagged, with this sum."""

    steps: tuple[int, ...]
    taken: int
    seen: int

    @classmethod
    def of(cls, values: Sequence[tuple[float, bool]]) -> _Stratum:
        steps = _ranked([value for value, _ in values])
        flags = [flag for _, flag in values]
        if 2 * sum(flags) > len(flags):
            # Those without a flag are fewer; to take them says the same, the other way round.
            steps, flags = [-step for step in steps], [not flag for flag in flags]
        steps = [step - min(steps) for step in steps]
        return cls(tuple(steps), sum(flags), sum(itertools.compress(steps, flags)))

    @property
    def choices(self) -> int:
        return math.comb(len(self.steps), self.taken)

    @property
    def mean(self) -> float:
        return sum(self.steps) / len(self.steps)

    @property
    def variance(self) -> float:
        """Of the sum of as many ranks, drawn without putting them back."""
        size = len(self.steps)
        spread = sum((step - self.mean) ** 2 for step in self.steps) / max(1, size - 1)
        return self.taken * (size - self.taken) / size * spread

    def subset_sums(self, width: int) -> int:
        """The numbers of choices that have the sum 0, 1, 2 ..., as digits of `width` bytes of one number.

        Added rank by rank: `ways[n]` has the numbers of choices of n of the values so far. One long number
        instead of a list makes an addition of sums a shift.
        """
        ways = [1] + [0] * self.taken
        groups = [*Counter(self.steps).items()]
        for place, (step, alike) in enumerate(groups, start=1):
            choices = [
                (k, math.comb(alike, k), 8 * width * step * k) for k in range(min(alike, self.taken) + 1)
            ]
            ways = [
                sum((ways[n - k] * count) << shift for k, count, shift in choices if k <= n and ways[n - k])
                if n == self.taken or place < len(groups)
                else 0
                for n in range(self.taken + 1)
            ]
        return ways[self.taken]


def _missed(pairs: Iterable[ComparedLengths]) -> Share:
    found = [pair.found for pair in pairs]
    return Share(found.count(False), len(found))


def _ranked(values: Sequence[float]) -> list[int]:
    """The rank of each value, doubled and counted from the middle; of many values in `_STEPS` steps.

    Equal values have the same, the mean of their ranks.
    """
    ranks, below, size = {}, 0, len(values)
    for value, group in itertools.groupby(sorted(values)):
        count = len(list(group))
        rank = 2 * below + count - size
        ranks[value] = rank if size <= _STEPS else round(rank * _STEPS / (2 * size))
        below += count
    return [ranks[value] for value in values]
