"""JSON Schemas as promptfoo's validator, ajv, has them (draft 7, strict): alike, or a reason why not."""

from __future__ import annotations

import re
from typing import Any

from pytest_promptopt.suites.promptfoo.regular_expressions import NotAlike, compiled

#: Keywords that hold no schema.
_PLAIN = frozenset(
    (
        "$id", "$comment", "type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum",
        "exclusiveMinimum", "maxLength", "minLength", "maxItems", "minItems", "uniqueItems", "maxProperties",
        "minProperties", "required", "title", "description", "default", "deprecated", "readOnly", "writeOnly",
        "examples",
    )
)  # fmt: skip
#: Those that hold one, a list of them, and schemas by name.
_ONE = ("additionalProperties", "propertyNames", "contains", "not", "if", "then", "else", "items")
_SEVERAL = ("allOf", "anyOf", "oneOf", "items")
_NAMED = ("properties", "definitions", "$defs")

#: Patterns that mean the same with JavaScript's flag ``u``.
_PATTERN = re.compile(r"(?:[\w^$ \[\]*+?().|{},:@/-]|\\[dws.])*", re.ASCII)
_DRAFTS = re.compile(r"https?://json-schema.org/draft-07/schema#?")


def schema_as_in_ajv(schema: Any) -> Any:
    """The schema to check by. Raises `NotAlike`, with the reason in a sentence."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        raise NotAlike("a JSON Schema must be a mapping")
    return {key: _value(key, value) for key, value in schema.items()}


def _value(key: str, value: Any) -> Any:
    if key in _PLAIN:
        return value
    if key in _SEVERAL and isinstance(value, list):
        return [schema_as_in_ajv(each) for each in value]
    if key in _ONE:
        return schema_as_in_ajv(value)
    if key in _NAMED and isinstance(value, dict):
        return {name: schema_as_in_ajv(each) for name, each in value.items()}
    if key == "$ref" and isinstance(value, str) and value.startswith("#"):
        return value
    if key == "$schema" and isinstance(value, str) and _DRAFTS.fullmatch(value):
        return value
    if key == "pattern" and isinstance(value, str):
        if not _PATTERN.fullmatch(value):
            raise NotAlike(f"the pattern {value} may match something else in JavaScript")
        return compiled(value).pattern
    raise NotAlike(f"`{key}` in a JSON Schema is refused by promptfoo's validator, or not checked alike here")
