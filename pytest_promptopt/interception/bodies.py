"""The texts in the JSON body of a request, with their places, and how other texts are put there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Keys under which all providers keep what a model reads.
_TEXTS = frozenset({"content", "text", "instructions", "system", "input", "prompt", "description", "output"})

#: Keys that lead to such keys.
_INNER = frozenset({"messages", "contents", "parts", "systemInstruction", "system_instruction", "tools"}) | {
    "function",
    "functionDeclarations",
}

#: Keys whose texts are of the system's role.
_SYSTEM = frozenset({"system", "instructions", "systemInstruction", "system_instruction"})

#: What a tool has answered, which is nobody's turn.
_RESULTS = ("tool_result", "function_call_output")

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class TextSlot:
    """One text of a request.

    :param place: the keys and positions that lead to it.
    """

    role: str
    text: str
    place: Place


def text_slots(body: Any) -> list[TextSlot]:
    """All texts that the model reads, in their order."""
    return [slot for slot in _slots(body, "user", (), "") if slot.text]


def _slots(value: Any, role: str, place: Place, key: str) -> Iterator[TextSlot]:
    if isinstance(value, str):
        if key in _TEXTS:
            yield TextSlot(role, value, place)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _slots(item, role, (*place, number), key)
    elif isinstance(value, Mapping):
        role = "tool" if value.get("type") in _RESULTS else str(value.get("role") or role)
        for name, item in value.items():
            if name in _TEXTS | _INNER:
                inner = "system" if name in _SYSTEM else "tools" if name == "tools" else role
                yield from _slots(item, inner, (*place, name), name)


def with_texts(body: Any, texts: Mapping[Place, str]) -> Any:
    """A copy of `body` with other texts in some places."""
    return _with_texts(body, texts, ()) if texts else body


def _with_texts(value: Any, texts: Mapping[Place, str], place: Place) -> Any:
    if place in texts:
        return texts[place]
    if isinstance(value, list):
        return [_with_texts(item, texts, (*place, number)) for number, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {name: _with_texts(item, texts, (*place, name)) for name, item in value.items()}
    return value
