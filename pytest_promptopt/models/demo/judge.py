"""`demo` as a judge: it checks an answer for what the criterion asks, and says what it has found.

The prompt decides with it: a line of the prompt that begins with ``Pass only answers that`` or ``The answer
must`` is read as the criterion is, and no answer scores higher than its share of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from pytest_promptopt.models.demo.answer_checks import Check, Graded, checks_of
from pytest_promptopt.records import Message
from pytest_promptopt.text import json_text, one_line

_PART = r"<{0}>\n?(?P<{0}>.*?)\n?</{0}>"
_NAMES = ("criterion", "answer", "first_answer", "second_answer", "reference", "context")
_PARTS = {name: re.compile(_PART.format(name), re.DOTALL) for name in _NAMES}
_JUDGES = re.compile(r"\b(?:scores?|verdicts?|grades?|judges?|better)\b", re.IGNORECASE)
#: A rule for every answer, on a line of the prompt.
RULE = re.compile(
    r"^[ \t]*(?:[-*•+]|\d+[.)])?[ \t]*"
    r"(?:pass only answers (?:that|which)\b[ \t:]*|(?:the |an |every )?answers? (?=must\b))(?P<rule>\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_CLOSE = 1e-6


@dataclass(frozen=True)
class Judging:
    """A request to grade an answer, or to compare two, parsed.

    :param rules: what the prompt asks of every answer besides the criterion.
    """

    criterion: str
    answers: tuple[str, ...]
    reference: str
    context: str
    rules: tuple[str, ...]


def judging_in(messages: Sequence[Message]) -> Judging | None:
    """What a conversation asks a judge; None when it is no request to a judge."""
    text = "\n\n".join(message.content for message in messages if message.role != "assistant")
    found = {name: match[name] for name, part in _PARTS.items() if (match := part.search(text))}
    rest = text
    for part in _PARTS.values():
        rest = part.sub("", rest)
    answers = [found[name] for name in ("first_answer", "second_answer") if name in found]
    if len(answers) != 2:
        answers = [found["answer"]] if "answer" in found else []
    if "criterion" not in found or not answers or not _JUDGES.search(rest):
        return None
    return Judging(
        criterion=found["criterion"],
        answers=tuple(answers),
        reference=found.get("reference", ""),
        context=found.get("context", ""),
        rules=tuple(match["rule"] for match in RULE.finditer(rest)),
    )


def judge(judging: Judging, *, schema: Mapping[str, Any] | None = None) -> str:
    """The reply: marked lines, or JSON when a schema is asked for."""
    found = [graded(judging, answer) for answer in judging.answers]
    if len(found) == 2:
        return _compared(found, as_json=schema is not None)
    said = _verdict(*found[0])
    if schema is not None:
        return json_text(said)
    lines = [f"REASONS: {said['reasons']}"]
    lines += [f"STRENGTH: {each}" for each in said["strengths"]]
    lines += [f"ISSUE: {each}" for each in said["issues"]]
    lines += [f"SUGGESTION ({s['impact']}, {s['category']}): {s['text']}" for s in said["suggestions"]]
    return "\n".join([*lines, f"SCORE: {said['score']}"])


def graded(judging: Judging, answer: str | None = None) -> tuple[float, list[Check]]:
    """The score of an answer, of the first one if none is given, and the checks that it comes from."""
    answer = judging.answers[0] if answer is None else answer
    given = Graded(answer, judging.context, judging.reference)
    checks = checks_of(judging.criterion, given)
    score = fsum(check.share for check in checks) / len(checks)
    for rule in judging.rules:
        ruled = checks_of(rule, given)
        score = min(score, *(check.share for check in ruled))
        checks += ruled
    return (score if answer.strip() else 0.0), checks


def _verdict(score: float, checks: Sequence[Check]) -> dict[str, Any]:
    strengths = [one_line(check.said) for check in checks if check.share >= 1]
    issues = [one_line(check.said) for check in checks if check.share < 1]
    advice = [
        {"text": one_line(check.advice), "category": check.category, "impact": _impact(check.share)}
        for check in checks
        if check.share < 1
    ]
    reasons = f"{len(strengths)} of {len(checks)} checks hold: {'; '.join([*issues, *strengths])}."
    return {
        "reasons": one_line(reasons),
        "strengths": strengths,
        "issues": issues,
        "suggestions": advice,
        "score": round(score, 3),
    }


def _impact(share: float) -> str:
    return "high" if share < 1 / 3 else "medium" if share < 2 / 3 else "low"


def _compared(found: Sequence[tuple[float, list[Check]]], *, as_json: bool) -> str:
    (first, first_checks), (second, second_checks) = found
    better = "tie" if abs(first - second) < _CLOSE else "first" if first > second else "second"
    sides = (("first", first, first_checks), ("second", second, second_checks))
    reasons = "; ".join(f"the {name} scores {score:.3f} ({checks[0].said})" for name, score, checks in sides)
    if as_json:
        return json_text({"reasons": one_line(reasons), "better": better})
    return f"REASONS: {one_line(reasons)}\nBETTER: {better}"
