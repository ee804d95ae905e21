"""Ways to break an instruction that need no model: leave it out, weaken it, or turn it round."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_promptopt.mutation.instructions import Instruction
from pytest_promptopt.settings import Breaking

#: What each way has done, as in "noticed when it is deleted".
DONE = {Breaking.DELETE: "deleted", Breaking.WEAKEN: "weakened", Breaking.NEGATE: "turned round"}

#: Each word that is found is exchanged: the instruction asks for less.
_WEAKER = (
    (r"must not|mustn't", "should rather not"),
    (r"do not|don't", "try not to"),
    (r"never", "rarely"),
    (r"always", "usually"),
    (r"must", "may"),
    (r"only", "mainly"),
    (r"exactly", "about"),
    (r"at most|no more than|at least", "about"),
)

#: The first word that is found is exchanged: the instruction asks for the opposite.
_OPPOSITE = (
    (r"must not|mustn't", "must"),
    (r"should not|shouldn't", "should"),
    (r"do not|don't|never", "always"),
    (r"always", "never"),
    (r"must", "must not"),
    (r"should", "should not"),
    (r"at most|no more than", "more than"),
    (r"at least", "less than"),
    (r"only", "not only"),
)


def broken_texts(
    prose: str, instruction: Instruction, ways: Sequence[Breaking]
) -> Iterator[tuple[Breaking, str]]:
    """The whole text with the instruction broken, once for each of `ways` that fits its words."""
    for way in ways:
        if way is Breaking.DELETE:
            yield way, instruction.without
        elif (changed := _reworded(instruction.text, way)) != instruction.text:
            yield way, prose[: instruction.start] + changed + prose[instruction.end :]


def _reworded(text: str, way: Breaking) -> str:
    if way is Breaking.NEGATE:
        for words, other in _OPPOSITE:
            changed = _exchanged(text, words, other, count=1)
            if changed != text:
                return changed
        return text
    for words, other in _WEAKER:
        text = _exchanged(text, words, other)
    return text


def _exchanged(text: str, words: str, other: str, count: int = 0) -> str:
    """With `other` in the place of these words, which are matched whole and in any case."""

    def put(found: re.Match[str]) -> str:
        return other[:1].upper() + other[1:] if found[0][:1].isupper() else other

    return re.sub(rf"\b(?:{words})\b", put, text, count=count, flags=re.IGNORECASE)
