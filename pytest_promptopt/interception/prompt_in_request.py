"""Which prompts a request holds, and the request with candidates in their places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.errors import RenderError
from pytest_promptopt.interception.bodies import Place, TextSlot, with_texts
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.prompt_matching import NoMatch, PromptMatch, match_prompt
from pytest_promptopt.prompts.prompt_replacing import Edits, edits
from pytest_promptopt.records import Message

#: Keys of lists whose items are turns of a conversation.
_TURNS = ("messages", "contents", "input")


@dataclass(frozen=True)
class PromptsFound:
    """The prompts that a request holds, that with the longest text first; or why it holds none."""

    matches: tuple[PromptMatch, ...]
    none: NoMatch | None = None

    @property
    def messages(self) -> frozenset[int]:
        """The texts of the request that are of a prompt."""
        return frozenset(place.message for match in self.matches for place in match.places)


def find_prompts(prompts: Iterable[Sequence[PromptFile]], slots: Sequence[TextSlot]) -> PromptsFound:
    """:param prompts: of each prompt its versions, since the application may have read another one."""
    messages = _messages(slots)
    found = [match_prompt(versions, messages) for versions in prompts]
    matches: list[PromptMatch] = []
    # One request may hold two prompts (a system prompt, and what the user says), but no text is of both.
    for match in sorted((m for m in found if isinstance(m, PromptMatch)), key=lambda m: -m.fixed_length):
        taken = PromptsFound(tuple(matches)).messages
        if taken.isdisjoint(place.message for place in match.places):
            matches.append(match)
    if matches:
        return PromptsFound(tuple(matches))
    return PromptsFound((), next((each for each in found if isinstance(each, NoMatch)), None))


def with_candidates(
    body: Any, slots: Sequence[TextSlot], wanted: Iterable[tuple[PromptMatch, PromptFile]]
) -> Any:
    """`body` with candidates in the places of prompts. Raises `RenderError`.

    :param slots: the texts of `body`.
    """
    messages = _messages(slots)
    changes = [(edits(match, candidate, messages), candidate) for match, candidate in wanted]
    texts = {slots[number].place: text for change, _ in changes for number, text in change.contents.items()}
    changed = with_texts(body, texts)
    for change, candidate in changes:
        if change.inserted or change.removed:  # of one prompt at most: the other is a system message
            return _with_turns(changed, slots, change, candidate)
    return changed


def _with_turns(body: Any, slots: Sequence[TextSlot], changed: Edits, candidate: PromptFile) -> Any:
    """`body` with further turns of the conversation, or without some."""
    before: dict[Place, tuple[Message, ...]] = {}
    for number, messages in changed.inserted.items():
        before[_turn_of(slots[number].place, candidate)] = messages
    removed = {_turn_of(slots[number].place, candidate) for number in changed.removed}
    [name] = {place[0] for place in (*before, *removed)}
    turns: list[Any] = []
    for number, turn in enumerate(_listed(body[name])):
        turns += [_turn(str(name), message) for message in before.get((name, number), ())]
        if (name, number) not in removed:
            turns.append(turn)
    return {**body, name: turns}


def _turn_of(place: Place, candidate: PromptFile) -> Place:
    """The turn of the conversation that a text is in."""
    if place == ("input",):  # a conversation of one turn
        return ("input", 0)
    if len(place) < 2 or place[0] not in _TURNS:
        said = "it has chat turns, but the prompt stands in the request's instructions"
        raise RenderError(candidate.name, None, said)
    return place[:2]


def _listed(turns: Any) -> list[Any]:
    return [{"role": "user", "content": turns}] if isinstance(turns, str) else turns


def _turn(name: str, message: Message) -> dict[str, Any]:
    if name == "contents":
        role = "model" if message.role == "assistant" else "user"
        return {"role": role, "parts": [{"text": message.content}]}
    return {"role": message.role, "content": message.content}


def _messages(slots: Sequence[TextSlot]) -> list[Message]:
    return [Message(slot.role, slot.text) for slot in slots]
