"""What `demo` can check about an answer when it judges: lengths, mentions, faithfulness, overlap of words.

A criterion is read clause by clause. A clause without a form that is known here is taken for a list of words
that the answer should have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytest_promptopt.models.demo.criterion_reading import (
    ABOUT_ANSWERS,
    FAITHFUL,
    SENTENCE,
    WITH,
    WITHOUT,
    Length,
    clauses_of,
    has_term,
    lengths_in,
    terms_of,
    without_lengths,
)
from pytest_promptopt.models.demo.words import STOP_WORDS, content, stem, words
from pytest_promptopt.text import plural

_ENGLISH = re.compile(r"\bin (?:plain |simple |good )?English\b", re.IGNORECASE)
_JSON = re.compile(r"\b(?:is|as|valid) (?:valid |a )?JSON\b", re.IGNORECASE)
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
    checks = [check for clause in clauses_of(criterion) for check in _checks(clause, graded)]
    return checks or [_overlap(criterion, graded)]


def _checks(clause: str, graded: Graded) -> Iterator[Check]:
    for length in lengths_in(clause):
        yield _length(graded.answer, length)
    rest = without_lengths(clause)
    if rest != clause and not terms_of(rest):
        return  # the clause is about a length and nothing else
    yield next((check for form, check in _FORMS if form.search(rest)), _overlap)(rest, graded)


def _length(answer: str, wanted: Length) -> Check:
    counted = _COUNTS[wanted.unit](answer)
    said, most, least = f"it has {plural(counted, wanted.unit)}", wanted.most, wanted.least
    if most is not None and counted > most:
        advice = f"use at most {plural(most, wanted.unit)}"
        return Check(most / counted / 2, "length", f"{said}, more than {most}", advice)
    if least is not None and counted < least:
        advice = f"use at least {plural(least, wanted.unit)}"
        return Check(counted / least / 2, "length", f"{said}, fewer than {least}", advice)
    return Check(1.0, "length", f"{said}, as asked")


_COUNTS: dict[str, Callable[[str], int]] = {
    "word": lambda text: len(text.split()),
    "sentence": lambda text: len(SENTENCE.findall(text)),
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
        "keep to the text",
    )


def _with(clause: str, graded: Graded) -> Check:
    found = WITH.search(clause)
    terms = terms_of(found["what"] if found else clause)
    if not terms:
        return _overlap(clause, graded)
    either = re.search(r"\bor\b", clause) is not None
    missing = [term for term in terms if not has_term(graded.answer, term)]
    share = 1 - len(missing) / len(terms)
    if not missing or (either and share > 0):
        there = [term for term in terms if term not in missing]
        return Check(1.0, "content", f"it has {_listed(there)}")
    return Check(share, "content", f"it lacks {_listed(missing)}", f"mention {_listed(missing)}")


def _without(clause: str, graded: Graded) -> Check:
    found = WITHOUT.search(clause)
    terms = terms_of((found["what"] or found["what2"] or "") if found else "")
    there = [term for term in terms if has_term(graded.answer, term)]
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
    wanted = [word for word in wanted if graded.reference or word not in ABOUT_ANSWERS] or wanted
    has = {stem(word) for word in words(graded.answer)}
    missing = [word for word in wanted if word not in has]
    share = 1 - len(missing) / len(wanted) if wanted and has else 0.0
    of = "the reference" if graded.reference else "the criterion"
    said = f"it has {len(wanted) - len(missing)} of {plural(len(wanted), 'word')} of {of}"
    advice = f"mention {', '.join(missing[:5])}" if missing else ""
    return Check(share, "content", said, advice or "say what the criterion asks for")


_FORMS: tuple[tuple[re.Pattern[str], Callable[[str, Graded], Check]], ...] = (
    (FAITHFUL, _faithful),
    (_ENGLISH, _english),
    (_JSON, _json),
    (WITHOUT, _without),
    (WITH, _with),
)


def _listed(terms: list[str]) -> str:
    return ", ".join(f"'{term}'" for term in terms[:5])
