"""The passages of a prompt that were shown to matter, as the HTML report marks them in both texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_promptopt.prompts.cutting import split_passages
from pytest_promptopt.reports.passage_evidence import (
    PassageVerdict,
    PromptPassages,
    passage_sentence,
)
from pytest_promptopt.text import cut_end, one_line, plural

#: Characters of a passage in the list, and passages of a set.
MAX_SHOWN = 160
MAX_PASSAGES = 12

#: The kind of a mark; the page has a style and a sign for each.
KINDS: Mapping[PassageVerdict, str] = {
    PassageVerdict.MATTERS: "matters",
    PassageVerdict.HARMS: "harms",
    PassageVerdict.NO_DIFFERENCE: "same",
    PassageVerdict.MAY_BE_CHANCE: "chance",
}


def passages_data(found: PromptPassages, before: str, after: str) -> dict[str, Any] | None:
    """The list of what was tried, and where it stands in both texts; None where nothing was."""
    if not found.evidence:
        return None
    numbers = _numbers(found)
    return {
        "told": [
            {
                "kind": KINDS[each.verdict],
                "texts": [cut_end(one_line(text), MAX_SHOWN) for text in each.passages[:MAX_PASSAGES]],
                "more": max(0, len(each.passages) - MAX_PASSAGES),
                "new": each.new,
                "said": passage_sentence(each),
            }
            for each in found.evidence
        ],
        "untried": f"{plural(found.untried, 'passage')} of the new text: not tried" if found.untried else "",
        "old": _marks(before, numbers),
        "new": _marks(after, {text: n for text, n in numbers.items() if found.evidence[n].new}),
    }


def _numbers(found: PromptPassages) -> dict[str, int]:
    """Of each passage the entry that says most of it: of the smallest set, of these one that is shown."""
    best: dict[str, int] = {}
    for number, each in enumerate(found.evidence):
        for passage in each.passages:
            other = found.evidence[best.setdefault(passage, number)]
            if len(other.passages) == len(each.passages) and each.is_shown and not other.is_shown:
                best[passage] = number
    return best


def _marks(text: str, numbers: Mapping[str, int]) -> dict[int, list[tuple[int, int, int]]]:
    """By line, from 1: where a passage begins and ends in it, as the page counts, and its entry."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    line, column = 1, 0
    for piece in split_passages(text):
        number = numbers.get(piece.strip())
        for place, part in enumerate(piece.split("\n")):
            if place:
                line, column = line + 1, 0
            start = column + _units(part[: len(part) - len(part.lstrip())])
            end = column + _units(part.rstrip())
            if number is not None and start < end:
                found.setdefault(line, []).append((start, end, number))
            column += _units(part)
    return found


def _units(text: str) -> int:
    """The length of a text in JavaScript, where some characters are two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
