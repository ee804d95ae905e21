"""Checks as a test would write them: an optimizer is told what is checked, as of any test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_promptopt.suites.checks import Check
from pytest_promptopt.text import one_line

_FORMS: Mapping[str, str] = {
    "equals": "answer == {value}",
    "contains": "{value} in answer",
    "icontains": "{value}.lower() in answer.lower()",
    "contains-all": "all(text in answer for text in {value})",
    "contains-any": "any(text in answer for text in {value})",
    "icontains-all": "all(text.lower() in answer.lower() for text in {value})",
    "icontains-any": "any(text.lower() in answer.lower() for text in {value})",
    "starts-with": "answer.startswith({value})",
    "regex": "re.search({value}, answer)",
    "is-json": "is_json(answer, schema={value})",
    "json-path": "{value} in at_path(json.loads(answer), {path})",
    "one-of": "answer in {value}",
    "similar": "similarity(answer, {value}) >= {threshold}",
    "max-words": "len(answer.split()) <= {value}",
    "latency": "answer.latency <= {value}",
    "cost": "answer.cost <= {value}",
    "python": "{code}",
    "promptfoo-regex": "re.search({value}, answer)",
    "promptfoo-python": "{code}",
    "promptfoo-similar": "any(similarity(answer, text) >= {threshold} for text in {value})",
    "rubric": "judge(answer, {value}).score >= {threshold}",
}


def test_source(inputs: Iterable[str], checks: Iterable[Check], expected: Any | None) -> str:
    """A case as a test function; a value that is the case's `expected` is called so."""
    names = [name for name in inputs if name.isidentifier()]
    given = ", ".join(f"{name}={name}" for name in names)
    lines = [f"    assert {_source(check, expected)}" for check in checks]
    return "\n".join([f"def test({', '.join(['prompt', *names])}):", f"    answer = prompt({given})", *lines])


test_source.__test__ = False  # type: ignore[attr-defined]


def _source(check: Check, expected: Any | None) -> str:
    own = expected is None or check.value != expected
    written = _FORMS[check.type].format(
        value=repr(check.value) if own else "expected",
        path=repr(check.options.get("path", "")),
        threshold="threshold" if check.threshold is None else f"{check.threshold:g}",
        code=_code(check),
    )
    return f"not {written}" if check.negated else written


def _code(check: Check) -> str:
    function = check.options.get("function")
    return f"({one_line(str(check.value))})" if function is None else f"{function}(answer)"
