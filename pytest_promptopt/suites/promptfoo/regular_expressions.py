"""JavaScript's regular expressions as Python's: the same matches, or a reason why not.

Both are run on UTF-16 units, as JavaScript has them without the flag ``u``.
"""

from __future__ import annotations

import re
from functools import cache

_SPACE = r"\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": _SPACE}
_SAME_ESCAPES = "nrtvf"
_HEX = re.compile(r"x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}")
_COUNT = re.compile(r"\{\d+(?:,\d*)?\}")
_GROUP = re.compile(r"\(\?(?::|=|!|<=|<!|<(?P<name>[A-Za-z_]\w*)>)", re.ASCII)


class NotAlike(ValueError):
    """A pattern that Python cannot be shown to take as JavaScript does."""


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """What matches in UTF-16 units what `pattern` does. Raises `NotAlike`."""
    try:
        return re.compile(in_python(units(pattern)))
    except (re.error, OverflowError, RecursionError) as error:
        raise NotAlike(f"Python cannot take this regular expression: {error}") from None


def in_python(pattern: str) -> str:
    """`pattern` as Python writes it, for texts of whole characters. Raises `NotAlike`."""
    return "".join(_Translation(pattern).pieces())


def units(text: str) -> str:
    """`text` with two characters for one beyond U+FFFF."""
    if all(ord(character) <= 0xFFFF for character in text):
        return text
    raw = text.encode("utf-16-be", "surrogatepass")
    return "".join(chr(raw[place] << 8 | raw[place + 1]) for place in range(0, len(raw), 2))


class _Translation:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._place = 0
        #: The groups that are open: whether each looks behind.
        self._open: list[bool] = []
        #: Whether what was read last stands for a place, which JavaScript does not repeat.
        self._is_place = False

    def pieces(self) -> list[str]:
        found = []
        while self._place < len(self._pattern):
            found.append(self._next())
        return found

    def _take(self, length: int) -> str:
        taken = self._pattern[self._place : self._place + length]
        self._place += length
        return taken

    def _following(self, ahead: int = 0) -> str:
        place = self._place + ahead
        return self._pattern[place : place + 1]

    def _next(self) -> str:
        character = self._pattern[self._place]
        count = _COUNT.match(self._pattern, self._place)
        if count or character in "*+?":
            return self._quantified(self._take(len(count[0]) if count else 1))
        self._is_place = False
        if character == "\\":
            return self._escape(inside=False)
        if character == "[":
            return self._set()
        if character == "(":
            return self._group()
        self._take(1)
        if character == ")":
            self._is_place = bool(self._open) and self._open.pop()
        if character == ".":
            return r"[^\n\r\u2028\u2029]"
        return {"$": r"\Z", "]": r"\]", "{": r"\{", "}": r"\}"}.get(character, character)

    def _quantified(self, quantifier: str) -> str:
        """A second mark is lazy with ``?``, and nothing else in JavaScript."""
        if self._following() == "?":
            quantifier += self._take(1)
        if self._is_place or self._following() in ("*", "+", "?"):
            raise NotAlike("JavaScript refuses this regular expression: nothing to repeat")
        return quantifier

    def _group(self) -> str:
        if self._following(1) != "?":
            self._open.append(False)
            return self._take(1)
        opening = _GROUP.match(self._pattern, self._place)
        if opening is None:
            raise NotAlike(f"`{self._pattern[self._place : self._place + 4]}` is not taken alike")
        self._take(len(opening[0]))
        self._open.append(opening[0] in ("(?<=", "(?<!"))
        return f"(?P<{opening['name']}>" if opening["name"] else opening[0]

    def _escape(self, *, inside: bool) -> str:
        self._take(1)
        if self._place >= len(self._pattern):
            raise NotAlike("JavaScript refuses this regular expression: it ends with a backslash")
        hexadecimal = _HEX.match(self._pattern, self._place)
        if hexadecimal:
            return "\\" + self._take(len(hexadecimal[0]))
        character = self._take(1)
        if character in _CLASSES:
            return _CLASSES[character] if inside else f"[{_CLASSES[character]}]"
        if character.lower() in _CLASSES and not inside:
            return f"[^{_CLASSES[character.lower()]}]"
        if character in _SAME_ESCAPES:
            return "\\" + character
        if character in "bB":
            if inside and character == "b":
                return r"\x08"
            if not inside:
                self._is_place = True
                return r"(?a:\b)" if character == "b" else r"(?a:(?!\b))"  # also in an empty text
        if character == "0" and not self._following().isdigit():
            return r"\x00"
        if character.isalnum():
            raise NotAlike(f"`\\{character}` is not taken alike")
        return re.escape(character)

    def _set(self) -> str:
        negated = self._pattern.startswith("[^", self._place)
        self._take(2 if negated else 1)
        found = []
        while self._following() != "]":
            member = self._member()
            if self._following() == "-" and self._following(1) not in ("]", ""):
                self._take(1)
                last = self._member()
                if {member, last} & {*_CLASSES.values()}:
                    raise NotAlike("a range that begins or ends with a class is not taken alike")
                member += f"-{last}"
            found.append(member)
        self._take(1)
        if not found:
            return r"[\s\S]" if negated else r"(?!)"
        return f"[{'^' if negated else ''}{''.join(found)}]"

    def _member(self) -> str:
        """A character or a class in a set."""
        if not self._following():
            raise NotAlike("JavaScript refuses this regular expression: a [ is not closed")
        if self._following() == "\\":
            return self._escape(inside=True)
        character = self._take(1)
        return "\\" + character if character in "[&~|-" else character
