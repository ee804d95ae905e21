"""Mustache and Handlebars: ``{{ticket}}`` and ``{{{ticket}}}``; sections are recognised, not rendered.

A value is put in as it is, since a prompt is no web page. Where an application's engine writes ``&amp;`` for
``&``, that is the value that arrives. A line that holds nothing but a comment or the tag of a section is no
line of the text, as in both languages; a ``~`` in a tag takes away the blanks on its side, as in Handlebars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pytest_promptopt.prompts.template_languages.field_templates import (
    Field,
    FieldLanguage,
    UnreadableError,
    value_of,
)
from pytest_promptopt.prompts.template_languages.parts import Opaque, Variable

_OPENING = re.compile(r"\\?\{\{")
_LONG_COMMENT = re.compile(r"\{\{~?!--")
_CLOSING = {"}}": re.compile(r"~?\}\}"), "}}}": re.compile(r"\}\}\}"), "--}}": re.compile(r"--~?\}\}")}
_NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
_BLOCK = re.compile(r"[#^]\s*(?P<name>[^\s{}]+)")
_WORD = re.compile(r"[^\W\d]\w*")
_REST_OF_LINE = re.compile(r"[ \t]*(?:\n|\Z)")

#: What a tag begins with that may be alone on its line.
_ALONE = ("#", "^", "/", "!")


class Mustache(FieldLanguage):
    """Variables of both languages; ``\\{{`` is a literal ``{{``, as in Handlebars."""

    name = "mustache"

    def pieces(self, source: str) -> Iterator[str | Field]:
        end = 0
        while (opening := _OPENING.search(source, end)) is not None:
            if opening[0].startswith("\\"):
                if opening.start() > end:
                    yield source[end : opening.start()]
                yield "{{"
                end = opening.end()
                continue
            tag = _Tag.at(opening.start(), source)
            is_section = tag.text.startswith(("#", "^"))
            last = _section_end(source, tag) if is_section else tag
            if (start := tag.begins(source)) > end:
                yield source[end:start]
            end = last.ends(source)
            if is_section:
                yield _section(source, tag.start, last.end)
            elif not tag.text.startswith("!"):
                yield _field(source, tag)
        if end < len(source):
            yield source[end:]

    def escaped(self, text: str) -> str:
        if re.search(r"\{\{\{|\\\{\{|[\\{]\Z", text):
            said = "a text with {{{ or \\{{, or with { or \\ at its end, cannot be written in Mustache"
            raise ValueError(said)
        return text.replace("{{", "\\{{")

    def written(self, variable: str) -> str:
        return f"{{{{{variable}}}}}"


@dataclass(frozen=True)
class _Tag:
    """A tag, ``source[start:end]``.

    :param text: what stands in it.
    :param strips: whether it takes away the blanks before and after it.
    :param alone: the line that it is alone on, with its line end.
    """

    text: str
    start: int
    end: int
    strips: tuple[bool, bool]
    alone: tuple[int, int] | None

    @classmethod
    def at(cls, start: int, source: str) -> _Tag:
        """Raises `UnreadableError` when it is not closed."""
        three = source.startswith("{{{", start)
        kind = "}}}" if three else "--}}" if _LONG_COMMENT.match(source, start) else "}}"
        closing = _CLOSING[kind].search(source, start)
        if closing is None:
            raise UnreadableError(start, f"this tag is not closed by {kind}")
        inner, end = source[start + (3 if three else 2) : closing.start()], closing.end()
        text = inner.removeprefix("~").strip()
        line, rest = source.rfind("\n", 0, start) + 1, _REST_OF_LINE.match(source, end)
        is_alone = rest is not None and text.startswith(_ALONE) and not source[line:start].strip(" \t")
        strips = inner.startswith("~"), "~" in closing[0]
        return cls(text, start, end, strips, (line, rest.end()) if rest and is_alone else None)

    def begins(self, source: str) -> int:
        """Where the text before it ends."""
        if self.strips[0]:
            return len(source[: self.start].rstrip())
        return self.alone[0] if self.alone else self.start

    def ends(self, source: str) -> int:
        """Where the text after it begins."""
        if self.strips[1]:
            return len(source) - len(source[self.end :].lstrip())
        return self.alone[1] if self.alone else self.end


def _field(source: str, tag: _Tag) -> Field:
    start, end, name = tag.start, tag.end, tag.text.removeprefix("&").strip()
    if tag.text.startswith((">", "=", "/")) or tag.text == "else" or not name:
        reasons = {
            ">": "parts of other files are not supported",
            "=": "other delimiters are not supported",
            "/": "this section was not opened",
        }
        raise UnreadableError(start, f"{source[start:end]}: {reasons.get(tag.text[:1], 'there is no name')}")
    if not _NAME.fullmatch(name):
        names = frozenset(_WORD.findall(name))
        shown = f"the expression {source[start:end]}"
        return Field(Opaque(f"{{{{{name}}}}}", shown, names), start, end, _Unsupported(shown))
    first = name.partition(".")[0]
    return Field(Variable(first, first == name, f"{{{{{name}}}}}"), start, end, _Fill(name))


def _section_end(source: str, opening: _Tag) -> _Tag:
    """The tag that closes a section."""
    name, depth, tag = _block_name(opening), 1, opening
    while depth:
        start = source.find("{{", tag.end)
        if start < 0:
            raise UnreadableError(opening.start, f"the section `{name}` is not closed by {{{{/{name}}}}}")
        tag = _Tag.at(start, source)
        if tag.text.startswith(("#", "^")) and len(tag.text) > 1:
            depth += _block_name(tag) == name
        elif tag.text.startswith("/"):
            depth -= tag.text[1:].strip() == name
    return tag


def _block_name(tag: _Tag) -> str:
    found = _BLOCK.match(tag.text)
    if found is None:
        raise UnreadableError(tag.start, "this section has no name")
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
