"""Nunjucks, the language of promptfoo's prompts: ``{{ ticket }}``, ``{% if %}``, ``{{ items | join }}``.

Jinja2 reads it, and what Nunjucks would render otherwise is refused with its line: never another text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts.template_languages.jinja import Jinja2, JinjaTemplate
from pytest_promptopt.prompts.template_languages.parts import Opaque, Part
from pytest_promptopt.text import value_of_json

if TYPE_CHECKING:
    from jinja2 import nodes

#: promptfoo sends a text as it stands in which a tag is open at the end of a line.
_OPEN_TAG = re.compile(r"\{%[^%]*$|\{\{[^}]*$|\{#[^#]*$", re.MULTILINE)
#: What opens a tag together with what follows, and the end of a comment.
_OPENING = re.compile(r"\{(?=[{%#])|\{\Z|#(?=\})")
_UNWRITABLE = re.compile("[\x1c-\x1f\x85\ufeff\r]")
_RAW, _END_RAW = re.compile(r"\{%\s*raw\s*%\}"), re.compile(r"\{%\s*endraw\s*%\}")


class NunjucksText(JinjaTemplate):
    """A template as ``renderString`` takes it; see the Protocol `PromptTemplate`."""

    def __init__(self, source: str, *, name: str, line: int) -> None:
        from pytest_promptopt.prompts.template_languages.nunjucks_reading import NotFollowed, names_in, read

        self._source, self._name, self._first_line = source, name, line
        try:
            self._tree: nodes.Template = read(source)
        except NotFollowed as error:
            raise PromptFileError(name, self._file_line(error.line), str(error)) from None
        self.variables = {name: self._file_line(at) for name, at in names_in(self._tree).items()}
        self.needed = frozenset()

    def render(self, variables: Mapping[str, object]) -> str:
        from pytest_promptopt.prompts.template_languages.nunjucks_rendering import NotRendered, render

        try:
            return render(self._tree, variables)
        except NotRendered as error:
            raise RenderError(
                self._name, self._file_line(error.line), f"cannot be rendered: {error}"
            ) from None


class PlainPrompt:
    """A text that is sent as it stands."""

    def __init__(self, source: str) -> None:
        from pytest_promptopt.prompts.template_languages.parts import Fixed

        self._source = source
        self.variables: Mapping[str, int] = {}
        self.needed = frozenset[str]()
        self.parts: tuple[Part, ...] = (Fixed(source),) if source else ()

    def render(self, variables: Mapping[str, object]) -> str:
        return self._source


class JsonPrompt:
    """A JSON document, each text of which is a template: values cannot break it."""

    def __init__(self, document: Any, *, name: str, line: int) -> None:
        self._name, self._line, self._document = name, line, document
        self._texts = {text: NunjucksText(text, name=name, line=line) for text in set(_texts(document))}
        self.variables: Mapping[str, int] = {
            name: line for template in self._texts.values() for name in template.variables
        }
        self.needed = frozenset[str]()

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        written = json.dumps(self._document)
        return (Opaque(written, f"the JSON in line {self._line}", frozenset(self.variables)),)

    def render(self, variables: Mapping[str, object]) -> str:
        from pytest_promptopt.prompts.template_languages.javascript_values import NotTheSame, json_text

        try:
            return json_text(self._filled(self._document, variables), indent=2)
        except NotTheSame as error:
            raise RenderError(self._name, self._line, f"cannot be rendered: {error}") from None

    def _filled(self, value: Any, variables: Mapping[str, object]) -> Any:
        if isinstance(value, str):
            return self._texts[value].render(variables)
        if isinstance(value, list):
            return [self._filled(each, variables) for each in value]
        if isinstance(value, dict):
            return {key: self._filled(each, variables) for key, each in value.items()}
        return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def as_json(source: str) -> Any | None:
    """What `source` says if it is JSON as JavaScript reads it, else None; ``null`` is None as well."""
    try:
        return value_of_json(source)
    except ValueError:
        return None


def is_sent_as_it_stands(source: str) -> bool:
    """Whether promptfoo takes none of its tags for one, since one is open at the end of a line."""
    wrapped = _RAW.search(source) and _END_RAW.search(source)
    return not wrapped and _OPEN_TAG.search(source) is not None


def render_text(source: str, variables: Mapping[str, object], *, name: str, line: int) -> str:
    """A text of a configuration, filled in. Raises `PromptFileError` for what is not followed."""
    return NunjucksText(source, name=name, line=line).render(variables)


def text_prompt(source: str, *, name: str, line: int) -> NunjucksText | PlainPrompt:
    """A text in which promptfoo looks for open tags first."""
    if is_sent_as_it_stands(source):
        if _RAW.search(source) or _END_RAW.search(source):
            said = "a tag is open at the end of a line, beside {% raw %} or {% endraw %} alone"
            raise PromptFileError(name, line, said)
        return PlainPrompt(source)
    return NunjucksText(source, name=name, line=line)


class Nunjucks(Jinja2):
    """See the Protocol `TemplateLanguage`; JSON and open tags are taken as promptfoo takes them."""

    name = "nunjucks"

    def read(  # type: ignore[override]
        self, source: str, *, name: str, line: int
    ) -> NunjucksText | PlainPrompt | JsonPrompt:
        document = as_json(source)
        if document is not None:
            return JsonPrompt(document, name=name, line=line)
        return text_prompt(source, name=name, line=line)

    def escaped(self, text: str) -> str:
        if _UNWRITABLE.search(text):
            raise ValueError("a text with such line ends or blanks cannot be written in Nunjucks")
        written = _OPENING.sub(lambda found: f'{{{{ "{found[0][0]}" }}}}', text)
        return '{{ "" }}' + written if as_json(written) is not None else written

    def is_whole(self, source: str) -> bool:
        return as_json(source) is not None or is_sent_as_it_stands(source) or super().is_whole(source)
