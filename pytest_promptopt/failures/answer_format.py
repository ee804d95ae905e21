"""What is wrong with the form of an answer whose value is there, but not as the test can use it."""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_promptopt.failures.label_vocabulary import MAX_SEARCHED, LabelVocabulary, fold, is_short

#: sign -> the words by which a prompt would have ruled it out.
SIGNS: dict[str, tuple[str, ...]] = {
    "a code fence around the value": ("fence", "fences", "code block", "markdown", "```"),
    "prose around the value": ("only", "nothing else", "no explanation", "just the", "exactly one"),
    "prose instead of a label": ("only", "nothing else", "no explanation", "just the", "exactly one"),
    "several labels at once": ("exactly one", "one of", "only one", "single"),
    "a lead-in before the value": ("only", "nothing else", "no explanation", "just the", "no prefix"),
    "other case": ("lowercase", "lower case", "uppercase", "upper case", "case", "exactly as", "spelled"),
    "other separators": (
        "underscore",
        "underscores",
        "hyphen",
        "hyphens",
        "exactly as",
        "spelled",
        "verbatim",
    ),
    "quotes": ("quotes", "quotation marks", "quoted"),
    "punctuation": ("punctuation", "full stop", "period"),
    "markdown marks": ("markdown", "bold", "plain text", "formatting"),
    "surrounding whitespace": ("whitespace", "blank", "single line", "one line"),
    "JSON around the value": ("plain text", "no json", "not json"),
    "the same JSON written differently": ("compact", "spaces", "indent", "sorted", "order"),
    "no JSON at all": ("json",),
    "prose around the JSON": ("only", "nothing else", "no explanation", "just the", "json"),
    "single quotes or Python words in the JSON": ("valid json", "double quotes", "json"),
    "a trailing comma in the JSON": ("valid json", "json"),
    "JSON that ends early": ("valid json", "complete", "json"),
    "broken JSON": ("valid json", "json"),
    "not a bare number": ("number", "digits", "integer", "numeric"),
}

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
    ("a code fence around the value", _FENCE),
    ("markdown marks", _MARKS),
    ("quotes", _QUOTES),
    ("a lead-in before the value", _LEAD_IN),
    ("punctuation", _PUNCTUATION),
)


def strip_wrapping(text: str) -> tuple[str, tuple[str, ...]]:
    """The value inside `text` and what was around it."""
    signs: list[str] = []
    value = text[:MAX_SEARCHED]
    if value != value.strip():
        signs.append("surrounding whitespace")
    for _ in range(len(_LAYERS)):
        value = value.strip()
        for sign, pattern in _LAYERS:
            found = pattern.match(value)
            if found:
                value = next(part for name, part in found.groupdict().items() if part and name != "mark")
                signs.append(sign)
                break
        else:
            break
    return value.strip(), tuple(dict.fromkeys(signs))


def wrapping_around(expected: str, actual: str) -> tuple[str, ...]:
    """What separates `actual` from `expected` when both hold the same value; ``()`` when they do not."""
    if len(actual) > len(expected) + 400:  # no dressing is that long: prose is judged elsewhere
        return ()
    wanted, wanted_signs = strip_wrapping(expected)
    given, given_signs = strip_wrapping(actual)
    if not given or fold(wanted) != fold(given):
        return ()
    signs = [
        sign for sign in (*given_signs, *wanted_signs) if (sign in given_signs) != (sign in wanted_signs)
    ]
    if wanted != given:
        signs.append("other case" if wanted.casefold() == given.casefold() else "other separators")
    if len(signs) > 1 and "surrounding whitespace" in signs:
        signs.remove("surrounding whitespace")
    return tuple(signs)


def wrapping(expected: str, actual: str, vocabulary: LabelVocabulary) -> tuple[str, ...]:
    """How a short expected value is buried in a longer answer; ``()`` when it is not in there."""
    if not is_short(expected) or len(actual.split()) <= len(expected.split()):
        return ()
    others = [label for label in vocabulary.within(actual) if fold(label) != fold(expected)]
    text, value = fold(actual[:MAX_SEARCHED]), fold(strip_wrapping(expected)[0])
    if value and _is_told(value, text):
        inside = [label for label in others if fold(label) not in value]
        return ("prose around the value", "several labels at once") if inside else ("prose around the value",)
    if vocabulary and not is_short(actual):
        return ("prose around the value",) if others else ("prose instead of a label",)
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


def json_faults(text: str) -> tuple[str, ...]:
    """Why `text` is no JSON; ``()`` when it is."""
    text = text[: 10 * MAX_SEARCHED].strip()
    if _loads(text):
        return ()
    fenced = re.search(r"```[\w+-]*\s*\n(?P<inside>.*?)```", text, re.DOTALL)
    if fenced and _loads(fenced["inside"]):
        around = text[: fenced.start()].strip() or text[fenced.end() :].strip()
        return (
            ("a code fence around the value", "prose around the JSON")
            if around
            else ("a code fence around the value",)
        )
    start = re.search(r"[{\[]", text)
    if start is None:
        return ("no JSON at all",)
    inside = text[start.start() :]
    end = max(inside.rfind("}"), inside.rfind("]")) + 1
    if _loads(inside[:end]):
        return ("prose around the JSON",)
    if re.search(r"[{\[,:]\s*'|:\s*(?:True|False|None)\b", inside):
        return ("single quotes or Python words in the JSON",)
    if _loads(re.sub(r",(\s*[}\]])", r"\1", inside[:end])):
        return ("a trailing comma in the JSON",)
    if inside.count("{") > inside.count("}") or inside.count("[") > inside.count("]"):
        return ("JSON that ends early",)
    return ("broken JSON",)


def _loads(text: str) -> bool:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return value is not None or text.strip() == "null"
