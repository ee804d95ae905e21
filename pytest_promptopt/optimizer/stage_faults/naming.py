"""From signs to a posterior: how probably each stage of a failing case is at fault.

Naive Bayes over the stages of a case, uniform before anything is known. Failing cases of the same stages
share what they show, so that few looks tell something about many cases: the shares of their stages are
Dirichlet, with prior counts worth one case, and estimated by expectation maximization (Dempster, Laird,
Rubin 1977).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_promptopt.optimizer.stage_faults.signs import Kind, Sign

#: Stated before any result: how often a sign of each kind is right.
#: A test that grades a stage, and a run with another answer, are right nine times out of ten.
SURE = 0.9
#: A model that reads traces is right in two of three.
READ = 2 / 3
#: A new text of the stage at fault mends every second case that it is tried on; another stage's one in ten.
MENDS, BY_LUCK = 0.5, 1 - SURE

#: Steps of the estimate at most, and the change of a share below which it is settled.
STEPS = 50
SETTLED = 1e-6


@dataclass(frozen=True)
class StageFault:
    """What is known of one failing case.

    :param shares: how probably each of its stages is at fault, in the order of their calls; they sum to 1.
    :param signs: the evidence from the case itself.
    """

    case: str
    shares: Mapping[str, float]
    signs: tuple[Sign, ...] = ()

    @property
    def stage(self) -> str | None:
        """The stage at fault: more probable than all others together; None as long as that is unclear."""
        best = max(self.shares, key=self.shares.__getitem__)
        return best if self.shares[best] > 0.5 + 1e-6 else None

    @property
    def shown_by(self) -> Sign | None:
        """The sign that says most for the stage at fault; None where other cases of the test say it."""
        known = [sign for sign in self.signs if sign.speaks_for == (sign.stage == self.stage)]
        order = [Kind.ENDED, Kind.SWAP, Kind.TEXT, Kind.GRADE, Kind.JUDGE, Kind.REPEATS]
        return min(known, key=lambda sign: (not sign.speaks_for, order.index(sign.kind)), default=None)


def name_stages(
    stages: Mapping[str, Sequence[str]], signs: Mapping[str, Sequence[Sign]]
) -> dict[str, StageFault]:
    """The stage at fault of each failing case.

    :param stages: by case, in the order of calls; `signs` the evidence of each.
    """
    fits = {case: _fit(names, signs.get(case, ())) for case, names in stages.items()}
    found: dict[str, StageFault] = {}
    groups: dict[frozenset[str], list[str]] = {}
    for case, names in stages.items():
        groups.setdefault(frozenset(names), []).append(case)
    for cases in groups.values():
        for case, shares in _posteriors({case: fits[case] for case in cases}).items():
            found[case] = StageFault(case, shares, tuple(signs.get(case, ())))
    return {case: found[case] for case in stages}


def _posteriors(fits: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Each case goes by its own signs, and by what the other cases are put down to."""
    names = list(next(iter(fits.values())))
    odds = {case: {name: math.exp(value) for name, value in fit.items()} for case, fit in fits.items()}
    shares = {case: dict.fromkeys(fit, 1 / len(names)) for case, fit in fits.items()}
    for _ in range(STEPS):
        total = {name: 1 / len(names) + math.fsum(own[name] for own in shares.values()) for name in names}
        before = shares
        shares = {
            case: _normal({name: (total[name] - before[case][name]) * own[name] for name in own})
            for case, own in odds.items()
        }
        if all(abs(shares[case][name] - before[case][name]) < SETTLED for case in odds for name in names):
            break
    return shares


def _normal(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _fit(names: Sequence[str], signs: Sequence[Sign]) -> dict[str, float]:
    """How well each stage at fault explains the signs, as a log likelihood, the best one 0."""
    fit = {name: math.fsum(_explains(name, sign, len(names)) for sign in signs) for name in names}
    best = max(fit.values(), default=0.0)
    return {name: value - best for name, value in fit.items()}


def _explains(name: str, sign: Sign, stages: int) -> float:
    """The log of how probable `sign` is where the stage `name` is at fault."""
    own = name == sign.stage
    if sign.kind is Kind.REPEATS:  # the rule of succession: it did nothing in so many runs
        return math.log(1 / (sign.tried + 2)) if own else 0.0
    if sign.kind is Kind.TEXT:
        rate = MENDS if own else BY_LUCK
        if sign.speaks_for:
            return math.log(1 - (1 - rate) ** sign.tried)
        return sign.weight * math.log(1 - rate)
    right = READ if sign.kind is Kind.JUDGE else SURE
    if sign.speaks_for:
        chance = right if own else (1 - right) / max(1, stages - 1)
    else:
        chance = 1 - right if own else right
    return sign.weight * math.log(chance)
