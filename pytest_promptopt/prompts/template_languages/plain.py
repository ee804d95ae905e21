"""No template language: every character is text."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_promptopt.prompts.template_languages.field_templates import Field, FieldLanguage


class Plain(FieldLanguage):
    """Texts that are sent as they stand."""

    name = "none"

    def pieces(self, source: str) -> Iterator[str | Field]:
        if source:
            yield source

    def escaped(self, text: str) -> str:
        return text

    def written(self, variable: str) -> str:
        return variable
