"""Turns of a conversation that a call brings along, and where they stand among those of the prompt."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence

from pytest_promptopt.errors import RenderError
from pytest_promptopt.records import Message

#: Roles that providers have by another name.
_SENT_AS = {"developer": "system"}


def chat_messages(given: object, name: str) -> tuple[Message, ...]:
    """Turns as a call gives them to the prompt `name`; raises `RenderError` for anything else."""
    return tuple(_chat_message(index, entry, name) for index, entry in enumerate(_listed(given, name)))


def history_mark(variable: str) -> str:
    """What stands in a text for a conversation; nobody who writes another value can know it."""
    return f"__PROMPTOPT_{secrets.token_hex(8)}_{variable}__"


def sent_turns(role: str, text: str, histories: Mapping[str, tuple[Message, ...]]) -> Iterator[Message]:
    """A turn as it is sent; where a conversation stands in it, the parts around it are turns of their own.

    :param histories: mark -> the turns that it stands for.
    """
    for mark, turns in histories.items():
        before, found, after = text.partition(mark)
        if found:
            for part, between in ((before.strip("\n"), turns), (after.strip("\n"), ())):
                yield from sent_turns(role, part, histories) if part else ()
                yield from between
            return
    yield Message(_SENT_AS.get(role, role), text)


def _chat_message(index: int, entry: object, name: str) -> Message:
    def refuse(problem: str) -> RenderError:
        return RenderError(name, None, f"messages[{index}] {problem}")

    if isinstance(entry, Message):
        entry = {"role": entry.role, "content": entry.content}
    if not isinstance(entry, Mapping):
        raise refuse(f"must be a mapping with `role` and `content`, got {type(entry).__name__}")
    role, content = entry.get("role"), entry.get("content")
    unknown = sorted(str(key) for key in entry.keys() - {"role", "content"})
    if unknown or role in ("tool", "function"):
        has = ", ".join(f"`{key}`" for key in unknown) if unknown else f"role {role!r}"
        raise refuse(f"has {has}: tools are not supported yet, only `role` and `content`")
    if isinstance(content, list | tuple):
        raise refuse("has a list as `content`; `content` must be a string, and parts are not supported yet")
    if role not in ("user", "assistant"):
        raise refuse(f"has role {role!r}; accepted are 'user' and 'assistant'")
    if not isinstance(content, str):
        raise refuse(f"must have a string as `content`, got {type(content).__name__}")
    return Message(role, str(content))  # a Completion crosses no xdist channel


def _listed(messages: object, name: str) -> Sequence[object]:
    if isinstance(messages, Sequence) and not isinstance(messages, str | bytes):
        return messages
    raise RenderError(name, None, f"messages= must be a list of chat turns, got {type(messages).__name__}")
