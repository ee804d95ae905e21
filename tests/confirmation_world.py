"""Worlds whose truth is known: every case passes with one probability under each of two texts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.refine.attempts import Version
from pytest_promptopt.refine.confirmation import Comparing, planned_pairs
from pytest_promptopt.refine.evaluator import Trial
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.policies import Policies
from pytest_promptopt.refine.surroundings import Surroundings
from pytest_promptopt.results import Confirmation
from tests.refine_world import SETTINGS


@dataclass
class Chances:
    """An evaluator without a model: `chances` are each case's under the original and under the winner."""

    chances: Sequence[tuple[float, float]]
    seed: int
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.cases = [Case(str(number), ("route.md",), Split.TRAIN) for number in range(len(self.chances))]

    @property
    def calls(self) -> int:
        return sum(len(trial.cases) for trial in self.trials)

    def evaluate(self, trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        self.trials.extend(trials)
        return [self.answers(trial) for trial in trials]

    def answers(self, trial: Trial) -> tuple[CaseResult, ...]:
        return tuple(self._answer(int(case), winner=bool(trial.overlay)) for case in trial.cases)

    def _answer(self, number: int, *, winner: bool) -> CaseResult:
        passed = self._random.random() < self.chances[number][winner]
        status = Status.PASSED if passed else Status.FAILED
        case = self.cases[number]
        return CaseResult(case, (Outcome(case.id, status, float(passed)),))

    def searched(self, candidates: int = 1) -> tuple[Version, Version]:
        """The original and the best of `candidates` alike, by one answer to each case."""
        everything = tuple(case.id for case in self.cases)
        original = Version("0", {}, {Split.TRAIN: self.answers(Trial({}, everything))})
        winner = {"route.md": "another text"}
        results = [self.answers(Trial(winner, everything)) for _ in range(candidates)]
        best = max(results, key=lambda found: sum(result.rate or 0.0 for result in found))
        return original, Version("1.1", winner, {Split.TRAIN: best})


def gained(original: Version, winner: Version) -> bool:
    """Whether the search would keep the winner."""
    old, new = (sum(r.rate or 0.0 for r in version.evidence(Split.TRAIN)) for version in (original, winner))
    return new > old


def confirmed(
    chances: Sequence[tuple[float, float]],
    *,
    seed: int,
    candidates: int = 1,
    ceiling: int | None = None,
    alpha: float = SETTINGS.alpha,
) -> tuple[Confirmation | None, int]:
    """What a confirmation says in such a world, and its calls; None if the search keeps the original."""
    world = Chances(chances, seed)
    original, winner = world.searched(candidates)
    if not gained(original, winner):
        return None, 0
    settings = replace(SETTINGS, alpha=alpha)
    around = Surroundings(world, lambda requests: [], settings, Policies(), None, lambda: {})
    group = Group((), tuple(world.cases))
    (pairs,) = planned_pairs([group], ceiling, alpha)
    found = Comparing(group, original, winner, around, pairs).run()
    assert found.pairs * 2 == world.calls
    return found, world.calls
