"""JSON with the line of every value."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.suites.located import Located, Place
from pytest_promptopt.text import quote, value_of_json

_SPACE = re.compile(r"[\s,:]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OTHER = re.compile(r"[^\s,\]}]+")


def read_json(text: str, name: str, *, line: int = 1) -> Located:
    """The value that `text` is. Raises `SettingsError` with ``file:line``.

    :param line: of the file, where the text begins.
    """
    twice: list[str] = []

    def with_own_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice.extend(key for key in keys if keys.count(key) > 1)
        return found

    try:
        value = value_of_json(text, object_pairs_hook=with_own_keys)
        places = _Places(text, line)
        places.read(())
    except json.JSONDecodeError as error:
        said = f"it is not JSON: {error.msg} at column {error.colno}"
        raise SettingsError(f"{name}:{line + error.lineno - 1}: {said}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{name}:{line}: it cannot be read as JSON: {error}") from None
    if twice:
        raise SettingsError(f"{name}:{places.repeated}: the key {quote(twice[0])} is given twice")
    return Located(name, value, places.lines)


class _Places:
    """Walks through a text that is known to be JSON."""

    def __init__(self, text: str, line: int) -> None:
        self.lines: dict[Place, int] = {}
        #: The line of a key that its object has had before.
        self.repeated = line
        self._text = text
        self._line = line
        self._line_ends = [place for place, character in enumerate(text) if character == "\n"]
        self._at = 0

    def read(self, place: Place) -> None:
        """One value."""
        self._skip(_SPACE)
        self.lines.setdefault(place, self._here)
        opening = self._text[self._at]
        if opening not in "[{":
            self._skip(_STRING if opening == '"' else _OTHER)
            return
        self._at += 1
        number = 0
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "]}":
                self._at += 1
                return
            key: str | int = number
            if opening == "{":
                line = self._here
                key = json.loads(self._skip(_STRING), strict=False)
                if (*place, key) in self.lines:
                    self.repeated = line
                self.lines[*place, key] = line
            self.read((*place, key))
            number += 1

    @property
    def _here(self) -> int:
        return self._line + bisect_right(self._line_ends, self._at - 1)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return found[0]
