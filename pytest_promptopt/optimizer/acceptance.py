"""Is a candidate better than the incumbent? Compared on the cases that both have answers for."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from pytest_promptopt.optimizer.label_rates import balanced_accuracy, one_answer_without_gain
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.records import EPSILON, CaseResult, Split, pass_rate
from pytest_promptopt.results import SplitScore
from pytest_promptopt.statistics import effective_cases, paired_test

#: From this pass rate on, a candidate that is only as good may replace the incumbent: another text with the
#: same rate is a new start for the search. Below it, being as good is likely chance.
LATERAL_FROM = 0.10

#: A text that was not run on all cases counts as better when it is better on all with this probability.
PROBABLY = 0.5


@dataclass(frozen=True)
class Comparison:
    """A candidate against the incumbent, over the cases that have an answer under both.

    :param cases: how many these are; with 0 there is nothing to judge, and both rates are 0.
    :param before: the incumbent's pass rate on them, `after` the candidate's.
    :param fixed: cases that fail under the incumbent and pass under the candidate; `broken`: the reverse.
    :param growth: how many characters longer the candidate's text is.
    :param unrun: how many of `cases` the candidate was not run on: `after` is estimated there, see
        `compare_estimates`.
    :param lead: the gain without the luck in either rate; None where it is not told apart.
    :param chance: how likely it is better on all of them, by what was run; None where it is not told apart.
    :param sideways: whether as good may be enough.
    :param failing: how many of the cases run under both fail under the incumbent; `passing`: pass.
    :param balanced: the candidate's mean over the labels of how many are right, of the cases it was run on;
        None where they have no labels.
    :param one_answer: why no gain counts, where it answers the same to everything; empty where it does not.
    :param raised: cases that fail under both and have a higher rate under the candidate, by a judge's score,
        subtests or samples; `lowered`: a lower one.
    :param changes: of the rates of the cases run under both.
    """

    split: Split
    cases: int
    before: float
    after: float
    fixed: tuple[str, ...]
    broken: tuple[str, ...]
    growth: int = 0
    unrun: int = 0
    lead: float | None = None
    chance: float | None = None
    sideways: bool = True
    failing: int = 0
    passing: int = 0
    balanced: float | None = None
    one_answer: str = ""
    raised: tuple[str, ...] = ()
    lowered: tuple[str, ...] = ()
    changes: tuple[float, ...] = ()

    @property
    def gain(self) -> float:
        return self.after - self.before if self.lead is None else self.lead

    @property
    def spotless(self) -> bool:
        """Whether it was run on all cases, better on some and worse on none: no more can be learned of it."""
        better, worse = (*self.fixed, *self.raised), (*self.broken, *self.lowered)
        return bool(better) and not worse and not self.unrun

    @property
    def won(self) -> float:
        """How many cases it wins, those in part that it is better on in part; `lost` likewise."""
        return math.fsum(max(0.0, change) for change in self.changes)

    @property
    def lost(self) -> float:
        return math.fsum(max(0.0, -change) for change in self.changes)

    @property
    def points(self) -> str:
        """The gain as people say it: ``+12 points``."""
        points = round(100 * self.gain, 1)
        return f"{points:+g} points" if points else "±0 points"

    def __str__(self) -> str:
        """Says of a rate whether it was counted or is an estimate."""
        rates = f"{self.before:.1%} to {self.after:.1%}"
        graded = f", {len(self.raised)} raised, {len(self.lowered)} lowered"
        graded *= bool(self.raised or self.lowered)
        if not self.unrun:
            counts = f"{len(self.fixed)} fixed, {len(self.broken)} broken{graded}"
            return f"{rates} of {self.cases} {self.split} cases, {counts}"
        return (
            f"fixed {len(self.fixed)} of {self.failing} run, broke {len(self.broken)} of {self.passing} run"
            f"{graded}; "
            f"{rates} expected of {self.cases} {self.split} cases, {self.unrun} not run"
        )


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate may replace the incumbent, and why in a sentence."""

    accepted: bool
    why: str


def compare(
    before: Sequence[CaseResult],
    after: Sequence[CaseResult],
    *,
    split: Split = Split.TRAIN,
    growth: int = 0,
    by_label: bool = False,
) -> Comparison:
    """Pair two evaluations by case; a case without an answer under either text is left out of both.

    :param by_label: whether to say also how right the second text is by label, see `Comparison`.
    """
    old = {result.case.id: result.rate for result in before}
    pairs = [
        (result.case.id, one, two)
        for result in after
        if (two := result.rate) is not None and (one := old.get(result.case.id)) is not None
    ]
    count = len(pairs)
    passes = 1.0 - EPSILON
    failing = sum(one < passes for _, one, _ in pairs)
    open_cases = [(case, two - one) for case, one, two in pairs if one < passes and two < passes]
    return Comparison(
        split=split,
        cases=count,
        before=sum(one for _, one, _ in pairs) / count if count else 0.0,
        after=sum(two for _, _, two in pairs) / count if count else 0.0,
        fixed=tuple(case for case, one, two in pairs if one < passes <= two),
        broken=tuple(case for case, one, two in pairs if two < passes <= one),
        raised=tuple(case for case, change in open_cases if change > EPSILON),
        lowered=tuple(case for case, change in open_cases if change < -EPSILON),
        changes=tuple(two - one for _, one, two in pairs),
        growth=growth,
        failing=failing,
        passing=count - failing,
        balanced=balanced_accuracy(after) if by_label else None,
        one_answer=one_answer_without_gain(before, after) if by_label else "",
    )


