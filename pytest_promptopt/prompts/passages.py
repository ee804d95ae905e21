"""The fixed passages of a template, and where they stand in a text.

There are no regular expressions: each search goes over the text once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from pytest_promptopt.prompts.template_languages import Fixed, Opaque, Part, Variable

#: Characters of a passage that a message shows.
_SHOWN = 40

#: Characters of a passage that are looked for before the whole.
_BEGINNING = 128

#: Before what an item of a template is: a passage, or what decides the text of a gap.
FIXED, VALUE = "=", "?"

#: The items at both ends of a template.
BEGINS, ENDS = "^", "$"

Gap = tuple[Variable | Opaque, ...]


@dataclass(frozen=True)
class Shape:
    """A template as passages with gaps between: ``passages[0] gaps[0] passages[1] ...``.

    The first and the last passage may be empty: then a gap begins or ends the template. They have no blanks
    at the edges of the template, which applications strip; those are `edges`.
    """

    passages: tuple[str, ...]
    gaps: tuple[Gap, ...]
    edges: tuple[str, str]

    @cached_property
    def items(self) -> tuple[str, ...]:
        """The passages and the parts of the gaps, in order, as what decides their texts."""
        return self.between(-1, len(self.passages))

    def between(self, before: int, after: int) -> tuple[str, ...]:
        """Those between two passages; -1 and the number of passages stand for the ends of the template."""
        found = [BEGINS] if before < 0 else []
        for number in range(before, after):
            if number > before:
                found.append(FIXED + self.passages[number])
            if 0 <= number < len(self.gaps):
                found += [VALUE + part.key for part in self.gaps[number]]
        return tuple(found) if after < len(self.passages) else (*found, ENDS)

    @cached_property
    def fixed_length(self) -> int:
        return sum(map(letters, self.passages))


@lru_cache(maxsize=512)
def shape_of(parts: tuple[Part, ...]) -> Shape:
    """The passages and gaps of a template."""
    passages, gaps = [""], list[Gap]()
    for part in parts:
        if isinstance(part, Fixed):
            passages[-1] += part.text
        elif passages[-1] or not gaps:
            gaps.append((part,))
            passages.append("")
        else:
            gaps[-1] = (*gaps[-1], part)
    first, last = passages[0], passages[-1]
    passages[0] = passages[0].lstrip()
    passages[-1] = passages[-1].rstrip()
    edges = first[: len(first) - len(first.lstrip())], last[len(last.rstrip()) :]
    return Shape(tuple(passages), tuple(gaps), edges)


def inside_edges(shape: Shape, text: str) -> tuple[int, int]:
    """The part of `text` that a variable at an edge of the template may take."""
    before, after = shape.edges
    start = len(before) if not shape.passages[0] and text.startswith(before) else 0
    end = len(text)
    if not shape.passages[-1] and after and text.endswith(after) and end - len(after) >= start:
        end -= len(after)
    return start, end


def find_first(passage: str, text: str, start: int, end: int) -> int:
    """As `str.find`, which prepares for a long passage at some length: its beginning is looked for first."""
    place = text.find(passage[:_BEGINNING], start, end)
    if place < 0 or text.startswith(passage, place, end):
        return place
    return text.find(passage, place + 1, end)


def doubtful(shape: Shape, text: str, start: int, end: int) -> frozenset[int]:
    """Passages that could be at the edge of the text, in part, if the application had stripped it there.

    They are those beside a variable at an edge of the template, which would be empty then.
    """
    passages, last = shape.passages, len(shape.passages) - 1
    found = set[int]()
    if not passages[last] and passages[last - 1] != (core := passages[last - 1].rstrip()):
        found |= {last - 1} if text.endswith(core, start, end) else set()
    if not passages[0] and passages[1] != (core := passages[1].lstrip()):
        found |= {1} if text.startswith(core, start, end) else set()
    return frozenset(found)


def leftmost(passages: Sequence[str], text: str, start: int, end: int) -> list[int]:
    """The first place of each passage after those before it; shorter when one is not there."""
    found: list[int] = []
    position = start
    for number, passage in enumerate(passages):
        # An empty one ends the template: what is before it may be as long as the text.
        place = end if number and not passage else find_first(passage, text, position, end)
        if place < 0:
            return found
        found.append(place)
        position = place + len(passage)
    return found


def rightmost(passages: Sequence[str], text: str, start: int, end: int) -> list[int]:
    """The last place of each passage before those after it; `str.rfind` is not always linear, `find` is."""
    mirrored = [passage[::-1] for passage in reversed(passages)]
    found = leftmost(mirrored, text[start:end][::-1], 0, end - start)
    return [end - place - len(passage) for place, passage in zip(reversed(found), passages, strict=True)]


def is_only_way(passages: Sequence[str], text: str, places: Sequence[int], end: int) -> bool:
    """Whether no passage stands between its first place and the next passage once more."""
    ends = [*places[1:], end]
    return not any(
        passage and find_first(passage, text, place + 1, until) >= 0
        for passage, place, until in zip(passages, places, ends, strict=True)
    )


def whole(passages: Sequence[str], text: str, start: int, end: int) -> tuple[list[int], list[int]] | None:
    """The first and the last places of the passages if the prompt is all of the text, blanks aside."""
    first, *others = passages
    if first:
        start += len(text[start:end]) - len(text[start:end].lstrip())
    if passages[-1]:
        end = start + len(text[start:end].rstrip())
    if not others or not text.startswith(first, start) or not text.endswith(passages[-1], start, end):
        return None
    last = end - len(passages[-1])
    inner = passages[1:-1]
    left = leftmost(inner, text, start + len(first), last) if inner else []
    if last < start + len(first) or len(left) < len(inner):
        return None
    right = rightmost(inner, text, start + len(first), last) if inner else []
    return [start, *left, last], [start, *right, last]


def letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def closest(passages: Sequence[str], text: str, failed: int, position: int) -> str:
    """What of the prompt is in the text, and what is not where expected. Less than a word is nothing."""
    passage = passages[failed]
    length, place = longest_beginning(passage, text, position)
    if letters(passage[:length] if length == len(passage) else passage[:length].rpartition(" ")[0]):
        there, wanted = text[place + length :], passage[length:]
        found = f"has {shown_ending(passage[:length])} at character {place:,}"
        return f"{found}, but then {shown_beginning(there)} where the prompt has {shown_beginning(wanted)}"
    if failed and passages[failed - 1]:
        return f"has {shown_ending(passages[failed - 1])}, but {shown_beginning(passage)} does not follow"
    longest = max(passages[failed:], key=len)
    place = text.find(longest)
    if longest != passage and place >= 0:
        found = f"has {shown_beginning(longest)} at character {place:,}"
        return f"{found}, but not {shown_beginning(passage)} before it"
    return f"has nothing of {shown_beginning(passage)}"


def longest_beginning(passage: str, text: str, position: int) -> tuple[int, int]:
    """How much of the beginning of `passage` stands in `text`, and where; found by halving."""
    low, high, place = 0, len(passage), position
    while low < high:
        middle = (low + high + 1) // 2
        found = text.find(passage[:middle], position)
        if found < 0:
            high = middle - 1
        else:
            low, place = middle, found
    return low, place


def shown_beginning(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") if text else "its end"


def shown_ending(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"...{text[-_SHOWN:]}")
