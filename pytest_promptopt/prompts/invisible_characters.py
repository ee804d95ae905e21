"""Characters that nobody sees, in any script: who reads a diff misses them, a model reads them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

#: Controls besides line end and tab, formats (zero width, direction of writing, soft hyphen), halves of
#: characters, private use, separators of lines and of paragraphs.
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_LAYOUT = "\n\t"

#: What Unicode lets be drawn as nothing besides these: fillers, joiners of marks, selectors of a variant, and
#: the whole plane of tags.
_DRAWN_AS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)

#: What nearly every text is made of, known at once.
_ORDINARY = re.compile("[ -~\n\t]+")

#: What people type with a selector after it: a symbol drawn in colors, a digit on a key.
_EMOJI_STYLE = "\ufe0f"
_KEY = re.compile("[0-9#*]\ufe0f\u20e3")
_SYMBOLS = ("So", "Sk", "Sm", "Po", "Pd")


def invisible_places(text: str) -> Iterator[int]:
    """Where in `text` the characters stand that nobody sees."""
    if _ORDINARY.fullmatch(text):
        return
    for place, character in enumerate(text):
        if not _ORDINARY.match(character) and _is_unseen(character) and not _styles_emoji(text, place):
            yield place


def name_of(character: str) -> str:
    """``U+202E RIGHT-TO-LEFT OVERRIDE``."""
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def _is_unseen(character: str) -> bool:
    if character in _LAYOUT:
        return False
    return unicodedata.category(character) in _UNSEEN or _DRAWN_AS_NOTHING.match(character) is not None


def _styles_emoji(text: str, place: int) -> bool:
    before = text[place - 1] if place else " "
    if text[place] != _EMOJI_STYLE:
        return False
    if before.isascii():
        return _KEY.match(text, place - 1) is not None
    return unicodedata.category(before) in _SYMBOLS
