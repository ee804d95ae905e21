"""What pytest's own loop measured for one prompt, and what its gates say of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pytest_promptopt.gate_rule import BY_RATE, GateDecision, GateRule, GateVerdict, decide
from pytest_promptopt.records import CaseResult, pass_rate
from pytest_promptopt.statistics import effective_cases, wilson_interval
from pytest_promptopt.thresholds import GateName, LimitGate, Thresholds, limit_gates


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
    thresholds: Thresholds = field(default_factory=dict)
    rule: GateRule = BY_RATE
    models: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        prompt: str,
        results: tuple[CaseResult, ...],
        thresholds: Thresholds | None = None,
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
            thresholds=thresholds or {},
            rule=rule,
            models=models,
        )

    @property
    def min_pass_rate(self) -> float | None:
        """The pass rate that it must reach; None without a gate."""
        asked = self.thresholds.get(GateName.PASS_RATE)
        return None if asked is None else asked.value

    @property
    def where(self) -> str:
        """Who asks for that pass rate."""
        asked = self.thresholds.get(GateName.PASS_RATE)
        return "" if asked is None else asked.where

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of its rate."""
        weights = (result.case.weight for result in self.results if result.rate is not None)
        return wilson_interval(self.rate or 0.0, effective_cases(weights))

    @property
    def weighted(self) -> bool:
        """Whether some of its cases count more than others."""
        return len({result.case.weight for result in self.results}) > 1

    @cached_property
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
        return PromptCheck.of(self.prompt, tuple(results), self.thresholds, self.rule, self.models)

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

    @cached_property
    def limits(self) -> tuple[LimitGate, ...]:
        """What was measured beside each limit of cost and latency, with each of several models."""
        parts = self.by_model
        each = parts.items() if len(parts) > 1 else [(None, self)]
        return tuple(
            gate
            for model, part in each
            for gate in limit_gates(self.prompt, part.results, self.thresholds, model)
        )

    @property
    def passed(self) -> bool | None:
        """Whether its gate holds and its limits are kept; None where nothing of the kind decides."""
        rate = [] if self.held is None else [self.held]
        made = [*rate, *(limit.held for limit in self.limits)]
        return all(made) if made else None


def all_gates_hold(checks: Iterable[PromptCheck]) -> bool:
    """Whether every threshold is reached and every limit kept; True when there is none."""
    return all(check.passed is not False for check in checks)
