"""What scores, labels and annotations say of an answer, and whether a person has said it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from pytest_promptopt.traces.recorded_call import Feedback, Opinion

_RIGHT = (
    "right", "correct", "good", "perfect", "pass", "passed", "true", "yes", "accept", "accepted", "approve",
    "approved", "ok", "up", "like", "liked", "positive", "thumbs-up", "thumb-up", "👍",
)  # fmt: skip
_WRONG = (
    "wrong", "incorrect", "not-correct", "bad", "fail", "failed", "false", "no", "reject", "rejected", "down",
    "dislike", "disliked", "negative", "thumbs-down", "thumb-down", "👎",
)  # fmt: skip

#: Names of scores that only people give. A model may be asked about the satisfaction of a user, too.
_PEOPLE = re.compile(
    r"(?:end-)?(?:human|user|customer|expert|annotator|reviewer|manual)-"
    r"(?:feedback|rating|review|annotation|label|vote|grade|approval|score|evaluation)s?(?:-score|-value)?"
    r"|thumbs?(?:-(?:up|down|up-down))?"
)


def named_for_people(name: str) -> bool:
    """Whether the name of a score says that a person gives it: ``user-feedback``, ``humanRating``."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s_.]+", "-", name).lower()
    return _PEOPLE.fullmatch(words) is not None


def number_of(value: Any) -> float | None:
    """A number, also one that a table holds as text; None for anything else."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def switches(found: Iterable[Feedback]) -> frozenset[str]:
    """The names of scores whose numbers are seen to be nothing but 0 and 1, both of them.

    Of one that is always 1 nobody knows whether it is the best or, of five stars, the worst.
    """
    values: dict[str, set[float]] = {}
    for each in found:
        if each.value is not None:
            values.setdefault(each.name, set()).add(each.value)
    return frozenset(name for name, seen in values.items() if seen == {0.0, 1.0})


def opinion_of(feedback: Feedback, known: frozenset[str]) -> Opinion:
    """What it says of the answer.

    :param known: as of `switches`.
    """
    word = re.sub(r"[\s_]+", "-", feedback.label.strip().lower())
    if word:
        return Opinion.RIGHT if word in _RIGHT else Opinion.WRONG if word in _WRONG else Opinion.UNCLEAR
    if feedback.value in (0.0, 1.0) and (feedback.is_switch or feedback.name in known):
        return Opinion.RIGHT if feedback.value else Opinion.WRONG
    return Opinion.UNCLEAR
