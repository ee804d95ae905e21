"""Find a rendered prompt in a text, and read off what stands where its variables are.

The fixed passages of the template are looked for in order, once from the left and, where that leaves a
choice, once from the right. Where both find the same places there is one way to read the text. There are no
regular expressions: each pass goes over the text once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise

from pytest_promptopt.prompts.template_languages import Fixed, Opaque, Part, Variable

#: Characters of a passage that a message shows.
_SHOWN = 40

#: Before what an item of a template is: a passage, or what decides the text of a gap.
_FIXED, _VALUE = "=", "?"

Gap = tuple[Variable | Opaque, ...]


@dataclass(frozen=True)
class Rendered:
    """A prompt as it stands in a text, from `start` to `end`.

    :param variables: the values as they arrived.
    :param fixed_length: letters and digits of the fixed passages: the more, the surer the match.
    :param unread: variable -> why its value cannot be told, in a sentence.
    :param if_alone: variables whose values are right if the text holds nothing but the prompt: they begin or
        end it, or the text can be read in another way too.
    :param texts: what stands in each gap between the passages, by the keys of the gap's parts.
    :param cut: whether the blanks at the beginning and at the end of the template are missing.
    """

    start: int
    end: int
    variables: Mapping[str, str]
    fixed_length: int
    unread: Mapping[str, str] = field(default_factory=dict)
    if_alone: frozenset[str] = frozenset()
    texts: Mapping[tuple[str, ...], str] = field(default_factory=dict, repr=False)
    cut: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class NotFound:
    """Why a prompt is not in a text.

    :param told: the sentence, where it is known already.
    """

    shape: Shape = field(repr=False)
    text: str = field(repr=False)
    failed: int
    position: int
    told: str = ""

    @cached_property
    def matched(self) -> int:
        """Letters and digits that were found in order: passages, and the beginning of the next one."""
        found = sum(map(_letters, self.shape.passages[: self.failed]))
        if self.told:
            return found
        passage = self.shape.passages[self.failed]
        return found + _letters(passage[: _longest_beginning(passage, self.text, self.position)[0]])

    @cached_property
    def reason(self) -> str:
        return self.told or _closest(self.shape.passages, self.text, self.failed, self.position)


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
        """Those between two passages."""
        found: list[str] = []
        for number in range(before, after):
            if number > before:
                found.append(_FIXED + self.passages[number])
            if 0 <= number < len(self.gaps):
                found += [_VALUE + part.key for part in self.gaps[number]]
        return tuple(found)

    @cached_property
    def fixed_length(self) -> int:
        return sum(map(_letters, self.passages))


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


def find_rendered(parts: tuple[Part, ...], text: str) -> Rendered | NotFound:
    """Where in `text` the template with these parts stands, and with which values."""
    shape = shape_of(parts)
    passages = shape.passages
    if not any(passages):
        said = "it has no fixed text, so nothing tells it from any other text"
        return NotFound(shape, text, 0, 0, said)
    start, end = _inside_edges(shape, text)
    left = _leftmost(passages, text, start, end)
    if len(left) < len(passages):
        position = left[-1] + len(passages[len(left) - 1]) if left else start
        return NotFound(shape, text, len(left), position)
    if _is_only_way(passages, text, left, end):
        return _reading(shape, text, left, left, alone=False)
    right = _rightmost(passages, text, start, end)
    whole = _whole(passages, text, start, end)
    if whole is not None:
        return _reading(shape, text, *whole, alone=True)
    if left[0] == right[0] and left[-1] == right[-1]:
        return _reading(shape, text, left, right, alone=False)
    shown = (
        _ending(passages[-1] or passages[-2])
        if left[0] == right[0]
        else _beginning(passages[0] or passages[1])
    )
    said = f"its {shown} is there more than once, and the text can be read in more than one way"
    return NotFound(shape, text, len(passages), end, said)


def taken_whole(parts: tuple[Part, ...], text: str) -> Rendered | NotFound:
    """As `find_rendered`, but a template that is nothing but a gap takes the whole text."""
    shape = shape_of(parts)
    if any(shape.passages) or not shape.gaps:
        return find_rendered(parts, text)
    return _reading(shape, text, [0, len(text)], [0, len(text)], alone=False)


def filled(parts: tuple[Part, ...], readings: Sequence[Rendered], *, cut: tuple[bool, bool]) -> str:
    """A template with these parts, filled with what was read: nothing is evaluated.

    :param cut: whether its blanks at the beginning and the end are left out.
    :raises LookupError: with the sentence that says which value is not known.
    """
    shape = shape_of(parts)
    items, texts, place = shape.items, list[str](), 0
    known = sorted((each for reading in readings for each in reading.texts.items()), key=lambda e: -len(e[0]))
    while place < len(items):
        if items[place].startswith(_FIXED):
            texts.append(items[place].removeprefix(_FIXED))
            place += 1
            continue
        for key, text in known:
            if items[place : place + len(key)] == key:
                texts.append(text)
                place += len(key)
                break
        else:
            part = next(part for gap in shape.gaps for part in gap if _VALUE + part.key == items[place])
            raise LookupError(_why_unknown(part, readings))
    before, after = ("" if is_cut else edge for is_cut, edge in zip(cut, shape.edges, strict=True))
    return "".join([before, *texts, after])


def _why_unknown(part: Variable | Opaque, readings: Sequence[Rendered]) -> str:
    if isinstance(part, Opaque):
        return f"{part.shown} was not in the prompt that was sent, so its text is not known"
    for reading in readings:
        if part.name in reading.variables:
            return f"the prompt that was sent does not write `{part.name}` as {part.written}"
        if part.name in reading.unread:
            return reading.unread[part.name]
    return f"the prompt that was sent does not hold `{part.name}`"


# ------------------------------------------------------------------------------------------------- searching


def _inside_edges(shape: Shape, text: str) -> tuple[int, int]:
    """The part of `text` that a variable at an edge of the template may take."""
    before, after = shape.edges
    start = len(before) if not shape.passages[0] and text.startswith(before) else 0
    end = len(text)
    if not shape.passages[-1] and after and text.endswith(after) and end - len(after) >= start:
        end -= len(after)
    return start, end


def _leftmost(passages: Sequence[str], text: str, start: int, end: int) -> list[int]:
    """The first place of each passage after those before it; shorter when one is not there."""
    found: list[int] = []
    position = start
    for number, passage in enumerate(passages):
        # An empty one ends the template: what is before it may be as long as the text.
        place = end if number and not passage else text.find(passage, position, end)
        if place < 0:
            return found
        found.append(place)
        position = place + len(passage)
    return found


def _rightmost(passages: Sequence[str], text: str, start: int, end: int) -> list[int]:
    """The last place of each passage before those after it; `str.rfind` is not always linear, `find` is."""
    mirrored = [passage[::-1] for passage in reversed(passages)]
    found = _leftmost(mirrored, text[start:end][::-1], 0, end - start)
    return [end - place - len(passage) for place, passage in zip(reversed(found), passages, strict=True)]


def _is_only_way(passages: Sequence[str], text: str, places: Sequence[int], end: int) -> bool:
    """Whether no passage stands between its first place and the next passage once more."""
    ends = [*places[1:], end]
    return not any(
        passage and text.find(passage, place + 1, until) >= 0
        for passage, place, until in zip(passages, places, ends, strict=True)
    )


def _whole(passages: Sequence[str], text: str, start: int, end: int) -> tuple[list[int], list[int]] | None:
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
    left = _leftmost(inner, text, start + len(first), last) if inner else []
    if last < start + len(first) or len(left) < len(inner):
        return None
    right = _rightmost(inner, text, start + len(first), last) if inner else []
    return [start, *left, last], [start, *right, last]


# --------------------------------------------------------------------------------------------------- reading


def _reading(
    shape: Shape, text: str, left: Sequence[int], right: Sequence[int], *, alone: bool
) -> Rendered | NotFound:
    """What stands between the passages that have one place, `left` and `right` being the same."""
    passages, last = shape.passages, len(shape.passages) - 1
    sure = [number for number in range(last + 1) if left[number] == right[number]]
    found = _Found(left[0], left[-1] + len(passages[-1]))
    # A gap at an edge may be one whose text is known from elsewhere, so it comes last.
    zones = [(not passages[before] or not passages[after], before, after) for before, after in pairwise(sure)]
    for is_open, before, after in sorted(zones):
        begins, ends = left[before] + len(passages[before]), left[after]
        key, gaps = shape.between(before, after), shape.gaps[before:after]
        value, known = text[begins:ends], found.texts.get(key)
        if known is None:
            found.texts[key] = value
            found.note(gaps, value, assumed=alone or is_open)
        elif is_open and after == last and value.startswith(known):
            found.end = begins + len(known)
        elif is_open and before == 0 and value.endswith(known):
            found.start = ends - len(known)
        elif known != value:
            names = _listed({name for gap in gaps for name in _names(gap)})
            said = f"{names} stands there more than once, with different texts"
            return NotFound(shape, text, after, begins, said)
    start, end, cut = _with_edges(shape, text, found.start, found.end)
    return Rendered(
        start,
        end,
        found.variables,
        shape.fixed_length,
        {name: why for name, why in found.unread.items() if name not in found.variables},
        frozenset(found.assumed & found.variables.keys()),
        found.texts,
        cut,
    )


@dataclass
class _Found:
    start: int
    end: int
    texts: dict[tuple[str, ...], str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    assumed: set[str] = field(default_factory=set)

    def note(self, gaps: Sequence[Gap], value: str, *, assumed: bool) -> None:
        """What the text of one gap, or of several that cannot be told apart, says of their variables."""
        if len(gaps) > 1:
            for name in {name for gap in gaps for name in _names(gap)}:
                self.unread[name] = f"`{name}` is ambiguous: what stands beside it stands in a value too"
            return
        part = gaps[0][0]
        if len(gaps[0]) > 1 or isinstance(part, Opaque) or not part.exact:
            self.unread |= dict(_unread(gaps[0]))
            return
        self.variables[part.name] = value
        if assumed:
            self.assumed.add(part.name)


def _with_edges(shape: Shape, text: str, start: int, end: int) -> tuple[int, int, tuple[bool, bool]]:
    """With the blanks that the template has at its edges, where they are there."""
    before, after = shape.edges
    has_before = start >= len(before) and text.startswith(before, start - len(before))
    has_after = text.startswith(after, end)
    return (
        start - len(before) * has_before,
        end + len(after) * has_after,
        (not has_before, not has_after),
    )


def _unread(gap: Gap) -> Iterator[tuple[str, str]]:
    """The variables of a gap that has a text, but not the value of one variable."""
    if len(gap) > 1:
        names = _listed(_names(gap))
        for name in _names(gap):
            yield name, f"nothing stands between {names} in the prompt, so their values cannot be told apart"
    elif isinstance(gap[0], Opaque):
        for name in gap[0].names:
            yield name, f"`{name}` is used in {gap[0].shown}, so its value cannot be read off"
    elif not gap[0].exact:
        name = gap[0].name
        yield name, f"the prompt changes `{name}` before it puts it in, so its value cannot be read off"


def _names(gap: Gap) -> set[str]:
    return {name for part in gap for name in (part.names if isinstance(part, Opaque) else [part.name])}


def _listed(names: set[str]) -> str:
    return " and ".join(f"`{name}`" for name in sorted(names)) or "a block"


# -------------------------------------------------------------------------------------------- what is closest


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _closest(passages: Sequence[str], text: str, failed: int, position: int) -> str:
    """What of the prompt is in the text, and what is not where it was expected."""
    passage = passages[failed]
    length, place = _longest_beginning(passage, text, position)
    if _letters(passage[:length]):
        there, wanted = text[place + length :], passage[length:]
        found = f"has {_ending(passage[:length])} at character {place:,}"
        return f"{found}, but then {_beginning(there)} where the prompt has {_beginning(wanted)}"
    if failed and passages[failed - 1]:
        return f"has {_ending(passages[failed - 1])}, but {_beginning(passage)} does not follow"
    longest = max(passages[failed:], key=len)
    place = text.find(longest)
    if longest != passage and place >= 0:
        return f"has {_beginning(longest)} at character {place:,}, but not {_beginning(passage)} before it"
    return f"has nothing of {_beginning(passage)}"


def _longest_beginning(passage: str, text: str, position: int) -> tuple[int, int]:
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


def _beginning(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") if text else "its end"


def _ending(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"...{text[-_SHOWN:]}")
