"""Reading a judge's reply, whatever form the model gave it; a reply that is no verdict is refused.

A score is taken only when it is clear which one it is: scores that contradict each other, a JSON object that
was cut off, and a lone ``8`` are no verdict. Nothing here guesses a 0 or a 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_promptopt.errors import UnusableVerdict
from pytest_promptopt.grading.score_reading import (
    agreed,
    mentions_score,
    read_score,
    score_in_sentence,
    score_of,
)
from pytest_promptopt.marked_lines import (
    Kind,
    Marked,
    impact_of,
    read_marked,
    read_suggestion,
    says_nothing,
)
from pytest_promptopt.models.thinking import without_thinking
from pytest_promptopt.refusals import is_refusal
from pytest_promptopt.text import one_line, quote, value_text
from pytest_promptopt.verdicts import (
    IMPACTS,
    THRESHOLD,
    Preference,
    Suggestion,
    Verdict,
)

_TEXTS = {"type": "array", "items": {"type": "string"}}

#: The form of a verdict where the model can be held to one; the reasons come before the score, so that a
#: model thinks before it decides.
VERDICT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "reasons": {"type": "string"},
        "strengths": _TEXTS,
        "issues": _TEXTS,
        "suggestions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "category": {"type": "string"},
                    "impact": {"type": "string", "enum": list(IMPACTS)},
                },
                "required": ["text", "category", "impact"],
                "additionalProperties": False,
            },
        },
        "score": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["reasons", "strengths", "issues", "suggestions", "score"],
    "additionalProperties": False,
}

#: The form of a preference between two answers.
PREFERENCE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "reasons": {"type": "string"},
        "better": {"type": "string", "enum": [each.value for each in Preference]},
    },
    "required": ["reasons", "better"],
    "additionalProperties": False,
}

#: What the parts of a verdict are called as keys of JSON.
_KEYS = {
    **dict.fromkeys(("score", "final_score", "overall_score", "rating", "overall_rating", "grade"), "score"),
    **dict.fromkeys(
        ("reasons", "reason", "reasoning", "rationale", "explanation", "justification"), "reasons"
    ),
    **dict.fromkeys(("strengths", "strength", "pros"), "strengths"),
    **dict.fromkeys(("issues", "issue", "problems", "problem", "weaknesses", "cons"), "issues"),
    **dict.fromkeys(
        ("suggestions", "suggestion", "recommendations", "recommendation", "improvements"), "suggestions"
    ),
    **dict.fromkeys(("better", "winner", "preference", "preferred", "better_answer"), "better"),
}
_DECIDING = frozenset({"score", "strengths", "issues", "better"})
#: An object with our keys that is not valid JSON was cut off, or nobody knows what it says.
_OWN_OBJECT = re.compile(r"\{\s*+[\"'“]?\s*+(\w[\w -]{0,30}?)\s*+[\"'”]?\s*+:")
#: What may stand on its line before an object that is the judge's own.
_BEFORE_OBJECT = re.compile(
    r"[\s`\[*_#]*+(?:(?:final )?(?:verdict|evaluation|json|output|result)[\s*_`]*[:=]?[\s`*_]*+)?\Z",
    re.IGNORECASE,
)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
#: A reply with more braces than this is no verdict with a few quotes.
_MOST_OBJECTS = 60
#: A reply that is a score and nothing else.
_LONGEST_SCORE = 40
_BARE_SCORE = re.compile(r"[\s*_`\[\](\"'.,\d/%-]*\d(?:\s*(?:/|out of|of)\s*\d+)?[\s*_`\])\"'.%]*\Z")


def read_verdict(text: str, *, criterion: str = "", threshold: float = THRESHOLD) -> Verdict:
    """The verdict in a reply: JSON of `VERDICT_SCHEMA`, else marked lines. Raises `UnusableVerdict`.

    A missing score is the share of strengths among strengths and issues, where both are spoken of.
    """
    said = without_thinking(text)[0]
    try:
        return _read_verdict(text, said, criterion, threshold)
    except UnusableVerdict as error:
        raise _unusable(text, str(error)) from None


def _read_verdict(text: str, said: str, criterion: str, threshold: float) -> Verdict:
    own, rest, quoted = _own_object(said)
    marked = read_marked(rest)
    if own is not None:
        _take_json(marked, own)
    scores = [score_of(marked.scores)]
    if own is not None and "score" in own:
        scores.append(read_score(own["score"]))
    score = agreed([each for each in scores if each is not None])
    reasons = "\n".join(filter(None, marked.reasons)) or "\n".join(marked.prose).strip()
    if score is None and quoted and own is None:
        raise UnusableVerdict("the only verdict stands inside of a sentence, as something quoted does")
    if score is None:
        score = _score_without_mark(said, rest, marked)
    elif is_refusal(said) and not (own or marked.strengths or marked.issues or any(marked.reasons)):
        raise UnusableVerdict("the model refused")
    return Verdict(
        score=score,
        issues=tuple(marked.issues),
        strengths=tuple(marked.strengths),
        suggestions=tuple(marked.suggestions),
        reasons=reasons,
        raw_text=text,
        criterion=criterion,
        threshold=threshold,
    )


def _score_without_mark(said: str, rest: str, marked: Marked) -> float:
    """The score of a reply without a line for it: the whole reply, a sentence, or the share of strengths."""
    if not said.strip():
        raise UnusableVerdict("it is empty")
    if not (marked.strengths or marked.issues):
        if is_refusal(said):
            raise UnusableVerdict("the model refused")
        if _BARE_SCORE.match(said.strip()[:_LONGEST_SCORE]):
            return read_score(said)
    in_sentence = score_in_sentence(rest)
    if in_sentence is not None:
        return in_sentence
    if not (marked.strengths or marked.issues):
        raise UnusableVerdict("it has no score, no strengths and no issues")
    if mentions_score(said):
        raise UnusableVerdict("it has a score that does not stand on a line of its own")
    if marked.share is None:
        raise UnusableVerdict("it has no score, and speaks of strengths or of issues only")
    return marked.share


def _unusable(text: str, why: str) -> UnusableVerdict:
    return UnusableVerdict(f"the judge's reply is no verdict, since {why}: {quote(one_line(text)[:400])}")


# ------------------------------------------------------------------------------------------- preferences


_PREFERENCE = re.compile(
    r"(?:[^\w\"'“”‘’«»>/\[({]|_)*+(?:the )?"
    r"(?:better|winner|preferred|preference|best|verdict|decision|choice)"
    r"(?: (?:answer|response|one|output))?[\s*_`]*(?:[:：=|>]|\s(?:[-–—]+|is)\s)(?P<rest>.*)",
    re.IGNORECASE,
)
_ALONE = re.compile(r"\s*[*_`]*\[\[\s*(?P<rest>[ABC])\s*\]\][*_`.]*\s*\Z", re.IGNORECASE)
_ANSWER = r"(?:answer|response|output|one)"
_PLACES = {
    Preference.FIRST: rf"(?:the )?(?:first|1st|(?:{_ANSWER} )?(?:1|a|one))",
    Preference.SECOND: rf"(?:the )?(?:second|2nd|(?:{_ANSWER} )?(?:2|b|two))",
    Preference.TIE: r"(?:an? )?(?:tie|draw|equal(?:ly good)?|same|both|neither|none|c|no preference)",
}
_EACH_PLACE = "|".join(f"(?P<{place.name}>{said})" for place, said in _PLACES.items())
_PLACE = re.compile(
    rf"[\s*_`\[({{\"'“‘<]*(?:{_EACH_PLACE})(?: {_ANSWER}s?)?(?:(?: is)? (?:better|wins|preferred))?"
    r"[\s*_`\])}\"'”’>]*(?:(?:[.,;:(–—-]|because\b|since\b).*)?\Z",
    re.IGNORECASE | re.DOTALL,
)


def read_preference(text: str) -> tuple[Preference, str]:
    """The preference in a reply and its reasons. Raises `UnusableVerdict`."""
    said = without_thinking(text)[0]
    try:
        own, rest, _ = _own_object(said)
        marked = read_marked(rest)
        lines = [line for line in rest.split("\n") if not line.lstrip().startswith((">", '"', "'"))]
        found = [m["rest"] for line in lines if (m := _PREFERENCE.match(line) or _ALONE.match(line))]
        if own is not None and "better" in own:
            found.append(value_text(own["better"]))
        if not found and own is None and "\n" not in said.strip():
            found = [said]
        if not said.strip() or not found:
            raise UnusableVerdict("it names no better answer")
        places = {_place(each) for each in found}
        if len(places) > 1:
            raise UnusableVerdict("it names several answers as the better one")
    except UnusableVerdict as error:
        raise _unusable(text, str(error)) from None
    reasons = "\n".join(_texts(own.get("reasons")) if own else filter(None, marked.reasons))
    others = [line for line in marked.prose if not (_PREFERENCE.match(line) or _ALONE.match(line))]
    kept = [line for line in (reasons or "\n".join(others)).split("\n") if not _PREFERENCE.match(line)]
    return places.pop(), "\n".join(kept).strip()


def _place(said: str) -> Preference:
    found = _PLACE.match(said.strip())
    if found is None:
        raise UnusableVerdict(f"{quote(said)} is none of first, second and tie")
    return next(place for place in Preference if found[place.name])


# -------------------------------------------------------------------------------------------------- JSON


def _own_object(text: str) -> tuple[Mapping[str, Any] | None, str, bool]:
    """The object in `text` that is the verdict, with our names as keys; the text without such objects.

    Last whether one stands inside of a sentence: that is taken for something quoted. Raises `UnusableVerdict`
    when one is broken, or when several are verdicts that differ.
    """
    found: list[Mapping[str, Any]] = []
    parts, done, quoted = [], 0, False
    for start, end, value in _objects(text):
        inside = list(_verdicts_in(value))
        if inside:
            parts.append(text[done:start])
            done = end
        if inside and not _BEFORE_OBJECT.match(text[text.rfind("\n", 0, start) + 1 : start]):
            quoted = True
        else:
            found += inside
    whole = [each for each in found if len(each) > 1] or found
    if any(each != whole[0] for each in whole):
        raise UnusableVerdict("it holds several verdicts that differ")
    return (whole[0] if whole else None), "\n".join([*parts, text[done:]]), quoted


def _objects(text: str) -> Iterator[tuple[int, int, Any]]:
    """The JSON objects in `text`, each with the place where it begins and ends."""
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_named)
    at, tries = text.find("{"), 0
    while at >= 0 and tries < _MOST_OBJECTS:
        tries += 1
        end = at + 1
        try:
            value, end = decoder.raw_decode(text, at)
            yield at, end, value
        except (ValueError, RecursionError):
            opening = _OWN_OBJECT.match(text, at)
            if opening and _name(opening[1]) in _KEYS.values():
                yield at, len(text), _mended(decoder, text[at:])
                return
        at = text.find("{", end)


def _mended(decoder: json.JSONDecoder, text: str) -> Any:
    """An object with a comma too many; raises `UnusableVerdict` for one that is broken otherwise."""
    try:
        return decoder.raw_decode(_TRAILING_COMMA.sub(r"\1", text))[0]
    except (ValueError, RecursionError):
        raise UnusableVerdict("its JSON is cut off or not valid") from None


def _named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with our names for the keys that mean the parts of a verdict."""
    named: dict[str, Any] = {}
    for key, value in pairs:
        name = _name(key)
        if name in ("score", "better") and name in named and named[name] != value:
            raise UnusableVerdict(f"it says {name!r} twice")
        named[name] = value
    return named


