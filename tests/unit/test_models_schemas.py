"""Schemas as people write them, as the strict modes of providers take them."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from pydantic import BaseModel, Field, HttpUrl, TypeAdapter

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.models.strict_schemas import CLAUDE, OPENAI, Dialect, NotStrict, schema_of, strict_copy
from tests.wire_rules import objects_in

BOTH = pytest.mark.parametrize("dialect", [OPENAI, CLAUDE])


class Line(BaseModel):
    text: str = Field(description="What was bought", min_length=1)
    price: int = Field(ge=0)


class Invoice(BaseModel):
    amount: int
    note: str | None = None
    lines: list[Line]


class Node(BaseModel):
    name: str
    children: list[Node]


@BOTH
def test_every_object_is_closed_on_a_copy(dialect: Dialect) -> None:
    schema = Invoice.model_json_schema()
    before = copy.deepcopy(schema)
    closed = strict_copy(schema, dialect)
    assert schema == before
    assert len(objects_in(closed)) == 2
    assert all(each["additionalProperties"] is False for each in objects_in(closed))


def test_openai_requires_all_properties_and_claude_those_that_are() -> None:
    schema = Invoice.model_json_schema()
    assert strict_copy(schema, OPENAI)["required"] == ["amount", "note", "lines"]
    assert strict_copy(schema, CLAUDE)["required"] == ["amount", "lines"]


def test_what_a_strict_mode_refuses_is_said_in_the_description() -> None:
    line = strict_copy(Line.model_json_schema(), CLAUDE)["properties"]
    assert line["text"] == {
        "title": "Text",
        "type": "string",
        "description": "What was bought\n\n{minLength: 1}",
    }
    assert line["price"]["description"] == "{minimum: 0}"
    assert strict_copy(Line.model_json_schema(), OPENAI)["properties"]["price"]["minimum"] == 0


def test_a_recursive_model_is_an_object_that_refers_to_itself() -> None:
    closed = strict_copy(Node.model_json_schema(), OPENAI)
    assert closed["type"] == "object"
    assert closed["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert closed["$defs"]["Node"]["additionalProperties"] is False


class Left(BaseModel):
    right: Right | None = None


class Right(BaseModel):
    left: Left


@pytest.mark.parametrize("model", [Node, Right])
def test_claude_promises_no_recursive_schema(model: type[BaseModel]) -> None:
    with pytest.raises(NotStrict, match="the schema refers to itself"):
        strict_copy(model.model_json_schema(), CLAUDE)


class Twice(BaseModel):
    first: Line
    second: Line


def test_to_refer_to_one_thing_twice_is_not_recursive() -> None:
    assert strict_copy(Twice.model_json_schema(), CLAUDE)["$defs"]["Line"]["additionalProperties"] is False


def test_claude_takes_a_list_that_must_not_be_empty() -> None:
    lists = {
        name: {"type": "array", "items": {"type": "string"}, "minItems": n}
        for name, n in (("a", 1), ("b", 2))
    }
    copied = strict_copy({"type": "object", "properties": lists, "required": ["a", "b"]}, CLAUDE)[
        "properties"
    ]
    assert copied["a"]["minItems"] == 1
    assert copied["b"] == {"type": "array", "items": {"type": "string"}, "description": "{minItems: 2}"}


def _nested(levels: int) -> dict[str, Any]:
    inside: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        inside = {"type": "object", "properties": {"x": inside}, "required": ["x"]}
    return inside


@pytest.mark.parametrize(
    ("part", "dialect", "why"),
    [
        (_nested(10), OPENAI, "the schema has 11 levels, and 10 are taken"),
        (
            {"enum": [str(n) for n in range(1_001)]},
            OPENAI,
            "the schema has 1,001 values, and 1,000 are taken",
        ),
        ({"enum": [{"a": 1}]}, CLAUDE, "the schema.x has objects or lists in its `enum`"),
        ({"$ref": "https://example.org/a.json"}, CLAUDE, "the schema.x refers to https://example.org/a.json"),
    ],
)
def test_what_is_beyond_published_limits_is_named(part: Any, dialect: Dialect, why: str) -> None:
    with pytest.raises(NotStrict, match=why):
        strict_copy({"type": "object", "properties": {"x": part}, "required": ["x"]}, dialect)


@BOTH
def test_a_choice_of_models_is_any_of_them(dialect: Dialect) -> None:
    choice = {"oneOf": [Line.model_json_schema(), {"type": "null"}], "discriminator": {"propertyName": "x"}}
    closed = strict_copy({"type": "object", "properties": {"one": choice}, "required": ["one"]}, dialect)
    first, second = closed["properties"]["one"]["anyOf"]
    assert first["additionalProperties"] is False
    assert second == {"type": "null"}
    assert "discriminator" not in str(closed)


@BOTH
def test_a_described_reference_is_a_reference(dialect: Dialect) -> None:
    schema = {
        "type": "object",
        "properties": {"line": {"allOf": [{"$ref": "#/$defs/Line"}], "description": "The line"}},
        "required": ["line"],
        "$defs": {"Line": Line.model_json_schema()},
    }
    assert strict_copy(schema, dialect)["properties"]["line"] == {"$ref": "#/$defs/Line"}


@BOTH
def test_an_unknown_format_is_said_and_a_known_one_sent(dialect: Dialect) -> None:
    formats = {"day": "date", "color": "color"}
    properties = {name: {"type": "string", "format": each} for name, each in formats.items()}
    closed = strict_copy({"type": "object", "properties": properties, "required": list(formats)}, dialect)
    assert closed["properties"]["day"]["format"] == "date"
    assert closed["properties"]["color"] == {"type": "string", "description": "{format: color}"}


def test_an_address_has_a_format_for_claude_only() -> None:
    schema = TypeAdapter(dict[str, HttpUrl]).json_schema()["additionalProperties"]
    schema = {"type": "object", "properties": {"link": schema}, "required": ["link"]}
    assert strict_copy(schema, CLAUDE)["properties"]["link"]["format"] == "uri"
    assert "format: uri" in strict_copy(schema, OPENAI)["properties"]["link"]["description"]


@BOTH
@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"type": "object"}, "the schema.x is an object with free keys"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "free keys"),
        ({"properties": {"y": {"type": "string"}}, "additionalProperties": True}, "free keys"),
        ({}, "the schema.x accepts anything"),
        (True, "the schema.x accepts anything"),
        ({"type": "array"}, "the schema.x.items accepts anything"),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, "the schema.x has `prefixItems`"),
        ({"not": {"type": "string"}}, "the schema.x has `not`"),
    ],
)
def test_what_cannot_be_promised_is_named(dialect: Dialect, part: object, why: str) -> None:
    with pytest.raises(NotStrict, match=why):
        strict_copy({"type": "object", "properties": {"x": part}, "required": ["x"]}, dialect)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "object", "properties": {"x": {"type": "string"}}}, "x is optional and cannot be null"),
        ({"type": "array", "items": {"type": "string"}}, "the schema is not that of an object"),
        ({"$ref": "#/$defs/Gone"}, "refers to #/\\$defs/Gone"),
    ],
)
def test_what_openai_takes_as_a_wish_only(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(NotStrict, match=why):
        strict_copy(schema, OPENAI)


@pytest.mark.parametrize(
    "optional",
    [{"type": ["string", "null"]}, {"enum": ["a", None]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}],
)
def test_an_optional_property_that_may_be_null_is_required(optional: dict[str, Any]) -> None:
    closed = strict_copy({"type": "object", "properties": {"x": optional}}, OPENAI)
    assert closed["required"] == ["x"]


@dataclasses.dataclass
class Plain:
    amount: int


@pytest.mark.parametrize("given", [Invoice, Plain, list[Line], TypeAdapter(Invoice)])
def test_types_that_pydantic_knows_are_schemas(given: Any) -> None:
    schema = schema_of(given)
    assert schema["type"] in ("object", "array")


def test_a_schema_is_itself_and_nothing_is_nothing() -> None:
    schema = {"type": "object"}
    assert schema_of(schema) is schema
    assert schema_of(None) is None


def test_a_type_without_a_schema_is_named() -> None:
    class Odd:
        pass

    with pytest.raises(SettingsError, match=r"response_schema=.*Odd.*has no JSON schema"):
        schema_of(Odd)
