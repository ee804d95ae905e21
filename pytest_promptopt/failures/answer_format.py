"""What is wrong with the form of an answer whose value is there, but not as the test can use it."""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_promptopt.failures.label_vocabulary import (
    MAX_SEARCHED,
    LabelVocabulary,
    could_be_label,
    fold_label,
)
from pytest_promptopt.failures.symptoms import SymptomKind

_FENCE = re.compile(r"\A\s*```[\w+-]*[ \t]*\n(?P<inside>.*?)\n?\s*```\s*\Z", re.DOTALL)
_LEAD_IN = re.compile(
    r"\A(?:[\w ]{1,30}[:=]|the (?:answer|label|category) is)\s+(?P<inside>\S.*)\Z", re.DOTALL | re.I
)
_MARKS = re.compile(
    r"\A(?P<mark>\*{1,3}|_{1,3}|`)(?P<inside>[^*`]+)(?P=mark)\Z|\A(?:#+|[-*•])\s+(?P<rest>\S.*)\Z"
)
_QUOTES = re.compile(r"\A[\"'“‘«„](?P<inside>.+)[\"'”’»“]\Z", re.DOTALL)
_PUNCTUATION = re.compile(r"\A(?P<inside>.*[^\s.!?,;:])[.!?,;:]+\Z", re.DOTALL)
_LAYERS = (
    (SymptomKind.CODE_FENCE, _FENCE),
    (SymptomKind.MARKDOWN, _MARKS),
    (SymptomKind.QUOTES, _QUOTES),
    (SymptomKind.LEAD_IN, _LEAD_IN),
    (SymptomKind.PUNCTUATION, _PUNCTUATION),
)


def strip_wrapping(text: str) -> tuple[str, tuple[SymptomKind, ...]]:
    """The value inside `text` and what was around it."""
    kinds: list[SymptomKind] = []
    value = text[:MAX_SEARCHED]
    if value != value.strip():
        kinds.append(SymptomKind.WHITESPACE)
    for _ in range(len(_LAYERS)):
        value = value.strip()
        for kind, pattern in _LAYERS:
            found = pattern.match(value)
            if found:
                value = next(part for name, part in found.groupdict().items() if part and name != "mark")
                kinds.append(kind)
                break
        else:
            break
    return value.strip(), tuple(dict.fromkeys(kinds))


def compare_wrapping(expected: str, actual: str) -> tuple[SymptomKind, ...]:
    """What separates `actual` from `expected` when both hold the same value; ``()`` when they do not."""
    if len(actual) > len(expected) + 400:  # no dressing is that long: prose is judged elsewhere
        return ()
    wanted, wanted_kinds = strip_wrapping(expected)
    given, given_kinds = strip_wrapping(actual)
    if not given or fold_label(wanted) != fold_label(given):
        return ()
    kinds = [
        kind for kind in (*given_kinds, *wanted_kinds) if (kind in given_kinds) != (kind in wanted_kinds)
    ]
    if wanted != given:
        kinds.append(
            SymptomKind.OTHER_CASE if wanted.casefold() == given.casefold() else SymptomKind.OTHER_SEPARATORS
        )
    if len(kinds) > 1 and SymptomKind.WHITESPACE in kinds:
        kinds.remove(SymptomKind.WHITESPACE)
    return tuple(kinds)


def find_buried_value(expected: str, actual: str, vocabulary: LabelVocabulary) -> tuple[SymptomKind, ...]:
    """How a short expected value is buried in a longer answer; ``()`` when it is not in there."""
    if not could_be_label(expected) or len(actual.split()) <= len(expected.split()):
        return ()
    others = [label for label in vocabulary.within(actual) if fold_label(label) != fold_label(expected)]
    text, value = fold_label(actual[:MAX_SEARCHED]), fold_label(strip_wrapping(expected)[0])
    if value and _is_told(value, text):
        inside = [label for label in others if fold_label(label) not in value]
        return (
            (SymptomKind.PROSE_AROUND_VALUE, SymptomKind.SEVERAL_LABELS)
            if inside
            else (SymptomKind.PROSE_AROUND_VALUE,)
        )
    if vocabulary and not could_be_label(actual):
        return (SymptomKind.PROSE_AROUND_VALUE,) if others else (SymptomKind.PROSE_INSTEAD_OF_LABEL,)
    return ()


def _is_told(value: str, text: str) -> bool:
    """Very short values ("no", "a", "4") are words of any sentence: they count at its start or end only."""
    if len(value) > 3:
        return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None
    bare = text.strip(" .!?,;:*`\"'")
    return (
        re.match(rf"{re.escape(value)}(?!\w)", bare) is not None
        or re.search(rf"(?<!\w){re.escape(value)}\Z", bare) is not None
    )


def find_json_faults(text: str) -> tuple[SymptomKind, ...]:
    """Why `text` is no JSON; ``()`` when it is."""
    text = text[: 10 * MAX_SEARCHED].strip()
    if _loads(text):
        return ()
    fenced = re.search(r"```[\w+-]*\s*\n(?P<inside>.*?)```", text, re.DOTALL)
    if fenced and _loads(fenced["inside"]):
        around = text[: fenced.start()].strip() or text[fenced.end() :].strip()
        return (
            (SymptomKind.CODE_FENCE, SymptomKind.PROSE_AROUND_JSON) if around else (SymptomKind.CODE_FENCE,)
        )
    start = re.search(r"[{\[]", text)
    if start is None:
        return (SymptomKind.NO_JSON,)
    inside = text[start.start() :]
    end = max(inside.rfind("}"), inside.rfind("]")) + 1
    if _loads(inside[:end]):
        return (SymptomKind.PROSE_AROUND_JSON,)
    if re.search(r"[{\[,:]\s*'|:\s*(?:True|False|None)\b", inside):
        return (SymptomKind.PYTHON_JSON,)
    if _loads(re.sub(r",(\s*[}\]])", r"\1", inside[:end])):
        return (SymptomKind.TRAILING_COMMA,)
    if inside.count("{") > inside.count("}") or inside.count("[") > inside.count("]"):
        return (SymptomKind.JSON_ENDS_EARLY,)
    return (SymptomKind.BROKEN_JSON,)


def _loads(text: str) -> bool:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return value is not None or text.strip() == "null"
