"""The failed cases of one category, and what can be counted over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_promptopt.failures.categories import Finding
from pytest_promptopt.failures.failure_context import FailureContext
from pytest_promptopt.failures.label_vocabulary import PromptBody, distinctive_words
from pytest_promptopt.failures.symptoms import Symptom
from pytest_promptopt.text import join_words

#: Pairs of labels, symptoms or fields named in a sentence; the rest is counted.
MAX_NAMED = 4
#: Cases looked at for telling words: enough for a stable ranking, bounded for thousands of failures.
MAX_SAMPLED = 200


@dataclass(frozen=True)
class Background:
    """What all cases say, failing or not: the prompt, and in how many inputs each word occurs."""

    prose: PromptBody
    failing: int
    word_counts: Counter[str]
    inputs: int


@dataclass(frozen=True)
class Member:
    """One failed case of a category."""

    subject: FailureContext
    finding: Finding

    @property
    def input_text(self) -> str:
        return "\n".join(self.subject.inputs.values())


@dataclass(frozen=True)
class FailureGroup:
    """The cases of one category.

    :param count: how many cases the category has; `members` are those that the sentences are made from.
    """

    name: str
    members: tuple[Member, ...]
    background: Background
    count: int

    @cached_property
    def symptoms(self) -> list[tuple[Symptom, int]]:
        """Each symptom with the number of cases that have it, most frequent first."""
        counts = Counter(symptom for member in self.members for symptom in member.finding.symptoms)
        return sorted(counts.items(), key=lambda item: -item[1])

    @cached_property
    def confusion(self) -> tuple[tuple[str, str, int], ...]:
        """(expected, answered, count), most frequent first."""
        counts = Counter(member.finding.pair for member in self.members if member.finding.pair)
        rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return tuple((*pair, count) for pair, count in rows)

    @property
    def share(self) -> str:
        return f"{self.count} of {self.background.failing} failing cases"

    def tally(self, limit: int = MAX_NAMED) -> str:
        return join_words([f"{symptom} ({count})" for symptom, count in self.symptoms], limit)

    def named(self) -> str:
        return join_words([str(symptom) for symptom, _ in self.symptoms], MAX_NAMED)

    def with_symptom(self, symptom: Symptom) -> list[Member]:
        return [member for member in self.members if symptom in member.finding.symptoms]

    def expected_text(self) -> str:
        return next((member.subject.texts[0] for member in self.members if member.subject.texts), "")

    def examples(self, limit: int = 3) -> tuple[str, ...]:
        """Node ids, of cases that fail in different ways first."""
        ways: dict[object, str] = {}
        for member in self.members:
            ways.setdefault((member.finding.symptoms[:1], member.finding.pair), member.subject.case)
        others = (member.subject.case for member in self.members)
        return tuple(dict.fromkeys([*ways.values(), *others]))[:limit]

    def telling(self, members: Sequence[Member] | None = None) -> str:
        """The words that set these inputs apart, ``"card" (9), "declined" (7)``; empty when none does."""
        inputs = [member.input_text for member in (members or self.members)[:MAX_SAMPLED]]
        if len(inputs) < 2:  # every word of a single input would do
            return ""
        return ", ".join(distinctive_words(inputs, self.background.word_counts, self.background.inputs))

    def by_prose(self, terms: Sequence[str], *, stated: str, absent: str, unknown: str) -> str:
        """One of three sentences: a line of the prompt has one of `terms`, none has, or it is not known."""
        line = self.background.prose.line_with(*terms)
        if line:
            return f"{line} of the prompt {stated}"
        return f"the prompt {absent}" if self.background.prose.whole else unknown
