"""The languages that prompts are written in, by name."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.prompts.template_languages.dollar import Dollar
from pytest_promptopt.prompts.template_languages.format_fields import FormatFields
from pytest_promptopt.prompts.template_languages.jinja import Jinja2
from pytest_promptopt.prompts.template_languages.mustache import Mustache
from pytest_promptopt.prompts.template_languages.nunjucks import Nunjucks
from pytest_promptopt.prompts.template_languages.parts import (
    Fixed,
    Opaque,
    Part,
    PromptTemplate,
    TemplateLanguage,
    Variable,
)
from pytest_promptopt.prompts.template_languages.percent import Percent
from pytest_promptopt.prompts.template_languages.plain import Plain

JINJA2 = Jinja2()
FORMAT = FormatFields()
PERCENT = Percent()
TEMPLATE = Dollar()
MUSTACHE = Mustache()
NUNJUCKS = Nunjucks()
NONE = Plain()

#: By the name that a front matter and a message use.
LANGUAGES: Mapping[str, TemplateLanguage] = {
    language.name: language for language in (JINJA2, FORMAT, PERCENT, TEMPLATE, MUSTACHE, NUNJUCKS, NONE)
}


def language_named(name: object, where: str) -> TemplateLanguage:
    """The language of this name; raises `SettingsError` that begins with `where` when there is none."""
    if not isinstance(name, str) or name not in LANGUAGES:
        raise SettingsError(f"{where}: {name!r} is no template language; accepted are {', '.join(LANGUAGES)}")
    return LANGUAGES[name]


__all__ = [
    "FORMAT",
    "JINJA2",
    "LANGUAGES",
    "MUSTACHE",
    "NONE",
    "NUNJUCKS",
    "PERCENT",
    "TEMPLATE",
    "Fixed",
    "Opaque",
    "Part",
    "PromptTemplate",
    "TemplateLanguage",
    "Variable",
    "language_named",
]
