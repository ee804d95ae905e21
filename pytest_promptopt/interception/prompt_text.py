"""Finds a prompt's text in the texts of a request, and puts a candidate in its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_promptopt.interception.bodies import Place, TextSlot
from pytest_promptopt.prompts import PromptFile

_VARIABLE = re.compile(r"\{\{-?\s*(\w+)\s*-?\}\}")


@dataclass(frozen=True)
class Found:
    """A prompt's text in one text of a request.

    :param fixed: how many characters of the prompt are in it besides variables.
    """

    slot: TextSlot
    start: int
    end: int
    variables: Mapping[str, str]
    fixed: int


@dataclass(frozen=True)
class MatchedPrompt:
    """A prompt whose text is in a request.

    :param file: as the application has it; perhaps not as it is now.
    """

    file: PromptFile
    places: tuple[Found, ...]

    @property
    def variables(self) -> Mapping[str, str]:
        """What the application has put into it; the last time, where there are several."""
        return self.places[-1].variables

    @property
    def fixed(self) -> int:
        return self.places[-1].fixed

    @property
    def texts_at(self) -> frozenset[Place]:
        """The places of the texts that hold it."""
        return frozenset(each.slot.place for each in self.places)

    def texts(self, wanted: PromptFile) -> dict[Place, str]:
        """The texts of the request with `wanted` in the place of the prompt. Raises `RenderError`."""
        found = {}
        for each in self.places:
            rendered = "\n\n".join(message.content for message in wanted.render(each.variables))
            text = each.slot.text
            found[each.slot.place] = text[: each.start] + rendered + text[each.end :]
        return found


def match_prompt(versions: Iterable[PromptFile], slots: Sequence[TextSlot]) -> MatchedPrompt | None:
    """The version of a prompt that a request holds, if any: the one with the longest text."""
    matches = []
    for file in versions:
        places = tuple(found for slot in slots if (found := find(file.prose, slot)) is not None)
        if places:
            matches.append(MatchedPrompt(file, places))
    return max(matches, key=lambda match: match.fixed, default=None)


def find(prose: str, slot: TextSlot) -> Found | None:
    """Where the fixed passages of `prose` are in a text, in their order."""
    parts = _VARIABLE.split(prose)
    passages, names, text = parts[::2], parts[1::2], slot.text
    if not "".join(passages).strip():
        return None
    position = start = text.find(passages[0])
    if start < 0:
        return None
    position += len(passages[0])
    variables: dict[str, str] = {}
    for name, passage in zip(names, passages[1:], strict=True):
        end = text.find(passage, position) if passage else len(text)
        if end < 0:
            return None
        variables[name] = text[position:end]
        position = end + len(passage)
    return Found(slot, start, position, variables, sum(map(len, passages)))
