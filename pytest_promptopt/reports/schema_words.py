"""The words that a JSON Schema of ours is written in."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

#: A part of a JSON Schema.
Schema = dict[str, Any]

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}
YES_OR_NO: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
POSITIVE: Schema = {"type": "number", "minimum": 0}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
CHANGE: Schema = {"type": "number", "minimum": -1, "maximum": 1}


def or_null(schema: Schema) -> Schema:
    """What `schema` allows, and null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def object_of(**properties: Schema) -> Schema:
    """An object with all of these keys."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def list_of(items: Schema) -> Schema:
    """A list of any length."""
    return {"type": "array", "items": items}


def tuple_of(*items: Schema) -> Schema:
    """A list of exactly these."""
    return {"type": "array", "prefixItems": list(items), "minItems": len(items), "maxItems": len(items)}


def by_name(values: Schema, *names: str) -> Schema:
    """An object whose keys are names; only these, if there are any."""
    of_names = {"propertyNames": {"enum": list(names)}} if names else {}
    return {"type": "object", "additionalProperties": values, **of_names}


def ref(name: str) -> Schema:
    """A part that is defined once, under this name."""
    return {"$ref": f"#/$defs/{name}"}


def one_of(values: type[StrEnum]) -> Schema:
    """One of the values of an enumeration."""
    return {"enum": [value.value for value in values]}
