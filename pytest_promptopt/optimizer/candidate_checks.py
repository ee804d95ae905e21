"""What may be wrong with a new text: copies of cases, tags of the request, lost variables, tried before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from pytest_promptopt.optimizer.prompt_groups import SEARCHED
from pytest_promptopt.optimizer.proposal.quoting import SECTIONS
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.prompts.examples import without_examples
from pytest_promptopt.prompts.layout import unify_newlines
from pytest_promptopt.records import CaseResult, Overlay
from pytest_promptopt.tags import Tags
from pytest_promptopt.text import code_point, invisible_places, one_line

#: A passage as long as this that also stands in a case is a copy; shorter ones may be the same by chance.
COPIED_WORDS = 8
COPIED_CHARACTERS = 60

#: A whole input of at least this length that stands in a text is a copy.
WHOLE_WORDS = 3

#: Scripts without spaces between words; about so many characters make a word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
UNSPACED_WORD = 3

#: A candidate with one of these tags, in any spelling, could be taken for a part of the request.
_TAGS = Tags(SECTIONS)


@dataclass
class CandidateChecks:
    """The checks of one run; it remembers which texts were seen.

    :param training: inputs of training cases; a reason may quote them.
    :param validation: inputs of validation cases; a reason never quotes them.
    :param given: what training cases gave to each prompt, by its name: `variables_given` in their results.
    """

    training: Passages = field(default_factory=lambda: Passages(()))
    validation: Passages = field(default_factory=lambda: Passages(()))
    given: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    _seen: set[tuple[str, str, frozenset[tuple[str, str]]]] = field(default_factory=set)

    def learn_cases(self, original: Iterable[CaseResult]) -> None:
        """From now on check against what these cases put into the prompts; texts that were seen stay so.

        :param original: results under the original of all training and validation cases that are known.
        """
        known = tuple(original)
        training, validation = ([r for r in known if r.case.split is split] for split in SEARCHED)
        self.training, self.validation = (Passages(input_texts(part)) for part in (training, validation))
        self.given = variables_given(training)

    def objection(self, prompt: Prompt, prose: str, *, beside: Overlay = MappingProxyType({})) -> str | None:
        """Why `prose` is refused as a candidate for `prompt`, in one sentence; None when it may be tried.

        The text counts as seen from then on, beside these texts of the other prompts of a pipeline. The
        region of its examples holds cases, by intent, and is escaped: it is not searched for copies.

        :param beside: candidates for the other prompts; those left out have their own text.
        """
        others = frozenset(beside.items())
        key = (prompt.name, _folded(prose), others)
        known = key in self._seen or (not others and key[1] == _folded(prompt.prose))
        self._seen.add(key)
        return "this text was tried before" if known else self.fault(prompt, prose)

    def fault(self, prompt: Prompt, prose: str) -> str | None:
        """What is wrong with `prose` as a text of `prompt`, in one sentence; it does not count as seen."""
        try:
            return self._fault(prompt, prose)
        except Exception as error:  # a text that no check can handle is not sent to a model either
            return f"it cannot be checked: {type(error).__name__}: {error}"

    def _fault(self, prompt: Prompt, prose: str) -> str | None:
        body = without_examples(prose)
        if (tag := _TAGS.first(body)) and tag not in prompt.prose:
            return f"it contains {tag!r}, a tag of the request"
        if unseen := find_invisible(body, besides=prompt.prose):
            return f"it holds an invisible character, {unseen}; write visible text only"
        if objections := prompt.objections(prose):
            return "; ".join(objections)
        if passage := self.training.copied(body, besides=prompt.prose):
            return f"it copies a passage of a training case word for word: {passage!r}; write general rules"
        if self.validation.copied(body, besides=prompt.prose):
            return "it copies a passage of a case word for word; write general rules"
        return prompt.unsendable(prose, self.given.get(prompt.name, ()))


def find_invisible(text: str, *, besides: str) -> str | None:
    """The name of the first character of `text` that nobody sees and that is not in `besides`."""
    text = unify_newlines(text)
    return next((code_point(text[at]) for at in invisible_places(text) if text[at] not in besides), None)


def variables_given(results: Iterable[CaseResult]) -> dict[str, list[Mapping[str, str]]]:
    """What these cases gave to each prompt, by its name."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for call in (call for result in results for outcome in result.outcomes for call in outcome.calls):
        if call.variables not in (known := found.setdefault(call.prompt, [])):
            known.append(call.variables)
    return found


def input_texts(results: Iterable[CaseResult]) -> Iterator[str]:
    """The texts that came into prompts."""
    for outcome in (outcome for result in results for outcome in result.outcomes):
        yield from outcome.inputs.values()
        for call in outcome.calls:
            yield from call.variables.values()


def _folded(prose: str) -> str:
    """`prose` for comparison: other white space makes no new text.

    Another case does, since a model may answer in the case that it reads."""
    return one_line(prose)


class Passages:
    """Finds texts that are copied whole, and long verbatim passages of them.

    The texts are indexed in blocks of half the length of a passage: a passage that is long enough contains a
    whole block, and from this block it is followed in both directions.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        unique = [text.casefold() for text in dict.fromkeys(texts)]
        self._words = _Blocks([_words(text) for text in unique], COPIED_WORDS)
        self._characters = _Blocks([one_line(text) for text in unique], COPIED_CHARACTERS)
        # Whole texts that are short; in the others a passage is found.
        self._whole = [f" {' '.join(words)} " for words in map(_words, unique) if _is_telling(words)]
        self._unspaced = [one_line(text) for text in unique if _is_telling_unspaced(text)]

    def copied(self, prose: str, *, besides: str) -> str | None:
        """The first text or long passage in `prose` that does not stand in `besides`; None without one."""
        prose, besides = prose.casefold(), besides.casefold()
        own_words, words = (f" {' '.join(_words(text))} " for text in (besides, prose))
        own_text, text = (one_line(each) for each in (besides, prose))
        for whole in self._whole:
            if whole in words and whole not in own_words:
                return whole.strip()
        for whole in self._unspaced:
            if whole in text and whole not in own_text:
                return whole
        for passage in self._words.shared(_words(prose)):
            if f" {' '.join(passage)} " not in own_words:
                return " ".join(passage)
        for passage in self._characters.shared(text):
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


def is_telling(text: str) -> bool:
    """Whether `text` says which case it comes from: it is no label, which many cases share."""
    return len(_words(text)) >= WHOLE_WORDS or len(_UNSPACED.findall(text)) >= WHOLE_WORDS * UNSPACED_WORD


def _is_telling(words: Sequence[str]) -> bool:
    return WHOLE_WORDS <= len(words) < COPIED_WORDS


def _is_telling_unspaced(text: str) -> bool:
    return len(_UNSPACED.findall(text)) >= WHOLE_WORDS * UNSPACED_WORD and len(text) < COPIED_CHARACTERS


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text))
