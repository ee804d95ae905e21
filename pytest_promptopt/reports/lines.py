"""What a section of pytest's terminal is made of: lines with markup, as its terminal writer takes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from pytest_promptopt.text import excerpt

#: Node ids named before the rest is counted, and the longest one shown.
MAX_EXAMPLES = 3
MAX_ID_WIDTH = 150

Markup = Mapping[str, bool]
PLAIN: Markup = {}
BOLD: Markup = {"bold": True}
GOOD: Markup = {"green": True}
BAD: Markup = {"red": True}
WARN: Markup = {"yellow": True}
DIM: Markup = {"light": True}


class Line(NamedTuple):
    """One line of the terminal."""

    text: str = ""
    markup: Markup = PLAIN


def headed(rows: Iterable[str], *, indent: int = 2) -> Iterator[Line]:
    """The rows of a table, of which the first is its header."""
    for number, row in enumerate(rows):
        yield Line(" " * indent + row, PLAIN if number else DIM)


class Writer(Protocol):
    """Where lines go; pytest's TerminalReporter is one."""

    def write_line(self, line: str, **markup: bool) -> None: ...

    def section(self, title: str, sep: str = "=", **markup: bool) -> None: ...


def print_section(writer: Writer, title: str, lines: Sequence[Line]) -> None:
    """Print a section; nothing at all, not even its title, when it has no lines."""
    if lines:
        writer.section(title)
        for line in lines:
            writer.write_line(line.text, **line.markup)


def example_cases(ids: Sequence[str], told: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """The first ids, each with what is told of it in brackets, and how many more there are."""
    shown = [case_with_note(id, told.get(id, "")) for id in ids[:MAX_EXAMPLES]]
    hidden = len(ids) - len(shown)
    return [*shown, f"... and {hidden:,} more"] if hidden else shown


def case_with_note(id: str, told: str = "") -> str:
    """A node id with what is told of it in brackets."""
    return excerpt(id, MAX_ID_WIDTH) + f" ({told})" * bool(told)


def passed_samples(passed: int, samples: int) -> str:
    """``2 of 3 samples passed``."""
    return f"{passed:,} of {samples:,} samples passed"
