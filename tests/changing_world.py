"""Texts that are made from one another: each breaks and fixes some cases; luck turns some verdicts round."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_promptopt.optimizer.rate_posterior import RatePosterior, posterior_of
from pytest_promptopt.optimizer.verdict_model import Kind, VerdictModel
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status


def result(case: str, rate: float | None) -> CaseResult:
    """A case with this rate; None for one without an answer."""
    status = Status.ERRORED if rate is None else Status.PASSED if rate == 1 else Status.FAILED
    return CaseResult(Case(case, ("p",), Split.TRAIN), (Outcome(case, status, rate or 0.0),))


def results(rates: Mapping[str, float | None]) -> list[CaseResult]:
    return [result(case, rate) for case, rate in rates.items()]


def rates(letters: str) -> dict[str, float]:
    """Verdicts of cases 00, 01 ...: ``P`` passed, ``F`` failed, ``H`` half of it."""
    return {f"{number:02}": {"P": 1.0, "F": 0.0, "H": 0.5}[letter] for number, letter in enumerate(letters)}


def answers(letters: str) -> dict[str, float | None]:
    """The same, and ``E`` for a case that gave no answer."""
    return {
        f"{number:02}": None if letter == "E" else rates(letter)["00"]
        for number, letter in enumerate(letters)
    }


def made_from(base: RatePosterior, letters: str, *, kind: Kind = Kind.REWRITE) -> RatePosterior:
    """A text with these verdicts, ``-`` for a case that it was not run on."""
    ran = {f"{number:02}": letter for number, letter in enumerate(letters) if letter != "-"}
    posterior = RatePosterior(base.cases, base._learning, base=base, kind=kind)
    posterior.add(results({case: rates(letter)["00"] for case, letter in ran.items()}))
    return posterior


def original(letters: str, learning: VerdictModel | None = None) -> RatePosterior:
    return posterior_of(rates(letters), learning or VerdictModel())


@dataclass
class Text:
    """What a text does for every case by its meaning, and the verdicts that a run of it shows."""

    meant: dict[str, bool]
    verdicts: dict[str, float]
    posterior: RatePosterior

    @property
    def rate(self) -> float:
        """The pass rate on all cases, as running them would show it."""
        return sum(self.verdicts.values()) / len(self.verdicts)

    def run(self, cases: Iterable[str]) -> None:
        self.posterior.add(results({case: self.verdicts[case] for case in cases}))


@dataclass
class Texts:
    """Makes texts from an original whose cases pass half of the time.

    :param flips: the share of verdicts that luck turns round.
    :param breaks: what the rate of breaking is drawn from: the two numbers of a Beta density; and `fixes`.
    """

    seed: int
    flips: float
    size: int = 40
    breaks: tuple[float, float] = (1.0, 6.0)
    fixes: tuple[float, float] = (1.0, 2.5)
    learning: VerdictModel = field(default_factory=VerdictModel)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/{self.flips}")
        self.cases = [f"{number:03}" for number in range(self.size)]
        meant = {case: self.rng.random() < 0.5 for case in self.cases}
        verdicts = self._shown(meant)
        self.original = Text(meant, verdicts, posterior_of(verdicts, self.learning))

    def made(self, base: Text, kind: Kind = Kind.REWRITE) -> Text:
        breaks, fixes = self.rng.betavariate(*self.breaks), self.rng.betavariate(*self.fixes)
        meant = {
            case: self.rng.random() >= breaks if passes else self.rng.random() < fixes
            for case, passes in base.meant.items()
        }
        posterior = RatePosterior(self.cases, self.learning, base=base.posterior, kind=kind)
        return Text(meant, self._shown(meant), posterior)

    def some(self, count: int) -> list[str]:
        return self.rng.sample(self.cases, count)

    def _shown(self, meant: Mapping[str, bool]) -> dict[str, float]:
        return {case: float(passes != (self.rng.random() < self.flips)) for case, passes in meant.items()}