def counted_on_all(found: Comparison, before: Sequence[CaseResult]) -> Comparison:
    """A comparison on some of the cases of `before`, with the others as they were."""
    rates = [result.rate for result in before if result.rate is not None]
    rate = sum(rates) / max(1, len(rates))
    return replace(
        found,
        cases=len(rates),
        before=rate,
        after=rate + sum(found.changes) / max(1, len(rates)),
        unrun=len(rates) - found.cases,
    )


def compare_estimates(
    before: RatePosterior,
    after: RatePosterior,
    old: Sequence[CaseResult],
    new: Sequence[CaseResult],
    *,
    growth: int = 0,
) -> Comparison:
    """Compare on all training cases that both texts are counted on, also where they were not run.

    :param before: what is known and foreseen of the incumbent, with its results `old`; `after` and `new` of
        the candidate.
    """
    paired = compare(old, new, growth=growth, by_label=True)
    counted = set(before.cases)
    shared = [case for case in after.cases if case in counted]
    if not shared:
        return paired
    lead = after.lead(before)
    return replace(
        paired,
        cases=len(shared),
        before=math.fsum(before.chance(case) for case in shared) / len(shared),
        after=math.fsum(after.chance(case) for case in shared) / len(shared),
        lead=lead.mean / len(shared),
        unrun=sum(case not in after.known for case in shared),
        chance=lead.chance,
    )


def paired_rates(
    before: Sequence[CaseResult], after: Sequence[CaseResult], cases: Collection[str]
) -> dict[str, tuple[float, float]]:
    """Of each of `cases` with a result under both texts its rates."""
    new = {result.case.id: result.rate for result in after}
    pairs = ((result.case.id, result.rate, new.get(result.case.id)) for result in before)
    return {
        case: (one, two) for case, one, two in pairs if case in cases and one is not None and two is not None
    }


def score_split(
    split: Split,
    cases: int,
    before: Sequence[CaseResult],
    after: Sequence[CaseResult] = (),
    *,
    unverified: int = 0,
    examples: Collection[str] = (),
) -> SplitScore:
    """The pass rates of a split of `cases` cases under two texts; one without results was not measured.

    Both leave out the cases that the second text was not run on.

    :param unverified: how many cases it still has to be run on.
    :param examples: cases that the text shows as examples, and that were run without their own.
    """
    if after or unverified:
        ran = {result.case.id for result in after}
        before = [result for result in before if result.case.id in ran]
    paired = compare(before, after, split=split)
    latest = after or before
    return SplitScore(
        split=split,
        cases=min(cases, len(latest) or cases) - sum(r.rate is None and not r.errored for r in latest),
        before=pass_rate(before),
        after=pass_rate(after),
        errored=sum(result.errored for result in latest),
        fixed=len(paired.fixed),
        broken=len(paired.broken),
        raised=len(paired.raised),
        lowered=len(paired.lowered),
        unverified=unverified,
        examples=sum(result.case.id in examples for result in latest),
        tested=paired_test(paired.changes),
        effective=effective_cases(r.case.weight for r in latest if r.rate is not None),
    )


def is_not_worse(comparison: Comparison) -> bool:
    """Whether the candidate is not worse than the incumbent."""
    return comparison.cases > 0 and comparison.gain >= -EPSILON


def accept_adaptively(comparison: Comparison) -> Verdict:
    """The default rule: strictly better; on training cases as good is enough once 10 % of them pass."""
    if not comparison.cases:
        return Verdict(False, "no case has an answer under both texts")
    sure = comparison.chance is None or comparison.chance >= PROBABLY or comparison.spotless
    counted = comparison.after - comparison.before
    if comparison.one_answer and max(comparison.gain, counted) >= -EPSILON:
        return Verdict(False, f"{comparison.one_answer}: {comparison}")
    if comparison.gain > EPSILON and sure:
        both = comparison.split is Split.VALIDATION and counted <= EPSILON
        return Verdict(True, f"better{' on training and validation cases together' * both}: {comparison}")
    # What was counted decides here: without luck a text that changed no verdict may be a bit better or worse.
    lateral = comparison.sideways and comparison.split is Split.TRAIN and comparison.before >= LATERAL_FROM
    if lateral and not comparison.unrun and counted >= -EPSILON:
        return Verdict(True, f"as good, taken as another way on: {comparison}")
    if comparison.gain > EPSILON:
        return Verdict(False, f"not surely better ({comparison.chance:.0%}): {comparison}")
    return Verdict(False, f"{'worse' if counted < -EPSILON else 'not better'}: {comparison}")


def rank_key(comparison: Comparison) -> tuple[float, float, int]:
    """Sorts the best candidate first: by gain, among equals by balanced accuracy, then the shorter text."""
    return -round(comparison.gain, 9), -round(comparison.balanced or 0.0, 9), comparison.growth
