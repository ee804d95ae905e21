"""Mustache and Handlebars: ``{{ticket}}`` and ``{{{ticket}}}``; sections are recognised, not rendered.

A value is put in as it is, since a prompt is no web page. Where an application's engine writes ``&amp;`` for
``&``, that is the value that arrives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pytest_promptopt.prompts.template_languages.field_templates import (
    Field,
    FieldLanguage,
    UnreadableError,
    value_of,
)
from pytest_promptopt.prompts.template_languages.parts import Opaque, Variable

_OPENING = re.compile(r"\\?\{\{")
_NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
_BLOCK = re.compile(r"[#^]\s*(?P<name>[^\s{}]+)")
_WORD = re.compile(r"[^\W\d]\w*")


class Mustache(FieldLanguage):
    """Variables of both languages; ``\\{{`` is a literal ``{{``, as in Handlebars."""

    name = "mustache"

    def pieces(self, source: str) -> Iterator[str | Field]:
        end = 0
        while (opening := _OPENING.search(source, end)) is not None:
            start = opening.start()
            if start > end:
                yield source[end:start]
            if opening[0].startswith("\\"):
                yield "{{"
                end = opening.end()
                continue
            tag, end = _tag(source, start)
            if tag.startswith(("#", "^")):
                end = _section_end(source, start, tag, end)
                yield _section(source, start, end)
            elif not tag.startswith("!"):
                yield _field(source, start, end, tag)
        if end < len(source):
            yield source[end:]

    def escaped(self, text: str) -> str:
        if re.search(r"\{\{\{|\\\{\{|[\\{]\Z", text):
            said = "a text with {{{ or \\{{, or with { or \\ at its end, cannot be written in Mustache"
            raise ValueError(said)
        return text.replace("{{", "\\{{")

    def written(self, variable: str) -> str:
        return f"{{{{{variable}}}}}"


def _tag(source: str, start: int) -> tuple[str, int]:
    """What stands in the tag at `start`, and where it ends."""
    closing = "}}}" if source.startswith("{{{", start) else "}}"
    if source.startswith("{{!--", start):
        closing = "--}}"
    end = source.find(closing, start)
    if end < 0:
        raise UnreadableError(start, f"this tag is not closed by {closing}")
    tag = source[start + (3 if closing == "}}}" else 2) : end].strip()
    return tag.removeprefix("~").removesuffix("~").strip(), end + len(closing)


def _field(source: str, start: int, end: int, tag: str) -> Field:
    name = tag.removeprefix("&").strip()
    if tag.startswith((">", "=", "/")) or tag == "else" or not name:
        reasons = {
            ">": "parts of other files are not supported",
            "=": "other delimiters are not supported",
            "/": "this section was not opened",
        }
        raise UnreadableError(start, f"{source[start:end]}: {reasons.get(tag[:1], 'there is no name')}")
    if not _NAME.fullmatch(name):
        names = frozenset(_WORD.findall(name))
        shown = f"the expression {source[start:end]}"
        return Field(Opaque(f"{{{{{name}}}}}", shown, names), start, end, _Unsupported(shown))
    first = name.partition(".")[0]
    return Field(Variable(first, first == name, f"{{{{{name}}}}}"), start, end, _Fill(name))


def _section_end(source: str, start: int, tag: str, end: int) -> int:
    depth, name = 1, _block_name(start, tag)
    while depth:
        opening = source.find("{{", end)
        if opening < 0:
            raise UnreadableError(start, f"the section `{name}` is not closed by {{{{/{name}}}}}")
        inner, end = _tag(source, opening)
        if inner.startswith(("#", "^")) and len(inner) > 1:
            depth += _block_name(opening, inner) == name
        elif inner.startswith("/"):
            depth -= inner[1:].strip() == name
    return end


def _block_name(start: int, tag: str) -> str:
    found = _BLOCK.match(tag)
    if found is None:
        raise UnreadableError(start, "this section has no name")
    return found["name"]


def _section(source: str, start: int, end: int) -> Field:
    written = source[start:end]
    shown = f"the section {written[: written.index('}}') + 2]}"
    names = {word for tag in re.findall(r"\{\{([^{}]*)\}\}", written) for word in _WORD.findall(tag)}
    return Field(Opaque(written, shown, frozenset(names - _HELPERS)), start, end, _Unsupported(shown))


_HELPERS = {"if", "unless", "each", "with", "else", "this", "lookup", "log", "as"}


class _Fill:
    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, variables: Mapping[str, object]) -> str:
        first, *others = self._path.split(".")
        value = value_of(variables, first)
        for key in others:
            if type(value) is not dict:
                raise ValueError(f"`.{key}` takes an item of a dict, got {type(value).__name__}")
            value = value[key]
        return str(value)


class _Unsupported:
    def __init__(self, shown: str) -> None:
        self._shown = shown

    def __call__(self, variables: Mapping[str, object]) -> str:
        raise ValueError(f"{self._shown} is not supported: only variables are rendered")
