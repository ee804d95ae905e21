"""Tools that a model may call: from what a test gives to one form, and from that to those of providers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from json import dumps, loads
from typing import Any, get_type_hints

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.models.strict_schemas import CLAUDE, OPENAI, NotStrict, strict_copy
from pytest_promptopt.models.tool_docstrings import described_parameters
from pytest_promptopt.weak_cache import WeakCache

#: Name, description, parameters (a JSON schema) and, where it is promised, strict.
Tool = Mapping[str, Any]

FORMS = (
    "accepted are a function with type hints, a pydantic model, and a dict as OpenAI's or Anthropic's API "
    "takes it"
)

#: What every provider takes: OpenAI refuses longer names, and both refuse other characters.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MOST_TOOLS = 128

_OPENAI_KEYS = frozenset({"type", "name", "description", "parameters", "strict"})
_CLAUDE_KEYS = frozenset({"type", "name", "description", "input_schema", "strict"})

_MODES = {"auto": "auto", "any": "required", "required": "required", "none": "none"}
MODES = "'auto', 'required', 'none', the name of one of the tools, or a dict as OpenAI or Anthropic takes it"


def tools_of(given: object) -> tuple[Tool, ...]:
    """The tools of ``prompt(..., tools=...)``. Raises `SettingsError` that names the one that is none."""
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        raise SettingsError(f"prompt(...): tools= must be a list of tools, got {given!r}; {FORMS}")
    tools = tuple(_tool(each, f"prompt(...): tools[{index}]") for index, each in enumerate(given))
    names = [tool["name"] for tool in tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise SettingsError(f"prompt(...): tools[{index}] is called {name!r}, as one before it is")
    if len(tools) > MOST_TOOLS:
        raise SettingsError(f"prompt(...): tools= has {len(tools)} tools; providers take {MOST_TOOLS}")
    return tools


def tool_choice_of(given: object, tools: Sequence[Tool]) -> dict[str, Any] | None:
    """What ``prompt(..., tool_choice=...)`` means. Raises `SettingsError`."""
    if given is None:
        return None
    if not tools:
        raise SettingsError(f"prompt(...): tool_choice={given!r} without tools=")
    choice = _choice(given)
    names = [tool["name"] for tool in tools]
    if choice is None or (choice["mode"] == "tool" and choice["name"] not in names):
        known = ", ".join(map(repr, names))
        raise SettingsError(
            f"prompt(...): tool_choice={given!r} is no choice; accepted are {MODES} (tools: {known})"
        )
    return choice


def _choice(given: object) -> dict[str, Any] | None:
    if callable(given):
        return {"mode": "tool", "name": getattr(given, "__name__", "")}
    if isinstance(given, str):
        mode = _MODES.get(given)
        return {"mode": "tool", "name": given} if mode is None else {"mode": mode}
    if not isinstance(given, Mapping):
        return None
    kind, function = given.get("type"), given.get("function")
    name = function.get("name") if isinstance(function, Mapping) else given.get("name")
    if kind in ("function", "tool"):
        choice: dict[str, Any] = {"mode": "tool", "name": name}
    elif isinstance(kind, str) and kind in _MODES:
        choice = {"mode": _MODES[kind]}
    else:
        return None
    if given.get("disable_parallel_tool_use"):
        choice["parallel"] = False
    return choice


def _tool(given: object, place: str) -> Tool:
    if isinstance(given, Mapping):
        tool = _of_mapping(given, place)
    elif isinstance(given, type) and callable(getattr(given, "model_json_schema", None)):
        tool = _of_code(_described_model, given, place)
    elif callable(given) and not isinstance(given, type):
        tool = _of_code(_described_function, given, place)
    else:
        raise SettingsError(f"{place} is no tool, got {given!r}; {FORMS}")
    if not _NAME.fullmatch(tool["name"]):
        wanted = "1 to 64 letters, digits, '_' and '-'"
        raise SettingsError(f"{place} is called {tool['name']!r}; providers take {wanted}")
    kind = tool["parameters"].get("type")
    if kind != "object":
        raise SettingsError(
            f"{place} ({tool['name']}): its parameters must be of type 'object', got {kind!r}"
        )
    try:
        # A copy: nobody who has the tool can change what a test has given, or what is kept for further calls.
        copy: Tool = loads(dumps(tool, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{place} ({tool['name']}) must be JSON: {error}") from None
    return copy


def _of_mapping(given: Mapping[str, Any], place: str) -> Tool:
    inside = given.get("function")
    flat = inside if isinstance(inside, Mapping) and given.get("type") == "function" else given
    if "input_schema" in flat:
        schema, known = flat["input_schema"], _CLAUDE_KEYS
    elif flat.get("type", "function") == "function" and "name" in flat:
        schema, known = flat.get("parameters", {"type": "object", "properties": {}}), _OPENAI_KEYS
    else:
        kind = given.get("type", "")
        own = (
            f" ({kind!r} is a tool of the provider's own: set it as a parameter of the prompt)"
            if kind
            else ""
        )
        raise SettingsError(f"{place} is no function to be called{own}; {FORMS}")
    if unknown := sorted(map(str, flat.keys() - known)):
        raise SettingsError(f"{place} has `{unknown[0]}`; accepted are {', '.join(sorted(known))}")
    name, description = flat.get("name"), flat.get("description") or ""
    if not isinstance(name, str) or not isinstance(description, str):
        raise SettingsError(f"{place} needs a string as `name` and as `description`, got {name!r}")
    if not isinstance(schema, Mapping):
        raise SettingsError(f"{place} ({name}): its parameters must be a JSON schema, got {schema!r}")
    return _made(name, description, schema, strict=flat.get("strict") is True)


def _made(name: str, description: str, schema: Mapping[str, Any], *, strict: bool = False) -> Tool:
    described = {"description": description} if description else {}
    return {"name": name, **described, "parameters": dict(schema), **({"strict": True} if strict else {})}


#: By function or class.
_DESCRIBED = WeakCache[Tool]()


def _described_model(given: Any) -> Tool:
    doc = given.__doc__ if "__doc__" in vars(given) else ""
    schema = _without_titles(given.model_json_schema())
    schema.pop("description", None)
    return _made(given.__name__, inspect.cleandoc(doc or ""), schema)


def _of_code(described: Callable[[Any], Tool], given: Any, place: str) -> Tool:
    """A function or a class as `described` reads it. Raises `SettingsError` that says where it stands."""
    try:
        return _DESCRIBED.get(given, lambda: described(given))
    except Exception as error:  # hints are code of the user's, and whatever that raises makes it no tool
        name = getattr(given, "__name__", type(given).__name__)
        code = getattr(inspect.unwrap(given), "__code__", None)
        where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
        first = str(error).partition("\n")[0]
        raise SettingsError(f"{place}: {name}{where} cannot be a tool: {first}") from None


def _described_function(given: Callable[..., Any]) -> Tool:
    """A function as a tool: its hints are the schema, its docstring says what it and each parameter is."""
    from pydantic import create_model

    hints, signature = get_type_hints(given, include_extras=True), inspect.signature(given)
    text, about = described_parameters(inspect.getdoc(given) or "", signature.parameters)
    fields: dict[str, Any] = dict(_fields(signature, hints, about))
    schema = create_model(given.__name__, **fields).model_json_schema()
    return _made(given.__name__, text, _without_titles(schema))


#: Defaults that a schema can tell.
_PLAIN = (str, int, float, bool, type(None), Enum)


def _fields(
    signature: inspect.Signature, hints: Mapping[str, Any], about: Mapping[str, str]
) -> Iterator[tuple[str, Any]]:
    from pydantic import Field

    for number, (name, parameter) in enumerate(signature.parameters.items()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"a model gives arguments by name, which `{parameter}` does not take")
        if name not in hints:
            raise TypeError(f"the parameter `{name}` has no type hint")
        notes = [note for note in getattr(hints[name], "__metadata__", ()) if isinstance(note, str)]
        told = about.get(name) or next(iter(notes), "")
        said: Any = {"description": told} if told else {}
        if parameter.default is parameter.empty:
            said["default"] = ...
        elif isinstance(parameter.default, _PLAIN):
            said["default"] = parameter.default
        else:
            said["default_factory"] = lambda: None
        # By an alias: a name that a pydantic model has already, such as `json`, is a name like any other.
        yield f"p{number}", (hints[name], Field(alias=name, **said))


def _without_titles(schema: Any) -> Any:
    """pydantic's schema without the titles that it makes of names: they say nothing more."""
    if isinstance(schema, list):
        return [_without_titles(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: {name: _without_titles(each) for name, each in value.items()}
        if key in ("properties", "$defs") and isinstance(value, Mapping)
        else _without_titles(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }


def openai_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """As chat completions take them."""
    return [{"type": "function", "function": _promised(tool, "parameters")} for tool in tools]


def claude_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """As Anthropic's messages take them."""
    return [_promised(tool, "input_schema") for tool in tools]


def _promised(tool: Tool, schema: str) -> dict[str, Any]:
    """`tool` with its schema as the provider calls it. Raises `NotStrict` where strict was asked for."""
    given, known = tool["parameters"], {key: value for key, value in tool.items() if key != "parameters"}
    if tool.get("strict"):
        try:
            given = strict_copy(given, OPENAI if schema == "parameters" else CLAUDE)
        except NotStrict as error:
            raise NotStrict(f"the tool {tool['name']} cannot be strict: {error}") from None
    return {**known, schema: given}


def openai_choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that say it to OpenAI, and to whoever speaks like it."""
    mode = choice["mode"]
    said = {"type": "function", "function": {"name": choice["name"]}} if mode == "tool" else mode
    return {
        "tool_choice": said,
        **({"parallel_tool_calls": False} if choice.get("parallel") is False else {}),
    }


def claude_choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The argument that says it to Claude models."""
    mode = {"required": "any"}.get(choice["mode"], choice["mode"])
    said = {"type": mode, **({"name": choice["name"]} if mode == "tool" else {})}
    if choice.get("parallel") is False and mode != "none":
        said["disable_parallel_tool_use"] = True
    return {"tool_choice": said}


#: Characters of one tool in a line.
MAX_LINE = 300


def tool_lines(tools: Sequence[Tool]) -> tuple[str, ...]:
    """Each tool in a line, for whoever reads about a call: ``look_up(city: string, unit?: "C" | "F")``."""
    return tuple(_line(tool)[:MAX_LINE] for tool in tools)


def _line(tool: Tool) -> str:
    schema = tool.get("parameters") or {}
    required, properties = schema.get("required"), schema.get("properties")
    required = required if isinstance(required, list | tuple) else ()
    properties = properties if isinstance(properties, Mapping) else {}
    told = ", ".join(
        f"{name}{'' if name in required else '?'}: {_type(each)}" for name, each in properties.items()
    )
    first = " ".join(str(tool.get("description") or "").split())
    return f"{tool['name']}({told})" + (f": {first}" if first else "")


def _type(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    if isinstance(schema.get("enum"), Sequence):
        return " | ".join(dumps(each, ensure_ascii=False) for each in schema["enum"][:8])
    several = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(several, Sequence):
        return " | ".join(map(_type, several))
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema.get('items'))}"
    return " | ".join(map(str, kind)) if isinstance(kind, list) else str(kind or "object")


def _without_others(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A function without what says nothing of how it is called, such as ``cache_control``."""
    bare = {name: value for name, value in tool.items() if name in _OPENAI_KEYS | _CLAUDE_KEYS}
    inside = tool.get("function")
    return {**bare, "function": _without_others(inside)} if isinstance(inside, Mapping) else bare


def tools_in_body(body: Any) -> tuple[Tool, ...]:
    """The functions in a request of an application, in whatever provider's form; what is none is left out."""
    found: list[Tool] = []
    given = body.get("tools") if isinstance(body, Mapping) else None
    for each in given if isinstance(given, Sequence) and not isinstance(given, str) else ():
        several = each.get("functionDeclarations") if isinstance(each, Mapping) else None  # Gemini
        for one in several if isinstance(several, Sequence) else [each]:
            try:
                bare = _without_others(one)
                found.append(_of_mapping({"type": "function", **bare} if several else bare, ""))
            except (SettingsError, TypeError, AttributeError):
                continue
    return tuple(found)
