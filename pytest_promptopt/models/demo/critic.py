"""`demo` as a critic: it says which expected answers did not come, and what came in their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pytest_promptopt.models.demo.feedback import Shown, parse

#: Expected answers and confusions that are named.
_MOST = 3
_LONGEST = 60


def criticise(request: str) -> str:
    """The reply to a request for a critique: issues, then suggestions."""
    return "\n".join(["<critique>", *_lines(parse(request).failing), "</critique>"])


def _lines(failing: tuple[Shown, ...]) -> Iterator[str]:
    stated = [case for case in failing if case.stated]
    confused = Counter((_named(case.expected), _named(case.actual)) for case in stated)
    for (expected, actual), count in confused.most_common(_MOST):
        yield f"ISSUE: {count} of {len(failing)} answers are {actual} and should be {expected}."
    for expected, _ in Counter(_named(case.expected) for case in stated).most_common(_MOST):
        yield f"SUGGESTION (high, cues): Say which words of an input speak for {expected}."
    if not stated:
        yield f"ISSUE: {len(failing)} answers fail a test that names no answer."
        yield "SUGGESTION (low, rules): Say what a correct answer has to hold."


def _named(value: object) -> str:
    text = " ".join(str(value).split())
    return text if 0 < len(text) <= _LONGEST else "another text"
