"""The tags of a request inside text that others wrote: found in any disguise, and made harmless."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from pytest_promptopt.text import escape_hidden

#: How far a disguised name may reach: spaces and invisible characters may be put between its letters.
_REACH = 400

_OPENING = re.compile("[<\ufe64\uff1c]")
_CLOSING = re.compile("[>\ufe65\uff1e]")
_NO_LETTER = re.compile("[^a-z]")


class Tags:
    """Some tag names, and text in which no reader can find one of them, however it is disguised.

    :param names: lower-case letters and underscores.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(_letters(name) for name in names)

    def first(self, text: str) -> str | None:
        """The first tag in `text`, opening or closing, as it is written there; None without one."""
        for start in self._starts(text):
            end = _CLOSING.search(text, start, start + _REACH)
            if end and _letters(text[start : end.start()]) in self._names:
                return text[start : end.end()]
        return None

    def escape(self, text: str) -> str:
        """`text` on one line, with every tag and every hidden character escaped as in JSON.

        A JSON document means the same afterwards.
        """
        escaped = self._with_openings(text, lambda opening: f"\\u{ord(opening):04x}")
        return escape_hidden(escaped.replace("</", "<\\/"))

    def disarm(self, text: str) -> str:
        """`text` with ``&lt;`` for the opening of every tag, and nothing else changed."""
        return self._with_openings(text, lambda opening: "&lt;")

    def _with_openings(self, text: str, new: Callable[[str], str]) -> str:
        """`text` with something else for the first character of every tag."""
        parts, done = [], 0
        for start in self._starts(text):
            parts += [text[done:start], new(text[start])]
            done = start + 1
        return "".join([*parts, text[done:]])

    def _starts(self, text: str) -> Iterator[int]:
        for opening in _OPENING.finditer(text):
            if _letters(text[opening.end() : opening.end() + _REACH]).startswith(self._names):
                yield opening.start()


def _letters(text: str) -> str:
    """What is left of a disguised name: its letters."""
    return _NO_LETTER.sub("", unicodedata.normalize("NFKD", text).casefold())
