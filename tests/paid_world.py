"""Worlds in which every call counts against one ceiling, from the first scoring to the confirmation.

As with the account of a real run, nobody can spend the calls that are kept for later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_promptopt.errors import ModelError
from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.records import Answer, CaseResult, Request, Role, Spend
from tests.noise_world import Noise, noisy_cases
from tests.refine_world import Need, World
from tests.rule_world import Rules, messages


@dataclass
class Paid(World):
    """Goes before another world: the same text, case and sample again is known, all else is paid.

    :param ceiling: of all calls, to the target and to the optimizer.
    """

    needs: Sequence[Need] = ()
    ceiling: int = 300
    made: dict[Role, int] = field(default_factory=lambda: dict.fromkeys((Role.TARGET, Role.OPTIMIZER), 0))
    answered: set[tuple[object, ...]] = field(default_factory=set)

    def remaining(self) -> int:
        return self.ceiling - sum(self.made.values())

    def spend(self) -> Mapping[Role, Spend]:
        return {role: Spend(calls=calls) for role, calls in self.made.items()}

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        for _ in requests:
            self._pay(Role.OPTIMIZER)
        return super().ask(requests)

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        texts = tuple(sorted(trial.overlay.items()))
        for case in trial.cases:
            for sample in trial.samples or (0,):
                if (key := (texts, case, sample)) not in self.answered:
                    self._pay(Role.TARGET)
                    self.answered.add(key)
        return super()._results(trial)

    def _pay(self, role: Role) -> None:
        if self.remaining() <= self.kept:
            raise StopRun(
                HaltReason.BUDGET, f"the ceiling of {self.ceiling} calls is reached, {self.kept} kept"
            )
        self.made[role] += 1


def paid(
    cases: Sequence[Need], replies: Iterable[str] | Callable[[Request], Answer], ceiling: int, **more: Any
) -> Paid:
    """A world of these cases under a ceiling."""
    world = Paid(cases, replies, ceiling=ceiling, **more)
    world.left = world.remaining
    return world


@dataclass
class PaidRules(Paid, Rules):
    pass


@dataclass
class PaidNoise(Paid, Noise):
    pass


def paid_rules(ceiling: int, seed: int, *, flipped: float = 0.03) -> PaidRules:
    """50 training and 25 validation cases of hidden rules."""
    cases = messages(50, 25, seed)
    world = PaidRules(cases, ceiling=ceiling, seed=seed, flipped=flipped, budget=10**9)
    world.left = world.remaining
    return world


def paid_noise(ceiling: int, seed: int, *, chance: float) -> PaidNoise:
    """As many cases, on which no text has any effect."""
    world = PaidNoise(noisy_cases(50, 25), ceiling=ceiling, seed=seed, chance=chance)
    world.left = world.remaining
    return world
