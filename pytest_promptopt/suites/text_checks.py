"""Checks of an answer's text: what it equals, holds, matches, resembles, and how long it is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from pytest_promptopt.suites.checks import Check, CheckContext, Found
from pytest_promptopt.text import plural, quote, value_of_json, value_text

#: Beyond this many characters words are compared instead: comparing characters takes their product in steps.
MAX_CHARACTERS = 1_000


def equals(check: Check, answer: str, context: CheckContext) -> Found:
    """A text without white space around both; any other value: the answer is JSON that equals it."""
    wanted: Any = check.value
    if check.options.get("exact"):  # as other tools compare
        return _equal(str(answer) == wanted, str(answer), wanted)
    if isinstance(wanted, str):
        actual = str(answer).strip()
        return _equal(actual == wanted.strip(), actual, wanted.strip())
    try:
        given = value_of_json(answer)
    except ValueError:
        return _equal(False, str(answer).strip(), wanted)
    return _equal(same_json(given, wanted), given, wanted)


def _equal(holds: bool, actual: Any, wanted: Any) -> Found:
    said = f"got {quote(actual)}" if holds else f"expected {quote(wanted)} but got {quote(actual)}"
    return Found(holds, "==", "answer", repr(wanted), actual, wanted, why=said)


def same_json(one: Any, two: Any) -> bool:
    """Whether two JSON values are equal; True is no number."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same_json(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same_json, one, two))
    return bool(one == two)


def contains(check: Check, answer: str, context: CheckContext) -> Found:
    return _membership([str(check.value)], answer, every=True)


def icontains(check: Check, answer: str, context: CheckContext) -> Found:
    return _membership([str(check.value)], answer, every=True, fold=True)


def contains_all(check: Check, answer: str, context: CheckContext) -> Found:
    return _membership(check.value, answer, every=True)


def contains_any(check: Check, answer: str, context: CheckContext) -> Found:
    return _membership(check.value, answer, every=False)


def icontains_all(check: Check, answer: str, context: CheckContext) -> Found:
    return _membership(check.value, answer, every=True, fold=True)


def icontains_any(check: Check, answer: str, context: CheckContext) -> Found:
    return _membership(check.value, answer, every=False, fold=True)


def _membership(texts: Sequence[Any], answer: str, *, every: bool, fold: bool = False) -> Found:
    searched = answer.lower() if fold else str(answer)
    name = "answer.lower()" if fold else "answer"
    wanted = [text.lower() if fold else text for text in map(str, texts)]
    absent = [text for text in wanted if text not in searched]
    if len(wanted) == 1 or (every and len(absent) == 1):
        text = absent[0] if absent else wanted[0]
        why = f"there is no {quote(text)}" if absent and len(wanted) > 1 else ""
        return Found(not absent, "in", repr(text), name, str(answer), why=why)
    parts = (f"{text!r} in {name}" for text in (absent if every and absent else wanted))
    if every:
        return Found(not absent, None, " and ".join(parts), "", str(answer))
    return Found(len(absent) < len(wanted), "or", " or ".join(parts), "", str(answer))


def starts_with(check: Check, answer: str, context: CheckContext) -> Found:
    return Found(answer.startswith(check.value), None, f"answer.startswith({check.value!r})", "", str(answer))


def regex(check: Check, answer: str, context: CheckContext) -> Found:
    """The pattern is found anywhere in the answer; its own anchors say otherwise."""
    found = re.search(check.value, answer) is not None
    return Found(found, "matches", "answer", repr(check.value), str(answer))


def one_of(check: Check, answer: str, context: CheckContext) -> Found:
    actual = str(answer).strip()
    allowed = [value_text(value).strip() for value in check.value]
    return Found(actual in allowed, "in", "answer", repr(allowed), actual, why=f"got {quote(actual)}")


def max_words(check: Check, answer: str, context: CheckContext) -> Found:
    words = len(answer.split())
    return Found(
        words <= check.value,
        "<=",
        "len(answer.split())",
        f"{check.value}",
        words,
        why=f"got {plural(words, 'word')}",
    )


def similarity(one: str, two: str) -> float:
    """The share of both texts that they have in common in the same order, by `difflib`: 1 for equal texts.

    Case and white space make no difference.
    """
    words = one.casefold().split(), two.casefold().split()
    long = max(len(one), len(two)) > MAX_CHARACTERS
    first, second = words if long else map(" ".join, words)
    return difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()
