"""What a judge says: a verdict on one answer, a comparison of two, the verdicts of a panel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import chain
from math import fsum
from typing import Any, Literal

#: A verdict is true when its score reaches this.
THRESHOLD = 0.7

#: How much a change would improve an answer, the most first; a suggestion may say none of them.
IMPACTS = ("high", "medium", "low")

Better = Literal["a", "b", "tie"]


@dataclass(frozen=True)
class Suggestion:
    """What would make an answer better.

    :param category: what it is about, in a word or two, in lower case: ``tone``, ``missing facts``.
    :param impact: one of `IMPACTS`, or empty when the judge did not say.
    """

    text: str
    category: str = ""
    impact: str = ""

    @property
    def rank(self) -> tuple[int, str]:
        """Where it stands among others: by impact, then by category."""
        return (IMPACTS.index(self.impact) if self.impact in IMPACTS else len(IMPACTS), self.category)


@dataclass(frozen=True, repr=False)
class Verdict:
    """A judge's verdict on one answer; true when its score reaches `threshold`.

    :param score: from 0 (does not meet the criterion) to 1 (meets it fully).
    :param suggestions: sorted by impact, then by category.
    :param raw_text: the reply as the model gave it.
    :param criterion: the criterion's text, or the name of its rubric.
    :param model: who gave it; empty when nobody says.
    :param better: of two answers that were compared ``a``, ``b`` or ``tie``; the score is then that of `a`.
    """

    score: float
    issues: tuple[str, ...]
    strengths: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]
    reasons: str
    raw_text: str
    criterion: str = ""
    threshold: float = THRESHOLD
    model: str = ""
    better: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:  # NaN neither
            raise ValueError(f"a score must be from 0 to 1, got {self.score!r}")
        in_order = tuple(sorted(self.suggestions, key=lambda each: each.rank))
        object.__setattr__(self, "suggestions", in_order)

    def __bool__(self) -> bool:
        return self.score >= self.threshold

    def __repr__(self) -> str:
        """Short, since pytest shows it under a failed assert."""
        said = "; ".join(self.issues) or self.reasons or "no issue"
        return f"<Verdict {self.score:.2f}: {said if len(said) <= 200 else said[:199] + '…'}>"

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data, but for `raw_text`: the run that it stands in has the reply as a call."""
        return {name: value for name, value in asdict(self).items() if name != "raw_text"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """The same verdict from what `to_json` has written; raises KeyError, TypeError or ValueError."""
        suggestions = tuple(Suggestion(**each) for each in data["suggestions"])
        lists = {"issues": tuple(data["issues"]), "strengths": tuple(data["strengths"])}
        return cls(**{**data, **lists, "suggestions": suggestions, "raw_text": ""})


class Preference(StrEnum):
    """Which of two answers a judge prefers, by the place where it was shown."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"


#: Which answer a preference is for, with `a` shown first, and with `b` shown first.
_A_FIRST: dict[Preference, Better] = dict(zip(Preference, ("a", "b", "tie"), strict=True))
_B_FIRST: dict[Preference, Better] = dict(zip(Preference, ("b", "a", "tie"), strict=True))


def preferred_in_both(orders: tuple[Better, Better]) -> Better:
    """The answer that was preferred in both orders, else ``tie``."""
    return orders[0] if orders[0] == orders[1] else "tie"


@dataclass(frozen=True)
class Comparison:
    """Two answers compared in both orders, so that a preference for a place cannot decide.

    Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena": an answer is better only when
    it is preferred in both orders.

    :param orders: what was preferred with `a` shown first, and with `b` shown first.
    :param reasons: those of the two replies.
    :param model: who compared them; empty when nobody says.
    """

    orders: tuple[Preference, Preference]
    reasons: tuple[str, str]
    criterion: str = ""
    model: str = ""

    @property
    def preferred(self) -> tuple[Better, Better]:
        """The answer that was preferred in each order, wherever it stood."""
        one, two = self.orders
        return _A_FIRST[one], _B_FIRST[two]

    @property
    def better(self) -> Better:
        """The answer that was preferred in both orders; ``tie`` when none was."""
        return preferred_in_both(self.preferred)

    @property
    def verdict(self) -> Verdict:
        """It as a verdict on `a`, without the two replies: 1 when that is better, one half for a tie."""
        return Verdict(
            {"a": 1.0, "tie": 0.5, "b": 0.0}[self.better],
            (),
            (),
            (),
            "\n\n".join(filter(None, self.reasons)),
            raw_text="",
            criterion=self.criterion,
            model=self.model,
            better=self.better,
        )

    @property
    def position_bias(self) -> Literal["first", "second", ""]:
        """The place that was preferred in both orders, whatever stood there; empty when none was."""
        if self.orders == (Preference.FIRST, Preference.FIRST):
            return "first"
        return "second" if self.orders == (Preference.SECOND, Preference.SECOND) else ""


@dataclass(frozen=True)
class Panel:
    """Verdicts of several judges, or of several samples of one, on the same answer; true as its majority."""

    verdicts: tuple[Verdict, ...]

    def __post_init__(self) -> None:
        if not self.verdicts:
            raise ValueError("a panel needs at least one verdict")

    def __bool__(self) -> bool:
        return self.majority

    @property
    def score(self) -> float:
        """The mean score."""
        return min(1.0, fsum(verdict.score for verdict in self.verdicts) / len(self.verdicts))

    @property
    def majority(self) -> bool:
        """Whether more than half of the verdicts are true; of two equal halves, whether the mean would be."""
        true = sum(map(bool, self.verdicts))
        if 2 * true == len(self.verdicts):
            return self.score >= self.verdicts[0].threshold
        return 2 * true > len(self.verdicts)

    @property
    def disagreement(self) -> float:
        """The share of the verdicts that differ from the majority: 0 when all agree, at most one half."""
        return sum(bool(verdict) != self.majority for verdict in self.verdicts) / len(self.verdicts)

    @property
    def spread(self) -> float:
        """The highest score less the lowest."""
        scores = [verdict.score for verdict in self.verdicts]
        return max(scores) - min(scores)

    @property
    def verdict(self) -> Verdict:
        """All of them as one: the mean score, and what any of them has named."""
        first = self.verdicts[0]
        named = [(each.issues, each.strengths, each.suggestions) for each in self.verdicts]
        issues, strengths, suggestions = (dict.fromkeys(chain(*lists)) for lists in zip(*named, strict=True))
        return replace(
            first,
            score=self.score,
            issues=tuple(issues),
            strengths=tuple(strengths),
            suggestions=tuple(suggestions),
            reasons="\n\n".join(each.reasons for each in self.verdicts if each.reasons),
            raw_text="\n\n".join(each.raw_text for each in self.verdicts),
        )
