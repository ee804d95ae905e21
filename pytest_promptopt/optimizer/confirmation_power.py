"""How many pairs of fresh answers show a gain, and the calls that they take.

Planned before they are asked: for the header, for what is kept from a search, for what would be needed.
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

#: About what a look at the last planned pair has of alpha, when the earlier ones took their part.
_LAST = 0.55

#: So many pairs more than the normal curve says, since pairs are whole and looks are few (simulated).
_LEAD = 3
_POWER = 0.9


def calls_each(group: PromptGroup, results: Iterable[CaseResult]) -> float:
    """Calls that a run of a case takes, on average: those it made, and no fewer than its prompts."""
    runs = [len(outcome.calls) for result in results for outcome in result.outcomes if outcome.calls]
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

    0 when nothing can be shown sensibly: it is no gain, or too small a one for the pairs that are ever asked.

    :param cases: of how many train and validation cases it is known, or expected, whether they change.
    :param fixed: the expected number of these that fail under the original and pass under the new text, with
        those that do so by chance; `broken` the other way round.
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
    """What is kept for judging a text when its search is over: runs that it was spared, fresh answers."""
    before, spared = original.evidence(*SEARCHED), len(found.spared(group))
    gains, each = compare(before, found.evidence(*SEARCHED)), calls_each(group, before)
    fixed, broken = len(gains.fixed), len(gains.broken)
    fresh = foreseen_calls(gains.cases, fixed, broken, alpha, each=each, spared=spared)
    return math.ceil(each * spared) + (fresh or usual_calls([group], None, alpha))


def usual_calls(groups: Iterable[PromptGroup], ceiling: int | None, alpha: float) -> int:
    """What is kept before anything is known: calls that show `USUAL_GAIN`, or all that are ever asked."""
    calls = 0
    for group in groups:
        cases = len(group.ids(*SEARCHED))
        each = group.calls_per_run
        usual = foreseen_calls(cases, USUAL_GAIN * cases, 0, alpha, each=each)
        calls += usual or 2 * each * most_pairs(cases, alpha)
    return calls if ceiling is None else min(calls, ceiling // USUAL_SHARE)


def detectable(pairs: int, alpha: float, *, differing: float) -> float:
    """The gain that `pairs` pairs show nine times out of ten, where this share of them differs by noise.

    Where none does, as many as show anything at all must be won.
    """
    return min(1.0, max(least_pairs(alpha) / pairs, _reach(alpha) * math.sqrt(differing / pairs)))


def pairs_for(gain: float, differing: float, alpha: float) -> int:
    """So many pairs show `gain` nine times out of ten, where this share of all pairs differs."""
    share = min(1.0, max(differing, gain))
    few = least_pairs(alpha) / gain  # till then not enough of them differ
    enough = (share - gain * gain) * (_reach(alpha) / gain) ** 2 + _LEAD / gain
    return max(STEP, math.ceil(max(few, enough)))


def _reach(alpha: float) -> float:
    normal = NormalDist()
    return normal.inv_cdf(_POWER) - normal.inv_cdf(alpha * _LAST)
