"""How the messages of a request read with a candidate in place of the prompt that they were written with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_promptopt.errors import RenderError
from pytest_promptopt.prompts.files import PromptFile
from pytest_promptopt.prompts.prompt_matching import Place, PromptMatch, role_of, turn_parts, with_edges
from pytest_promptopt.prompts.templates import Turn
from pytest_promptopt.prompts.unrendering import filled
from pytest_promptopt.records import Message


@dataclass(frozen=True)
class Edits:
    """What a candidate changes of the messages.

    :param contents: message -> its new content.
    :param inserted: message -> the messages that come before it.
    :param removed: messages that are left out.
    """

    contents: Mapping[int, str]
    inserted: Mapping[int, tuple[Message, ...]] = field(default_factory=dict)
    removed: frozenset[int] = frozenset()

    def applied_to(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """A message that does not change is the same object."""
        result: list[Message] = []
        for number, message in enumerate(messages):
            result += self.inserted.get(number, ())
            if number not in self.removed:
                content = self.contents.get(number, message.content)
                result.append(message if content == message.content else Message(message.role, content))
        return tuple(result)


def replace(match: PromptMatch, candidate: PromptFile, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages with `candidate` in place of the prompt, all around it as it was.

    Its variables have the values that were read off. Its examples become messages before that of its last
    turn. Raises `RenderError` when a value that it needs is not known, or its turns have no place.

    :param messages: those that `match` was found in.
    """
    return edits(match, candidate, messages).applied_to(messages)


def edits(match: PromptMatch, candidate: PromptFile, messages: Sequence[Message]) -> Edits:
    """What `replace` changes; raises as it does."""
    return _Replacement(match, candidate, messages).edits()


class _Replacement:
    def __init__(self, match: PromptMatch, candidate: PromptFile, messages: Sequence[Message]) -> None:
        self._match, self._candidate, self._messages = match, candidate, messages
        self._before, self._after = match.prompt.turns, candidate.turns
        self._parts = turn_parts(candidate, match.form)

    def edits(self) -> Edits:
        before, after = self._before, self._after
        if [turn.role for turn in before] == [turn.role for turn in after]:
            return Edits(dict(e for n in range(len(after)) for e in self._contents(n, n)))
        first = int(before[0].role == "system")
        if before[-1].role not in (None, after[-1].role) or first != (after[0].role == "system"):
            raise self._refusal(after[0], f"its roles are {_roles(after)}, not {_roles(before)}")
        last = len(before) - 1
        if last < first:
            raise self._refusal(after[0], "it adds turns to a prompt that is only a system message")
        places = self._places(last, after[-1])
        contents = dict(e for n in range(first) for e in self._contents(n, n))
        contents |= dict(self._contents(last, len(after) - 1))
        removed = frozenset(self._whole_message(number, after[-1]) for number in range(first, last))
        added = tuple(
            Message(turn.role or "user", self._text(number, None))
            for number, turn in enumerate(after)
            if first <= number < len(after) - 1
        )
        return Edits(contents, {places[0].message: added}, removed)

    def _contents(self, before: int, after: int) -> Iterator[tuple[int, str]]:
        """Messages with a turn of the candidate in place of one of the prompt."""
        turn = self._after[after]
        if turn.source == self._before[before].source:
            return
        for place in self._places(before, turn):
            content = self._messages[place.message].content
            text = self._text(after, place)
            yield place.message, content[: place.start] + text + content[place.end :]

    def _places(self, number: int, turn: Turn) -> list[Place]:
        places = [place for place in self._match.places if place.turn == number]
        if not places:
            raise self._refusal(turn, f"it cannot be put in: {self._match.unplaced[number]}")
        if self._before[number].role is None and turn.role is not None:
            # A text without roles is one message or a part of one; turns are messages of their own.
            others = [
                role for place in places if (role := role_of(self._messages[place.message])) != turn.role
            ]
            if others:
                said = f"it has chat turns, but the prompt stands in a {others[0]} message"
                raise self._refusal(turn, said)
        return places

    def _whole_message(self, number: int, turn: Turn) -> int:
        """The message that is one turn of the prompt and nothing else."""
        place = self._places(number, turn)[0]
        content = self._messages[place.message].content
        if (content[: place.start] + content[place.end :]).strip():
            said = f"more than its `{self._before[number].role}:` turn stands in message {place.message + 1}"
            raise self._refusal(turn, f"it has other turns, but {said}")
        return place.message

    def _text(self, number: int, place: Place | None) -> str:
        own, cut = (place.reading, place.reading.cut) if place else (None, (True, True))
        parts = self._parts[number]
        if place and place.has_edges:
            parts = with_edges(parts, self._match.prompt)
        try:
            return filled(parts, own, self._match.readings(besides=place), cut=cut)
        except LookupError as error:
            raise self._refusal(self._after[number], f"cannot be put in: {error.args[0]}") from None

    def _refusal(self, turn: Turn, reason: str) -> RenderError:
        return RenderError(self._candidate.name, turn.line, reason)


def _roles(turns: Sequence[Turn]) -> str:
    return ", ".join(turn.role or "none" for turn in turns)
