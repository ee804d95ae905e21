"""Checks that hold as promptfoo's assertions do, where ours of the same name differ."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.prompts.template_languages.javascript_values import is_number
from pytest_promptopt.suites.checks import Check, CheckContext, Found
from pytest_promptopt.suites.other_checks import function_in
from pytest_promptopt.suites.promptfoo.regular_expressions import compiled, units
from pytest_promptopt.suites.similar_check import similar
from pytest_promptopt.text import value_of_json

#: The types of these checks.
MATCHES, SCRIPT, ALIKE = "promptfoo-regex", "promptfoo-python", "promptfoo-similar"

#: What code is told of a case.
_TOLD = ("prompt", "vars", "config", "test")

#: What a function in a file is called, if the assertion does not say.
ASSERTION_FUNCTION = "get_assert"


def matches(check: Check, answer: str, context: CheckContext) -> Found:
    """A regular expression of JavaScript."""
    holds = compiled(check.value).search(units(str(answer))) is not None
    return Found(holds, None, f"RegExp({check.value!r}).test(answer)", "", str(answer))


def script(check: Check, answer: str, context: CheckContext) -> Found:
    """Python code of an assertion: true, a number above 0, or a mapping with ``pass``."""
    told = check.options.get("function") or "the code of the assertion"
    try:
        holds, why = _verdict(_result(check, str(answer)), check.threshold)
    except SettingsError:
        raise
    except Exception as error:  # a failure of the assertion in promptfoo too, negated or not
        holds, why = check.negated, f"{type(error).__name__}: {error}"
    return Found(holds, None, f"{told} accepts the answer", "", str(answer), why=why)


def alike(check: Check, answer: str, context: CheckContext) -> Found:
    """The answer resembles one of several texts."""
    found = [similar(replace(check, value=each), answer, context) for each in check.value]
    return next((each for each in found if each.holds), max(found, key=lambda each: each.actual))


class _Context(dict[str, Any]):
    """What promptfoo tells code of a case, as far as it is known here; other keys are no silent None."""

    def __init__(self, check: Check) -> None:
        super().__init__({key: copy.deepcopy(check.options[key]) for key in _TOLD if key in check.options})
        self._where = check.where

    def __missing__(self, key: str) -> Any:
        known = ", ".join(self)
        raise SettingsError(f"{self._where}: python: context[{key!r}] is not supported; known are {known}")

    def get(self, key: str, default: Any = None) -> Any:
        return self[key]


def _result(check: Check, answer: str) -> Any:
    given = _Context(check)
    if "file" not in check.options:
        return inline_function(check.value)(answer, given)
    path = Path(check.options["file"])
    return function_in(path, check.options["function"], check.where)(answer, given)


@functools.cache
def inline_function(code: str) -> Any:
    """The function that promptfoo makes of inline code. Raises `SyntaxError`."""
    if "\n" in code:
        indented = re.search(r"^(?!\s*$)\s+", code, re.MULTILINE)
        indent = indented[0] if indented else "    "
        body = "\n".join(indent + line for line in code.split("\n"))
    else:
        body = f"    return {code}"
    names: dict[str, Any] = {}
    exec(compile(f"import json\n\ndef main(output, context):\n{body}\n", "<assertion>", "exec"), names)
    return names["main"]


def _verdict(result: Any, threshold: float | None) -> tuple[bool, str]:
    """What promptfoo takes a result for; raises `ValueError` for one that it does not accept."""
    if isinstance(result, str) and result.startswith("{"):
        result = value_of_json(result)
    word = result.lower() if isinstance(result, str) else ""
    if isinstance(result, bool) or word in ("true", "false"):
        return result is True or word == "true", ""
    if isinstance(result, Mapping):
        return _graded(result, threshold)
    number = re.match(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", str(result))
    if number is None:
        raise ValueError(f"it must return a boolean, a number or a mapping with `pass`, got {result!r}")
    score = float(number[0])
    holds = score >= threshold if threshold is not None else score > 0
    return holds, f"its score is {score:g}"


def _graded(result: Mapping[str, Any], threshold: float | None) -> tuple[bool, str]:
    passed, score = result.get("pass", result.get("pass_")), result.get("score")
    reason = result.get("reason")
    if not isinstance(passed, bool) or not is_number(score) or not isinstance(reason, str):
        raise ValueError(f"it must return `pass`, `score` and `reason`, got {dict(result)!r}")
    if threshold is not None and score < threshold:
        return False, f"its score {score:g} is below {threshold:g}: {reason}"
    return passed, reason
