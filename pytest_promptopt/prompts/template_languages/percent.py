"""The operator ``%`` of Python: ``%(ticket)s``, ``%s``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pytest_promptopt.prompts.template_languages.field_templates import (
    Field,
    FieldLanguage,
    UnreadableError,
    check_number,
    value_of,
)
from pytest_promptopt.prompts.template_languages.parts import Variable

_FIELD = re.compile(
    r"%(?:\((?P<name>[^()]*)\))?(?P<form>[#0\- +]*(?P<width>\*|\d*)(?:\.(?P<precision>\*|\d*))?)[hlL]?"
    r"(?P<kind>.?)",
    re.DOTALL,
)
_KINDS = "diouxXeEfFgGcrsa"


class Percent(FieldLanguage):
    """Texts for the left of ``%``; ``%s`` are the variables ``0``, ``1`` and so on."""

    name = "percent"

    def pieces(self, source: str) -> Iterator[str | Field]:
        end, named, counted = 0, False, 0
        while (start := source.find("%", end)) >= 0:
            if start > end:
                yield source[end:start]
            found = _FIELD.match(source, start)
            assert found is not None  # the pattern matches a lone `%`
            end = found.end()
            if found["kind"] == "%":
                if found["name"] is not None or found["form"]:
                    raise UnreadableError(start, f"a literal % is written %%, not {found[0]}")
                yield "%"
                continue
            if not found["kind"] or found["kind"] not in _KINDS:
                shown = source[start : start + 10].split("\n")[0]
                raise UnreadableError(start, f"a literal % is written %%; {shown!r} is no field")
            if "*" in found["form"]:
                raise UnreadableError(start, f"a width that is given, {found[0]}, is not supported")
            name = found["name"]
            if (counted or named) and named != (name is not None):
                raise UnreadableError(start, "fields with names and fields without do not go together")
            named = name is not None
            if name is None:
                name, counted = str(counted), counted + 1
            exact = found["kind"] == "s" and not found["form"]
            spec = f"%{found['form']}{found['kind']}"
            written = f"%({name}){spec[1:]}" if named else f"{spec}#{name}"
            yield Field(Variable(name, exact, written), start, end, _Fill(name, spec))
        if end < len(source):
            yield source[end:]

    def escaped(self, text: str) -> str:
        return text.replace("%", "%%")

    def written(self, variable: str) -> str:
        return "%s" if variable.isdigit() else f"%({variable})s"


class _Fill:
    def __init__(self, name: str, spec: str) -> None:
        self._name, self._spec = name, spec

    def __call__(self, variables: Mapping[str, object]) -> str:
        for number in re.findall(r"\d+", self._spec):
            check_number(number)
        return self._spec % (value_of(variables, self._name),)
