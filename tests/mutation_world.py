"""A world with planted instructions: some of them are needed by cases, others by none."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pytest_promptopt.mutation.breaking import broken_texts
from pytest_promptopt.mutation.findings import Finding
from pytest_promptopt.mutation.instructions import instructions_of
from pytest_promptopt.mutation.mutating import Mutating, Sample, Target, passing
from pytest_promptopt.settings import Breaking


@dataclass
class Planted:
    """A prompt of so many instructions; every second one is tested.

    :param per: how many cases need each instruction that is tested.
    :param flip: how often a run of a case ends the other way round.
    :param obeyed: how often a case passes though the instruction that it needs is gone.
    :ivar runs: of cases, under broken prompts and as they are.
    """

    instructions: int = 20
    cases: int = 40
    per: int = 2
    flip: float = 0.0
    obeyed: float = 0.0
    seed: int = 0
    runs: int = 0
    asked: list[Collection[Sample]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.prose = "\n".join(f"- {self.rule(n)}" for n in range(self.instructions)) + "\n\nText: {{ text }}"
        self.names = [f"case-{number}" for number in range(self.cases)]
        rng = random.Random(f"{self.seed}-planted")
        self.needs: dict[str, set[int]] = {name: set() for name in self.names}
        for number in self.tested:
            for name in rng.sample(self.names, self.per):
                self.needs[name].add(number)

    def rule(self, number: int) -> str:
        return f"Rule number {number} holds in every answer."

    @property
    def tested(self) -> range:
        return range(0, self.instructions, 2)

    def run(self, samples: Collection[Sample]) -> dict[Sample, bool | None]:
        self.asked.append(samples)
        self.runs += len(samples)
        return {sample: self._failed(sample) for sample in samples}

    def _failed(self, sample: Sample) -> bool:
        text = self.prose if sample.text is None else sample.text
        rng = random.Random(f"{self.seed}/{text}/{sample.case}/{sample.number}")
        missing = any(self.rule(number) not in text for number in self.needs[sample.case])
        failed = missing and rng.random() >= self.obeyed
        return not failed if rng.random() < self.flip else failed

    def targets(self, *ways: Breaking) -> list[Target]:
        return [
            Target(each, each.line, list(broken_texts(self.prose, each, ways or (Breaking.DELETE,))))
            for each in instructions_of(self.prose)
        ]

    def findings(self, targets: Sequence[Target] | None = None) -> list[Finding]:
        usable, _ = passing(self.run, self.names)
        mutating = Mutating(self.run, usable, alpha=0.05, seed=self.seed)
        return list(mutating.findings(self.targets() if targets is None else targets))

    @property
    def runs_per_case(self) -> float:
        """Runs for each case and instruction."""
        return self.runs / (self.cases * self.instructions)
