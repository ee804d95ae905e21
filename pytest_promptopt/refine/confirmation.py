"""Is the gain more than noise? Fresh answers under the original and the winner, case by case.

The best of many candidates was chosen by the very answers that made it the best, so those show nothing.
Here both texts get answers that no step of the search has seen, in pairs on the same case, and an exact sign
test decides. The cases are two strata, those whose verdict the winner changed in the search and all others:
in each the pairs weigh what the stratum weighs among all cases. So a loss that is spread over the cases that
looked unchanged counts in full.

There are three looks at the growing pairs, each with its share of the user's alpha (weighted Bonferroni;
Dunn, JASA 56, 1961; Rosenthal & Rubin, Psychol. Bull. 94, 1983), so the chance to take a winner without
effect for better is at most alpha, whenever it stops. How many pairs the next look adds depends on how many
pairs differ, never on which text is ahead: that leaves every differing pair a fair coin under the null
hypothesis, so that the plan may adapt and the tests stay exact.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from statistics import NormalDist

from pytest_promptopt.evidence import Signs, least_changes, sign_test, weighted_sign_test
from pytest_promptopt.records import CaseResult
from pytest_promptopt.refine.acceptance import EPSILON
from pytest_promptopt.refine.attempts import Version
from pytest_promptopt.refine.evaluator import StopRun, Trial
from pytest_promptopt.refine.frame import SEARCHED
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.surroundings import Surroundings
from pytest_promptopt.results import Confirmation

IMPROVED, NOT_SHOWN, WORSE = "improved", "not shown", "worse"

#: No other step asks for a sample of this number or above.
FIRST_SAMPLE = 1_000_000

#: What each look has of alpha; the first that shows a gain ends the confirmation. The last has most, for
#: the power, and the second enough for six pairs that are all better: of one case, or twice of three.
SHARES = (0.20, 0.32, 0.48)

#: The most pairs: so many for each case, and so many in all; more where alpha takes more to show anything.
PAIRS_PER_CASE = 6
MAX_PAIRS = 600

#: One in so many of a ceiling's calls is for the confirmation; the others are for the search and the scoring.
CEILING_SHARE = 3

#: Pairs of unchanged cases that the first look has at least, if there are so many, and of a stratum at most.
LEAST_UNCHANGED = 30
FIRST_OF_STRATUM = 100

#: The gain that the pairs are planned for, to be shown nine times out of ten.
GAIN_PLANNED = 0.10
_POWER = 0.9


def least_pairs(alpha: float) -> int:
    """Fewer pairs cannot show anything, even if the winner wins them all."""
    return least_changes(alpha * max(SHARES))


def least_ceiling(groups: Sequence[Group], alpha: float) -> int:
    """The least ceiling on calls of which a third can show a gain of each of these groups."""
    asked = [group for group in groups if group.ids(*SEARCHED)]
    return CEILING_SHARE * least_pairs(alpha) * sum(map(calls_per_pair, asked))


def calls_per_pair(group: Group) -> int:
    """A pair of answers takes a run under either text."""
    return 2 * group.calls_per_run


def planned_pairs(groups: Sequence[Group], ceiling: int | None, alpha: float) -> list[int]:
    """The most pairs that each group's winner is confirmed with, known before the search.

    All are 0 where a third of the ceiling cannot show anything.

    :param ceiling: calls of the session, of which the confirmation takes about a third at most; None for no
        limit.
    """
    least = least_pairs(alpha)
    each, most = max(PAIRS_PER_CASE, least), max(MAX_PAIRS, least)
    wanted = [min(each * len(group.ids(*SEARCHED)), most) for group in groups]
    if ceiling is None or not any(wanted):
        return wanted
    if ceiling < least_ceiling(groups, alpha):
        return [0] * len(groups)
    calls = sum(pairs * calls_per_pair(group) for pairs, group in zip(wanted, groups, strict=True))
    share = min(1.0, ceiling // CEILING_SHARE / calls)
    return [min(pairs, max(least, int(share * pairs))) for pairs in wanted]


def detectable(pairs: int, alpha: float, *, differing: float = 0.5) -> float:
    """The gain that `pairs` pairs show nine times out of ten, where this share of them differs by noise."""
    return min(1.0, _reach(alpha) * math.sqrt(differing / pairs))


def _reach(alpha: float) -> float:
    normal = NormalDist()
    return normal.inv_cdf(_POWER) - normal.inv_cdf(alpha * SHARES[-1])


class _Stratum:
    """Cases whose pairs are counted together; asked in a fixed order, over and over."""

    def __init__(self, cases: list[str]) -> None:
        self.cases = cases
        self.asked = self.pairs = self.better = self.worse = 0
        self._gains = 0.0

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def gain(self) -> float:
        return self._gains / self.pairs if self.pairs else 0.0

    @property
    def differing(self) -> int:
        return self.better + self.worse

    def next(self, total: int) -> Iterator[tuple[int, str]]:
        """Sample number and case of the pairs that are missing to `total` of them."""
        for number in range(self.asked, total if self.cases else 0):
            yield FIRST_SAMPLE + number // len(self), self.cases[number % len(self)]
            self.asked += 1

    def add(self, before: CaseResult, after: CaseResult) -> None:
        """Count a pair, if both texts have a result."""
        if before.rate is None or after.rate is None:
            return
        gain = after.rate - before.rate
        self.pairs += 1
        self._gains += gain
        self.better += gain > EPSILON
        self.worse += gain < -EPSILON


class Comparing:
    """The confirmation of one winner.

    `originals` are the fresh results under the original, one for each pair asked for.

    :param pairs: the most pairs of fresh answers to ask for.
    """

    def __init__(
        self, group: Group, original: Version, winner: Version, around: Surroundings, pairs: int
    ) -> None:
        self._group = group
        self._winner = winner
        self._around = around
        self._most = pairs
        self._alpha = around.settings.alpha
        self._look = 0
        self.originals: list[CaseResult] = []
        old = {result.case.id: result.rate for result in original.evidence(*SEARCHED)}
        new = {result.case.id: result.rate for result in winner.evidence(*SEARCHED)}
        gains = {case: _gain(rate, new.get(case)) for case, rate in old.items()}
        self._fixed = sum(gain > EPSILON for gain in gains.values())
        self._broken = sum(gain < -EPSILON for gain in gains.values())
        cases = list(gains)
        random.Random(f"{around.settings.seed}-confirmation").shuffle(cases)
        self._changed = _Stratum([case for case in cases if abs(gains[case]) > EPSILON])
        self._others = _Stratum([case for case in cases if abs(gains[case]) <= EPSILON])

    def run(self) -> Confirmation:
        """Look at growing pairs until they show a gain or a loss, or cannot. Raises `KeyboardInterrupt`."""
        paid = self._around.paid().calls
        why = ""
        if self._most < least_pairs(self._alpha):
            needed = least_ceiling([self._group], self._alpha)
            why = f"a third of the ceiling on calls is too little for it; {needed} calls are the least"
            return self._result(0, why)
        try:
            for self._look in range(len(SHARES)):
                changed, others = self._plan()
                self._ask([*self._changed.next(changed)], [*self._others.next(others)])
                if self._p() <= self._alpha or self._p(reverse=True) <= self._alpha:
                    break
        except StopRun as stopped:
            why = stopped.why
        return self._result(self._around.paid().calls - paid, why)

    # --------------------------------------------------------------------------------------------- the plan

    def _plan(self) -> tuple[int, int]:
        """How many pairs of changed and of other cases there are to be by this look."""
        changed, others = self._changed, self._others
        if self._look == 0:
            kept = min(len(others), LEAST_UNCHANGED, self._most // 2)
            first = min(len(changed), FIRST_OF_STRATUM, self._most - kept)
            return first, min(len(others), FIRST_OF_STRATUM, self._most - first)
        if changed.differing == changed.pairs and not others.differing:
            enough = self._rounds() * len(changed)
            if self._look == 1 or not enough or enough > changed.asked:
                return enough, others.asked
        total = self._planned() * (self._look + 1) // len(SHARES)
        share = round(total * len(changed) / (len(changed) + len(others)))
        return share, total - share

    def _planned(self) -> int:
        """Pairs that show `GAIN_PLANNED`, if as many differ as did in the search and since."""
        changed, others = self._changed, self._others
        cases, pairs = len(changed) + len(others), changed.pairs + others.pairs
        share = (len(changed) + pairs * self._differing) / (cases + pairs)
        enough = math.ceil(share * (_reach(self._alpha) / GAIN_PLANNED) ** 2)
        first = min(len(changed), FIRST_OF_STRATUM) + min(len(others), FIRST_OF_STRATUM)
        return min(self._most, max(enough, 2 * first))

    def _rounds(self) -> int:
        """Pairs of each changed case that show the gain, if they go on to repeat the search's verdicts.

        So it is with a model that always answers the same: the other cases need no second pair. 0 when the
        pairs that are left would not do.
        """
        left = (self._most - self._others.asked) // len(self._changed)
        for rounds in range(1, left + 1):
            p = sign_test(rounds * self._fixed, rounds * self._broken)
            if p <= self._alpha * SHARES[self._look]:
                return rounds
        return 0

    # ------------------------------------------------------------------------------------------ the evidence

    def _ask(self, changed: Sequence[tuple[int, str]], others: Sequence[tuple[int, str]]) -> None:
        """Get these pairs, all at once, and count them."""
        stratum = {case: self._changed for _, case in changed} | {case: self._others for _, case in others}
        by_sample: dict[int, list[str]] = {}
        for sample, case in [*changed, *others]:
            by_sample.setdefault(sample, []).append(case)
        trials = [
            Trial(overlay, tuple(cases), (sample,))
            for sample, cases in by_sample.items()
            for overlay in ({}, self._winner.overlay)
        ]
        measured = self._around.evaluator.evaluate(trials) if trials else []
        for before, after in zip(measured[::2], measured[1::2], strict=True):
            self.originals += before
            new = {result.case.id: result for result in after}
            for result in before:
                stratum[result.case.id].add(result, new[result.case.id])

    @property
    def _estimate(self) -> float:
        strata = (self._changed, self._others)
        return sum(len(one) * one.gain for one in strata) / sum(map(len, strata))

    @property
    def _differing(self) -> float:
        """The share of all pairs that differ, in whichever way."""
        strata = (self._changed, self._others)
        return sum(len(one) * one.differing / max(1, one.pairs) for one in strata) / sum(map(len, strata))

    def _p(self, *, reverse: bool = False) -> float:
        """The p-value of a gain, or of a loss, corrected for the looks; 1.0 when the estimate is none."""
        estimate = -self._estimate if reverse else self._estimate
        changed, others = self._changed, self._others
        if estimate <= EPSILON or any(len(one) and not one.pairs for one in (changed, others)):
            return 1.0
        signs = [
            Signs(*((one.worse, one.better) if reverse else (one.better, one.worse)), weight)
            for one, weight in (
                (changed, len(changed) * max(1, others.pairs)),
                (others, max(1, len(others)) * max(1, changed.pairs)),
            )
        ]
        return min(1.0, weighted_sign_test(*signs) / SHARES[self._look])

    def _result(self, calls: int, why: str) -> Confirmation:
        p = self._p()
        worse = self._p(reverse=True) <= self._alpha
        strata = (self._changed, self._others)
        pairs = sum(one.pairs for one in strata)
        return Confirmation(
            verdict=IMPROVED if p <= self._alpha else WORSE if worse else NOT_SHOWN,
            estimate=self._estimate,
            p=p,
            pairs=pairs,
            better=sum(one.better for one in strata),
            worse=sum(one.worse for one in strata),
            calls=calls,
            detectable=detectable(pairs, self._alpha, differing=self._differing) if pairs else None,
            why=why,
        )


def _gain(before: float | None, after: float | None) -> float:
    return 0.0 if before is None or after is None else after - before


def explained(confirmation: Confirmation) -> str:
    """Why a winner is not confirmed, in a sentence."""
    if confirmation.verdict == WORSE:
        return "fresh answers show it to be worse than the original"
    if confirmation.why:
        return f"the gain could not be confirmed: {confirmation.why}"
    return "fresh answers do not show that the gain is more than noise"


def foreseen_calls(group: Group, fixed: float, broken: float, alpha: float) -> int:
    """A stand-in until the confirmation's own."""
    return 18 * calls_per_pair(group)
