"""How often a new text changes verdicts, and how much of a verdict is luck: learned during the run.

A verdict depends on what a text means; but the wording alone also flips some verdicts, and flips others when
the same is said in other words: this is luck. By its meaning, a new text breaks some of the cases that the
text it was made from (its base) passes, and fixes some of those that it fails. Each text has two
rates of its own, drawn from a family that the texts of a kind (rewritten, merged, cut, with examples) share.
Neither the families nor the share of luck are known: both are learned from every text that was run.

The family is a grid of rates with a Dirichlet prior, to which every text adds what is believed of its own
rates (a nonparametric empirical Bayes estimate: Laird, JASA 73, 1978; texts of other kinds count less). Luck
is a grid of shares, weighed by how well each explains all verdicts. Every figure is the mixture over all of
them, never that of the likeliest point.

This module deals with numbers only; it knows neither prompts nor cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple


class Kind(StrEnum):
    """How a text was made from another: texts of a kind change about as many verdicts."""

    REWRITE = "rewrite"
    MERGE = "merge"
    CUT = "cut"
    EXAMPLES = "examples"


#: Rates at which a text may break, or fix, cases by its meaning.
RATES = (0.0, 0.015, 0.04, 0.08, 0.14, 0.22, 0.33, 0.48, 0.68, 0.9)

#: Shares of verdicts that wording alone may turn round.
LUCK = (0.005, 0.02, 0.05, 0.09, 0.14, 0.20, 0.28, 0.36)

#: Less luck than this is not told apart from none.
LEAST_LUCK = 0.0025

#: Before anything is learned a rate is as likely as under these Beta densities: breaking is rarer.
_BREAKS = (1.0, 12.0)
_FIXES = (1.0, 2.5)

#: Before anything is learned this share of texts is expected to answer anew: as many of the cases pass that
#: the base passes as of those that it fails. A weak model does so at nearly any change of the wording.
ANEW = 0.25

#: The weight of what is believed before anything is learned, in texts; and of a text of another kind.
START_WEIGHT = 2.0
OTHER_KINDS = 0.5

#: Steps in which a family is estimated.
STEPS = 12

#: What earlier runs taught weighs as many texts at most: 50 verdicts, as a text is run on about 20 cases. So
#: it is heard beside what is believed from the start, and five texts of the run itself outweigh both.
MOST_TOLD = 2.5

#: Parts of a mixture with less of the weight than this change no figure that is shown.
_NEGLIGIBLE = 1e-4

#: A variance of a rate below this counts as 0.
_NO_VARIANCE = 1e-12


#: How many texts of each kind were believed to have each pair of rates, in the order of `_PAIRS`.
Taught = Mapping[str, Sequence[float]]


class Change(NamedTuple):
    """One possibility: the share of luck (a place in `LUCK`), the rates of breaking and fixing."""

    luck: int
    breaks: float
    fixes: float


class Seen(NamedTuple):
    """Cases alike: how likely the base passes each, by share of luck; the verdict of the text, if it was run.

    :param passed: None for cases that the text was not run on.
    :param cases: how many they are; parts of cases count in part.
    """

    base: tuple[float, ...]
    passed: bool | None
    cases: float


def chance_to_pass(base: float, change: Change) -> float:
    """How likely a text passes a case by its meaning, when its base does so with this chance."""
    return base * (1 - change.breaks) + (1 - base) * change.fixes


def chance_of_pass_verdict(meant: float, luck: float) -> float:
    """How likely a verdict is a pass, when the text passes by its meaning with this chance."""
    return meant * (1 - luck) + (1 - meant) * luck


def verdict_odds(passed: bool, luck: float) -> float:
    """How many times likelier a verdict is when the text passes by its meaning."""
    odds = (1 - luck) / luck
    return odds if passed else 1 / odds


def share_by_meaning(share: float, luck: float) -> float:
    """The way back, for a share of verdicts: without those that luck has turned round, between 0 and 1."""
    return min(1.0, max(0.0, (share - luck) / (1 - 2 * luck)))


@dataclass(frozen=True)
class Belief:
    """What is believed of one text: possibilities with weights that add up to 1.

    :param evidence: the log likelihood of its verdicts under each share of luck, all rates taken together.
    :param likelihoods: that of its verdicts under each pair of rates, all shares of luck taken together.
    """

    parts: tuple[tuple[float, Change], ...]
    evidence: tuple[float, ...]
    likelihoods: tuple[float, ...] = ()

    @cached_property
    def means(self) -> tuple[tuple[float, float], ...]:
        """The expected rates of breaking and fixing under each share of luck."""
        totals = [[0.0, 0.0, 0.0] for _ in LUCK]
        for weight, change in self.parts:
            here = totals[change.luck]
            here[0] += weight
            here[1] += weight * change.breaks
            here[2] += weight * change.fixes
        everywhere = self.breaks[0], self.fixes[0]
        return tuple((one / all_, two / all_) if all_ else everywhere for all_, one, two in totals)

    @cached_property
    def breaks(self) -> tuple[float, float]:
        """Mean and variance of its rate of breaking."""
        return _moments([(weight, change.breaks) for weight, change in self.parts])

    @cached_property
    def fixes(self) -> tuple[float, float]:
        return _moments([(weight, change.fixes) for weight, change in self.parts])

    @cached_property
    def luck(self) -> float:
        return sum(weight * LUCK[change.luck] for weight, change in self.parts)


class _Text(NamedTuple):
    """What is known of a text that was run: its kind, and what it was believed to be, see `Belief`."""

    kind: Kind
    evidence: tuple[float, ...]
    likelihoods: tuple[float, ...]

    def under(self, family: Sequence[float]) -> list[float]:
        """How likely it has each pair of rates, as one of a family."""
        weights = [share * likelihood for share, likelihood in zip(family, self.likelihoods, strict=True)]
        total = sum(weights)
        return [weight / total for weight in weights]


class VerdictModel:
    """What the texts that were run so far tell about the next one.

    :param told: what earlier runs of the suite taught, see `sum_taught`.
    """

    def __init__(self, told: Taught | None = None) -> None:
        self._told = {kind: list(weighed) for kind, weighed in (told or {}).items()}
        self._texts: dict[str, _Text] = {}
        self._families: dict[tuple[str, str], list[float]] = {}

    def learn(self, kind: Kind, belief: Belief, name: str = "") -> None:
        """Take in what is believed of a text by now.

        :param name: takes the place of what was learned of the text of this name; without one it is a text of
            its own.
        """
        self._texts[name or f"without a name {len(self._texts)}"] = _Text(
            kind, belief.evidence, belief.likelihoods
        )
        self._families.clear()

    def _others(self, but: str) -> list[_Text]:
        return [text for name, text in self._texts.items() if name != but]

    @property
    def luck(self) -> list[float]:
        """How likely each share of luck is."""
        return self._luck()

    def _luck(self, but: str = "") -> list[float]:
        """The same, without what the text `but` showed."""
        shown = [text.evidence for text in self._others(but)]
        return _normal([math.fsum(logs) for logs in zip(_LUCK_BEFORE, *shown, strict=True)])

    def failing_by_meaning(self, rates: Sequence[float]) -> float:
        """The share of cases that a text with these rates fails by its meaning: without those it fails by
        luck, and with those that luck alone has it pass.
        """
        failing = math.fsum(1 - rate for rate in rates) / max(1, len(rates))
        shares = zip(self.luck, LUCK, strict=True)
        return math.fsum(weight * share_by_meaning(failing, luck) for weight, luck in shares)

    def family(self, kind: Kind, but: str = "") -> list[float]:
        """How likely a new text of `kind` has each pair of rates.

        :param but: the text that it is about, whose own verdicts do not count twice.
        """
        key = (kind, but if but in self._texts else "")
        if key not in self._families:
            self._families[key] = self._estimated(kind, self._others(but))
        return self._families[key]

    def taught(self) -> Taught:
        """What the texts of this run taught a later one; what an earlier one told is not passed on."""
        found: dict[str, list[float]] = {}
        for text in self._texts.values():
            weighed = found.get(text.kind, list(_NO_WEIGHTS))
            family = self.family(text.kind)
            found[text.kind] = [a + b for a, b in zip(weighed, text.under(family), strict=True)]
        return {kind: [round(each, 6) for each in weighed] for kind, weighed in found.items()}

    def _estimated(self, kind: Kind, texts: Sequence[_Text]) -> list[float]:
        """The family that explains `texts` best beside what was told (expectation maximization)."""
        family = _start()
        known = [START_WEIGHT * weight for weight in family]
        for other, weighed in self._told.items():
            power = 1.0 if other == kind else OTHER_KINDS
            known = [one + power * two for one, two in zip(known, weighed, strict=True)]
        for _ in range(STEPS if texts or self._told else 0):
            total = list(known)
            for text in texts:
                power = 1.0 if text.kind == kind else OTHER_KINDS
                total = [one + power * two for one, two in zip(total, text.under(family), strict=True)]
            scale = sum(total)
            family = [weight / scale for weight in total]
        return family

    def belief(self, kind: Kind, seen: Iterable[Seen], but: str = "") -> Belief:
        """What is believed of a text of `kind` with these verdicts.

        :param but: its name, if something was learned of it already.
        """
        family, verdicts = self.family(kind, but), [each for each in seen if each.passed is not None]
        logs: list[tuple[float, Change]] = []
        evidence: list[float] = []
        own: list[list[float]] = []
        prior = [math.log(share) for share in family]
        luck = self._luck(but)
        for place, weight in enumerate(luck):
            here = _likelihoods(verdicts, place, prior)
            most = max(here)
            own.append([log - before for log, before in zip(here, prior, strict=True)])
            evidence.append(most + math.log(sum(math.exp(log - most) for log in here)))
            if weight > _NEGLIGIBLE:
                known = math.log(weight)
                logs += [(known + log, change) for log, change in zip(here, _CHANGES[place], strict=True)]
        weights = _normal([log for log, _ in logs])
        kept = [(w, change) for w, (_, change) in zip(weights, logs, strict=True) if w > _NEGLIGIBLE]
        total = sum(weight for weight, _ in kept)
        parts = tuple((weight / total, change) for weight, change in kept)
        return Belief(parts, tuple(evidence), _mixed(own, luck))


def sum_taught(earlier: Iterable[Taught]) -> Taught:
    """The sum of what earlier runs taught, with the weight of at most `MOST_TOLD` texts."""
    total: dict[str, list[float]] = {}
    for taught in earlier:
        for kind, weighed in taught.items():
            total[kind] = [one + two for one, two in zip(total.get(kind, _NO_WEIGHTS), weighed, strict=True)]
    texts = math.fsum(map(math.fsum, total.values()))
    share = min(1.0, MOST_TOLD / texts) if texts else 0.0
    return {kind: [share * each for each in weighed] for kind, weighed in total.items()}


def parse_taught(found: object) -> Taught:
    """What a run has taught, as JSON gives it back. Raises `ValueError` for anything else."""
    if not isinstance(found, Mapping) or not all(map(_are_weights, found.values())):
        raise ValueError("these are not the weights of pairs of rates")
    return {Kind(kind): weighed for kind, weighed in found.items()}


def _are_weights(found: object) -> bool:
    return (
        isinstance(found, list)
        and len(found) == len(_PAIRS)
        and all(isinstance(each, int | float) and 0 <= each < math.inf for each in found)
    )


def variance_from_running(mean: float, variance: float, cases: float, run: float) -> float:
    """How far running `run` of `cases` cases moves the expected number of changes among them, as a variance.

    The rate is taken for Beta with this mean and variance, the changes for Beta-Binomial (Skellam, JRSS-B 10,
    1948).
    """
    run = min(run, cases)
    if run <= 0 or variance <= _NO_VARIANCE:
        return run * mean * (1 - mean) if run > 0 else 0.0
    weight = max(1e-3, mean * (1 - mean) / variance - 1)
    told = run * mean * (1 - mean) * (weight + run) / (weight + 1)
    return told * (1 + (cases - run) / (weight + run)) ** 2


#: Each share of luck stands for all that are nearest to it.
_EDGES = (LEAST_LUCK, *((one + two) / 2 for one, two in pairwise(LUCK)), 0.42)

#: How likely each share of luck is before anything is learned, as logarithms. Models differ in it by orders
#: of magnitude, so each order is as likely as another (Jeffreys, Theory of Probability, 3.1, 1961).
_LUCK_BEFORE = tuple(math.log(math.log(high / low)) for low, high in pairwise(_EDGES))

_PAIRS = tuple((breaks, fixes) for breaks in RATES for fixes in RATES)
_CHANGES = tuple(tuple(Change(place, *pair) for pair in _PAIRS) for place in range(len(LUCK)))
_NO_WEIGHTS = (0.0,) * len(_PAIRS)


@lru_cache(maxsize=1)
def _start() -> list[float]:
    """How likely each pair of rates is before anything is learned."""
    breaks, fixes = (_shares(a, b) for a, b in (_BREAKS, _FIXES))
    kept = [one * two for one in breaks for two in fixes]
    return [(1 - ANEW) * one + ANEW * two for one, two in zip(kept, _answers_anew(), strict=True)]


def _answers_anew() -> list[float]:
    """The same of texts that pass as many of the cases that the base passes as of those that it fails."""
    weights, steps = [0.0] * len(_PAIRS), 200
    for step in range(steps):
        passes = (step + 0.5) / steps
        breaks, fixes = (min(RATES, key=lambda rate: abs(rate - wanted)) for wanted in (1 - passes, passes))
        weights[_PAIRS.index((breaks, fixes))] += 1 / steps
    return weights


def _shares(a: float, b: float) -> list[float]:
    """A Beta density over `RATES`, each standing for all rates nearest to it."""
    edges = [0.0, *((one + two) / 2 for one, two in pairwise(RATES)), 1.0]
    steps = 50
    shares = []
    for low, high in pairwise(edges):
        points = [low + (high - low) * (step + 0.5) / steps for step in range(steps)]
        shares.append((high - low) * sum(x ** (a - 1) * (1 - x) ** (b - 1) for x in points) / steps)
    scale = sum(shares)
    return [share / scale for share in shares]


def _likelihoods(verdicts: Sequence[Seen], place: int, prior: Sequence[float]) -> list[float]:
    """The log likelihood of verdicts and each of `_PAIRS`, for one share of luck."""
    totals = list(prior)
    for base, passed, count in verdicts:
        logs = _log_chances(base[place], place, passed is True)
        totals = [total + count * log for total, log in zip(totals, logs, strict=True)]
    return totals


@lru_cache(maxsize=1024)
def _log_chances(base: float, place: int, passed: bool) -> tuple[float, ...]:
    """The log of how likely such a verdict is under each of `_PAIRS`, for one share of luck.

    Remembered, since what is believed of a text is asked anew whenever another one was run.
    """
    luck = LUCK[place]
    clear = 1 - 2 * luck
    kept = [luck + clear * base * (1 - rate) for rate in RATES]
    fixed = [clear * (1 - base) * rate for rate in RATES]
    chances = [one + two for one in kept for two in fixed]
    return tuple(math.log(chance if passed else 1 - chance) for chance in chances)


def _mixed(logs: Sequence[Sequence[float]], shares: Sequence[float]) -> tuple[float, ...]:
    """Likelihoods, of their logarithms under each share of luck; only how they compare matters."""
    rows = [[math.log(w) + log for log in row] for row, w in zip(logs, shares, strict=True) if w > 0]
    most = max(map(max, rows))
    return tuple(sum(math.exp(log - most) for log in column) for column in zip(*rows, strict=True))


def _moments(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    mean = sum(weight * value for weight, value in parts)
    return mean, sum(weight * (value - mean) ** 2 for weight, value in parts)


def _normal(logs: Sequence[float]) -> list[float]:
    """Weights that add up to 1, of their logarithms."""
    most = max(logs)
    weights = [math.exp(log - most) for log in logs]
    total = sum(weights)
    return [weight / total for weight in weights]
