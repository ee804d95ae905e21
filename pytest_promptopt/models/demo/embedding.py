"""The embedding of `demo`: texts that share words and letters in a row point in nearly the same direction."""

from __future__ import annotations

import math
import re
from collections import Counter
from zlib import crc32

#: Numbers of a vector. Each word and each three letters have a place among them, some of them the same one.
SIZE = 256
#: Letters in a row that are counted, with the blanks around a word.
LETTERS = 3


def vector_of(text: str) -> tuple[float, ...]:
    """Of length 1; the same for texts that differ in case, blanks and punctuation alone."""
    words = re.findall(r"\w+", text.casefold()) or [text.casefold()]
    parts = Counter(words)
    for word in words:
        padded = f" {word} "
        parts.update(padded[start : start + LETTERS] for start in range(len(padded) - LETTERS + 1))
    vector = [0.0] * SIZE
    for part, count in parts.items():
        place = crc32(part.encode("utf-8", "surrogatepass"))
        # A sign, so that parts which share a place do not make all texts alike.
        vector[place % SIZE] += math.sqrt(count) * (1 if place & 0x80000000 else -1)
    length = math.hypot(*vector)
    return tuple(each / length for each in vector) if length else (1.0, *[0.0] * (SIZE - 1))
