"""What is known and foreseen of one text on the cases of a split, and which of two texts is better.

A text was run on some cases; on the others its verdict is foreseen from what is believed of the text it was
made from (its base), and from how it changed verdicts where both were run. What later texts showed of the
same cases tells in turn how much of a text's own verdicts was luck. See `verdict_model`.

A case with a rate between 0 and 1 is a pass in part, see `score_bars`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_promptopt.optimizer.lead import Lead, lead_over_base, mixture
from pytest_promptopt.optimizer.score_bars import (
    Bars,
    Chances,
    all_bars,
    cleared_by_side,
    joined,
    with_verdicts,
)
from pytest_promptopt.optimizer.verdict_model import (
    LUCK,
    Belief,
    Change,
    Kind,
    Seen,
    VerdictModel,
    chance_of_pass_verdict,
    chance_to_pass,
    share_by_meaning,
    variance_from_running,
    verdict_odds,
)
from pytest_promptopt.records import CaseResult
from pytest_promptopt.results import Foresight

#: The interval of a foresight holds the truth nine times out of ten.
_TAIL = 0.05


class RatePosterior:
    """What is known and foreseen of one text.

    :param cases: those that it is counted on, of one split: those with a rate under the original.
    :param base: what is known of the text that it was made from; None for the original.
    :param name: the id of the candidate.
    """

    def __init__(
        self,
        cases: Iterable[str],
        learning: VerdictModel,
        *,
        base: RatePosterior | None = None,
        kind: Kind = Kind.REWRITE,
        name: str = "",
    ) -> None:
        self.name = name
        self.cases = tuple(cases)
        self.base = base
        self.beside: RatePosterior | None = None
        self.kind = kind
        self.known: dict[str, float] = {}
        self._learning = learning
        self._shares = learning.luck
        # How likely the base passes each case by its meaning, as far as it is known now: bars, and the whole.
        self._before: dict[str, Bars] = {}
        self._whole_before: dict[str, float] = {}
        self._see_base(self.cases)
        # The cases that both texts are counted on.
        counted = set(self.cases if base is None else base.cases)
        self._shared = [case for case in self.cases if case in counted]
        # What later texts showed: how many times likelier their verdicts are if this text passes the case;
        # of the bars that it cleared, and of the others.
        self._told: dict[tuple[str, bool], list[float]] = {}
        # The cases of which it told its base.
        self._settled: set[str] = set()
        self._belief: Belief | None = None
        self._groups: tuple[tuple[Seen, ...], tuple[Seen, ...]] | None = None
        self._foresight: Foresight | None = None
        self._over_base: Lead | None = None

    def add(self, results: Iterable[CaseResult]) -> None:
        """Take in what was measured; a case without an answer counts no more."""
        rates = {result.case.id: result.rate for result in results}
        self.known.update({c: rate for c in self.cases if (rate := rates.get(c)) is not None})
        silent = {case for case, rate in rates.items() if rate is None and case not in self.known}
        self.cases = tuple(case for case in self.cases if case not in silent)
        self._shared = [case for case in self._shared if case not in silent]
        self._clear_derived()

    def _see_base(self, cases: Iterable[str]) -> None:
        """Take in what is known of the base now."""
        if self.base is None:
            return
        for case in cases:
            self._before[case] = bars = self.base.bars(case)
            chances = zip(self._shares, all_bars(bars), strict=True)
            self._whole_before[case] = math.fsum(weight * chance for weight, chance in chances)

    def see_base_again(self) -> None:
        """Take in what its base was run on meanwhile."""
        self._see_base(self.cases)
        self._clear_derived()

    def _clear_derived(self) -> None:
        """What was derived is no longer up to date."""
        self._belief = self._groups = self._foresight = self._over_base = None

    def widen(self, cases: Iterable[str]) -> None:
        """Count it on further cases as well, and so its base."""
        counted = set(self.cases)
        new = [case for case in cases if case not in counted]
        self.cases = (*self.cases, *new)
        if self.base is not None:
            self.base.widen(new)
        self._see_base(new)
        self._shared += new
        self._clear_derived()

    @property
    def unrun(self) -> tuple[str, ...]:
        """The cases that it was not run on."""
        return tuple(case for case in self.cases if case not in self.known)

    @property
    def belief(self) -> Belief:
        """What is believed of how it changed its base."""
        if self._belief is None:
            beside = self.beside._seen()[0] if self.beside else ()
            self._belief = self._learning.belief(self.kind, (*self._seen()[0], *beside), self.name)
        return self._belief

    def see_beside(self, other: RatePosterior) -> None:
        """Take in what the same text changed on cases of another split: this tells of it here too."""
        self.beside = other
        self._clear_derived()

    # ------------------------------------------------------------------------------------------- one case

    def chances_without_luck(self, case: str) -> Chances:
        """How likely it passes a case by its meaning, under each share of luck."""
        return all_bars(self.bars(case))

    def bars(self, case: str) -> Bars:
        """The same from bar to bar."""
        rate = self.known.get(case)
        return joined(
            (share, self._in_the_light(case, before, passed), passed)
            for share, before, passed in with_verdicts(self._bars_before_verdict(case), rate)
        )

    def _in_the_light(self, case: str, before: Chances, passed: bool | None) -> Chances:
        """Chances in the light of its own verdict, and of what later texts showed."""
        told = self._told.get((case, passed is not False))
        chances = []
        for place, luck in enumerate(LUCK):
            chance = before[place]
            if passed is not None:
                chance = _bayes_update(chance, verdict_odds(passed, luck))
            chances.append(_bayes_update(chance, told[place]) if told else chance)
        return tuple(chances)

    def _bars_before_verdict(self, case: str) -> Bars:
        """How likely it passes by its meaning, apart from its own verdict on the case."""
        if self.base is None:
            return ((1.0, tuple(map(self._rate_without_luck, LUCK))),)
        if case not in self._before:  # under its base it had no answer
            return self.base._bars_before_verdict(case)
        changes = [Change(place, *mean) for place, mean in enumerate(self.belief.means)]
        return tuple((end, tuple(map(chance_to_pass, before, changes))) for end, before in self._before[case])

    def _rate_without_luck(self, luck: float) -> float:
        """The pass rate of the original by its meaning, which luck brings towards a half."""
        rate = math.fsum(self.known.values()) / max(1, len(self.known))
        return min(0.98, max(0.02, share_by_meaning(rate, luck)))

    def before(self, case: str) -> float:
        """How likely its base passes a case by its meaning, as far as was known when it was made."""
        return self._whole_before[case]

    def expected(self, case: str) -> float:
        """How likely it passes a case by its meaning."""
        return math.fsum(
            w * chance for w, chance in zip(self._learning.luck, self.chances_without_luck(case), strict=True)
        )

    def chance(self, case: str) -> float:
        """The verdict on a case: what was measured, else how likely it is a pass."""
        known = self.known.get(case)
        if known is not None:
            return known
        chances = zip(self._learning.luck, self.chances_without_luck(case), LUCK, strict=True)
        return math.fsum(weight * chance_of_pass_verdict(meant, luck) for weight, meant, luck in chances)

    @property
    def failing(self) -> float:
        """How many cases it is expected to fail by its meaning."""
        return math.fsum(1 - self.expected(case) for case in self.cases)

    def pairs(self) -> Iterable[tuple[str, float, float]]:
        """The cases that both it and its base were run on: case, rate of the base, rate of its own."""
        if self.base is not None:
            for case, after in self.known.items():
                if (before := self.base.known.get(case)) is not None:
                    yield case, before, after

    # -------------------------------------------------------------------------------------------- all cases

    def clear_estimates(self) -> None:
        """Believe anew: what is known of other texts has changed."""
        self._belief = self._foresight = self._over_base = None

    def settle(self) -> None:
        """What it has taught so far of new texts, and of its base, is taken in."""
        if self.base is None or not self.known:
            return
        self._learning.learn(self.kind, self.belief, self.name)
        for place, luck in enumerate(LUCK):
            breaks, fixes = self.belief.means[place]
            passed, failed = chance_of_pass_verdict(1 - breaks, luck), chance_of_pass_verdict(fixes, luck)
            for case, rate in self.known.items():
                if case not in self._settled:
                    for side, share in cleared_by_side(self.base.known.get(case), rate):
                        told = self.base._told.setdefault((case, side), [1.0] * len(LUCK))
                        odds = (passed / failed) ** share * ((1 - passed) / (1 - failed)) ** (1 - share)
                        told[place] *= odds
        self._settled.update(self.known)

    def foresight(self) -> Foresight:
        """Its pass rate on all cases, with what is expected where it was not run."""
        if self._foresight is None:
            self._foresight = self._foreseen()
        return self._foresight

    def _foreseen(self) -> Foresight:
        cases = len(self.cases)
        if not cases:
            return Foresight(0.0, 0.0, 0.0, 0.0, 0, 0)
        known = math.fsum(self.known[case] for case in self.cases if case in self.known)
        others = set(self.cases).difference(self._shared, self.known)
        known += math.fsum(self.chance(case) for case in others)
        parts = []
        for weight, change in self.belief.parts if self.base else ():
            chances = [
                (
                    chance_of_pass_verdict(chance_to_pass(each.base[change.luck], change), LUCK[change.luck]),
                    each.cases,
                )
                for each in self._seen()[1]
            ]
            mean = sum(count * chance for chance, count in chances)
            parts.append((weight, mean, sum(count * chance * (1 - chance) for chance, count in chances)))
        mean, variance = mixture(parts)
        if variance <= 0:
            rate = (known + mean) / cases
            return Foresight(rate, rate, rate, 0.0, len(self.known), cases)
        low, high = (_quantile(parts, share) for share in (_TAIL, 1 - _TAIL))
        low, high = max(0.0, low), min(float(cases - len(self.known)), high)
        sd = math.sqrt(variance)
        return Foresight(
            (known + mean) / cases,
            (known + min(low, mean)) / cases,
            (known + max(high, mean)) / cases,
            sd / cases,
            len(self.known),
            cases,
        )

    def lead(self, other: RatePosterior) -> Lead:
        """How far ahead of `other` it is by its meaning, over the cases that both are counted on."""
        if other is self:
            return Lead(0.0, 0.0, 0.0)
        if self.base is other:
            if self._over_base is None:
                self._over_base = lead_over_base(self.belief, *self._seen())
            return self._over_base
        if self.base is not None and self not in other.lineage():
            return self.lead(self.base) + self.base.lead(other)
        return -other.lead(self)

    def lead_on_both(self) -> Lead:
        """How far ahead of its base it is over its cases and those of the split beside."""
        assert self.beside is not None
        run, unrun = (mine + others for mine, others in zip(self._seen(), self.beside._seen(), strict=True))
        return lead_over_base(self.belief, run, unrun)

    def lineage(self) -> Iterator[RatePosterior]:
        """It, the text that it was made from, and so on to the original."""
        yield self
        if self.base is not None:
            yield from self.base.lineage()

    def foreseeable(self, batch: Iterable[str]) -> float:
        """How far a run on `batch` would move its expected lead over its base, as a variance in cases."""
        passing, failing = self._exposure(self.unrun)
        soon = [case for case in batch if case in self._before and case not in self.known]
        soon_passing, soon_failing = self._exposure(soon)
        clear = (1 - 2 * self.belief.luck) ** 2
        return variance_from_running(
            *self.belief.breaks, passing, clear * soon_passing
        ) + variance_from_running(*self.belief.fixes, failing, clear * soon_failing)

    def foreseeable_alone(self, case: str) -> float:
        """How far a run on this case alone would move what is expected of it there, as a variance."""
        chance = self.expected(case)
        return chance * (1 - chance) * (1 - 2 * self.belief.luck) ** 2

    def weights(self) -> tuple[float, float]:
        """How uncertain the cases not run leave it, in cases: those that its base passes, and fails."""
        passing, failing = self._exposure(self.unrun)
        return passing * math.sqrt(self.belief.breaks[1]), failing * math.sqrt(self.belief.fixes[1])

    def _exposure(self, cases: Iterable[str]) -> tuple[float, float]:
        """How many of these cases its base passes and fails, as far as is known."""
        assert self.base is not None
        chances = [self.before(case) for case in cases]
        return math.fsum(chances), len(chances) - math.fsum(chances)

    def _seen(self) -> tuple[tuple[Seen, ...], tuple[Seen, ...]]:
        """The cases it was run on, and those it was not, alike ones together."""
        if self._groups is None:
            run: dict[tuple[Chances, bool], float] = {}
            unrun: dict[Chances, float] = {}
            for case in self._shared:
                for share, before, passed in with_verdicts(self._before[case], self.known.get(case)):
                    key = tuple(round(chance, 3) for chance in before)
                    if passed is None:
                        unrun[key] = unrun.get(key, 0.0) + share
                    else:
                        run[key, passed] = run.get((key, passed), 0.0) + share
            self._groups = (
                tuple(Seen(base, passed, count) for (base, passed), count in run.items()),
                tuple(Seen(base, None, count) for base, count in unrun.items()),
            )
        return self._groups


def posterior_of(rates: Mapping[str, float], learning: VerdictModel) -> RatePosterior:
    """That of the original: what it was run on is all that counts."""
    original = RatePosterior(rates, learning)
    original.known.update(rates)
    return original


def _bayes_update(chance: float, odds: float) -> float:
    """A chance in the light of something so many times likelier if it comes true."""
    return chance * odds / (chance * odds + 1 - chance)


def _quantile(parts: Sequence[tuple[float, float, float]], share: float) -> float:
    """The point that a share of a mixture of normal densities lies below, to a millionth."""
    spread = [(weight / 2, mean, math.sqrt(2 * max(variance, 1e-9))) for weight, mean, variance in parts]
    low = min(mean - 6 * wide for _, mean, wide in spread)
    high = max(mean + 6 * wide for _, mean, wide in spread)
    while high - low > 1e-6:
        middle = (low + high) / 2
        # The normal distribution's share below, written out: this is what a search spends most time on.
        below = sum(half * (1 + math.erf((middle - mean) / wide)) for half, mean, wide in spread)
        low, high = (middle, high) if below < share else (low, middle)
    return (low + high) / 2
