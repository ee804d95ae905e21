"""Tools as a test gives them: functions, pydantic models, dicts of two providers, all in one form."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from copy import deepcopy
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.models.tool_definitions import tool_choice_of, tool_lines, tools_in_body, tools_of
from pytest_promptopt.models.tool_docstrings import described_parameters


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


def of_nothing(city: enum.Nothing) -> None:  # type: ignore[name-defined]
    """A hint that is none."""


class Calling(BaseModel):
    """A model that has no schema."""

    back: Callable[[int], int]


def everything(
    city: str,
    days: int = 3,
    unit: Unit = Unit.CELSIUS,
    tags: list[str] | None = None,
    json: Annotated[str, "how to answer"] = "no",
    limit: Annotated[int, Field(ge=1)] = 5,
    hidden: object = object(),
) -> str:
    """Look it up.

    It may take a while.
    """
    return f"{city}{days}{unit}{tags}{json}{limit}{hidden}"


def test_a_function_is_described_by_its_hints_and_docstring() -> None:
    [tool] = tools_of([everything])
    assert (tool["name"], tool["description"]) == ("everything", "Look it up.\n\nIt may take a while.")
    schema = tool["parameters"]
    assert schema["required"] == ["city"]
    assert list(schema["properties"]) == ["city", "days", "unit", "tags", "json", "limit", "hidden"]
    assert schema["properties"]["days"] == {"type": "integer", "default": 3}
    assert schema["properties"]["json"]["description"] == "how to answer"
    assert schema["properties"]["limit"]["minimum"] == 1
    assert schema["$defs"]["Unit"] == {"enum": ["C", "F"], "type": "string"}
    assert "default" not in schema["properties"]["hidden"]


class Desk:
    def look(self, city: str) -> str:
        """Look."""
        return city


def test_a_method_has_no_self() -> None:
    [tool] = tools_of([Desk().look])
    assert list(tool["parameters"]["properties"]) == ["city"]


def test_a_wrapped_function_is_itself() -> None:
    @functools.wraps(everything)
    def wrapped(*args: Any, **more: Any) -> Any:
        return everything(*args, **more)

    assert tools_of([wrapped])[0]["parameters"] == tools_of([everything])[0]["parameters"]


class Order(BaseModel):
    """Order something."""

    what: str = Field(description="What is wanted")
    title: str
    count: int = 1


class Undocumented(BaseModel):
    what: str


def test_a_model_is_a_tool_whose_fields_are_its_parameters() -> None:
    first, second = tools_of([Order, Undocumented])
    assert (first["name"], first["description"]) == ("Order", "Order something.")
    assert "description" not in second
    assert first["parameters"]["properties"] == {
        "what": {"type": "string", "description": "What is wanted"},
        "title": {"type": "string"},
        "count": {"type": "integer", "default": 1},
    }


def test_both_providers_forms_are_one() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    about = {"name": "look", "description": "Look."}
    tools = [
        tools_of([form])
        for form in (
            {"type": "function", "function": {**about, "parameters": schema}},
            {"type": "function", **about, "parameters": schema},
            {**about, "input_schema": schema},
            {**about, "input_schema": schema, "type": "custom"},
        )
    ]
    assert all(each == tools[0] for each in tools)
    assert tools[0] == ({**about, "parameters": schema},)


SPHINX = ":param str city: the city\n    of the fair\n:param days: how many\n:returns: a text"
GOOGLE = (
    "Args:\n    city (str): the city\n        of the fair\n    days: how many\n\nReturns:\n    str: a text"
)
NUMPY = (
    "Parameters\n----------\ncity : str\n    the city\n    of the fair\ndays : int\n    how many\n\n"
    "Returns\n-------\nstr\n    a text"
)


@pytest.mark.parametrize("style", [SPHINX, GOOGLE, NUMPY])
def test_three_styles_of_docstrings_are_read(style: str) -> None:
    text, about = described_parameters(f"Look.\n\nNote: it may take long.\n\n{style}", ["city", "days"])
    assert text == "Look.\n\nNote: it may take long."
    assert about == {"city": "the city of the fair", "days": "how many"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("look", "tools= must be a list of tools, got 'look'"),
        ({"name": "look"}, "tools= must be a list of tools"),
        ([int], "tools[0] is no tool, got <class 'int'>"),
        (
            [{"name": "a", "input_schema": {"type": "object"}, "cache_control": {}}],
            "tools[0] has `cache_control`",
        ),
        ([{"name": 7, "input_schema": {"type": "object"}}], "needs a string as `name`"),
        ([{"name": "a", "input_schema": [1]}], "tools[0] (a): its parameters must be a JSON schema"),
        ([{"name": "a", "input_schema": {"type": "object", "x": {1}}}], "tools[0] (a) must be JSON"),
        ([lambda **more: more], "cannot be a tool: a model gives arguments by name"),
        ([of_nothing], "of_nothing (" + __file__),
        ([of_nothing], "cannot be a tool: module 'enum' has no attribute 'Nothing'"),
        ([Calling], "tools[0]: Calling cannot be a tool: Cannot generate a JsonSchema"),
    ],
)
def test_what_is_no_tool_is_named(given: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        tools_of(given)
    assert said in str(caught.value)


def test_whoever_changes_a_tool_changes_no_other_call() -> None:
    given = {"name": "look", "parameters": {"type": "object", "properties": {"city": {}}}}
    for each in (everything, given):
        first = tools_of([each])
        kept = deepcopy(first)
        first[0]["parameters"]["properties"].clear()
        assert tools_of([each]) == kept


def test_there_may_be_many_but_not_any_number() -> None:
    tools = [{"name": f"t{n}", "input_schema": {"type": "object"}} for n in range(129)]
    with pytest.raises(SettingsError, match="tools= has 129 tools; providers take 128"):
        tools_of(tools)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("auto", {"mode": "auto"}),
        ("required", {"mode": "required"}),
        ("any", {"mode": "required"}),
        ("none", {"mode": "none"}),
        ("everything", {"mode": "tool", "name": "everything"}),
        (everything, {"mode": "tool", "name": "everything"}),
        ({"type": "tool", "name": "everything"}, {"mode": "tool", "name": "everything"}),
        ({"type": "function", "function": {"name": "everything"}}, {"mode": "tool", "name": "everything"}),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            {"mode": "required", "parallel": False},
        ),
        (None, None),
    ],
)
def test_a_choice_in_any_form_is_one(given: Any, meant: Any) -> None:
    assert tool_choice_of(given, tools_of([everything])) == meant


@pytest.mark.parametrize("given", ["never", 7, {"type": "tool", "name": "other"}, {"type": "x"}, Order])
def test_what_is_no_choice_is_named(given: Any) -> None:
    with pytest.raises(SettingsError, match="is no choice; accepted are 'auto'"):
        tool_choice_of(given, tools_of([everything]))


def test_a_tool_is_told_in_a_line() -> None:
    def look(city: str, unit: Literal["C", "F"] = "C", days: list[int] | None = None) -> str:
        """Look it up."""
        return f"{city}{unit}{days}"

    lines = tool_lines(tools_of([look, {"name": "stop", "input_schema": {"type": "object"}}]))
    assert lines == (
        'look(city: string, unit?: "C" | "F", days?: list of integer | null): Look it up.',
        "stop()",
    )


def test_the_tools_of_an_application_are_read_in_every_form() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    bodies = [
        {"tools": [{"name": "look", "input_schema": schema}]},
        {"tools": [{"type": "function", "function": {"name": "look", "parameters": schema}}]},
        {"tools": [{"type": "function", "name": "look", "parameters": schema}, {"type": "web_search"}]},
        {"tools": [{"functionDeclarations": [{"name": "look", "parameters": schema, "response": {}}]}]},
        {"tools": [{"name": "look", "input_schema": schema, "cache_control": {"type": "ephemeral"}}]},
        {"tools": [{"type": "function", "function": {"name": "look", "parameters": schema, "own": 1}}]},
    ]
    assert {tool_lines(tools_in_body(body)) for body in bodies} == {("look(city?: string)",)}
    for body in ({}, {"tools": "x"}, {"tools": [7, None]}, {"tools": [{"functionDeclarations": [7]}]}, None):
        assert tools_in_body(body) == ()
    odd = {"type": "object", "properties": [], "required": 7}
    assert tool_lines(tools_in_body({"tools": [{"name": "look", "input_schema": odd}]})) == ("look()",)
    odd = {"type": "object", "properties": {"city": {"type": ["string", None]}}}
    lines = tool_lines(tools_in_body({"tools": [{"name": "look", "input_schema": odd}]}))
    assert lines == ("look(city?: string | None)",)
