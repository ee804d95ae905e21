"""What every report of a session is made from: one value, and the figures that all of them show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING

from pytest_promptopt.gate_rule import GateVerdict
from pytest_promptopt.model_comparison import ModelComparison, ModelFigures, compare_models, model_figures
from pytest_promptopt.records import Spend, Split
from pytest_promptopt.reports.wording import SPLIT_NAMES
from pytest_promptopt.results import PromptCheck, RunResult
from pytest_promptopt.settings import GateSplit

if TYPE_CHECKING:
    from pytest_promptopt.failures import Feedback
    from pytest_promptopt.settings import Settings

#: Of the intervals that reports show.
SHOWN_CONFIDENCE = 0.95

#: What a report calls a case of which nobody says who answers it.
NO_MODEL = "no model named"


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
    """

    checks: Sequence[PromptCheck]
    run: RunResult | None
    feedbacks: Mapping[str, Feedback]
    settings: Settings
    version: str
    notes: Sequence[str] = ()
    calls: SessionCalls = field(default_factory=SessionCalls)

    @property
    def passed(self) -> bool:
        """Whether every gate holds; true when there is none."""
        return all(check.held is not False for check in self.checks)

    @property
    def comparisons(self) -> list[ModelComparison]:
        """The prompts whose cases ran with several models."""
        return compare_models(self.checks)


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
    found = model_figures(check)
    if len(found) < 2:
        return []
    return [Part(figures.model or NO_MODEL, figures.check, figures) for figures in found]


def whole(check: PromptCheck) -> Part:
    """All cases of a prompt."""
    return _part(check.prompt, check)


def _of_split(check: PromptCheck, split: Split) -> PromptCheck:
    results = tuple(result for result in check.results if result.case.split is split)
    return PromptCheck.of(check.prompt, results)


def _part(name: str, check: PromptCheck) -> Part:
    """With the calls of all models together."""
    models = model_figures(check)
    costs = [figures.cost for figures in models if figures.cost is not None]
    seconds = sorted(
        call.latency
        for result in check.results
        for outcome in result.outcomes
        for call in outcome.calls
        if call.prompt == check.prompt
    )
    figures = ModelFigures(
        model="",
        check=check,
        calls=sum(each.calls for each in models),
        cost=fsum(costs) if costs else None,
        unpriced=sum(each.unpriced for each in models),
        latency=_median(seconds),
    )
    return Part(name, check, figures)


def _median(ordered: Sequence[float]) -> float | None:
    if not ordered:
        return None
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def interval(check: PromptCheck) -> tuple[float, float] | None:
    """The 95 % interval of a pass rate, that of its gate where it has one; None without a rate."""
    if check.rate is None:
        return None
    rule, decision = check.rule, check.decision
    like_gate = rule.split is GateSplit.ALL and rule.confidence == SHOWN_CONFIDENCE
    if like_gate and decision is not None and decision.interval is not None:
        return decision.interval.low, decision.interval.high
    return check.interval


def gate_verdict(check: PromptCheck) -> GateVerdict | None:
    """What the gates of all models say together: the worst of them; None without a gate that decides."""
    made = [part.decision.verdict for part in check.by_gate.values() if part.decision is not None]
    return max(made, key=WORST_LAST.index, default=None)


#: From the best to the worst.
WORST_LAST = (GateVerdict.PASS, GateVerdict.UNDECIDED, GateVerdict.FAIL)
