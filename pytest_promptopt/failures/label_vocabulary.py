"""The closed set of labels that a suite expects, the prompt's own lines, and the words of the inputs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pytest_promptopt.text import MAX_QUOTE, join_words, quote

#: A label is short: more words or characters than this are a sentence.
MAX_LABEL_WORDS = 6
MAX_LABEL_LENGTH = 60
#: Intent sets of real products have under 200 labels; beyond, "one of these" is no longer a closed set.
MAX_LABELS = 200
#: Characters of an answer or input that are searched for labels and words, so that 100 KB texts cost no more.
MAX_SEARCHED = 20_000


def fold_label(text: str) -> str:
    """`text` with case, spaces, underscores and hyphens made equal: how labels are compared."""
    return re.sub(r"[\s_-]+", " ", text.casefold()).strip()


def could_be_label(text: str) -> bool:
    """Whether `text` could be a label."""
    text = text.strip()
    short = 0 < len(text) <= MAX_LABEL_LENGTH and "\n" not in text and text[0] not in "{["
    return short and len(text.split()) <= MAX_LABEL_WORDS


def is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[-+]?[$€£]?\d[\d.,]*%?\s*", text) is not None


def split_words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)?", text[:MAX_SEARCHED].casefold())


#: Words too common to tell one group of inputs from another.
_COMMON = frozenset(
    split_words(
        "a about after all also am an and any are as at be been but by can could did do does for from "
        "get had has have he her his how i if in into is it its just me more my no not of on one or "
        "our out please she so some still than that the their them then there they this to too up us "
        "very was we were what when where which who why will with would you your"
    )
)


@dataclass(frozen=True)
class LabelVocabulary:
    """The closed set of answers that a group of cases expects; empty when there is none.

    :param complete: whether it holds all that the cases expect; what some of them expect is not known else.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True

    @classmethod
    def of(cls, spellings: Iterable[str], *, complete: bool = True) -> LabelVocabulary:
        labels: dict[str, str] = {}
        for spelling in spellings:
            labels.setdefault(fold_label(spelling), spelling)
        labels.pop("", None)
        return cls(labels, complete)

    def __len__(self) -> int:
        return len(self.labels)

    def find(self, text: str) -> str | None:
        """The label that `text` spells, whatever its case and separators."""
        return self.labels.get(fold_label(text)) if len(text) <= 2 * MAX_LABEL_LENGTH else None

    def within(self, text: str) -> tuple[str, ...]:
        """The labels that occur in `text` as whole words, each once, in order of appearance."""
        if not self.labels:
            return ()
        found = self._pattern.findall(fold_label(text[:MAX_SEARCHED]))
        return tuple(dict.fromkeys(self.labels[label] for label in found))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.labels, key=len, reverse=True)
        return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")

    def listed(self, limit: int = 12) -> str:
        """The labels in a sentence: ``"billing", "refunds" and 3 more``."""
        return join_words([quote(label) for label in self.labels.values()], limit)


def closed_set(
    pairs: Sequence[tuple[str, str]], passing: Iterable[str], prose: PromptBody, *, complete: bool = True
) -> LabelVocabulary:
    """Judge whether what a group of cases expects is a closed set of labels; empty when it is not.

    It is one when the values repeat, when a case answers what another expects, or when the prompt names them.

    :param pairs: (expected, actual) of every failed case of the group.
    :param passing: what the cases expect that pass.
    :param complete: whether that is known of all of them.
    """
    pairs = [(expected, actual) for expected, actual in pairs if could_be_label(expected)]
    if not pairs:
        return LabelVocabulary()
    expected = [*(expected for expected, _ in pairs), *filter(could_be_label, passing)]
    seen = Counter(map(fold_label, expected))
    labels = LabelVocabulary.of(expected, complete=complete)
    if len(labels) > MAX_LABELS:
        return LabelVocabulary()
    only_numbers = all(map(is_number, labels.labels))
    stated = [] if only_numbers else [label for label in labels.labels.values() if prose.line_with(label)]
    if stated:  # an answer from the prompt's own list is a member, expected elsewhere or not
        answers = dict.fromkeys(
            actual for _, actual in pairs if could_be_label(actual) and not is_number(actual)
        )
        named = (answer for answer in answers if prose.line_with(answer))
        labels = LabelVocabulary.of([*expected, *named], complete=complete)
    repeated = seen.total() >= 2 * len(seen) >= 4
    crossed = not only_numbers and any(
        fold_label(actual) in seen.keys() - {fold_label(value)} for value, actual in pairs
    )
    closed = repeated or crossed or 2 * len(stated) >= len(seen)
    return labels if closed and len(labels) >= 2 else LabelVocabulary()


@dataclass(frozen=True)
class PromptBody:
    """The prompt's current text, to look up what it says. Falsy when it is not known.

    :param given: variables that have the same value in every case: they are part of what the model reads.
    :param open: whether something else is put into the text that nobody knows, so that it may say more.
    """

    text: str
    given: Mapping[str, str] = field(default_factory=dict)
    open: bool = False

    def __bool__(self) -> bool:
        return bool(self.text.strip())

    @cached_property
    def _folded(self) -> tuple[tuple[int, str, str], ...]:
        lines = enumerate(self.text[:MAX_SEARCHED].splitlines(), 1)
        return tuple((number, fold_label(line), line.strip()) for number, line in lines if line.strip())

    @property
    def whole(self) -> bool:
        """Whether what `line_with` does not find is not there."""
        return bool(self) and not self.open

    @cached_property
    def _found(self) -> dict[tuple[str, ...], str]:
        return {}

    def line_with(self, *terms: str) -> str:
        """The first line that holds one of `terms` as a whole word, as ``line 3 ("...")``; else empty."""
        if terms not in self._found:
            self._found[terms] = self._search(terms)
        return self._found[terms]

    def _search(self, terms: Sequence[str]) -> str:
        folded = [re.escape(fold_label(term)) for term in terms if fold_label(term)]
        if not folded:
            return ""
        pattern = re.compile(r"(?<!\w)(?:" + "|".join(folded) + r")(?!\w)")
        for number, line, original in self._folded:
            if pattern.search(line):
                return f"line {number} ({quote(original, 2 * MAX_QUOTE)})"
        for name, value in self.given.items():
            if pattern.search(fold_label(value[:MAX_SEARCHED])):
                return f"the variable {name} ({quote(value, 2 * MAX_QUOTE)})"
        return ""


def distinctive_words(
    group: Iterable[str], everything: Counter[str], total: int, limit: int = 5
) -> list[str]:
    """The words that occur in the inputs of a group more often than in all inputs, most telling first.

    :param everything: in how many of all inputs each word occurs; `total` is how many there are.
    """
    inputs = [set(split_words(text)) for text in group]
    counts = Counter(word for text in inputs for word in sorted(text))
    scored = []
    for word, count in counts.items():
        if word in _COMMON or len(word) < 3 or (count < 2 and len(inputs) > 1):
            continue
        surplus = count - len(inputs) * everything[word] / max(total, 1)
        if surplus > 0 or total <= len(inputs):
            scored.append((-surplus, -count, word))
    return [f"{quote(word)} ({-count})" for _, count, word in sorted(scored)[:limit]]
