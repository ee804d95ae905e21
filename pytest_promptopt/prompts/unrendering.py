"""Find a rendered prompt in a text, and read off what stands where its variables are.

The fixed passages of the template are looked for in order, once from the left and, where that leaves a
choice, once from the right. Where both find the same places there is one way to read the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from pytest_promptopt.prompts.passages import (
    BEGINS,
    ENDS,
    FIXED,
    VALUE,
    Gap,
    Shape,
    closest,
    doubtful,
    inside_edges,
    is_only_way,
    leftmost,
    letters,
    longest_beginning,
    rightmost,
    shape_of,
    shown_beginning,
    shown_ending,
    whole,
)
from pytest_promptopt.prompts.template_languages import Opaque, Part, Variable


@dataclass(frozen=True)
class Rendered:
    """A prompt as it stands in a text, from `start` to `end`.

    :param variables: the values as they arrived.
    :param fixed_length: letters and digits of the fixed passages: the more, the surer the match.
    :param unread: variable -> why its value cannot be told, in a sentence.
    :param if_alone: variables whose texts are right if the message holds nothing but the prompt, unstripped:
        they begin or end it, or the message can be read in another way too.
    :param texts: what stands in each gap between the passages, by the keys of the gap's parts.
    :param cut: whether the blanks at the beginning and at the end of the template are missing.
    :param unknown: why it cannot be told where the prompt begins and where it ends, in sentences; it then
        counts from the beginning of the text, and to its end.
    :param edges: as `texts`, of what stands there then.
    """

    start: int
    end: int
    variables: Mapping[str, str]
    fixed_length: int
    unread: Mapping[str, str] = field(default_factory=dict)
    if_alone: frozenset[str] = frozenset()
    texts: Mapping[tuple[str, ...], str] = field(default_factory=dict, repr=False)
    cut: tuple[bool, bool] = (False, False)
    unknown: tuple[str, str] = ("", "")
    edges: Mapping[tuple[str, ...], str] = field(default_factory=dict, repr=False)


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
        found = sum(map(letters, self.shape.passages[: self.failed]))
        if self.told:
            return found
        passage = self.shape.passages[self.failed]
        return found + letters(passage[: longest_beginning(passage, self.text, self.position)[0]])

    @cached_property
    def reason(self) -> str:
        return self.told or closest(self.shape.passages, self.text, self.failed, self.position)


def find_rendered(parts: tuple[Part, ...], text: str) -> Rendered | NotFound:
    """Where in `text` the template with these parts stands, and with which values."""
    shape = shape_of(parts)
    passages = shape.passages
    if not any(passages):
        said = "it has no fixed text, so nothing tells it from any other text"
        return NotFound(shape, text, 0, 0, said)
    start, end = inside_edges(shape, text)
    left = leftmost(passages, text, start, end)
    if len(left) < len(passages):
        position = left[-1] + len(passages[len(left) - 1]) if left else start
        return NotFound(shape, text, len(left), position)
    unsure = doubtful(shape, text, start, end)
    if is_only_way(passages, text, left, end):
        return _reading(shape, text, left, left, if_alone=unsure)
    right = rightmost(passages, text, start, end)
    if (places := whole(passages, text, start, end)) is None:
        return _reading(shape, text, left, right, if_alone=unsure)
    unsure |= {number for number in range(len(left)) if left[number] != right[number]}
    return _reading(shape, text, *places, if_alone=unsure)


def taken_whole(parts: tuple[Part, ...], text: str) -> Rendered | NotFound:
    """As `find_rendered`, but a template that is nothing but a gap takes the whole text."""
    shape = shape_of(parts)
    if any(shape.passages) or not shape.gaps:
        return find_rendered(parts, text)
    return _reading(shape, text, [0, len(text)], [0, len(text)])


def filled(
    parts: tuple[Part, ...], own: Rendered | None, others: Sequence[Rendered], *, cut: tuple[bool, bool]
) -> str:
    """A template with these parts, filled with what was read: nothing is evaluated.

    :param own: what was read at the place that it is for; None for a new place.
    :param others: what was read elsewhere.
    :param cut: whether its blanks at the beginning and the end are left out.
    :raises LookupError: with the sentence that says which value is not known.
    """
    shape, readings = shape_of(parts), [own, *others] if own else others
    items, texts, place = shape.items, list[str](), 0
    known = _by_first_item([*([own.edges] if own else []), *(reading.texts for reading in readings)])
    has_edge = [not is_cut for is_cut in cut]
    while place < len(items):
        item = items[place]
        fitting = (each for each in known.get(item, ()) if items[place : place + len(each[0])] == each[0])
        key, text = next(fitting, ((item,), None))
        if text is not None:
            has_edge[0] &= item != BEGINS
            has_edge[1] &= key[-1] != ENDS
        elif item in (BEGINS, ENDS):
            if why := own.unknown[item == ENDS] if own else "":
                raise LookupError(why)
        elif item.startswith(FIXED):
            text = item.removeprefix(FIXED)
        else:
            part = next(part for gap in shape.gaps for part in gap if VALUE + part.key == item)
            raise LookupError(_why_unknown(part, readings))
        texts.append(text or "")
        place += len(key)
    before, after = (edge if has else "" for has, edge in zip(has_edge, shape.edges, strict=True))
    return "".join([before, *texts, after])


def _by_first_item(
    texts: Sequence[Mapping[tuple[str, ...], str]],
) -> Mapping[str, list[tuple[tuple[str, ...], str]]]:
    """What is known, by the first item that it stands for; of these what stands for most comes first."""
    found: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for key, text in (each for mapping in texts for each in mapping.items() if each[0]):
        found.setdefault(key[0], []).append((key, text))
    for each in found.values():
        each.sort(key=lambda known: -len(known[0]))
    return found


def _why_unknown(part: Variable | Opaque, readings: Sequence[Rendered]) -> str:
    if isinstance(part, Opaque):
        return f"{part.shown} was not in the prompt that was sent, so its text is not known"
    for reading in readings:
        if part.name in reading.variables:
            return f"the prompt that was sent does not write `{part.name}` as {part.written}"
        if part.name in reading.unread:
            return reading.unread[part.name]
    return f"the prompt that was sent does not hold `{part.name}`"


# --------------------------------------------------------------------------------------------------- reading


def _reading(
    shape: Shape,
    text: str,
    left: Sequence[int],
    right: Sequence[int],
    *,
    if_alone: frozenset[int] = frozenset(),
) -> Rendered | NotFound:
    """What stands between the passages that have one place, `left` and `right` being the same.

    :param if_alone: passages that have it only if the prompt is all of the text, and as it was rendered.
    """
    count = len(shape.passages)
    sure = [number for number in range(count) if left[number] == right[number]]
    begins = {-1: 0, **{number: left[number] for number in sure}, count: len(text)}
    ends = {-1: 0, **{number: left[number] + len(shape.passages[number]) for number in sure}}
    found = _Found(begins.get(0, 0), ends.get(count - 1, len(text)))
    bounds = [*([] if 0 in sure else [-1]), *sure, *([] if count - 1 in sure else [count])]
    zones = [(_is_open(shape, *zone), *zone) for zone in pairwise(bounds)]
    for is_open, before, after in sorted(zones):
        key, gaps = shape.between(before, after), shape.gaps[max(before, 0) : after]
        value, known = text[ends[before] : begins[after]], found.texts.get(key)
        if known is None:
            is_edge = before < 0 or after == count
            (found.edges if is_edge else found.texts)[key] = value
            is_sure = not is_edge and len(gaps) == 1
            assumed = is_open or not if_alone.isdisjoint((before, after))
            found.note(gaps, value, is_sure=is_sure, assumed=assumed)
        elif is_open and after == count - 1 and value.startswith(known):
            found.end = ends[before] + len(known)
        elif is_open and before == 0 and value.endswith(known):
            found.start = begins[after] - len(known)
        elif known != value:
            names = _listed({name for gap in gaps for name in _names(gap)})
            said = f"{names} stands there more than once, with different texts"
            return NotFound(shape, text, after, ends[before], said)
    unknown = tuple(
        "" if number in sure else _twice(shown, side)
        for number, shown, side in (
            (0, shown_ending(shape.passages[0]), "begins"),
            (count - 1, shown_beginning(shape.passages[-1]), "ends"),
        )
    )
    start, end, cut = _with_edges(shape, text, found.start, found.end)
    return Rendered(
        start,
        end,
        found.variables,
        shape.fixed_length,
        {name: why for name, why in found.unread.items() if name not in found.variables},
        frozenset(found.assumed),
        found.texts,
        cut,
        (unknown[0], unknown[1]),
        found.edges,
    )


def _twice(passage: str, side: str) -> str:
    return f"it cannot be told where the prompt {side} in the message: {passage} is there more than once"


def _is_open(shape: Shape, before: int, after: int) -> bool:
    """Whether text beside the prompt would be taken for a part of what stands between these passages."""
    last = len(shape.passages) - 1
    return before < 0 or after > last or not shape.passages[before] or not shape.passages[after]


@dataclass
class _Found:
    start: int
    end: int
    texts: dict[tuple[str, ...], str] = field(default_factory=dict)
    edges: dict[tuple[str, ...], str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    assumed: set[str] = field(default_factory=set)

    def note(self, gaps: Sequence[Gap], value: str, *, is_sure: bool, assumed: bool) -> None:
        """What the text of one gap, or of several that cannot be told apart, says of their variables."""
        names = {name for gap in gaps for name in _names(gap)}
        self.assumed |= names if assumed else set()
        if not is_sure:
            for name in names:
                self.unread[name] = f"`{name}` is ambiguous: what stands beside it stands in a value too"
            return
        part = gaps[0][0]
        if len(gaps[0]) > 1 or isinstance(part, Opaque) or not part.exact:
            self.unread |= dict(_unread(gaps[0]))
            return
        self.variables[part.name] = value


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
