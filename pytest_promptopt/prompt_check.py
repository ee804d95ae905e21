"""What pytest's own loop measured for one prompt, and what its gates say of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pytest_promptopt.gate_rule import BY_RATE, GateDecision, GateRule, GateVerdict, decide
from pytest_promptopt.records import CaseResult, pass_rate
from pytest_promptopt.statistics import effective_cases, wilson_interval


@dataclass(frozen=True)
class PromptCheck:
    """What pytest's own loop measured for one prompt: the figures of the summary, the gate and the report.

    :param rate: mean of the rates of its counted cases, by their weights; None when there is none.
    :param results: every case that ran, of every split.
    :param models: those that come first where several answer; workers tell of cases in any order.
    """

    prompt: str
    rate: float | None
    cases: int
    failing: int
    errored: int
    results: tuple[CaseResult, ...]
    min_pass_rate: float | None = None
    where: str = ""
    rule: GateRule = BY_RATE
    models: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        prompt: str,
        results: tuple[CaseResult, ...],
        min_pass_rate: float | None = None,
        where: str = "",
        rule: GateRule = BY_RATE,
        models: tuple[str, ...] = (),
    ) -> PromptCheck:
        """The figures of these results."""
        errored = sum(result.errored for result in results)
        return cls(
            prompt=prompt,
            rate=pass_rate(results),
            cases=sum(bool(result.counted) for result in results) + errored,
            failing=sum(result.failing is not None for result in results),
            errored=errored,
            results=results,
            min_pass_rate=min_pass_rate,
            where=where,
            rule=rule,
            models=models,
        )

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of its rate."""
        weights = (result.case.weight for result in self.results if result.rate is not None)
        return wilson_interval(self.rate or 0.0, effective_cases(weights))

    @property
    def weighted(self) -> bool:
        """Whether some of its cases count more than others."""
        return len({result.case.weight for result in self.results}) > 1

    @property
    def by_model(self) -> Mapping[str, PromptCheck]:
        """The same figures for each model that answers its cases, each with the gate of the prompt."""
        found: dict[str, list[CaseResult]] = {model: [] for model in self.models}
        for result in self.results:
            found.setdefault(result.case.model_of(self.prompt), []).append(result)
        return {model: self._part(some) for model, some in found.items() if some}

    @cached_property
    def by_gate(self) -> Mapping[str, PromptCheck]:
        """What has to hold the gate: each of several models by its name, or all cases together.

        Where held-out cases decide alone, only these.
        """
        parts = self.by_model
        return {
            model: part._part([result for result in part.results if self.rule.counts(result)])
            for model, part in (parts if len(parts) > 1 else {"": self}).items()
        }

    def _part(self, results: Iterable[CaseResult]) -> PromptCheck:
        gate = self.min_pass_rate, self.where, self.rule
        return PromptCheck.of(self.prompt, tuple(results), *gate, self.models)

    @cached_property
    def decision(self) -> GateDecision | None:
        """What the gate says of just these results; None without a threshold or when all were skipped."""
        if self.min_pass_rate is None or (self.results and not self.cases):
            return None
        return decide(self.results, self.min_pass_rate, self.rule)

    @property
    def verdict(self) -> GateVerdict | None:
        """What the gates of all models say together, the worst of them; None where none decides."""
        made = [part.decision.verdict for part in self.by_gate.values() if part.decision is not None]
        return max(made, key=list(GateVerdict).index, default=None)

    @property
    def held(self) -> bool | None:
        """Whether the gate holds, with each model; None without a threshold or when all cases were skipped.

        Cases without evidence never hold.
        """
        return None if self.verdict is None else self.rule.holds(self.verdict)


def all_gates_hold(checks: Iterable[PromptCheck]) -> bool:
    """Whether every threshold holds; True when there is none."""
    return all(check.held is not False for check in checks)
