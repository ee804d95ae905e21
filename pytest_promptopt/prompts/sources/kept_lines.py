"""Writing a text anew so that the lines that stay keep the way in which they were written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True)
class WrittenLine:
    """A line of a text, and how it is written in its file.

    :param end: how the line break after it is written; empty for the last line.
    """

    text: str
    written: str
    end: str = ""


def written_anew(
    old: Sequence[WrittenLine], text: str, write: Callable[[str, bool], str], line_end: str
) -> str:
    """`text` as it is to be written: lines of `old` as they are there, all others by `write`.

    :param write: given a line and whether it is the last one.
    :param line_end: how a new line break is written.
    """
    lines = text.split("\n")
    kept: list[WrittenLine | None] = [None] * len(lines)
    matcher = SequenceMatcher(None, [line.text for line in old], lines, autojunk=False)
    for start, place, size in matcher.get_matching_blocks():
        kept[place : place + size] = old[start : start + size]
    pieces = []
    for number, (line, known) in enumerate(zip(lines, kept, strict=True)):
        last = number == len(lines) - 1
        # What ends a line may not be able to end the text.
        same = known is not None and last == (known is old[-1])
        pieces.append(known.written if known is not None and same else write(line, last))
        if not last:
            pieces.append((known.end if known is not None else "") or line_end)
    return "".join(pieces)
