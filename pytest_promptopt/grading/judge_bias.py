"""Whether a judge prefers long answers, or the answer that is shown first: exact tests.

Both biases are described by Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import median
from typing import Any, Literal

from pytest_promptopt.statistics import sign_test

#: A test of bias rejects below this.
BIAS_ALPHA = 0.01

#: Lengths are compared by rank, in this many steps: enough to lose nothing, few enough to count exactly.
_STEPS = 20
#: Answers times verdicts of the rarer kind, up to which the distribution is counted and not approximated.
_COUNTED = 20_000

Direction = Literal["long", "short", "first", "second", ""]
Better = Literal["a", "b", "tie"]


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
    the two have nothing to do with each other. What is compared is the sum of the ranks of flagged values.
    """
    counted: dict[int, float] = {0: 1.0}
    seen, mean, variance, is_exact = 0, 0.0, 0.0, True
    for stratum in strata:
        steps = _ranked([value for value, _ in stratum])
        flags = [flag for _, flag in stratum]
        if 2 * sum(flags) > len(flags):
            # Those without a flag are fewer; to take them says the same, the other way round.
            steps, flags = [-step for step in steps], [not flag for flag in flags]
        lowest = min(steps, default=0)
        steps = [step - lowest for step in steps]
        size, taken = len(steps), sum(flags)
        seen += sum(step for step, flag in zip(steps, flags, strict=True) if flag)
        center = sum(steps) / max(1, size)
        mean += taken * center
        spread = sum((step - center) ** 2 for step in steps) / max(1, size - 1)
        variance += taken * (size - taken) / max(1, size) * spread
        is_exact = is_exact and size * taken <= _COUNTED
        if is_exact:
            counted = _sums(counted, _subset_sums(steps, taken))
    lean = (seen > mean + 1e-9) - (seen < mean - 1e-9)
    if not is_exact:
        return lean, math.erfc(abs(seen - mean) / math.sqrt(2 * variance)) if variance else 1.0
    far = abs(seen - mean) - 1e-9
    return lean, min(1.0, sum(chance for total, chance in counted.items() if abs(total - mean) >= far))


def _missed(pairs: Iterable[ComparedLengths]) -> Share:
    found = [pair.found for pair in pairs]
    return Share(found.count(False), len(found))


def _ranked(values: Sequence[float]) -> list[int]:
    """The rank of each value in `_STEPS` steps; equal values have the same."""
    steps, below = {}, 0
    for value, group in groupby(sorted(values)):
        count = len(list(group))
        steps[value] = int((below + (count - 1) / 2) * _STEPS / len(values))
        below += count
    return [steps[value] for value in values]


def _subset_sums(steps: Sequence[int], taken: int) -> dict[int, float]:
    """How likely each sum of `taken` of these numbers is, all choices being alike.

    `ways[n]` holds the numbers of choices of n of them, by their sum, as the digits of one long number.
    """
    total = math.comb(len(steps), taken)
    width = total.bit_length() // 8 + 1
    ways = [1] + [0] * taken
    groups = [*Counter(steps).items()]
    for place, (step, alike) in enumerate(groups, start=1):
        choices = [(k, math.comb(alike, k), 8 * width * step * k) for k in range(min(alike, taken) + 1)]
        ways = [
            sum((ways[n - k] * count) << shift for k, count, shift in choices if k <= n and ways[n - k])
            if n == taken or place < len(groups)
            else 0
            for n in range(taken + 1)
        ]
    digits = ways[taken].to_bytes((ways[taken].bit_length() // 8 // width + 1) * width, "little")
    counts = (int.from_bytes(digits[at : at + width], "little") for at in range(0, len(digits), width))
    return {number: count / total for number, count in enumerate(counts) if count}


def _sums(left: Mapping[int, float], right: Mapping[int, float]) -> dict[int, float]:
    sums: dict[int, float] = {}
    for a, chance in left.items():
        for b, other in right.items():
            sums[a + b] = sums.get(a + b, 0.0) + chance * other
    return sums
