"""What the languages have in common whose templates are text with fields, and nothing that could be run.

A field takes one value out of those that are given. Where it asks for more (an item, a format) it gets that
of plain data only, so that a text that a model wrote reaches nothing of the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts.template_languages.parts import Fixed, Opaque, Part, Variable, joined

#: A width beyond it is a mistake or an attack; Jinja templates have the same limit.
MAX_NUMBER = 100_000


@dataclass(frozen=True)
class Field:
    """A place that is filled in.

    :param start: where it begins in the source; `end`: after its last character.
    :param fill: the text for all values given; raises `ValueError`, `LookupError`, `TypeError`.
    """

    part: Variable | Opaque
    start: int
    end: int
    fill: Callable[[Mapping[str, object]], str]

    @property
    def names(self) -> frozenset[str]:
        return frozenset([self.part.name]) if isinstance(self.part, Variable) else self.part.names


class UnreadableError(Exception):
    """A source that the language cannot read, from `start` on."""

    def __init__(self, start: int, reason: str) -> None:
        super().__init__(reason)
        self.start = start


Pieces = Sequence[str | Field]


class FieldTemplate:
    """Fixed texts and fields; see the Protocol `PromptTemplate`."""

    def __init__(
        self, source: str, read: Callable[[str], Iterable[str | Field]], *, name: str, line: int
    ) -> None:
        self._source, self._name, self._line = source, name, line
        try:
            self.pieces: Pieces = tuple(read(source))
        except UnreadableError as error:
            where = self._line_at(error.start)
            raise PromptFileError(name, where, f"template syntax error: {error}") from None
        self.fields = [piece for piece in self.pieces if isinstance(piece, Field)]
        self.variables: Mapping[str, int] = {
            name: self._line_at(each.start) for each in reversed(self.fields) for name in sorted(each.names)
        }
        self.needed = frozenset(self.variables)
        self.parts: tuple[Part, ...] = joined(
            [Fixed(piece) if isinstance(piece, str) else piece.part for piece in self.pieces]
        )

    def render(self, variables: Mapping[str, object]) -> str:
        texts = []
        for piece in self.pieces:
            if isinstance(piece, str):
                texts.append(piece)
                continue
            try:
                texts.append(piece.fill(variables))
            except Exception as error:
                reason = f"cannot be rendered: {type(error).__name__}: {error}"
                raise RenderError(self._name, self._line_at(piece.start), reason) from error
        return "".join(texts)

    def _line_at(self, offset: int) -> int:
        return self._line + self._source.count("\n", 0, offset)


class FieldLanguage:
    """A language whose templates are text with fields: all but how its fields are read and written."""

    name: str

    def pieces(self, source: str) -> Iterable[str | Field]:
        """The source in order; raises `UnreadableError`."""
        raise NotImplementedError

    def read(self, source: str, *, name: str, line: int) -> FieldTemplate:
        return FieldTemplate(source, self.pieces, name=name, line=line)

    def is_whole(self, source: str) -> bool:
        try:
            tuple(self.pieces(source))
        except UnreadableError:
            return False
        return True

    def constructs(self, source: str, *, name: str, line: int) -> Counter[str]:
        fields = self.read(source, name=name, line=line).fields
        return Counter(self.construct(each.part) for each in fields)

    def construct(self, part: Variable | Opaque) -> str:
        if isinstance(part, Variable) and part.exact:
            return self.written(part.name)
        return part.written

    def written(self, variable: str) -> str:
        raise NotImplementedError

    def plain_variable(self, construct: str) -> str | None:
        try:
            pieces = tuple(self.pieces(construct))
        except UnreadableError:
            return None
        if len(pieces) == 1 and isinstance(pieces[0], Field):
            part = pieces[0].part
            return part.name if isinstance(part, Variable) and part.exact else None
        return None

    def placeholders(self, text: str) -> tuple[str, ...]:
        return tuple(self.construct(each.part) for each in self._fields(text))

    def without_code(self, text: str) -> str:
        end, kept = 0, list[str]()
        for each in self._fields(text):
            kept.append(text[end : each.start])
            end = each.end
        return " ".join([*kept, text[end:]])

    def _fields(self, text: str) -> list[Field]:
        try:
            return [piece for piece in self.pieces(text) if isinstance(piece, Field)]
        except UnreadableError:
            return []


def value_of(variables: Mapping[str, object], name: str) -> object:
    """Raises `LookupError` with a sentence."""
    if name not in variables:
        raise LookupError(f"`{name}` is not given")
    return variables[name]


def check_number(number: str) -> None:
    """Raises `ValueError` for a width that no prompt has."""
    if number and (len(number) > 9 or int(number) > MAX_NUMBER):
        raise ValueError(f"a width of more than {MAX_NUMBER:,}")
