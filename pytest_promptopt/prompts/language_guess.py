"""Which template language a text is written in, where nobody says: by what is in it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytest_promptopt.prompts.template_languages import (
    FORMAT,
    JINJA2,
    LANGUAGES,
    MUSTACHE,
    NONE,
    PERCENT,
    TEMPLATE,
    TemplateLanguage,
)

_SECTION = re.compile(r"\{\{~?\s*[#/^>&]\s*[\w.]+[^{}]*\}\}|\{\{~?!.*?\}\}|\{\{\{[^{}]+\}\}\}", re.DOTALL)
_STATEMENT = re.compile(r"\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_DOUBLE = re.compile(r"(?<!\{)\{\{-?\s*[^\W\d][^{}]*?-?\}\}(?!\})")
_SINGLE = re.compile(
    r"(?<![{$])\{(?:[^\W\d]\w*|\d*)(?:\.\w+|\[\w+\])*(?:![rsa])?(?::[^{}\s][^{}\n]*)?\}(?!\})"
)
_PERCENT = re.compile(r"%\(\w+\)[#0\- +]*\d*(?:\.\d+)?[a-zA-Z]|(?<![\w%])%s(?!\w)")
_DOLLAR = re.compile(r"(?<![\w$\\])\$(?:\{[^\W\d]\w*\}|[^\W\d]\w*)")


def guess_language(text: str) -> TemplateLanguage:
    """Raises `ValueError`, in a sentence, when it could be several."""
    found = _evidence(text)
    if not found:
        return NONE
    if len(found) == 1:
        return LANGUAGES[next(iter(found))]
    shown = " or ".join(f"{name} ({sign})" for name, sign in found.items())
    raise ValueError(
        f"its template language could be {shown}: say which, template={next(iter(found))!r} in the mark; "
        f"accepted are {', '.join(LANGUAGES)}"
    )


def _evidence(text: str) -> Mapping[str, str]:
    """Languages whose signs are there, each with one of them."""
    found: dict[str, str] = {}

    def note(language: TemplateLanguage, sign: re.Match[str] | None) -> None:
        if sign is not None:
            found.setdefault(language.name, " ".join(sign[0].split())[:40])

    note(JINJA2, _STATEMENT.search(text))
    note(MUSTACHE, _SECTION.search(text))
    if not found:
        note(JINJA2, _DOUBLE.search(text))
    single = _SINGLE.search(_DOUBLE.sub("", text))
    if single is not None and FORMAT.is_whole(text):
        note(FORMAT, single)
    if _PERCENT.search(text) and PERCENT.is_whole(text):
        note(PERCENT, _PERCENT.search(text))
    note(TEMPLATE, _DOLLAR.search(text))
    return found
