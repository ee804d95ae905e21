"""The JSON Schema of suites, by which an editor completes keys and marks mistakes while they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_promptopt.prompts.template_languages import LANGUAGES
from pytest_promptopt.records import Split
from pytest_promptopt.suites.case_reading import ROLES
from pytest_promptopt.suites.check_types import CHECK_TYPES, CheckType
from pytest_promptopt.suites.checks import NEGATION
from pytest_promptopt.suites.suite_reading import SUITE_KEYS, TABLE_ENDINGS

#: Beside this module in the installed package; ``python docs/generate_reference.py`` writes it.
FILE = Path(__file__).with_name("promptopt.schema.json")

_TEXT = {"type": "string", "minLength": 1}
_TABLE = {"type": "string", "pattern": "(?:" + "|".join(e.replace(".", "\\.") for e in TABLE_ENDINGS) + ")$"}
_RATE = {
    "anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": "^[0-9.]+ *%?$"}]
}
_THRESHOLD = {"type": "number", "description": "the least that is enough"}
_NULL = {"type": "null"}


def editor_schema() -> dict[str, Any]:
    """The schema of ``*.promptopt.yaml``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cases for pytest-promptopt",
        "type": "object",
        "properties": {key: _suite()[key] for key in SUITE_KEYS},
        "required": ["cases"],
        "oneOf": [{"required": ["prompt"]}, {"required": ["prompts"]}],
        "additionalProperties": False,
        "$defs": {
            "case": _case(),
            "checks": {"type": ["array", "null"], "items": {"$ref": "#/$defs/check"}},
            "check": {"anyOf": [_bare(), _long(), *_short()]},
            "tags": {
                "description": "words that -k selects cases by",
                "anyOf": [{"type": "array", "items": _TEXT}, {"type": ["string", "null"]}],
            },
        },
    }


def _suite() -> dict[str, Any]:
    return {
        "description": {"description": "for people"},
        "prompt": _TEXT | {"description": "path of the prompt file, from this file or from rootdir"},
        "prompts": {
            "type": "array",
            "items": _TEXT,
            "minItems": 1,
            "description": "several prompt files: each is asked with each case",
        },
        "model": {"type": ["string", "null"], "description": "provider/model, or demo"},
        "samples": {"type": ["integer", "null"], "minimum": 1, "description": "how often each case is run"},
        "min_case_rate": {
            "anyOf": [_RATE, _NULL],
            "description": "share of its samples that a case must pass",
        },
        "min_pass_rate": {"anyOf": [_RATE, _NULL], "description": "pass rate that each prompt must reach"},
        "parameters": {
            "type": ["object", "null"],
            "description": "of the model: temperature, max_tokens ...",
        },
        "template": {"enum": [*LANGUAGES, None], "description": "template language of the prompt files"},
        "inputs": {"type": ["object", "null"], "description": "variables of all cases that do not give them"},
        "checks": {"$ref": "#/$defs/checks", "description": "what must hold for the answer to each case"},
        "tags": {"$ref": "#/$defs/tags"},
        "dialect": {"type": ["string", "null"], "description": "of the CSV files: excel, excel-tab, unix"},
        "cases": {
            "description": "the cases, or the path of a table of cases",
            "anyOf": [
                _TABLE,
                {"type": "array", "minItems": 1, "items": {"anyOf": [_TABLE, {"$ref": "#/$defs/case"}]}},
            ],
        },
    }


def _case() -> dict[str, Any]:
    turn = {
        "type": "object",
        "properties": {"role": {"enum": list(ROLES)}, "content": _TEXT},
        "required": ["role", "content"],
        "additionalProperties": False,
    }
    own = {
        "id": {
            "type": ["string", "number", "null"],
            "description": "its name; made of the first input if left out",
        },
        "inputs": {"type": "object", "description": "the prompt's variables"},
        "expected": {"description": "the answer; a list or a mapping: the answer is JSON that equals it"},
        "checks": {"$ref": "#/$defs/checks"},
        "split": {"enum": [*Split, None], "description": "who may see the case while a prompt is rewritten"},
        "weight": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "description": "how much it counts in rates",
        },
        "tags": {"$ref": "#/$defs/tags"},
        "messages": {"type": ["array", "null"], "items": turn, "description": "turns after the prompt"},
    }
    return {
        "type": "object",
        "description": "inputs stand below `inputs`, or beside the other keys",
        "properties": own,
        "minProperties": 1,
        "if": {"required": ["inputs"]},
        "then": {"propertyNames": {"enum": list(own)}},
    }


def _bare() -> dict[str, Any]:
    names = [name for name, kind in CHECK_TYPES.items() if kind.bare or kind.of_expected]
    return {"enum": [prefix + name for name in names if name != "json-path" for prefix in ("", NEGATION)]}


def _long() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "type": {"enum": [prefix + name for name in CHECK_TYPES for prefix in ("", NEGATION)]},
            "value": {},
            "threshold": _THRESHOLD,
            "path": _TEXT,
        },
        "required": ["type"],
        "additionalProperties": False,
    }


def _short() -> list[dict[str, Any]]:
    return [
        _short_form(prefix + name, kind) for name, kind in CHECK_TYPES.items() for prefix in ("", NEGATION)
    ]


def _short_form(name: str, kind: CheckType) -> dict[str, Any]:
    told = f"not: {kind.description}" if name.startswith(NEGATION) else kind.description
    value = dict(kind.schema)
    if kind.of_expected and value:
        value = {"anyOf": [value, {"type": ["number", "null"]}]}
    more: dict[str, Any] = {"threshold": _THRESHOLD} if kind.measures else {}
    if name.removeprefix(NEGATION) == "json-path":
        value, more = dict(_TEXT), {"value": {}}
    if name.removeprefix(NEGATION) == "is-json":
        value = {"type": ["object", "null", "boolean", "string"]}
    return {
        "type": "object",
        "properties": {name: value | {"description": told}, **more},
        "required": [name],
        "additionalProperties": False,
    }
