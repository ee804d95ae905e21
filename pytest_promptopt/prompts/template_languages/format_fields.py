"""`str.format`: ``{ticket}``, ``{}``, ``{price:.2f}``. No attribute is ever looked up."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal

from pytest_promptopt.prompts.template_languages.field_templates import (
    Field,
    FieldLanguage,
    UnreadableError,
    check_number,
    value_of,
)
from pytest_promptopt.prompts.template_languages.parts import Variable

_NAME = re.compile(r"(?P<name>\w*)(?P<path>(?:\.\w+|\[[^\[\]]+\])*)")
_STEP = re.compile(r"\.(\w+)|\[([^\[\]]+)\]")
_CONVERSIONS: Mapping[str, Callable[[object], str]] = {"r": repr, "s": str, "a": ascii}

#: What may be given a format: its own way to read one reaches nothing.
_PLAIN = (str, int, float, bool, Decimal, date, datetime, time)


class FormatFields(FieldLanguage):
    """Texts as `str.format` reads them; ``{}`` are the variables ``0``, ``1`` and so on."""

    name = "format"

    def pieces(self, source: str) -> Iterator[str | Field]:
        try:
            parsed = list(string.Formatter().parse(source))
        except ValueError as error:
            raise UnreadableError(_culprit(source), str(error)) from None
        end, counted = 0, 0
        numbered = False
        for literal, field, spec, conversion in parsed:
            if literal:
                yield literal
            end = _after_literal(source, end, literal)
            if field is None:
                continue
            start, end = end, _closing(source, end) + 1
            found = _NAME.fullmatch(field)
            if found is None or (conversion and conversion not in _CONVERSIONS):
                raise UnreadableError(start, f"{source[start:end]} is no field that str.format can fill")
            if "{" in (spec or ""):
                raise UnreadableError(start, f"a field within the field {source[start:end]} is not supported")
            name = found["name"]
            exact = not found["path"] and not conversion and not spec
            written = _written(name, found["path"], conversion, spec)
            numbered |= name.isdigit()
            if not name:
                name, counted = str(counted), counted + 1
                written += "" if exact else f" ({name})"
            if numbered and counted:
                raise UnreadableError(start, "fields {} and numbered fields {0} do not go together")
            fill = _Fill(name, found["path"], conversion, spec)
            yield Field(Variable(name, exact, written), start, end, fill)

    def escaped(self, text: str) -> str:
        return text.replace("{", "{{").replace("}", "}}")

    def written(self, variable: str) -> str:
        return f"{{{variable}}}"


class _Fill:
    def __init__(self, name: str, path: str, conversion: str | None, spec: str | None) -> None:
        self._name, self._path, self._conversion, self._spec = name, path, conversion, spec or ""

    def __call__(self, variables: Mapping[str, object]) -> str:
        value = value_of(variables, self._name)
        for attribute, item in _STEP.findall(self._path):
            value = _item(value, item) if item else _refuse(attribute)
        if self._conversion:
            value = _CONVERSIONS[self._conversion](value)
        if not self._spec:
            return str(value)
        for number in re.findall(r"\d+", self._spec):
            check_number(number)
        return format(value if type(value) in _PLAIN else str(value), self._spec)


def _refuse(attribute: str) -> object:
    raise ValueError(f"attributes such as `.{attribute}` are not looked up; give the value itself a name")


def _item(value: object, key: str) -> object:
    if type(value) is dict:
        if key not in value and key.isdigit() and int(key[:9]) in value:
            return value[int(key[:9])]
        return value[key]
    if type(value) in (list, tuple) and key.isdigit():
        return value[int(key[:9])]  # type: ignore[index]
    raise ValueError(f"[{key}] takes an item of a dict or a list, got {type(value).__name__}")


def _written(name: str, path: str, conversion: str | None, spec: str | None) -> str:
    return "".join(["{", name, path, f"!{conversion}" if conversion else "", f":{spec}" if spec else "", "}"])


def _after_literal(source: str, start: int, literal: str) -> int:
    """Where the source of `literal` ends, in which each brace is written twice."""
    for character in literal:
        start += 2 if character in "{}" else 1
    return start


def _closing(source: str, start: int) -> int:
    depth = 0
    for place in range(start, len(source)):
        depth += {"{": 1, "}": -1}.get(source[place], 0)
        if not depth:
            return place
    return len(source) - 1


def _culprit(source: str) -> int:
    """The brace that cannot be read: the first that is still open at the end, or that nothing opened."""
    place, opened = 0, -1
    while place < len(source):
        two = source[place : place + 2]
        if opened < 0 and two in ("{{", "}}"):
            place += 1
        elif source[place] == "{":
            opened = place if opened < 0 else opened
        elif source[place] == "}":
            if opened < 0:
                return place
            opened = -1
        place += 1
    return max(opened, 0)
