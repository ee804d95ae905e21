"""The types of checks: what their values must be, and who compares."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.records import Failure
from pytest_promptopt.suites import json_checks, other_checks, similar_check, text_checks
from pytest_promptopt.suites.checks import Check, CheckContext, Evaluate, failure_of_check
from pytest_promptopt.suites.promptfoo import own_checks

#: JSON Schema of a text, and of a list of texts.
_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}
#: A criterion says something.
_CRITERION = {"type": "string", "pattern": "\\S"}
#: JSON Schema of a threshold: a function in `python` may return any number.
_NUMBER = {"type": "number"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_SCALARS = {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1}


@dataclass(frozen=True)
class CheckType:
    """A type of checks.

    :param accepted: what its value must be, in words.
    :param schema: the same as JSON Schema.
    :param problem: what is wrong with a value, None for one that fits; a value that fits is of this type.
    :param threshold: JSON Schema of its threshold; None for a type that takes none.
    :param of_expected: whether a case's `expected` is its value where it has none.
    :param bare: whether it can stand without a value.
    """

    evaluate: Evaluate
    accepted: str
    schema: Mapping[str, Any]
    problem: Callable[[Any], str | None]
    threshold: Mapping[str, Any] | None = None
    of_expected: bool = False
    bare: bool = False
    description: str = ""


def _unless(fits: Callable[[Any], bool]) -> Callable[[Any], str | None]:
    return lambda value: None if fits(value) else ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_scalars(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, (str, int, float)) for v in value)


def _is_amount(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and value >= 0
        and math.isfinite(value)
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _regex_problem(value: Any) -> str | None:
    if not _is_text(value):
        return ""
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        return f"it is no regular expression: {error}"
    return None


def _schema_problem(value: Any) -> str | None:
    if value is None or value is True:
        return None
    if not isinstance(value, Mapping):
        return ""
    from jsonschema import exceptions, validators

    try:
        validators.validator_for(value).check_schema(value)
    except TypeError:
        return "it is no JSON Schema: $schema must be the address of one"
    except exceptions.SchemaError as error:
        place = ".".join(map(str, error.absolute_path))
        return f"it is no JSON Schema: {f'{place}: ' if place else ''}{error.message}"
    return None


def _python_problem(value: Any) -> str | None:
    if not _is_text(value):
        return ""
    if other_checks.FUNCTION.fullmatch(value.strip()):
        return None  # a function of a file: read with the file that names it
    try:
        other_checks.expression_code(value, "check")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"it is no Python expression: {getattr(error, 'msg', error)}"
    if unknown := other_checks.unknown_name(value):
        told = "it is no Python expression of `answer` and `case` alone"
        return f"{told}: it needs `{unknown}`; write a function in a file"
    return None


def _text(evaluate: Evaluate, description: str, *, threshold: Mapping[str, Any] | None = None) -> CheckType:
    return CheckType(
        evaluate,
        "a text",
        _TEXT,
        _unless(_is_text),
        threshold=threshold,
        of_expected=True,
        description=description,
    )


def _amount(evaluate: Evaluate, unit: str, description: str) -> CheckType:
    schema = {"type": "number", "minimum": 0}
    return CheckType(evaluate, f"a number of {unit}", schema, _unless(_is_amount), description=description)


def _texts(evaluate: Evaluate, description: str) -> CheckType:
    return CheckType(evaluate, "a list of texts", _TEXTS, _unless(_is_list), description=description)


CHECK_TYPES: Mapping[str, CheckType] = {
    "equals": CheckType(
        text_checks.equals,
        "a text, a number, true, false, a list or a mapping",
        {},
        lambda value: None,
        of_expected=True,
        description="the answer is this text; for any other value: JSON that equals it",
    ),
    "contains": _text(text_checks.contains, "this text stands in the answer"),
    "icontains": _text(text_checks.icontains, "the same, upper and lower case are equal"),
    "contains-all": _texts(text_checks.contains_all, "each of these texts stands in the answer"),
    "contains-any": _texts(text_checks.contains_any, "one of these texts stands in the answer"),
    "icontains-all": _texts(text_checks.icontains_all, "`contains-all`, upper and lower case are equal"),
    "icontains-any": _texts(text_checks.icontains_any, "`contains-any`, upper and lower case are equal"),
    "starts-with": _text(text_checks.starts_with, "the answer begins with this text"),
    "regex": CheckType(
        text_checks.regex,
        "a regular expression",
        _TEXT,
        _regex_problem,
        of_expected=True,
        description="this regular expression is found in the answer (`re.search`)",
    ),
    "is-json": CheckType(
        json_checks.is_json,
        "a JSON Schema, or nothing",
        {"type": ["object", "null", "boolean"]},
        _schema_problem,
        bare=True,
        description="the answer is JSON; with a JSON Schema: it fits the schema",
    ),
    "json-path": CheckType(
        json_checks.json_path,
        "what stands at `path`, or nothing",
        {},
        lambda value: None,
        bare=True,
        description="something stands at `path` of the JSON answer; with a value: this value",
    ),
    "one-of": CheckType(
        text_checks.one_of,
        "a list of texts",
        _SCALARS,
        _unless(_is_scalars),
        description="the answer is one of these texts",
    ),
    "similar": _text(
        similar_check.similar,
        "the answer resembles this text: `threshold` is the least ratio of letters (0.8), or, with an "
        "embedding model, the least cosine (0.75)",
        threshold=_SHARE,
    ),
    "max-words": CheckType(
        text_checks.max_words,
        "a whole number from 1",
        {"type": "integer", "minimum": 1},
        _unless(_is_count),
        description="the answer has at most so many words",
    ),
    "latency": _amount(other_checks.latency, "seconds", "the answer took at most so many seconds"),
    "cost": _amount(other_checks.cost, "US dollars", "the answer cost at most so many US dollars"),
    "python": CheckType(
        other_checks.python,
        "a Python expression of `answer`, or FILE.py::FUNCTION",
        _TEXT,
        _python_problem,
        threshold=_NUMBER,
        description="a Python expression of `answer` and `case`, or a function `checks.py::is_polite` "
        "of them, is true; of a number: it reaches `threshold`",
    ),
    "rubric": CheckType(
        other_checks.rubric,
        "a criterion, or the path of a rubric file",
        _CRITERION,
        _unless(lambda value: _is_text(value) and not value.isspace()),
        threshold=_SHARE,
        description="a judge's score for this criterion reaches `threshold` (0.7)",
    ),
}  # fmt: skip


#: Types that no file of ours can name: what another program's assertions hold for.
_FOREIGN: Mapping[str, Evaluate] = {
    own_checks.MATCHES: own_checks.matches,
    own_checks.SCRIPT: own_checks.script,
    own_checks.ALIKE: own_checks.alike,
}


def failure_of(check: Check, answer: str, context: CheckContext) -> Failure | None:
    """Why `check` does not hold for `answer`; None when it does.

    Raises `SettingsError` where nobody can say: it is no fault of the answer.
    """
    __tracebackhide__ = True
    evaluate = _FOREIGN.get(check.type) or CHECK_TYPES[check.type].evaluate
    found = evaluate(check, answer, context)
    return None if found.holds is not check.negated else failure_of_check(check, found)
