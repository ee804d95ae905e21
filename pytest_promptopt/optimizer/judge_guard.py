"""Whether a new text of a judge may replace the old one: by what both say of labelled answers.

A judge is no better for agreeing more often with the labels of one class. So on held-out labels neither its
precision nor its recall may fall, and one of them must be shown to rise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_promptopt.records import EPSILON, CaseResult
from pytest_promptopt.statistics import sign_test
from pytest_promptopt.text import plural

#: What a person says of the labels that count as positive: a good answer; of a pair, the first.
POSITIVE = ("good", "a")


@dataclass(frozen=True)
class LabelVerdicts:
    """Of labels with a verdict under both texts: how many are right before and after.

    :ivar positive: ``(before, after)`` -> how many positive labels are right so; `negative` likewise.
    """

    positive: dict[tuple[bool, bool], int]
    negative: dict[tuple[bool, bool], int]

    @classmethod
    def of(cls, before: Sequence[CaseResult], after: Sequence[CaseResult]) -> LabelVerdicts:
        """Of cases that are about labels; others, and those without a verdict under a text, are left out."""
        old = {result.case.id: result.rate for result in before}
        sides = [(one, two) for one in (False, True) for two in (False, True)]
        found = cls(dict.fromkeys(sides, 0), dict.fromkeys(sides, 0))
        for result in after:
            one, two, labelled = old.get(result.case.id), result.rate, result.case.labelled
            if not labelled or one is None or two is None:
                continue
            counts = found.positive if labelled in POSITIVE else found.negative
            counts[_is_right(one), _is_right(two)] += 1
        return found

    @property
    def labels(self) -> int:
        return sum(self.positive.values()) + sum(self.negative.values())

    def recall(self, after: bool) -> float:
        """Of the positive labels, the share that is judged so."""
        return _share(self._right(self.positive, after), sum(self.positive.values()))

    def precision(self, after: bool) -> float:
        """Of what is judged positive, the share that is."""
        true = self._right(self.positive, after)
        false = sum(self.negative.values()) - self._right(self.negative, after)
        return _share(true, true + false)

    @property
    def told(self) -> str:
        """Both figures, before and after."""
        rates = (("precision", self.precision), ("recall", self.recall))
        figures = [f"{name} {rate(False):.2f} to {rate(True):.2f}" for name, rate in rates]
        return f"on {self.labels} held-out labels {', '.join(figures)}"

    @staticmethod
    def _right(counts: dict[tuple[bool, bool], int], after: bool) -> int:
        return sum(count for sides, count in counts.items() if sides[after])

    @property
    def p_recall(self) -> float:
        """The one-sided p-value of a rise of recall: a sign test of the positive labels that changed."""
        return sign_test(self.positive[False, True], self.positive[True, False])

    @property
    def p_precision(self) -> float:
        """The one-sided p-value of a rise of precision.

        An exact permutation test: if the texts judge alike, each label that changed might as well have
        changed the other way round.
        """
        both_true = self.positive[True, True]
        both_false = self.negative[False, False]
        positive = self.positive[False, True] + self.positive[True, False]
        negative = self.negative[False, True] + self.negative[True, False]
        seen = self.precision(True) - self.precision(False)
        chance = 0
        for won in range(positive + 1):
            for wrong in range(negative + 1):
                new = _share(both_true + won, both_true + won + both_false + wrong)
                lost, right = positive - won, negative - wrong
                old = _share(both_true + lost, both_true + lost + both_false + right)
                if new - old >= seen - EPSILON:
                    chance += math.comb(positive, won) * math.comb(negative, wrong)
        return chance / (1 << (positive + negative))


def why_no_better_judge(found: LabelVerdicts, alpha: float) -> str:
    """Why the new text does not replace the old one; empty when it may.

    :param alpha: half of it for each of the two that may rise.
    """
    if not found.labels:
        return "no held-out label was judged under both texts, so nothing shows that it judges better"
    for name, rate in (("precision", found.precision), ("recall", found.recall)):
        if rate(True) < rate(False) - EPSILON:
            return f"its {name} falls ({found.told})"
    least = min(found.p_precision, found.p_recall)
    if least > alpha / 2:
        return (
            f"neither precision nor recall is shown to rise ({found.told}; p = {least:.2g}, {alpha / 2:g} is "
            "asked)"
        )
    return ""


def why_unjudged(before: Sequence[CaseResult], after: Sequence[CaseResult], alpha: float) -> str:
    """Why answers without a verdict speak against a new text; empty when they do not.

    Such a case is in no pass rate, so a text could hide what it breaks in answers that no judge grades, or
    that no embedding model takes.
    """
    old = {result.case.id: result for result in before}
    pairs = [(old[result.case.id], result) for result in after if result.case.id in old]
    lost = sum(one.rate is not None and _is_unjudged(two) for one, two in pairs)
    won = sum(_is_unjudged(one) and two.rate is not None for one, two in pairs)
    if sign_test(lost, won) > alpha:
        return ""
    return f"there is no verdict on the new answers of {plural(lost, 'case')} that had one before"


def _is_unjudged(result: CaseResult) -> bool:
    return result.rate is None and any(outcome.unjudged for outcome in result.outcomes)


def _is_right(rate: float) -> bool:
    return rate >= 1 - EPSILON


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0
