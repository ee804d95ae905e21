"""Is a candidate better? Paired by case, so that luck in which cases had an answer decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_promptopt.records import CaseResult, Split, pass_rate
from pytest_promptopt.results import SplitScore

#: Below this pass rate a lateral move is chance; from it on, moves sideways help to cross a plateau.
LATERAL_FROM = 0.10

#: Rates are means of floats; closer than this is equal.
EPSILON = 1e-9


@dataclass(frozen=True)
class Comparison:
    """A candidate against the incumbent, over the cases that have an answer under both.

    :param cases: how many these are; with 0 there is nothing to judge, and both rates are 0.
    :param before: the incumbent's pass rate on them, `after` the candidate's.
    :param fixed: cases that fail under the incumbent and pass under the candidate; `broken`: the reverse.
    :param growth: how many characters longer the candidate's text is.
    :param unrun: how many of `cases` the candidate was not run on, see `estimate`.
    """

    split: Split
    cases: int
    before: float
    after: float
    fixed: tuple[str, ...]
    broken: tuple[str, ...]
    growth: int = 0
    unrun: int = 0

    @property
    def gain(self) -> float:
        return self.after - self.before

    @property
    def points(self) -> str:
        """The gain as people say it: ``+12 points``."""
        points = round(100 * self.gain, 1)
        return f"{points:+g} points" if points else "±0 points"

    def __str__(self) -> str:
        return (
            f"{self.before:.1%} to {self.after:.1%} of {self.cases} {self.split} cases, "
            f"{len(self.fixed)} fixed, {len(self.broken)} broken"
            + f", {self.unrun} not run"
            * bool(self.unrun)
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
) -> Comparison:
    """Pair two evaluations by case; a case without an answer under either text is left out of both."""
    old = {result.case.id: result.rate for result in before}
    pairs = [
        (result.case.id, one, two)
        for result in after
        if (two := result.rate) is not None and (one := old.get(result.case.id)) is not None
    ]
    count = len(pairs)
    passes = 1.0 - EPSILON
    return Comparison(
        split=split,
        cases=count,
        before=sum(one for _, one, _ in pairs) / count if count else 0.0,
        after=sum(two for _, _, two in pairs) / count if count else 0.0,
        fixed=tuple(case for case, one, two in pairs if one < passes <= two),
        broken=tuple(case for case, one, two in pairs if two < passes <= one),
        growth=growth,
    )


def estimate(
    before: Sequence[CaseResult], after: Sequence[CaseResult], *, split: Split, growth: int = 0
) -> Comparison:
    """Compare over all cases of `before`, though the candidate was run on some of them only.

    The others are taken to keep their rate if they fail, and to lose what the passing cases that were run
    lost on average: an estimate stratified by the incumbent's verdict.
    """
    paired = compare(before, after, split=split, growth=growth)
    new = {result.case.id: result.rate for result in after}
    old = [(result.case.id, result.rate) for result in before if result.rate is not None]
    unrun = [rate for case, rate in old if case not in new]
    if not unrun:
        return paired
    passes = 1.0 - EPSILON
    losses = [rate - now for case, rate in old if rate >= passes and (now := new.get(case)) is not None]
    drop = sum(rate >= passes for rate in unrun) * sum(losses) / len(losses) if losses else 0.0
    cases = paired.cases + len(unrun)
    before_sum = paired.before * paired.cases + sum(unrun)
    after_sum = paired.after * paired.cases + sum(unrun) - drop
    return replace(paired, cases=cases, before=before_sum / cases, after=after_sum / cases, unrun=len(unrun))


def score(
    split: Split,
    cases: int,
    before: Sequence[CaseResult],
    after: Sequence[CaseResult] = (),
    *,
    owed: int = 0,
) -> SplitScore:
    """The pass rates of a split of `cases` cases under two texts; one without results was not measured.

    :param owed: on how many of these cases the second text was not run: an earlier one speaks for it.
    """
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
        owed=owed,
    )


def holds(comparison: Comparison) -> bool:
    """Whether the candidate is not worse than the incumbent."""
    return comparison.cases > 0 and comparison.gain >= -EPSILON


def adaptive(comparison: Comparison) -> Verdict:
    """The default rule: strictly better; on training cases as good is enough once 10 % of them pass."""
    if not comparison.cases:
        return Verdict(False, "no case has an answer under both texts")
    if comparison.gain > EPSILON:
        return Verdict(True, f"better: {comparison}")
    lateral = comparison.split is Split.TRAIN and comparison.before >= LATERAL_FROM
    if lateral and holds(comparison):
        return Verdict(True, f"as good, a step sideways: {comparison}")
    return Verdict(False, f"{'worse' if comparison.gain < -EPSILON else 'not better'}: {comparison}")


def rank(comparison: Comparison) -> tuple[float, int]:
    """Sorts the best candidate first: by gain, among equals the shorter text."""
    return (-round(comparison.gain, 9), comparison.growth)
