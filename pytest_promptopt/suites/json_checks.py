"""Checks of an answer that is JSON: that it is, that it fits a schema, and what stands at a path in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.suites.checks import Check, CheckContext, Found
from pytest_promptopt.suites.text_checks import same_json
from pytest_promptopt.text import cut_end, quote, value_of_json


def is_json(check: Check, answer: str, context: CheckContext) -> Found:
    try:
        given = value_of_json(answer)
    except ValueError as error:
        return _no_json(answer, "json.loads(answer)", error)
    if not isinstance(check.value, Mapping):
        return Found(True, None, "json.loads(answer)", "", str(answer))
    from jsonschema import validators
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: nothing is fetched, whatever a schema refers to.
    validator = validators.validator_for(check.value)(check.value, registry=Registry())
    try:
        errors = sorted(validator.iter_errors(given), key=lambda error: list(map(str, error.absolute_path)))
    except (Unresolvable, RecursionError, re.error) as error:
        said = cut_end(str(error), 200) or type(error).__name__
        raise SettingsError(f"{check.where}: is-json: the schema cannot be used: {said}") from None
    if not errors:
        return Found(True, "matches", "answer", "its schema", given)
    return _misfit(errors[0], given)


def _no_json(answer: str, looked_for: str, error: Exception) -> Found:
    why = f"the answer is not JSON ({error})"
    return Found(False, None, looked_for, "", str(answer), why=why, kind="JSONDecodeError")


def _misfit(error: Any, given: Any) -> Found:
    """What the schema asks of one value, without the value: cases of the same mistake are told alike."""
    place = "".join(f"[{part!r}]" for part in error.absolute_path)
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return Found(False, "in", repr(missing[0]), f"answer{place}", given, why=error.message)
    if error.validator == "enum":
        allowed = repr(list(error.validator_value))
        return Found(False, "in", f"answer{place}", allowed, error.instance, why=error.message)
    wanted = f"{error.validator} {json.dumps(error.validator_value, default=str)}"
    return Found(False, "matches", f"answer{place}", wanted, error.instance, why=error.message)


def json_path(check: Check, answer: str, context: CheckContext) -> Found:
    """A value stands at the path; with ``value`` one of the values there equals it."""
    path = check.options["path"]
    try:
        given = value_of_json(answer)
    except ValueError as error:
        return _no_json(answer, f"json.loads(answer) at {path}", error)
    steps = path_steps(path)
    values = list(values_at(given, steps))
    if check.value is None and not check.options.get("null"):  # `value: null` is one
        why = "" if values else "nothing stands there"
        return Found(bool(values), "in", repr(path), "answer", given, why=why)
    if any(same_json(value, check.value) for value in values):
        return Found(True, "==", path, repr(check.value), check.value, check.value)
    if all(isinstance(step, str) for step in steps) and steps:
        # As structures both sides say at which path they differ.
        actual = _nested(steps, values[0]) if values else given
        told = f"got {quote(values[0])}" if values else "nothing stands there"
        wanted = _nested(steps, check.value)
        return Found(False, "==", path, repr(check.value), actual, wanted, why=told)
    return Found(False, "in", repr(check.value), f"answer at {path}", values, why=f"got {quote(values)}")


def _nested(steps: Sequence[Any], value: Any) -> Any:
    for step in reversed(steps):
        value = {step: value}
    return value


_EVERY = object()
_STEP = re.compile(
    r"\.(?P<name>[^\W\d][\w-]*)|\[(?P<index>-?\d+)\]|(?P<every>\[\*\]|\.\*)"
    r"|\['(?P<single>(?:[^'\\]|\\.)*)'\]|\[\"(?P<double>(?:[^\"\\]|\\.)*)\"\]"
)


def path_steps(path: str) -> list[Any]:
    """The steps of a JSONPath: ``$.items[0]['unit price']``, ``$.lines[*].total``.

    Raises `ValueError` that says what is accepted.
    """
    rest = path.strip().removeprefix("$")
    if rest and rest[0] not in ".[":
        rest = f".{rest}"
    steps: list[Any] = []
    while rest:
        step = _STEP.match(rest)
        if step is None:
            raise ValueError(
                f"{path!r} cannot be read at {rest[:20]!r}; accepted: $.name, $['any name'], "
                "$.list[0], $.list[-1], $.list[*].name"
            )
        rest = rest[step.end() :]
        if step["every"]:
            steps.append(_EVERY)
        elif step["index"]:
            steps.append(int(step["index"]))
        else:
            quoted = step["single"] if step["single"] is not None else step["double"]
            steps.append(step["name"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    return steps


def values_at(value: Any, steps: Sequence[Any]) -> Iterator[Any]:
    """All values at the end of `steps`."""
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    if step is _EVERY:
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        for each in inside:
            yield from values_at(each, rest)
    elif isinstance(step, int):
        if isinstance(value, list) and -len(value) <= step < len(value):
            yield from values_at(value[step], rest)
    elif isinstance(value, dict) and step in value:
        yield from values_at(value[step], rest)
