"""The tags of a request inside text that others wrote: found in any disguise, and made harmless."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator

#: How far a disguised name may reach: spaces and invisible characters may be put between its letters.
_REACH = 400

_OPENING = re.compile("[<\ufe64\uff1c]")
_CLOSING = re.compile("[>\ufe65\uff1e]")
_NO_LETTER = re.compile("[^a-z]")

# Controls, line and paragraph separators, halves of characters; what turns the direction of writing; tag
# characters, which nobody sees and models read.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
    "\U000e0000-\U000e007f]"
)


class Tags:
    """Some tag names, and text in which a reader, of whatever good will, shall find none of them.

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

    def harmless(self, text: str) -> str:
        """`text` in which no tag is opened or closed and nothing is invisible, by the escapes of JSON.

        A JSON document means the same afterwards.
        """
        parts, done = [], 0
        for start in self._starts(text):
            parts += [text[done:start], f"\\u{ord(text[start]):04x}"]
            done = start + 1
        text = "".join([*parts, text[done:]]).replace("</", "<\\/")
        return _INVISIBLE.sub(lambda found: json.dumps(found[0])[1:-1], text)

    def _starts(self, text: str) -> Iterator[int]:
        for opening in _OPENING.finditer(text):
            if _letters(text[opening.end() : opening.end() + _REACH]).startswith(self._names):
                yield opening.start()


def _letters(text: str) -> str:
    """What is left of a disguised name: its letters."""
    return _NO_LETTER.sub("", unicodedata.normalize("NFKD", text).casefold())