def _name(key: str) -> str:
    plain = re.sub(r"[\s-]+", "_", key.strip().lower())
    return _KEYS.get(plain, key)


def _verdicts_in(value: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping) and _DECIDING & value.keys():
        yield {name: value[name] for name in value if name in _KEYS.values()}
    elif depth < 3 and isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _verdicts_in(each, depth + 1)


def _take_json(marked: Marked, own: Mapping[str, Any]) -> None:
    marked.reasons = ["\n".join(_texts(own.get("reasons"))), *marked.reasons]
    sides: tuple[tuple[str, Kind], ...] = (("strengths", "strength"), ("issues", "issue"))
    marked.denied |= {kind for name, kind in sides if name in own and not _texts(own[name])}
    marked.strengths += _texts(own.get("strengths"))
    marked.issues += _texts(own.get("issues"))
    marked.suggestions += [s for each in _entries(own.get("suggestions")) if (s := _suggestion(each)).text]


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _texts(value: Any) -> list[str]:
    texts = [_text_of(each).strip() for each in _entries(value)]
    return [text for text in texts if not says_nothing(text)]


def _text_of(entry: Any) -> str:
    """The text of an entry, which some models give as an object."""
    if isinstance(entry, Mapping):
        names = ("text", "description", "issues", "strengths", "suggestions", "reasons", "title", "point")
        return next((value_text(entry[name]) for name in names if name in entry), value_text(entry))
    return value_text(entry)


def _suggestion(entry: Any) -> Suggestion:
    text = _text_of(entry).strip()
    if says_nothing(text):
        return Suggestion("")
    if not isinstance(entry, Mapping):
        return read_suggestion(text)
    said = {str(key).strip().lower(): value_text(value) for key, value in entry.items()}
    impact = next((said[name] for name in ("impact", "priority", "severity") if name in said), "")
    category = one_line(said.get("category", said.get("type", ""))).lower()
    return Suggestion(text, category, impact_of(impact))
