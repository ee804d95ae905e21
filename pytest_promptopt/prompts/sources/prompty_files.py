"""``.prompty`` files, version 2: the body is rewritten; what connects to a model is never looked at.

``${env:...}`` and ``${file:...}`` stay unread: a prompt file that somebody sends in must not reach a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.frontmatter import (
    RESERVED_PARAMETERS,
    FrontMatter,
    is_connection,
    load_yaml,
)
from pytest_promptopt.prompts.layout import Layout, unify_newlines
from pytest_promptopt.prompts.sources.prompty_roles import split_prompty
from pytest_promptopt.prompts.sources.source import Input, SourceText
from pytest_promptopt.prompts.sources.text_files import replaced_in

#: Options of a model -> what they are called here.
_OPTIONS = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "seed": "seed",
}
_ENGINES = ("jinja2", "mustache")


@dataclass(frozen=True)
class PromptyFile:
    """The body of a ``.prompty`` file: Jinja2 or Mustache; a variable that is not given is empty."""

    def read(self, content: bytes, *, name: str) -> SourceText:
        layout = Layout.read(content, name=name, lenient=True)
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        if layout.front is not None:
            first_line = unify_newlines(layout.before).count("\n", 0, layout.front_start) + 1
            values, lines = load_yaml(unify_newlines(layout.front), name=name, first_line=first_line)
        front, hints = _front(values, lines, name=name)
        for turn in split_prompty(layout.prose, layout.first_line):
            if turn.attributes:
                said = f"what stands in brackets after `{turn.role}` is not sent with the turn"
                hints.append((turn.line - 1, said))
        return SourceText(
            prose=layout.prose,
            first_line=layout.first_line,
            replaced=partial(replaced_in, layout, name, lenient=True),
            edges=layout.edges,
            front=front,
            language=_language(values.get("template"), lines, name=name),
            is_chat=True,
            split=split_prompty,
            allows_empty=True,
            undefined_is_empty=True,
            inputs=dict(_inputs(values.get("inputs"), lines, name=name)),
            hints=tuple(hints),
        )


def _front(
    values: Mapping[str, Any], lines: dict[str, int], *, name: str
) -> tuple[FrontMatter, list[tuple[int, str]]]:
    hints: list[tuple[int, str]] = []
    given = values.get("model")
    model = given if isinstance(given, dict) else {"id": given}
    line = lines.get("model", 1)
    options = model.get("options")
    place = lines.get("model.options", line)
    parameters, max_tokens, stop = _options(options if isinstance(options, dict) else {}, place, hints)
    asked = _model_name(model)
    if given is not None and asked is None:
        shown = str(model.get("id"))[:60]
        said = f"`{shown}` names no model without a provider; set it in the mark or by --promptopt-model"
        hints.append((lines.get("model.id", line), said))
    description = values.get("description")
    found = {key: place for key in (*(f"parameters.{each}" for each in parameters), "max_tokens", "stop")}
    front = FrontMatter(
        model=asked,
        max_tokens=max_tokens,
        stop=stop,
        parameters=parameters,
        description=description if isinstance(description, str) else "",
        foreign=True,
        lines=lines | found | {"model": lines.get("model.id", line)},
    )
    return front, hints


def _model_name(model: Mapping[str, Any]) -> str | None:
    """``provider/model``; None when the file does not say both, or says them by a reference."""
    model_id, provider = model.get("id"), model.get("provider")
    if not isinstance(model_id, str) or not model_id.strip() or "${" in f"{model_id}{provider}":
        return None
    if isinstance(provider, str) and provider and "/" not in model_id:
        return f"{provider}/{model_id}"
    return model_id if "/" in model_id or model_id.startswith("claude-") or model_id == "demo" else None


def _options(
    options: Mapping[str, Any], line: int, hints: list[tuple[int, str]]
) -> tuple[dict[str, Any], int | None, tuple[str, ...]]:
    """Parameters, length and stop sequences; what cannot be used is a hint."""
    parameters: dict[str, Any] = {}
    for key, value in options.items():
        if key in _OPTIONS and isinstance(value, (int, float)):
            parameters[_OPTIONS[key]] = value
        elif key in _OPTIONS:
            hints.append((line, f"`{key}: {value!r:.40}` is no number and is passed over"))
    more = options.get("additionalProperties")
    for key, value in more.items() if isinstance(more, dict) else ():
        if is_connection(str(key)) or key in RESERVED_PARAMETERS:
            hints.append((line, f"`{key}` is no parameter of a model and is passed over"))
        else:
            parameters[str(key)] = value
    length, stop = options.get("maxOutputTokens"), options.get("stopSequences")
    if length is not None and (type(length) is not int or length < 1):
        hints.append(
            (line, f"`maxOutputTokens: {length!r:.40}` is no whole number from 1 and is passed over")
        )
        length = None
    stops = stop if isinstance(stop, list) else []
    return parameters, length, tuple(each for each in stops if isinstance(each, str) and each)


def _language(template: Any, lines: Mapping[str, int], *, name: str) -> str:
    """Of ``template: {format: {kind: mustache}}``; Jinja2 when it is not said."""
    if template is None:
        return "jinja2"
    kind = template.get("format") if isinstance(template, dict) else None
    if isinstance(kind, dict):
        kind = kind.get("kind")
    elif isinstance(template, dict) and kind is None:
        return "jinja2"
    if not isinstance(template, dict) or kind not in _ENGINES:
        said = f"`template` must be {{format: {{kind: KIND}}}} with one of {', '.join(_ENGINES)}"
        raise PromptFileError(name, lines["template"], f"{said}, got {template!r:.60}")
    return str(kind)


def _inputs(given: Any, lines: Mapping[str, int], *, name: str) -> Iterator[tuple[str, Input]]:
    """A list of inputs with their names, or a mapping from names to inputs or to values."""
    if isinstance(given, list):
        for entry in given:
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                yield entry["name"], _input(entry)
            else:
                raise PromptFileError(name, lines["inputs"], f"an input has no name: {entry!r:.60}")
    elif isinstance(given, dict):
        for key, entry in given.items():
            yield str(key), _input(entry if isinstance(entry, dict) else {"default": entry})
    elif given is not None:
        raise PromptFileError(name, lines["inputs"], f"`inputs` must be a list, got {given!r:.60}")


def _input(entry: Mapping[str, Any]) -> Input:
    return Input(entry.get("default"), entry.get("required") is True, entry.get("kind") == "thread")
