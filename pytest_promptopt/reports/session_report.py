"""What every report of a session is made from: one value, and the figures that all of them show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_promptopt.baselines.compare_rule import CompareRule
from pytest_promptopt.model_comparison import (
    ModelComparison,
    ModelFigures,
    compare_models,
    figures_of,
    model_figures,
)
from pytest_promptopt.mutation.findings import MutationResult
from pytest_promptopt.prompt_check import PromptCheck, all_gates_hold
from pytest_promptopt.records import CaseResult, Spend, Split, Status
from pytest_promptopt.reports.wording import NO_MODEL, SPLIT_NAMES
from pytest_promptopt.results import RunResult
from pytest_promptopt.settings import GateSplit

if TYPE_CHECKING:
    from pytest_promptopt.baselines.comparison import PromptComparison
    from pytest_promptopt.failures import Feedback
    from pytest_promptopt.settings import Settings

#: Of the intervals that reports show.
SHOWN_CONFIDENCE = 0.95


@dataclass(frozen=True)
class SessionCalls:
    """What a session has asked.

    :param cached: answers that came from the cache.
    :param made: calls besides; `paid` counts each request that was sent for them, repeated ones too.
    """

    cached: int = 0
    made: int = 0
    paid: Spend = field(default_factory=Spend)


@dataclass(frozen=True)
class SessionReport:
    """All that a session measured.

    :param run: None when the session did not optimize.
    :param feedbacks: by prompt; may lack those without failures.
    :param notes: the sentences at the end of the session.
    :param compared: each prompt and model against the baseline; empty when nothing was compared.
    :param compared_with: the baseline: the path of its file, or ``git:`` and what names a commit.
    :param past: names and values of an earlier run that is shown by itself, as its journal has it; empty for
        a session.
    :param mutation: what came of breaking the prompts; None where none was.
    """

    checks: Sequence[PromptCheck]
    run: RunResult | None
    feedbacks: Mapping[str, Feedback]
    settings: Settings
    version: str
    notes: Sequence[str] = ()
    calls: SessionCalls = field(default_factory=SessionCalls)
    compared: Sequence[PromptComparison] = ()
    compared_with: str = ""
    past: Sequence[tuple[str, str]] = ()
    mutation: MutationResult | None = None

    @property
    def passed(self) -> bool:
        """Whether every gate holds; true when there is none."""
        return all_gates_hold(self.checks)

    def tolerance(self, result: CaseResult) -> str:
        """Why a case that failed fails no session by itself; empty where it does, or has not failed."""
        if result.status is not Status.FAILED:
            return ""
        if self.settings.optimizing and result.case.split is Split.HELDOUT:
            return "held-out"
        return "gated" if self._gated.issuperset(result.case.prompts) else ""

    @cached_property
    def _gated(self) -> frozenset[str]:
        return frozenset(check.prompt for check in self.checks if check.min_pass_rate is not None)

    @property
    def comparisons(self) -> list[ModelComparison]:
        """The prompts whose cases ran with several models."""
        return compare_models(self.checks)

    @property
    def compare_rule(self) -> CompareRule:
        """When a comparison with the baseline fails the session."""
        return CompareRule.of(self.settings)

    def compared_of(self, prompt: str) -> list[PromptComparison]:
        """A prompt against the baseline, once for each model."""
        return [found for found in self.compared if found.prompt == prompt]

    @property
    def failed_comparisons(self) -> list[PromptComparison]:
        """Those that fail the session."""
        rule = self.compare_rule
        return [found for found in self.compared if rule.why_failed(found)]


@dataclass(frozen=True)
class Part:
    """The cases of a prompt that belong together, and what they took.

    :param name: of the split or of the model.
    :param check: their figures, with the gate of the prompt where they have to hold it by themselves.
    """

    name: str
    check: PromptCheck
    figures: ModelFigures


def parts_by_split(check: PromptCheck) -> list[Part]:
    """One for each split, where the cases of a prompt are of several."""
    ran = {result.case.split for result in check.results if result.counted or result.errored}
    splits = [split for split in Split if split in ran]
    if len(splits) < 2:
        return []
    return [_part(SPLIT_NAMES[split], _of_split(check, split)) for split in splits]


def parts_by_model(check: PromptCheck) -> list[Part]:
    """One for each model, where several answer the cases of a prompt."""
    if len(check.by_model) < 2:
        return []
    return [Part(each.model or NO_MODEL, each.check, each) for each in model_figures(check)]


def whole(check: PromptCheck) -> Part:
    """All cases of a prompt."""
    return _part(check.prompt, check)


def _of_split(check: PromptCheck, split: Split) -> PromptCheck:
    results = tuple(result for result in check.results if result.case.split is split)
    return PromptCheck.of(check.prompt, results)


def _part(name: str, check: PromptCheck) -> Part:
    return Part(name, check, figures_of(check))


def interval(check: PromptCheck) -> tuple[float, float] | None:
    """The 95 % interval of a pass rate, that of its gate where it has one; None without a rate."""
    if check.rate is None:
        return None
    rule, decision = check.rule, check.decision
    like_gate = rule.split is GateSplit.ALL and rule.confidence == SHOWN_CONFIDENCE
    if like_gate and decision is not None and decision.interval is not None:
        return decision.interval.low, decision.interval.high
    return check.interval
