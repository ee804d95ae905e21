"""Validation failures as patterns: counts, categories and shapes, without a word of the cases themselves."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from pytest_promptopt.failures import Category, FailedCase, Feedback
from pytest_promptopt.text import json_text, plural

#: A longer string is no label and no key, wherever else it may occur.
MAX_QUOTED = 60

#: Different confusions told per category.
MAX_CONFUSIONS = 5


class TellableWords:
    """The strings that may be named, since the optimizer knows them already.

    :param texts: the prompt's texts and the expected values of training cases.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(dict.fromkeys(text.casefold() for text in texts))

    def __contains__(self, text: object) -> bool:
        folded = str(text).casefold().strip()
        if not folded or len(folded) > MAX_QUOTED:
            return False
        whole = re.compile(rf"(?<!\w){re.escape(folded)}(?!\w)")
        return any(whole.search(known) for known in self._texts)


def validation_patterns(
    feedback: Feedback, known: TellableWords, *, named: Iterable[str] | None = None
) -> tuple[str, ...]:
    """Describe failing validation cases in lines that quote nothing but `known` strings.

    :param named: category names that may be told; None for all (the built-in names hold no text of cases).
    """
    if not feedback.failing:
        return ()
    allowed = None if named is None else frozenset(named)
    lines = [f"{feedback.failing} of {feedback.total} cases that are not shown here fail as well:"]
    for category in feedback.categories:
        tellable = allowed is None or category.name in allowed or category.name in known
        lines.append(
            f"- {category.name if tellable else 'another kind of failure'}: {plural(category.count, 'case')}"
        )
        lines += _confusions(category, feedback.failed, known)
    return tuple(lines)


def _confusions(category: Category, failed: Iterable[FailedCase], known: TellableWords) -> Iterator[str]:
    pairs = Counter(_confusion(case, known) for case in failed if case.category == category.name)
    for pair, count in pairs.most_common(MAX_CONFUSIONS):
        yield f"  {plural(count, 'case')}: {pair}"


def _confusion(case: FailedCase, known: TellableWords) -> str:
    if case.expected is None:
        return f"got {_shape(case.actual, known)}"
    expected, actual = _shape(case.expected, known), _shape(case.actual, known)
    fields = _fields(case.expected, case.actual, known)
    return f"expected {expected} but got {actual}" + (f"; {fields}" if fields else "")


def _shape(text: str, known: TellableWords) -> str:
    """`text` itself if it is known, else what it looks like."""
    if text in known:
        return json_text(text.strip())
    value = _parsed(text)
    if isinstance(value, dict):
        return f"a JSON object with {_keys(value, known)}"
    if isinstance(value, list):
        return f"a JSON list of {len(value)}"
    if isinstance(value, bool):
        return "a JSON constant"
    if isinstance(value, int | float):
        return "a number"
    text, words = text.strip(), len(text.split())
    if "\n" in text:
        return f"a text of {_rounded(len(text.splitlines()))} lines"
    if words > 1:
        return f"a text of {_rounded(words)} words"
    return "another word" if words else "an empty answer"


def _keys(value: dict[str, object], known: TellableWords) -> str:
    named = [json_text(key) for key in value if key in known]
    others = len(value) - len(named)
    return ", ".join([*named, f"{others} other keys"] if others else named) or "no keys"


def _fields(expected: str, actual: str, known: TellableWords) -> str:
    """Which known keys differ between two JSON objects."""
    one, two = _parsed(expected), _parsed(actual)
    if not isinstance(one, dict) or not isinstance(two, dict):
        return ""
    keys = [key for key in {**one, **two} if one.get(key) != two.get(key) and key in known]
    return "differs in " + ", ".join(json_text(key) for key in keys) if keys else ""


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _rounded(count: int) -> str:
    return str(count) if count < 5 else f"about {round(count, -1) or 5}"
