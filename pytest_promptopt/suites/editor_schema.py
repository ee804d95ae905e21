"""The JSON Schema of suites, by which an editor completes keys and marks mistakes while they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_promptopt.prompts.template_languages import LANGUAGES
from pytest_promptopt.records import Split
from pytest_promptopt.suites import file_endings
from pytest_promptopt.suites.case_reading import RECORDED, ROLES
from pytest_promptopt.suites.check_types import CHECK_TYPES, CheckType
from pytest_promptopt.suites.checks import NEGATION
from pytest_promptopt.suites.other_checks import JUDGE_SEES
from pytest_promptopt.suites.suite_reading import SUITE_KEYS

#: Beside this module in the installed package; ``python docs/generate_reference.py`` writes it.
FILE = Path(__file__).with_name("promptopt.schema.json")

_TEXT = {"type": "string", "minLength": 1}
_TABLE = {
    "type": "string",
    "pattern": "(?:" + "|".join(e.replace(".", "\\.") for e in file_endings.TABLES) + ")$",
}
_RATE = {
    "anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": "^[0-9.]+ *%?$"}]
}
_THRESHOLD = {"description": "the least that is enough"}
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
            "check": {"anyOf": [_bare(), *_forms()]},
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
        "max_cost_per_case": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "description": "US dollars that a case may cost on average",
        },
        "p95_latency": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "description": "seconds within which 95 of 100 answers must come",
        },
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
        RECORDED: {"description": "an answer that nobody has reviewed: the case is skipped"},
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


def _forms() -> list[dict[str, Any]]:
    """Both forms of each type: ``contains: refund``, and ``type: contains`` with ``value: refund``."""
    found = []
    for name, kind in CHECK_TYPES.items():
        more: dict[str, Any] = {"threshold": {**kind.threshold, **_THRESHOLD}} if kind.threshold else {}
        shown = JUDGE_SEES if name == "rubric" else ("reference",) if name == "python" else ()
        more |= {key: {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]} for key in shown}
        if name == "similar":
            more["model"] = _TEXT | {"description": "whose embeddings are compared; none compares letters"}
        value, has_path = _value(name, kind), name == "json-path"
        long = {"type": {"enum": [name, NEGATION + name]}, "value": value, **more}
        needed = ["type"] if kind.bare or kind.of_expected else ["type", "value"]
        found.append(_form(long | {"path": _TEXT}, [*needed, "path"]) if has_path else _form(long, needed))
        for written, told in ((name, kind.description), (NEGATION + name, f"not: {kind.description}")):
            short = (_TEXT if has_path else value) | {"description": told}
            beside = {"value": value} if has_path else more
            found.append(_form({written: short, **beside}, [written]))
    return found


def _form(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _value(name: str, kind: CheckType) -> dict[str, Any]:
    if name == "is-json":
        return {"type": ["object", "null", "boolean", "string"]}
    if kind.schema.get("type") != "string":
        return dict(kind.schema)
    kinds = ["number", "null"] if kind.of_expected else ["number"]
    return {"anyOf": [dict(kind.schema), {"type": kinds}]}
