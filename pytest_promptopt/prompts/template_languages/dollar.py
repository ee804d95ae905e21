"""`string.Template`: ``$ticket`` and ``${ticket}``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pytest_promptopt.prompts.template_languages.field_templates import Field, FieldLanguage, value_of
from pytest_promptopt.prompts.template_languages.parts import Variable

_FIELD = re.compile(
    r"\$(?:(?P<two>\$)|(?P<name>(?a:[_a-z][_a-z0-9]*))|\{(?P<braced>(?a:[_a-z][_a-z0-9]*))\})", re.IGNORECASE
)


class Dollar(FieldLanguage):
    """Texts of a `string.Template`; a ``$`` before anything else is text, as in its `safe_substitute`."""

    name = "template"

    def pieces(self, source: str) -> Iterator[str | Field]:
        end = 0
        for found in _FIELD.finditer(source):
            if found.start() > end:
                yield source[end : found.start()]
            end = found.end()
            name = found["name"] or found["braced"]
            if name:
                yield Field(Variable(name, True, f"${{{name}}}"), found.start(), end, _Fill(name))
            else:
                yield "$"
        if end < len(source):
            yield source[end:]

    def escaped(self, text: str) -> str:
        return text.replace("$", "$$")

    def written(self, variable: str) -> str:
        return f"${{{variable}}}"


class _Fill:
    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, variables: Mapping[str, object]) -> str:
        return str(value_of(variables, self._name))
