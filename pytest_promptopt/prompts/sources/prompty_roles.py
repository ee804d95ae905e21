"""Role lines of a ``.prompty`` file: ``system:``, ``# user:``, ``assistant[name="Ann"]:``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytest_promptopt.prompts.templates import Turn

_ROLE_LINE = re.compile(
    r"\s*#?\s*(?P<role>system|developer|user|assistant)(?:\[(?P<attributes>[^\]]*)\])?\s*:\s*", re.IGNORECASE
)
_ATTRIBUTE = re.compile(r"(\w+)\s*=\s*(?:\"([^\"]*)\"|([^\",\s]+))")


def split_prompty(prose: str, first_line: int) -> tuple[Turn, ...]:
    """The turns of a prose. What stands before the first role line is for the system."""
    turns: list[Turn] = []
    role, lines, start = "", list[str](), first_line
    attributes: Mapping[str, str | int] = {}
    for number, line in enumerate([*prose.split("\n"), None], start=first_line):
        found = None if line is None else _ROLE_LINE.fullmatch(line)
        if line is not None and found is None:
            lines.append(line)
            continue
        if role or any(each.strip() for each in lines):
            text = "\n".join(lines)
            empty = len(text) - len(text.lstrip("\n"))
            turns.append(Turn(role or "system", text.strip("\n"), start + empty, attributes))
        if found is not None:
            role, attributes = found["role"].lower(), attributes_of(found["attributes"] or "")
        lines, start = [], number + 1
    return tuple(turns)


def attributes_of(text: str) -> Mapping[str, str | int]:
    """``name="Ann", id=7`` as a mapping; a bare number is one."""
    return {
        key: int(bare) if bare.isdecimal() else bare or quoted
        for key, quoted, bare in _ATTRIBUTE.findall(text)
    }
