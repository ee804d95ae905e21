"""What `demo` can check about an answer when it judges: lengths, mentions, faithfulness, overlap of words.

A criterion is read clause by clause. A clause without a form that is known here is taken for a list of words
that the answer should have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytest_promptopt.models.demo.words import STOP_WORDS, content, stem, words
from pytest_promptopt.text import one_line, plural

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
_FAITHFUL = re.compile(
    r"\b(?:faithful|faithfulness|grounded|hallucinat\w*|invent\w*|made[- ]up|makes? up|fabricat\w*"
    r"|(?:supported|backed|covered) by the|(?:only|nothing but) (?:the )?facts?"
    r"|(?:stick|keep)s? to the (?:context|source|text)|(?:from|in) the (?:context|source))\b",
    re.IGNORECASE,
)
_MENTION = r"(?:mention|contain|include|name|cite|state|say|quote|give|list|refer to|use|repeat|have)s?"
_WITHOUT = re.compile(
    rf"\b(?:(?:do(?:es)?|must|should|may|can)(?: not|n['’]?t)|never|cannot|can't) {_MENTION}\b(?P<what>.*)"
    r"|\b(?:without|free of|has no|have no|contains? no|mentions? no|no mention of)\b(?P<what2>.*)",
    re.IGNORECASE | re.DOTALL,
)
_WITH = re.compile(rf"\b{_MENTION}\b(?P<what>.*)", re.IGNORECASE | re.DOTALL)
_ENGLISH = re.compile(r"\bin (?:plain |simple |good )?English\b", re.IGNORECASE)
_JSON = re.compile(r"\b(?:is|as|valid) (?:valid |a )?JSON\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“«`]([^\"”»`\n]+)[\"”»`]|(?<!\w)['‘]([^'’\n]+)['’](?!\w)")
_NEXT_CLAUSE = (
    r"(?:(?:it|the answer)\s+)?(?:is|in|has|at most|at least|no more|does|must|should|never|not|under|within"
    r"|without|only|\w+s)\b"
)
_CLAUSE = re.compile(
    rf"\n+|;|(?<=[.!?])\s+|,?\s+(?:and|but)\s+(?={_NEXT_CLAUSE})|,\s+(?={_MENTION}\b)", re.IGNORECASE
)
_BULLET = re.compile(r"^\s*(?:[-*•+]|\d+[.)])\s+")
_SENTENCE = re.compile(r"[^.!?\s][^.!?]*(?:[.!?]+(?=\s|\Z)|\Z)")
#: Words of a criterion about answers in general; they name nothing that an answer should say.
_ABOUT_ANSWERS = frozenset(
    stem(word)
    for word in words(
        "answer reply response text summary summaries question customer user reader all criterion meets "
        "clear clearly correct good great helpful polite concise short brief relevant accurate right well"
    )
)
_ENGLISH_SHARE = 0.2


@dataclass(frozen=True)
class Check:
    """One thing that a criterion asks for, as an answer has it.

    :param share: from 0 (not at all) to 1.
    :param category: what it is about.
    :param said: what was found, in words.
    :param advice: what to change where the share is below 1.
    """

    share: float
    category: str
    said: str
    advice: str = ""


@dataclass(frozen=True)
class Graded:
    """What a judge is given about an answer."""

    answer: str
    context: str = ""
    reference: str = ""


def checks_of(criterion: str, graded: Graded) -> list[Check]:
    """A check for each clause of `criterion`; one at least."""
    clauses = [_BULLET.sub("", clause).strip(" ,.") for clause in _CLAUSE.split(criterion) if clause]
    return [check for clause in clauses if clause for check in _checks(clause, graded)] or [
        _overlap(criterion, graded)
    ]


def _checks(clause: str, graded: Graded) -> Iterator[Check]:
    yield from _lengths(clause, graded.answer)
    rest = clause
    for form in (_MOST, _LEAST, _EXACTLY):
        rest = form.sub("", rest)
    if rest != clause and not _terms(rest):
        return  # the clause is about a length and nothing else
    yield next((check for form, check in _FORMS if form.search(rest)), _overlap)(rest, graded)


def _lengths(clause: str, answer: str) -> Iterator[Check]:
    for found in _MOST.finditer(clause):
        number, unit = found["number"] or found["number2"], found["unit"] or found["unit2"]
        yield _length(answer, unit, most=_number(number) - bool(found["under"]))
    for found in _LEAST.finditer(clause):
        yield _length(answer, found["unit"], least=_number(found["number"]))
    exact = _EXACTLY.search(clause)
    if exact and not _MOST.search(clause) and not _LEAST.search(clause):
        number = _number(exact["number"])
        yield _length(answer, exact["unit"], most=number, least=number)


def _number(said: str) -> int:
    return _NUMBERS.get(said.lower()) or int(said)


def _length(answer: str, unit: str, *, most: int | None = None, least: int | None = None) -> Check:
    unit = unit.lower().removesuffix("s")
    counted = _COUNTS[unit](answer)
    said = f"it has {plural(counted, unit)}"
    if most is not None and counted > most:
        return Check(
            most / counted / 2, "length", f"{said}, more than {most}", f"cut it to {plural(most, unit)}"
        )
    if least is not None and counted < least:
        share = counted / least / 2
        return Check(share, "length", f"{said}, fewer than {least}", f"write {plural(least, unit)} or more")
    return Check(1.0, "length", f"{said}, as asked")


_COUNTS: dict[str, Callable[[str], int]] = {
    "word": lambda text: len(text.split()),
    "sentence": lambda text: len(_SENTENCE.findall(text)),
    "character": len,
    "line": lambda text: len([line for line in text.splitlines() if line.strip()]),
}


def _faithful(clause: str, graded: Graded) -> Check:
    source = graded.context or graded.reference
    if not source:
        return Check(
            0.0, "faithfulness", "nothing was given that it could keep to", "give the judge a context"
        )
    known = {stem(word) for word in words(source)}
    said = [word for word in content(graded.answer) if word not in STOP_WORDS]
    new = list(dict.fromkeys(word for word in said if stem(word) not in known))
    share = 1 - sum(stem(word) not in known for word in said) / len(said) if said else 0.0
    if not new and said:
        return Check(1.0, "faithfulness", "every word of it is in the context")
    shown = ", ".join(new[:5]) or "nothing"
    return Check(
        share,
        "faithfulness",
        f"not in the context: {shown}",
        f"leave out what is not in the context: {shown}",
    )


def _with(clause: str, graded: Graded) -> Check:
    found = _WITH.search(clause)
    terms = _terms(found["what"] if found else clause)
    if not terms:
        return _overlap(clause, graded)
    either = re.search(r"\bor\b", clause) is not None
    missing = [term for term in terms if not _has(graded.answer, term)]
    share = 1 - len(missing) / len(terms)
    if not missing or (either and share > 0):
        there = [term for term in terms if term not in missing]
        return Check(1.0, "content", f"it has {_listed(there)}")
    return Check(share, "content", f"it lacks {_listed(missing)}", f"say something about {_listed(missing)}")


def _without(clause: str, graded: Graded) -> Check:
    found = _WITHOUT.search(clause)
    terms = _terms((found["what"] or found["what2"] or "") if found else "")
    there = [term for term in terms if _has(graded.answer, term)]
    if not there:
        return Check(1.0, "content", f"it does without {_listed(terms) or 'it'}")
    return Check(0.0, "content", f"it has {_listed(there)}", f"leave out {_listed(there)}")


def _english(clause: str, graded: Graded) -> Check:
    found = words(graded.answer)
    letters = [c for c in graded.answer if c.isalpha()]
    common = sum(word in STOP_WORDS for word in found) / len(found) if found else 0.0
    plain = sum(c.isascii() for c in letters) / len(letters) if letters else 0.0
    if common >= _ENGLISH_SHARE and plain > 0.9:
        return Check(1.0, "language", "it is in English")
    return Check(0.0, "language", "it does not read as English", "write it in English")


def _json(clause: str, graded: Graded) -> Check:
    try:
        json.loads(graded.answer)
    except (ValueError, RecursionError):
        return Check(0.0, "format", "it is not JSON", "answer with JSON and nothing else")
    return Check(1.0, "format", "it is JSON")


def _overlap(clause: str, graded: Graded) -> Check:
    """The share of the reference's words in the answer, else of the clause's own."""
    source = graded.reference or clause
    wanted = list(dict.fromkeys(stem(word) for word in content(source)))
    wanted = [word for word in wanted if graded.reference or word not in _ABOUT_ANSWERS] or wanted
    has = {stem(word) for word in words(graded.answer)}
    missing = [word for word in wanted if word not in has]
    share = 1 - len(missing) / len(wanted) if wanted and has else 0.0
    of = "the reference" if graded.reference else "the criterion"
    said = f"it has {len(wanted) - len(missing)} of {plural(len(wanted), 'word')} of {of}"
    advice = f"say something about {', '.join(missing[:5])}" if missing else ""
    return Check(share, "content", said, advice or "say what the criterion asks for")


_FORMS: tuple[tuple[re.Pattern[str], Callable[[str, Graded], Check]], ...] = (
    (_FAITHFUL, _faithful),
    (_ENGLISH, _english),
    (_JSON, _json),
    (_WITHOUT, _without),
    (_WITH, _with),
)


def _terms(said: str) -> list[str]:
    """The quoted terms of a clause; without any, its words that carry meaning."""
    quoted = [one_line(double or single) for double, single in _QUOTED.findall(said)]
    plain = [w for w in content(said) if w not in STOP_WORDS and stem(w) not in _ABOUT_ANSWERS]
    return list(dict.fromkeys(quoted or plain))


def _has(answer: str, term: str) -> bool:
    wanted = [stem(word) for word in words(term)]
    if not wanted:
        return term in answer
    has = [stem(word) for word in words(answer)]
    return any(has[at : at + len(wanted)] == wanted for at in range(len(has) - len(wanted) + 1))


def _listed(terms: list[str]) -> str:
    return ", ".join(f'"{term}"' for term in terms[:5])
