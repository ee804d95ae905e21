"""How `demo` reads what is asked of an answer: lengths, what it should say or leave out, faithfulness.

A judge reads a criterion so, and a target that writes summaries its prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_promptopt.models.demo.words import STOP_WORDS, content, stem, words
from pytest_promptopt.text import one_line

_NUMBERS = {"a": 1, "a single": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}
_NUMBER = rf"(?P<number>\d+|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_UNIT = r"(?P<unit>words?|sentences?|characters?|lines?)"
_MOST = re.compile(
    r"\b(?:at most|no more than|not more than|up to|maximum(?: of)?|max\.?|within"
    rf"|(?P<under>fewer than|less than|under|below)) {_NUMBER} {_UNIT}\b"
    rf"|\b(?P<number2>\d+) {_UNIT.replace('unit', 'unit2')} (?:or (?:fewer|less)|at most)\b",
    re.IGNORECASE,
)
_LEAST = re.compile(rf"\b(?:at least|no fewer than|minimum(?: of)?) {_NUMBER} {_UNIT}\b", re.IGNORECASE)
_EXACTLY = re.compile(rf"\b(?:exactly |only |just |in |is |as |of )+{_NUMBER} {_UNIT}\b", re.IGNORECASE)
FAITHFUL = re.compile(
    r"\b(?:faithful|faithfulness|grounded|hallucinat\w*|invent\w*|made[- ]up|makes? up|fabricat\w*"
    r"|(?:supported|backed|covered) by the|(?:only|nothing but) (?:the )?facts?"
    r"|(?:stick|keep)s? to the (?:context|source|text)|(?:from|in) the (?:context|source))\b",
    re.IGNORECASE,
)
_MENTION = r"(?:mention|contain|include|name|cite|state|say|quote|give|list|refer to|use|repeat|have)s?"
WITHOUT = re.compile(
    rf"\b(?:(?:do(?:es)?|must|should|may|can)(?: not|n['’]?t)|never|cannot|can't) {_MENTION}\b(?P<what>.*)"
    r"|\b(?:without|free of|has no|have no|contains? no|mentions? no|no mention of)\b(?P<what2>.*)",
    re.IGNORECASE | re.DOTALL,
)
WITH = re.compile(rf"\b{_MENTION}\b(?P<what>.*)", re.IGNORECASE | re.DOTALL)
_QUOTED = re.compile(r"[\"“«`]([^\"”»`\n]+)[\"”»`]|(?<!\w)['‘]([^'’\n]+)['’](?!\w)")
_NEXT_CLAUSE = (
    r"(?:(?:it|the answer)\s+)?(?:is|in|has|at most|at least|no more|does|must|should|never|not|under|within"
    r"|without|only|\w+s)\b"
)
_CLAUSE = re.compile(
    rf"\n+|;|(?<=[.!?])\s+|,?\s+(?:and|but)\s+(?={_NEXT_CLAUSE})|,\s+(?={_MENTION}\b)", re.IGNORECASE
)
_BULLET = re.compile(r"^\s*(?:[-*•+]|\d+[.)])\s+")
_HEADING = re.compile(r"^#+ |:$")
SENTENCE = re.compile(r"[^.!?\s][^.!?]*(?:[.!?]+(?=\s|\Z)|\Z)")
#: Words of a criterion about answers in general; they name nothing that an answer should say.
ABOUT_ANSWERS = frozenset(
    stem(word)
    for word in words(
        "answer reply response text summary summaries question customer user reader all criterion meets "
        "clear clearly correct good great helpful polite concise short brief relevant accurate right well"
    )
)


def clauses_of(text: str) -> list[str]:
    """The things that a text asks for, one by one, without headings."""
    clauses = [_BULLET.sub("", clause).strip(" ,.") for clause in _CLAUSE.split(text) if clause]
    return [clause for clause in clauses if clause and not _HEADING.search(clause)]


@dataclass(frozen=True)
class Length:
    """How long an answer should be; None where there is no limit.

    :param unit: ``word``, ``sentence``, ``character`` or ``line``.
    """

    unit: str
    least: int | None = None
    most: int | None = None


def lengths_in(clause: str) -> Iterator[Length]:
    """The lengths that a clause asks for."""
    for found in _MOST.finditer(clause):
        number = _number(found["number"] or found["number2"]) - bool(found["under"])
        yield Length(_unit(found["unit"] or found["unit2"]), most=number)
    for found in _LEAST.finditer(clause):
        yield Length(_unit(found["unit"]), least=_number(found["number"]))
    exact = _EXACTLY.search(clause)
    if exact and not _MOST.search(clause) and not _LEAST.search(clause):
        number = _number(exact["number"])
        yield Length(_unit(exact["unit"]), least=number, most=number)


def without_lengths(clause: str) -> str:
    for form in (_MOST, _LEAST, _EXACTLY):
        clause = form.sub("", clause)
    return clause


def _number(said: str) -> int:
    return _NUMBERS.get(said.lower()) or int(said)


def _unit(said: str) -> str:
    return said.lower().removesuffix("s")


def terms_of(said: str) -> list[str]:
    """The quoted terms of a clause; without any, its words that carry meaning."""
    quoted = [one_line(double or single) for double, single in _QUOTED.findall(said)]
    plain = [w for w in content(said) if w not in STOP_WORDS and stem(w) not in ABOUT_ANSWERS]
    return list(dict.fromkeys(quoted or plain))


def has_term(answer: str, term: str) -> bool:
    wanted = [stem(word) for word in words(term)]
    if not wanted:
        return term in answer
    has = [stem(word) for word in words(answer)]
    return any(has[at : at + len(wanted)] == wanted for at in range(len(has) - len(wanted) + 1))
