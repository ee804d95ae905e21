"""What a candidate must hold to before a call is spent on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from pytest_promptopt.records import Overlay
from pytest_promptopt.refine.evaluator import Prompt
from pytest_promptopt.refine.quoting import SECTIONS
from pytest_promptopt.refine.tags import Tags

#: From these lengths on, a passage that also stands in a case is copied rather than said in the same words.
COPIED_WORDS = 8
COPIED_CHARACTERS = 60

#: In a prompt one of these, however it is written, could pose as the request's own.
_TAGS = Tags(SECTIONS)


@dataclass
class Checks:
    """The checks of one run; it remembers which texts were seen.

    :param training: inputs of training cases; a reason may quote them.
    :param validation: inputs of validation cases; a reason never quotes them.
    """

    training: Passages
    validation: Passages
    _seen: set[tuple[str, str, frozenset[tuple[str, str]]]] = field(default_factory=set)

    def objection(self, prompt: Prompt, prose: str, *, beside: Overlay = MappingProxyType({})) -> str | None:
        """Why `prose` is refused as a candidate for `prompt`, in one sentence; None when it may be tried.

        The text counts as seen from then on, beside these texts of the other prompts of a pipeline.

        :param beside: candidates for the other prompts; those left out have their own text.
        """
        others = frozenset(beside.items())
        key = (prompt.name, _folded(prose), others)
        known = key in self._seen or (not others and key[1] == _folded(prompt.prose))
        self._seen.add(key)
        if known:
            return "this text was tried before"
        if objections := prompt.objections(prose):
            return "; ".join(objections)
        if (tag := _TAGS.first(prose)) and tag not in prompt.prose:
            return f"it contains {tag!r}, a tag of the request"
        if passage := self.training.copied(prose, besides=prompt.prose):
            return f"it copies a passage of a training case word for word: {passage!r}; write general rules"
        if self.validation.copied(prose, besides=prompt.prose):
            return "it copies a long passage of a case word for word; write general rules"
        return None


def _folded(prose: str) -> str:
    return " ".join(prose.casefold().split())


class Passages:
    """Finds long verbatim passages of texts.

    The texts are indexed by adjoining blocks half as long as a passage: whatever is long enough covers one of
    them whole, and from there it is measured in both directions.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        unique = [text.casefold() for text in dict.fromkeys(texts)]
        self._words = _Blocks([_words(text) for text in unique], COPIED_WORDS)
        self._characters = _Blocks([" ".join(text.split()) for text in unique], COPIED_CHARACTERS)

    def copied(self, prose: str, *, besides: str) -> str | None:
        """The first long passage of `prose` that stands in a text and not in `besides`; None without one."""
        prose, besides = prose.casefold(), besides.casefold()
        own_words = f" {' '.join(_words(besides))} "
        for passage in self._words.shared(_words(prose)):
            if f" {' '.join(passage)} " not in own_words:
                return " ".join(passage)
        own_text = " ".join(besides.split())
        for passage in self._characters.shared(" ".join(prose.split())):
            if "".join(passage) not in own_text:
                return "".join(passage)
        return None


class _Blocks:
    """An index of strings or tuples of words, to find common runs of at least `length` units."""

    def __init__(self, sequences: Sequence[Sequence[str]], length: int) -> None:
        self._sequences = sequences
        self._length = length
        self._size = length // 2
        self._index: dict[Sequence[str], list[tuple[int, int]]] = {}
        for number, sequence in enumerate(sequences):
            for start in range(0, len(sequence) - self._size + 1, self._size):
                block = sequence[start : start + self._size]
                self._index.setdefault(block, []).append((number, start))

    def shared(self, units: Sequence[str]) -> Iterator[Sequence[str]]:
        for start in range(len(units) - self._size + 1):
            for number, place in self._index.get(units[start : start + self._size], ()):
                sequence = self._sequences[number]
                back = _run(reversed(units[:start]), reversed(sequence[:place]))
                ahead = _run(units[start:], sequence[place:])
                if back + ahead >= self._length:
                    yield units[start - back : start + ahead]


def _run(one: Iterable[str], two: Iterable[str]) -> int:
    length = 0
    for left, right in zip(one, two, strict=False):
        if left != right:
            break
        length += 1
    return length


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text))
