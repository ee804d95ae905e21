"""When a comparison with a baseline fails the session."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_promptopt.baselines.comparison import PromptComparison
from pytest_promptopt.settings import FailOn, Settings
from pytest_promptopt.text import plural


class CompareVerdict(StrEnum):
    """What a comparison shows, whether or not it fails anything."""

    GAIN = "gain"
    LOSS = "loss"
    TOLERATED_LOSS = "loss within margin"
    NO_GAIN = "gain not shown"
    NO_LOSS = "loss not shown"
    NO_CHANGE = "no change"
    #: The baseline knows the prompt, and none of its cases can be held against this run.
    INCOMPARABLE = "incomparable"
    #: The baseline does not know the prompt.
    NEW = "new"


@dataclass(frozen=True)
class CompareRule:
    """:param fail_on: None where a comparison is only told.
    :param alpha: a loss counts as shown from this p-value down.
    :param margin: a loss up to this share is let pass, also a shown one.
    """

    fail_on: FailOn | None = None
    alpha: float = 0.05
    margin: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> CompareRule:
        return cls(settings.fail_on, settings.alpha, settings.compare_margin / 100)

    def why_failed(self, found: PromptComparison) -> str:
        """Why the session fails for it, in words; empty when it does not."""
        if self.fail_on is None:
            return ""
        if found.incomparable:
            return "none of its cases can be compared"
        if self.fail_on is FailOn.ANY:
            return f"{plural(len(found.broken), 'case')} broken" if found.broken else ""
        return "a loss is shown" if found.is_worse(self.alpha, self.margin) else ""

    def verdict(self, found: PromptComparison) -> CompareVerdict:
        """What the comparison shows."""
        if not found.pairs:
            return CompareVerdict.INCOMPARABLE if found.incomparable else CompareVerdict.NEW
        if not found.change:
            return CompareVerdict.NO_CHANGE
        if found.change > 0:
            return CompareVerdict.GAIN if found.p <= self.alpha else CompareVerdict.NO_GAIN
        if found.p > self.alpha:
            return CompareVerdict.NO_LOSS
        shown = found.is_worse(self.alpha, self.margin)
        return CompareVerdict.LOSS if shown else CompareVerdict.TOLERATED_LOSS
