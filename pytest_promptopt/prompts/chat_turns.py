"""Turns of a conversation that a call brings along, and where they stand among those of the prompt."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_promptopt.attachments import Attachment
from pytest_promptopt.errors import RenderError, SettingsError
from pytest_promptopt.prompts.turn_parts import PartReader
from pytest_promptopt.records import Message
from pytest_promptopt.records.content import File, Part, Text, Thought, ToolCall, ToolResult, readable_parts

#: Roles that providers have by another name.
_SENT_AS = {"developer": "system"}


#: What a turn of each role may have.
_KEYS = {
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls"}),
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
}
_PARTS: Mapping[str, tuple[type, ...]] = {
    "user": (Text, File, ToolResult),
    "assistant": (Text, ToolCall, Thought),
    "tool": (ToolResult,),
}


def chat_messages(given: object, name: str, folders: Sequence[Path] = ()) -> tuple[Message, ...]:
    """Turns as a call gives them to the prompt `name`; raises `RenderError` for anything else.

    :param folders: where the path of a file in them may begin.
    """
    turns = enumerate(_listed(given, name))
    return tuple(_chat_message(index, entry, name, folders) for index, entry in turns)


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


def _chat_message(index: int, entry: object, name: str, folders: Sequence[Path]) -> Message:
    def refuse(problem: str) -> RenderError:
        return RenderError(name, None, f"messages[{index}] {problem}")

    if isinstance(entry, Message):
        if entry.parts:
            return entry
        entry = {"role": entry.role, "content": entry.content}
    if not isinstance(entry, Mapping):
        raise refuse(f"must be a mapping with `role` and `content`, got {type(entry).__name__}")
    role: Any = entry.get("role")
    if problem := _problem(entry):
        raise refuse(problem)
    if not _has_parts(entry):
        return Message(role, str(entry["content"]))  # a Completion crosses no xdist channel
    try:
        parts = _parts(role, entry, PartReader(f"messages[{index}]", folders))
    except SettingsError as error:
        raise RenderError(name, None, str(error)) from None
    if wrong := next((part for part in parts if not isinstance(part, _PARTS[role])), None):
        raise refuse(f"of role {role!r} holds a {type(wrong).__name__}, which is for another role")
    if len(parts) == 1 and isinstance(parts[0], Text):
        return Message(role, parts[0].text)
    if not parts:
        raise refuse("has no content")
    return Message("tool" if _only_results(parts) else role, readable_parts(parts), parts)


def _problem(entry: Mapping[str, Any]) -> str:
    """What is wrong with the keys of a turn; empty when nothing is."""
    role, content = entry.get("role"), entry.get("content")
    if role not in _KEYS:
        return f"has role {role!r}; accepted are {', '.join(map(repr, _KEYS))}"
    if unknown := sorted(str(key) for key in entry.keys() - _KEYS[role]):
        known = ", ".join(f"`{key}`" for key in sorted(_KEYS[role]))
        return f"has `{unknown[0]}`; a turn of role {role!r} takes {known}"
    if not _has_parts(entry) and not isinstance(content, str):
        return f"must have a string, or a list of parts, as `content`, got {type(content).__name__}"
    return ""


def _has_parts(entry: Mapping[str, Any]) -> bool:
    content = entry.get("content")
    listed = isinstance(content, list | tuple | Attachment) or bool(getattr(content, "tool_calls", None))
    return listed or entry.get("role") == "tool" or bool(entry.get("tool_calls"))


def _parts(role: str, entry: Mapping[str, Any], reader: PartReader) -> tuple[Part, ...]:
    content = entry.get("content")
    if role == "tool" and "tool_call_id" in entry:
        return (reader.result(entry["tool_call_id"], content),)
    nothing = content is None or (content == "" and not getattr(content, "tool_calls", None))
    parts = () if nothing else reader.read(content)
    return (*parts, *(reader.calls(entry["tool_calls"]) if entry.get("tool_calls") else ()))


def _only_results(parts: Sequence[Part]) -> bool:
    return all(isinstance(part, ToolResult) for part in parts)


def _listed(messages: object, name: str) -> Sequence[object]:
    if isinstance(messages, Sequence) and not isinstance(messages, str | bytes):
        return messages
    raise RenderError(name, None, f"messages= must be a list of chat turns, got {type(messages).__name__}")
