"""A text in passages, lines and sentences, and the text without some of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

#: Passages end with a line or a sentence, where no white space need follow a CJK stop.
_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])(?![。！？；」』”）])\s*|\n+")

#: A passage with template syntax is never cut, and never ends inside of it.
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


def split_passages(text: str) -> list[str]:
    """`text` in passages, each with the white space after it."""
    syntax = [match.span() for match in _TEMPLATE.finditer(text)]
    ends = [
        match.end()
        for match in _END.finditer(text)
        if not any(start < match.end() < end for start, end in syntax)
    ]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def has_template_syntax(passage: str) -> bool:
    """Whether a passage holds a variable, a statement or a comment, so that it cannot be left out."""
    return _TEMPLATE.search(passage) is not None


def without_passages(pieces: Sequence[str], part: Collection[int]) -> str:
    """The text without these of its passages; a line that is cut in part keeps its end of line."""
    text = ""
    for number, piece in enumerate(pieces):
        if number not in part:
            text += piece
        elif "\n" in (space := piece[len(piece.rstrip()) :]) and text and not text.endswith("\n"):
            text = text.rstrip() + space.lstrip(" \t")
    return text
