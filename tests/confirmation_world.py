"""Worlds whose truth is known: every case passes with one probability under each of two texts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pytest_promptopt.optimizer.call_budget import CallBudget
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.confirmation import (
    ConfirmationProgress,
    ConfirmationTest,
    first_sample_number,
)
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.results import Confirmation
from tests.refine_world import SETTINGS

#: Of each case under the original and under the winner.
Chances = Sequence[tuple[float, float]]

WINNER = {"route.md": "another text"}


@dataclass
class Tosses:
    """An evaluator without a model: in every answer each of `parts` (subtests) passes with its case's chance.

    :param missing: the chance that an answer does not come in.
    """

    chances: Chances
    seed: int
    parts: int = 1
    missing: float = 0.0
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._results: dict[tuple[int, int], CaseResult] = {}
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
        chance, case = self.chances[number][winner], self.cases[number]
        if self.missing and self._random.random() < self.missing:
            return CaseResult(case, (Outcome(case.id, Status.ERRORED, 0.0),))
        passed = sum(self._random.random() < chance for _ in range(self.parts))
        if (number, passed) not in self._results:  # which are many, and alike
            status = Status.PASSED if passed == self.parts else Status.FAILED
            self._results[number, passed] = CaseResult(case, (Outcome(case.id, status, passed / self.parts),))
        return self._results[number, passed]

    def searched(self, candidates: int = 1) -> tuple[EvaluatedCandidate, EvaluatedCandidate]:
        """The original and the best of `candidates` alike, by one answer to each case."""
        everything = tuple(case.id for case in self.cases)
        original = EvaluatedCandidate("0", {}, {Split.TRAIN: self.answers(Trial({}, everything))})
        results = [self.answers(Trial(WINNER, everything)) for _ in range(candidates)]
        best = max(results, key=lambda found: sum(result.outcomes[0].score for result in found))
        return original, EvaluatedCandidate("1.1", WINNER, {Split.TRAIN: best})


def gained(original: EvaluatedCandidate, winner: EvaluatedCandidate) -> bool:
    """Whether the search would keep the winner."""
    old, new = (sum(r.rate or 0.0 for r in version.evidence(Split.TRAIN)) for version in (original, winner))
    return new > old


def confirmed(
    chances: Chances,
    *,
    seed: int,
    candidates: int = 1,
    ceiling: int | None = None,
    begun: ConfirmationProgress = ConfirmationProgress(0),  # noqa: B008  # frozen
    alpha: float = SETTINGS.alpha,
    parts: int = 1,
    missing: float = 0.0,
) -> tuple[Confirmation | None, int]:
    """What a confirmation says in such a world, and its calls; None if the search keeps the original.

    :param ceiling: the calls that are left for it.
    """
    world = Tosses(chances, seed, parts, missing)
    original, winner = world.searched(candidates)
    if not gained(original, winner):
        return None, 0
    call_budget = CallBudget(lambda: None if ceiling is None else ceiling - world.calls)
    settings = replace(SETTINGS, alpha=alpha)
    context = RunContext(world, lambda requests: [], settings, SearchHooks(), None, lambda: {}, call_budget)
    group = PromptGroup((), tuple(world.cases))
    first = first_sample_number(f"run {seed}", winner.overlay)
    return ConfirmationTest(group, original, winner, context, first=first, begun=begun).run(), world.calls
