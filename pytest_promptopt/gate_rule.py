"""How a gate decides: by the measured rate, or by how far the true one may be from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from pytest_promptopt.rate_interval import RateInterval, Scores
from pytest_promptopt.records import EPSILON, CaseResult, Split, pass_rate
from pytest_promptopt.settings import GateMode, GatePopulation, GateSplit, Settings, Undecided


class GateVerdict(StrEnum):
    """From the best to the worst. `PASS`: shown to reach the threshold; `FAIL`: shown to miss it."""

    PASS = "pass"
    UNDECIDED = "undecided"
    FAIL = "fail"


@dataclass(frozen=True)
class GateRule:
    """How gates of a session decide.

    :param confidence: of the two-sided interval; a gate errs in half of what is left, at most.
    :param looks: how often a gate may be looked at, with more samples each time.
    :param margin: by an interval, a rate this share below the threshold is good enough.
    """

    mode: GateMode = GateMode.RATE
    confidence: float = 0.95
    population: GatePopulation = GatePopulation.ANSWERS
    split: GateSplit = GateSplit.ALL
    undecided: Undecided = Undecided.FAIL
    looks: int = 1
    margin: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> GateRule:
        return cls(
            settings.gate,
            settings.gate_confidence,
            settings.gate_population,
            settings.gate_split,
            settings.undecided,
            len(look_sizes(settings.most_gate_samples)),
            settings.gate_margin / 100,
        )

    @property
    def error(self) -> float:
        """Of the interval at each look: all of them together err as often as one alone may."""
        return (1 - self.confidence) / self.looks

    def counts(self, result: CaseResult) -> bool:
        return self.split is GateSplit.ALL or result.case.split is Split.HELDOUT

    def holds(self, verdict: GateVerdict) -> bool:
        undecided = verdict is GateVerdict.UNDECIDED and self.undecided is Undecided.PASS
        return undecided or verdict is GateVerdict.PASS


def look_sizes(most: int | None) -> list[int]:
    """How many samples a case has at each look at its gate: twice as many each time, `most` in the end."""
    sizes, last = [1], most or 1
    while sizes[-1] < last:
        sizes.append(min(2 * sizes[-1], last))
    return sizes


#: The measured rate decides.
BY_RATE = GateRule()


@dataclass(frozen=True)
class GateDecision:
    """What a gate says of one prompt, or of one model that answers it.

    :param interval: of its pass rate; None where the measured rate decides, or there is none.
    :param samples: of an undecided gate, about how many further samples of each case would decide it at the
        rate seen now; None where no number would, or it is decided.
    :param cases: likewise how many further cases would, where samples cannot.
    :param by_margin: it holds, but the threshold itself is not shown to be reached.
    """

    verdict: GateVerdict
    interval: RateInterval | None = None
    samples: int | None = None
    cases: int | None = None
    by_margin: bool = False


def decide(results: Sequence[CaseResult], least: float, rule: GateRule) -> GateDecision:
    """Whether the pass rate of these cases reaches `least`. Without evidence it does not."""
    rate = pass_rate(results)
    if rate is None:
        return GateDecision(GateVerdict.FAIL)
    if rule.mode is GateMode.RATE:
        return GateDecision(GateVerdict.PASS if rate >= least - EPSILON else GateVerdict.FAIL)
    counted = [result for result in results if result.counted]
    scores = _scores(counted, rule.population)
    interval = scores.interval(rule.error)
    if interval.low >= least - rule.margin - EPSILON:
        return GateDecision(GateVerdict.PASS, interval, by_margin=interval.low < least - EPSILON)
    if interval.high < least - EPSILON:
        return GateDecision(GateVerdict.FAIL, interval)
    ways = [
        scores.repeats_to_decide(end, rule.error)
        for end, may_decide in ((least, rate < least), (least - rule.margin, rate > least - rule.margin))
        if may_decide
    ]
    repeats = min((each for each in ways if each is not None), default=None)
    if repeats is None:
        return GateDecision(GateVerdict.UNDECIDED, interval)
    if rule.population is GatePopulation.CASES or _never_vary(counted):
        return GateDecision(GateVerdict.UNDECIDED, interval, cases=max(1, ceil((repeats - 1) * len(counted))))
    each = sum(len(result.counted) for result in counted) / len(counted)
    return GateDecision(GateVerdict.UNDECIDED, interval, samples=max(1, ceil((repeats - 1) * each)))


def _scores(counted: Sequence[CaseResult], population: GatePopulation) -> Scores:
    """Each answer by itself, so that a case counts as much as the others however often it was asked; where
    cases are what is drawn, each case by its mean."""
    if population is GatePopulation.CASES:
        rates = tuple(result.rate or 0.0 for result in counted)
        return Scores(rates, tuple(result.case.weight for result in counted))
    answers = [
        (outcome.score, result.case.weight / len(result.counted))
        for result in counted
        for outcome in result.counted
    ]
    return Scores(tuple(score for score, _ in answers), tuple(weight for _, weight in answers))


def _never_vary(counted: Sequence[CaseResult]) -> bool:
    """Whether every case was asked several times and scored the same each time."""
    return all(len(result.counted) > 1 and len({o.score for o in result.counted}) == 1 for result in counted)
