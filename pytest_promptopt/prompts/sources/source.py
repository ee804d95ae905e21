"""What every kind of source says of a prompt's text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_promptopt.prompts.frontmatter import FrontMatter
from pytest_promptopt.prompts.layout import MAX_FILE_BYTES
from pytest_promptopt.prompts.templates import Turn


@dataclass(frozen=True)
class Input:
    """What a source says of a variable.

    :param default: its value where a call gives none; None for none.
    :param required: whether a call must give it; None leaves it to the text.
    :param is_history: it holds turns of a conversation, not a text.
    """

    default: Any = None
    required: bool | None = None
    is_history: bool = False


def one_turn(prose: str, first_line: int) -> tuple[Turn, ...]:
    """A text without roles: one turn, role lines and all."""
    return (Turn(None, prose, first_line),)


@dataclass(frozen=True)
class SourceText:
    """A prompt's text as it lies in its file.

    :param prose: the text that may be rewritten, with ``\\n`` line ends, without the line ends around it.
    :param first_line: the line of the file, from 1, where it begins.
    :param replaced: the whole file with another prose. Raises `ValueError`, with the reason in a sentence,
        for a text that cannot stand there.
    :param edges: the empty lines around the prose in its place, with ``\\n`` line ends.
    :param language: the name of its template language; empty when the source does not say.
    :param split: cuts a prose into chat turns, given its first line.
    :param is_chat: whether lines that are only a role begin turns.
    :param allows_empty: whether a turn may have no text.
    :param undefined_is_empty: whether a variable that is not given is an empty text.
    :param inputs: what it says of its variables, by name.
    :param most_characters: how long its place lets a text be.
    :param is_dspy: whether it is the instructions of a predictor of DSPy, which DSPy lays out.
    :param hints: what a reader should look at: line and sentence.
    """

    prose: str
    first_line: int
    replaced: Callable[[str], str]
    edges: tuple[str, str] = ("", "")
    front: FrontMatter = field(default_factory=FrontMatter)
    language: str = ""
    split: Callable[[str, int], tuple[Turn, ...]] = one_turn
    is_chat: bool = False
    allows_empty: bool = False
    undefined_is_empty: bool = False
    inputs: Mapping[str, Input] = field(default_factory=dict)
    is_dspy: bool = False
    hints: tuple[tuple[int, str], ...] = ()
    most_characters: int = MAX_FILE_BYTES


class Source(Protocol):
    """A kind of place in which a prompt can stand."""

    def read(self, content: bytes, *, name: str) -> SourceText:
        """The text in a file with this content.

        Raises `PromptFileError` at the line of the file `name` when there is none, or none that can be
        rewritten.
        """
