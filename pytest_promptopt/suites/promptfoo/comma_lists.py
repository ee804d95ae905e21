"""Texts that hold several values between commas, as promptfoo cuts them."""

from __future__ import annotations

import re

_QUOTED = re.compile(r'"((?:\\["\\]|""|[^"])*)"')


def values_in(text: str) -> list[str]:
    """Raises `ValueError`, in a sentence, for a quote that is not closed or ends within a value."""
    found: list[str] = []
    place = 0
    while True:
        while place < len(text) and (text[place].isspace() or text[place] == ","):
            place += 1
        if place >= len(text):
            return found
        if text[place] == '"':
            value, place = _quoted(text, place)
        else:
            end = text.find(",", place)
            end = len(text) if end < 0 else end
            value, place = text[place:end].strip(), end
        found.append(value)


def _quoted(text: str, start: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, start)
    if quoted is None:
        raise ValueError("a quoted value is not closed")
    place = quoted.end()
    while place < len(text) and text[place].isspace():
        place += 1
    if place < len(text) and text[place] != ",":
        raise ValueError("there must be a comma after a quoted value")
    return re.sub(r'\\(["\\])|"(")', lambda each: each[1] or each[2], quoted[1]), place
