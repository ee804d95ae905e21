"""How many pairs of fresh answers show a gain, and the calls that they take.

These are plans made before anything is asked: for the header, for the calls that a search must leave, and
for the number of calls that a further run would need.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist

from pytest_promptopt.optimizer.acceptance import compare
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.prompt_groups import SEARCHED, PromptGroup
from pytest_promptopt.records import CaseResult
from pytest_promptopt.statistics import least_changes

#: What the sign test has of alpha; the rest is for what repeats itself.
SIGNS = 0.86

#: What the sign test may spend on the pairs that the ceiling allows; the rest is for a higher ceiling.
UNDER_CEILING = 0.9

#: The most pairs: so many for each case, and so many in all; more where alpha takes more to show anything.
PAIRS_PER_CASE = 6
MAX_PAIRS = 600

#: The fewest pairs between two looks.
STEP = 6

#: The gain that is planned for before the search, with one in so many calls at most.
USUAL_GAIN = 0.3
USUAL_SHARE = 4

#: About the part of alpha that is left for the look at the last planned pair.
_LAST = 0.55

#: How many more pairs it takes than by the normal approximation, since pairs are whole and looks are few
#: (simulated).
_LEAD = 3
_POWER = 0.9


def calls_each(group: PromptGroup, results: Iterable[CaseResult]) -> float:
    """Calls that a run of a case takes, on average: those it made, and no fewer than its prompts."""
    runs = [len(outcome.all_calls) for result in results for outcome in result.outcomes if outcome.calls]
    return max(group.calls_per_run, sum(runs) / len(runs)) if runs else group.calls_per_run


def least_pairs(alpha: float) -> int:
    """Fewer pairs cannot show anything, even if the winner wins them all."""
    return least_changes(alpha * SIGNS * UNDER_CEILING)


def most_pairs(cases: float, alpha: float) -> int:
    """The most pairs that are ever asked of so many cases."""
    least = least_pairs(alpha)
    return min(int(max(PAIRS_PER_CASE, least) * cases), max(MAX_PAIRS, least))


def foreseen_calls(
    cases: float, fixed: float, broken: float, alpha: float, *, each: float, spared: float = 0.0
) -> int:
    """The calls of a confirmation that shows such a change about nine times out of ten.

    0 when it cannot be shown: there is no gain, or it is too small for the most pairs that are ever asked.

    :param cases: of how many train and validation cases it is known, or expected, whether they change.
    :param fixed: the expected number of these that fail under the original and pass under the new text, with
        those that do so by chance; a higher rate counts in part. `broken` the other way round.
    :param each: calls that a run of a case takes.
    :param spared: cases that the new text is still run on besides: its answers there serve.
    """
    if not cases or fixed - broken <= 0:
        return 0
    pairs = pairs_for((fixed - broken) / cases, (fixed + broken) / cases, alpha)
    if pairs > most_pairs(cases, alpha):
        return 0
    served = min(1.0, pairs / cases) * spared
    return math.ceil((2 * pairs - served) * each)


def judging_calls(
    group: PromptGroup, original: EvaluatedCandidate, found: EvaluatedCandidate, alpha: float
) -> int:
    """The calls kept for judging a text after its search: the cases that it was spared, and fresh answers."""
    before, spared = original.evidence(*SEARCHED), len(found.spared(group))
    gains, each = compare(before, found.evidence(*SEARCHED)), calls_each(group, before)
    fresh = foreseen_calls(gains.cases, gains.won, gains.lost, alpha, each=each, spared=spared)
    return math.ceil(each * spared) + (fresh or usual_calls([group], None, alpha))


def usual_calls(groups: Iterable[PromptGroup], ceiling: int | None, alpha: float) -> int:
    """The calls kept before anything is known: enough for `USUAL_GAIN`, or the most that are ever asked."""
    calls = 0
    for group in groups:
        cases = len(group.ids(*SEARCHED))
        each = group.calls_per_run
        usual = foreseen_calls(cases, USUAL_GAIN * cases, 0, alpha, each=each)
        calls += usual or 2 * each * most_pairs(cases, alpha)
    return calls if ceiling is None else min(calls, ceiling // USUAL_SHARE)


def detectable_gain(pairs: int, alpha: float, *, differing: float) -> float:
    """The gain that `pairs` pairs show nine times out of ten, where this share of them differs by noise.

    Where no pair differs by noise, the new text must win as many pairs as the test needs at least.
    """
    return min(1.0, max(least_pairs(alpha) / pairs, _reach(alpha) * math.sqrt(differing / pairs)))


def pairs_for(gain: float, differing: float, alpha: float) -> int:
    """How many pairs show `gain` nine times out of ten, where the share `differing` of them differs."""
    share = min(1.0, max(differing, gain))
    few = least_pairs(alpha) / gain  # before that, too few of them differ
    enough = (share - gain * gain) * (_reach(alpha) / gain) ** 2 + _LEAD / gain
    return max(STEP, math.ceil(max(few, enough)))


def power_of(pairs: float, gain: float, differing: float, alpha: float) -> float:
    """The chance that so many pairs show `gain`, where the share `differing` of them differs.

    As `pairs_for` foresees it.
    """
    if gain <= 0 or pairs < least_pairs(alpha) / gain:
        return 0.0
    share = min(1.0, max(differing, gain))
    spread = math.sqrt(max(1e-9, share - gain * gain))
    return NormalDist().cdf(gain * math.sqrt(max(0.0, pairs - _LEAD / gain)) / spread - _critical(alpha))


def _reach(alpha: float) -> float:
    return NormalDist().inv_cdf(_POWER) + _critical(alpha)


def _critical(alpha: float) -> float:
    return -NormalDist().inv_cdf(alpha * _LAST)
