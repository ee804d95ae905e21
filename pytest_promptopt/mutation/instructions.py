"""The instructions of a prompt: sentences and items of lists, each where it stands.

What no instruction is stays out: headings and lines that only lead to what follows, examples, blocks of code,
comments, the names of chat roles, and whatever holds a variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_promptopt.prompts.cutting import has_template_syntax, split_passages
from pytest_promptopt.prompts.examples import without_examples

#: A passage that is only the mark of a list's item, which belongs to what follows.
_MARKER = re.compile(r"\s*(?:[-*•+]|\(?(?:\d{1,3}|[A-Za-z])[.)])\s*")

#: What begins an item of a list, or a heading: never the rest of the line before.
_BEGINS = re.compile(r"\s*(?:[-*•+]|\(?(?:\d{1,3}|[A-Za-z])[.)])\s|\s*#")

#: A full stop that ends no sentence.
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|no|mr|mrs|ms|dr|st)\.)$", re.IGNORECASE)

#: What is shown and not told: an example, a turn of one, the heading of a part.
_SHOWN = re.compile(
    r"\s*(?:[-*•+]\s*)?[*_`\"']*(?:for example\b|e\.g\.|(?:example|examples|input|output|question|answer|q|a|"
    r"user|assistant|system|human|developer|model)\b[*_`\"' \d]*:)",
    re.IGNORECASE,
)
_ROLE = re.compile(r"\s*(?:user|assistant|system|developer|human|model)\s*:\s*", re.IGNORECASE)

#: A line that only opens or closes a part of the prompt.
_TAG = re.compile(r"</?[A-Za-z][\w-]*[^<>]*>")

#: Blocks in which nothing is an instruction.
_BLOCKS = re.compile(
    r"^(?P<fence>```|~~~).*?^(?P=fence)[^\n]*$|<!--.*?-->|<(?P<tag>examples?|sample)\b[^>]*>.*?</(?P=tag)>",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)

#: Fewer letters than this tell nobody anything.
_LEAST_LETTERS = 3


@dataclass(frozen=True)
class Instruction:
    """One instruction of a text.

    :param line: of the text, from 1, where it begins.
    :param start: where it begins in the text; `end` where it ends, without the white space after it.
    :param without: the text without it.
    """

    text: str
    line: int
    start: int
    end: int
    without: str


def instructions_of(prose: str) -> list[Instruction]:
    """The instructions of a text, in order."""
    pieces = split_passages(prose)
    own = {piece.strip() for piece in split_passages(without_examples(prose))}
    blocks = [match.span() for match in _BLOCKS.finditer(prose)]
    starts = [0]
    for piece in pieces:
        starts.append(starts[-1] + len(piece))
    found = []
    for group in _groups(pieces):
        whole = "".join(pieces[number] for number in group)
        start = starts[group[0]] + len(whole) - len(whole.lstrip())
        end = starts[group[0]] + len(whole.rstrip())
        if any(pieces[number].strip() not in own for number in group) or not _tells(prose[start:end]):
            continue
        if any(first < end and start < last for first, last in blocks):
            continue
        line, without = prose.count("\n", 0, start) + 1, _without(prose, start, end)
        found.append(Instruction(prose[start:end], line, start, end, without))
    return found


def _without(prose: str, start: int, end: int) -> str:
    """The text without this part: whole lines go, and an item keeps its marker for what is left of it."""
    first = prose.rfind("\n", 0, start) + 1
    last = prose.find("\n", end)
    last = len(prose) if last < 0 else last
    if prose[end:last].strip():
        marker = _BEGINS.match(prose[start:end])
        kept = prose[: start + (marker.end() if marker else 0)]
        return kept + prose[end:].lstrip(" \t")
    if prose[first:start].strip():
        return prose[:start].rstrip(" \t") + prose[last:]
    return prose[:first] + prose[last + 1 :]


def _tells(text: str) -> bool:
    if sum(map(str.isalpha, text)) < _LEAST_LETTERS or has_template_syntax(text):
        return False
    leads = text.endswith((":", "：")) or text.startswith("#")
    return not (leads or _SHOWN.match(text) or _ROLE.fullmatch(text) or _TAG.fullmatch(text))


def _groups(pieces: Sequence[str]) -> Iterator[list[int]]:
    """The passages that are one instruction: a marker and its item, a sentence over several lines."""
    group: list[int] = []
    for number, piece in enumerate(pieces):
        if group and not _goes_on("".join(pieces[n] for n in group), piece):
            yield group
            group = []
        if piece.strip():
            group.append(number)
    if group:
        yield group


def _goes_on(before: str, piece: str) -> bool:
    """Whether `piece` belongs to what stands before it."""
    text = before.rstrip()
    ends = before[len(text) :].count("\n")
    if _MARKER.fullmatch(before) and not ends:
        return True
    if not ends:
        return _ABBREVIATION.search(text) is not None
    if ends > 1 or text.endswith((".", "!", "?", ":", ";", "。", "！", "？", "：")) or _BEGINS.match(piece):
        return False
    return piece.lstrip()[:1].islower()
