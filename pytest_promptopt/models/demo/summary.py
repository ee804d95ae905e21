"""`demo` as a target that sums up: it picks sentences of the text by what the prompt asks for.

Without a rule it is as loose as most first prompts allow: it announces its summary and takes the text's
beginning. Rules are read as a judge reads a criterion: a length, what to mention, what to leave out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_promptopt.models.demo.criterion_reading import (
    FAITHFUL,
    SENTENCE,
    WITH,
    WITHOUT,
    clauses_of,
    has_term,
    lengths_in,
    terms_of,
    without_lengths,
)
from pytest_promptopt.text import one_line

_SUMMARIZE = re.compile(
    r"\b(?:summari[sz]e|sum up|(?:write|give|make|draft)\b[^.!?\n]{0,30}\bsummary)\b", re.IGNORECASE
)
_LEAVE_OUT = re.compile(r"\bleave (?:out|away)\b(?P<what>.*)", re.IGNORECASE | re.DOTALL)
#: An order: of a clause that only happens to have such a verb in it, nothing is to be mentioned.
_ORDER = re.compile(
    r"^(?:please |always |also |(?:it|the summary|you) (?:must|should) )*(?:mention|contain|include|name|cite"
    r"|state|say|quote|give|list)s?\b",
    re.IGNORECASE,
)
_PREAMBLE = "This summary is about the following:"
_SENTENCES = 4


@dataclass(frozen=True)
class _Rules:
    """What a prompt asks of a summary.

    :param most: unit -> the most of it, such as ``{"word": 30}``.
    :param wanted: terms to mention.
    :param unwanted: terms to leave out.
    :param bare: nothing that is not in the text, so no preamble.
    """

    most: dict[str, int]
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]
    bare: bool


def asks_for_summary(instructions: str) -> bool:
    return _SUMMARIZE.search(instructions) is not None


def summarize(instructions: str, text: str, *, bare: bool) -> str:
    """Whole sentences of `text` in its order: those with a wanted term first, then from the beginning on.

    :param bare: the prompt asks for the summary only.
    """
    rules = _rules(instructions)
    sentences = [one_line(sentence) for sentence in SENTENCE.findall(text)]
    usable = [s for s in sentences if not any(has_term(s, term) for term in rules.unwanted)]
    chosen = list(_wanted(usable, rules.wanted))
    opening = "" if bare or rules.bare else _PREAMBLE
    for sentence in usable:
        if len(chosen) < _SENTENCES and sentence not in chosen:
            longer = _joined(opening, usable, [*chosen, sentence])
            if _cut(longer, rules.most) == longer:
                chosen.append(sentence)
    return _cut(_joined(opening, usable, chosen or usable[:1]), rules.most)


def _joined(opening: str, sentences: Sequence[str], chosen: Sequence[str]) -> str:
    return " ".join(filter(None, [opening, *(s for s in sentences if s in chosen)]))


def _wanted(sentences: Sequence[str], terms: Sequence[str]) -> Iterator[str]:
    """The fewest sentences that have all the terms, as far as the text has them: the richest one first."""
    left = set(terms)
    while left:
        found = {s: {term for term in left if has_term(s, term)} for s in sentences}
        best = max(sentences, key=lambda sentence: len(found[sentence]), default="")
        if not found.get(best):
            return
        yield best
        left -= found[best]


def _cut(text: str, most: dict[str, int]) -> str:
    """`text` as long as it may be: at most so many sentences, then words, then characters."""
    if (number := most.get("sentence")) is not None:
        text = " ".join(SENTENCE.findall(text)[:number])
    if (number := most.get("word")) is not None:
        text = " ".join(text.split()[:number])
    return text[: most.get("character", len(text))]


def _rules(instructions: str) -> _Rules:
    most: dict[str, int] = {}
    wanted: list[str] = []
    unwanted: list[str] = []
    bare = False
    for clause in clauses_of(instructions):
        for length in lengths_in(clause):
            if length.most is not None:
                most[length.unit] = min(length.most, most.get(length.unit, length.most))
        if leave := WITHOUT.search(clause) or _LEAVE_OUT.search(clause):
            unwanted += terms_of(next(filter(None, leave.groups()), ""))
        elif FAITHFUL.search(clause):
            bare = True
        elif _ORDER.search(clause) and (order := WITH.search(without_lengths(clause))):
            wanted += terms_of(order["what"])
    return _Rules(most, tuple(dict.fromkeys(wanted)), tuple(dict.fromkeys(unwanted)), bare)
