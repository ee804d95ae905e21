"""Prompts in every template language, made by Hypothesis, and how an application renders each: without us."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jinja2
from hypothesis import strategies as st

from pytest_promptopt.prompts.template_languages import LANGUAGES

NAMES = ("x", "y", "z")

#: Few characters, so that values hold passages, and those that mean something to a template language.
TEXTS = st.text("ab \n.{}%$<&\\\"'é", max_size=6)

#: Enough of them that the text can be recognised.
SENTENCE = "Sort it to a queue"


def _mustache(source: str, values: Mapping[str, str]) -> str:
    def put(found: re.Match[str]) -> str:
        if found["section"]:
            return found["text"] if bool(values[found["name"]]) is (found["section"] == "#") else ""
        return found[0]

    def fill(found: re.Match[str]) -> str:
        return "{{" if found[0].startswith("\\") else values[found["three"] or found["two"]]

    section = r"\{\{(?P<section>[#^])(?P<name>\w)\}\}(?P<text>.*?)\{\{/(?P=name)\}\}"
    source = re.sub(rf"\\\{{\{{|{section}", put, source)
    return re.sub(r"\\\{\{|\{\{\{(?P<three>\w+)\}\}\}|\{\{(?P<two>\w+)\}\}", fill, source)


def _jinja2(source: str, values: Mapping[str, str]) -> str:
    environment = jinja2.Environment(keep_trailing_newline=True, autoescape=False)
    return environment.from_string(source).render(values)


def _nunjucks(source: str, values: Mapping[str, str]) -> str:
    """With texts and plain variables alone, as Jinja2 does."""
    return _jinja2(source, values)


#: How applications render: not one of these is code of the package.
RENDERERS: Mapping[str, Callable[[str, Mapping[str, str]], str]] = {
    "jinja2": _jinja2,
    "format": lambda source, values: source.format(**values),
    "percent": lambda source, values: source % values,
    "template": lambda source, values: string.Template(source).substitute(values),
    "mustache": _mustache,
    "nunjucks": _nunjucks,
    "none": lambda source, values: source,
}


#: A variable that the template changes, by language, and one that it shows only if there is something.
CHANGED = {
    "jinja2": ("{{{{ {0}|upper }}}}", "{{% if {0} %}}<{{{{ {0} }}}}>{{% endif %}}"),
    "format": ("{{{0}!r:>4}}", "{{{0}:<3}}"),
    "percent": ("%({0})5s", "%({0})r"),
    "mustache": ("{{{{#{0}}}}}<{{{{{0}}}}}>{{{{/{0}}}}}", "{{{{^{0}}}}}none{{{{/{0}}}}}"),
}


@dataclass(frozen=True)
class Written:
    """A prompt: its texts with variables between them, as a language writes them.

    :param pieces: a text, or the name of a variable with a ``?`` before it; ``!`` if the template changes it.
    """

    language: str
    pieces: tuple[str, ...]

    @property
    def source(self) -> str:
        return "".join(map(self._piece, self.pieces))

    def _piece(self, piece: str) -> str:
        language = LANGUAGES[self.language]
        if piece.startswith("?"):
            return language.written(piece[1:])
        if piece.startswith("!"):
            return CHANGED[self.language][int(piece[1])].format(piece[2:])
        return language.escaped(piece)

    @property
    def has_sections(self) -> bool:
        return self.language == "mustache" and any(piece.startswith("!") for piece in self.pieces)

    @property
    def names(self) -> set[str]:
        return {piece[-1] for piece in self.pieces if piece.startswith(("?", "!"))}

    def rendered(self, values: Mapping[str, str]) -> str:
        """As an application has it."""
        return RENDERERS[self.language](self.source, {name: values[name] for name in NAMES})


def can_be_written(language: str, text: str) -> bool:
    """Whether the language has a way to write it."""
    try:
        LANGUAGES[language].escaped(text)
    except ValueError:
        return False
    return True


@st.composite
def written(draw: st.DrawFn, language: str) -> Written:
    """A prompt with one text more than it has variables; texts at the edges may be empty."""
    forms = ["?", "?", "!0", "!1"] if language in CHANGED else ["?"]
    place_of_value = st.sampled_from([form + name for form in forms for name in NAMES])
    used = draw(st.lists(place_of_value, max_size=0 if language == "none" else 4))
    texts = [draw(TEXTS.filter(lambda text: can_be_written(language, text))) for _ in range(len(used) + 1)]
    place = draw(st.integers(0, len(used)))
    texts[place] += SENTENCE
    pieces = [texts[0]]
    for name, text in zip(used, texts[1:], strict=True):
        pieces += [name, text]
    return Written(language, tuple(piece for piece in pieces if piece))


VALUES = st.fixed_dictionaries({name: TEXTS for name in NAMES})
