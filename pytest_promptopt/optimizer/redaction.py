"""What the user wants nobody to see, taken out of the results of cases before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from pytest_promptopt.records import Call, CaseResult, Failure, Outcome, StageGrade
from pytest_promptopt.records.content import ToolCall
from pytest_promptopt.verdicts import Suggestion, Verdict

Redact = Callable[[str], str]

#: By these results are told apart; no case has written them.
_OURS = {
    Outcome: ("case",),
    Call: ("prompt", "key", "stop_reason"),
    ToolCall: ("name", "id"),
    Failure: ("kind", "where", "operator"),
    Verdict: ("model",),
    Suggestion: ("impact",),
    StageGrade: ("prompt",),
}

#: Texts by the names that variables and parameters have in prompt and test.
_NAMED = ("variables", "inputs", "parameters")


def keep_text(text: str) -> str:
    """What is done when nobody says what to take out."""
    return text


def redact_result(result: CaseResult, redact: Redact) -> CaseResult:
    """`result` with every text that came from the case, its test or its answers passed through `redact`."""
    if redact is keep_text:
        return result
    return replace(result, outcomes=tuple(_record(outcome, redact) for outcome in result.outcomes))


def _record(record: Any, redact: Redact) -> Any:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    changed = {
        name: {key: redact(text) for key, text in value.items()} if name in _NAMED else _value(value, redact)
        for name, value in values.items()
        if name not in _OURS[type(record)]
    }
    return replace(record, **changed)


def _value(value: Any, redact: Redact) -> Any:
    if type(value) in _OURS:
        return _record(value, redact)
    if type(value) is str:
        return redact(value)
    if isinstance(value, Mapping):
        return {_value(key, redact): _value(item, redact) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_value(item, redact) for item in value)
    return value
