"""What every template language says of a text: its parts, its variables, how it is rendered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Fixed:
    """Text that is sent as it stands here."""

    text: str


@dataclass(frozen=True)
class Variable:
    """A place where one value stands.

    :param exact: whether the value of `name` stands there as it is; else it stands there in the form that
        `written` gives it (a format, a filter, an attribute of it).
    :param written: the place as the language writes it, spaced alike: two places that are written alike hold
        the same text.
    """

    name: str
    exact: bool = True
    written: str = field(default="", compare=False)

    #: What decides the text at this place: places that differ in it differ.
    key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.name if self.exact else self.written)


@dataclass(frozen=True)
class Opaque:
    """A place whose text depends on more than one value: a loop, a condition, a section, an expression.

    :param written: what decides the text at this place, all of it; not meant to be shown.
    :param shown: how a message calls it, such as ``{% for %} in line 3``.
    :param names: the variables that it uses.
    """

    written: str
    shown: str = field(compare=False)
    names: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def key(self) -> str:
        return self.written


Part = Fixed | Variable | Opaque


class PromptTemplate(Protocol):
    """A text that its language has read."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The whole text in order; no `Fixed` is empty or stands beside another."""

    @property
    def variables(self) -> Mapping[str, int]:
        """Name -> file line of its first use, for every name that may be given."""

    @property
    def needed(self) -> frozenset[str]:
        """Those of them that must be given."""

    def render(self, variables: Mapping[str, object]) -> str:
        """The text for these values; raises `RenderError` at the file line that fails on them."""


class TemplateLanguage(Protocol):
    """A way to write variables into a text. Texts are never run: a candidate comes from a model."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """How a front matter and a message call it."""

    def read(self, source: str, *, name: str, line: int) -> PromptTemplate:
        """Raises `PromptFileError` at the line of the file `name`; `line` is that of the text's first."""

    def is_whole(self, source: str) -> bool:
        """Whether each block that is opened in `source` is closed in it."""

    def escaped(self, text: str) -> str:
        """A text that renders as `text` and opens no variable.

        Raises `ValueError`, with the reason in a sentence, where the language cannot write it.
        """

    def written(self, variable: str) -> str:
        """How a plain variable is written, such as ``{{ ticket }}``."""

    def constructs(self, source: str, *, name: str, line: int) -> Counter[str]:
        """How often each piece of template code occurs, spaced alike; nothing is evaluated.

        Raises `PromptFileError` when one of them is not closed.
        """

    def plain_variable(self, construct: str) -> str | None:
        """The name of the variable if a construct is just one, as it is."""

    def placeholders(self, text: str) -> tuple[str, ...]:
        """The places in `text`, of any kind, that this language would fill in, as they are written."""

    def without_code(self, text: str) -> str:
        """`text` without what this language would fill in: what is left may be for another one."""


def joined(parts: list[Part]) -> tuple[Part, ...]:
    """The same parts with no `Fixed` that is empty or stands beside another."""
    found: list[Part] = []
    for part in parts:
        if isinstance(part, Fixed) and found and isinstance(found[-1], Fixed):
            found[-1] = Fixed(found[-1].text + part.text)
        elif part != Fixed(""):
            found.append(part)
    return tuple(found)
