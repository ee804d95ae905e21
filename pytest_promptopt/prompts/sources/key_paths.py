"""``triage.system``, ``prompts[0].text``: the way to a value in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

_KEY = """"(?P<double{0}>[^"]*)"|'(?P<single{0}>[^']*)'"""
_STEP = re.compile(rf"\[(?:(?P<index>\d+)|{_KEY.format(1)})\]|\.?(?:{_KEY.format(2)}|(?P<bare>[^.\[\]\"']+))")

FORMS = (
    "accepted are keys with dots between them, `triage.system`; a key with a dot in quotes, "
    '`"v1.2".system` or `["v1.2"].system`; an item of a list by its number from 0, `prompts[0]`'
)


@dataclass(frozen=True)
class KeyPath:
    """Keys of mappings and numbers of items, from the top of the file."""

    steps: tuple[str | int, ...]

    @classmethod
    def parse(cls, target: str) -> KeyPath:
        """Raises `ValueError` with the accepted forms."""
        steps: list[str | int] = []
        place = 0
        while place < len(target):
            found = _STEP.match(target, place)
            if found is None or (target[place] == ".") != bool(place and target[place] != "["):
                raise ValueError(f"`{target}` is no path to a value: {FORMS}")
            key = next(text for text in found.groups() if text is not None)
            steps.append(int(key) if found["index"] else key)
            place = found.end()
        if not steps:
            raise ValueError(f"a path to a value is missing: {FORMS}")
        return cls(tuple(steps))

    def __str__(self) -> str:
        """As it is written, each path in one way only."""
        text = ""
        for step in self.steps:
            if isinstance(step, int):
                text += f"[{step}]"
            else:
                plain = not set(step) & set(".[]\"'") and step
                text += "." * bool(text) + (step if plain else f'"{step}"')
        return text

    def value_in(self, data: Any) -> Any:
        """The value that it leads to; raises `ValueError` with what there is instead."""
        for number, step in enumerate(self.steps):
            place = str(KeyPath(self.steps[:number])) or "the file"
            if isinstance(data, dict):
                if step not in data:
                    raise ValueError(missing(step, data, place))
                data = data[step]
            elif isinstance(data, list):
                data = data[item_number(step, len(data), place)]
            else:
                raise ValueError(f"{place} is {type_of(data)} and has no `{step}`")
        return data


def missing(step: str | int, keys: Iterable[Any], place: str) -> str:
    """What to say of a key that is not there."""
    known = [str(key) for key in keys]
    near = get_close_matches(str(step), known, n=1)
    has = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(known[:8]) or 'none'}"
    return f"there is no key `{step}` in {place}; {has}"


def item_number(step: str | int, length: int, place: str) -> int:
    """The number of an item; raises `ValueError` when there is none."""
    if isinstance(step, str) and not step.isdecimal():
        raise ValueError(f"{place} is a list: `{step}` must be the number of an item, such as [0]")
    if int(step) >= length:
        raise ValueError(f"{place} has {length} items, so there is no [{step}]; the first one is [0]")
    return int(step)


def type_of(value: Any) -> str:
    """What a value is, in words."""
    kinds = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false", type(None): "empty"}
    return kinds.get(type(value), f"{value!r:.40}")
