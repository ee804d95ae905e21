"""Role lines: how a prompt file says that it is a chat, and what looks as if it should say so."""

from __future__ import annotations

import re
from collections.abc import Iterator

ROLES = ("system", "user", "assistant")

_ROLE_LINE = re.compile(f"({'|'.join(ROLES)}):", re.IGNORECASE)

#: Comments above the first role line.
_COMMENTS = re.compile(r"(?:\s*\{#.*?#\})*\s*", re.DOTALL)

#: A first line that says nothing but a role, in the spelling of another format.
_ALIKE = re.compile(
    r"[\s#>*_\[\]<|/-]*(?:system|user|assistant|human|ai|developer|model|bot)[\s:#>*_\[\]<|/-]*",
    re.IGNORECASE,
)

#: ``{{ item.role }}:``, as formats have it that look for roles after rendering.
_WRITTEN = re.compile(r"\{\{-?[^{}]*\brole\b[\"'\]]*\s*-?\}\}\s*:")

_CHAT = "a chat begins with a line `system:`, `user:` or `assistant:`"


def role_of(line: str) -> str | None:
    """The role that a line begins a turn of; None when it is an ordinary line."""
    found = _ROLE_LINE.fullmatch(line.rstrip())
    return found[1].lower() if found else None


def role_lines(lines: list[str]) -> list[int]:
    """Where turns begin; nowhere unless the first line that is neither blank nor a comment is a role line."""
    text = "\n".join(lines)
    skipped = _COMMENTS.match(text)
    first = text.count("\n", 0, skipped.end()) if skipped else 0
    if role_of(lines[first]) is None:
        return []
    return [number for number, line in enumerate(lines) if number >= first and role_of(line)]


def role_hints(prose: str, *, first_line: int) -> Iterator[tuple[int, str]]:
    """Lines of the file that look like roles and are none, with a sentence on each."""
    lines = prose.split("\n")
    if role_lines(lines):
        for number, line in enumerate(lines):
            if _WRITTEN.fullmatch(line.strip()):
                said = "begins no turn, since roles are found before the template is rendered"
                yield first_line + number, f"`{line.strip()}` {said}; give a history as messages="
        return
    number, first = next(((n, line) for n, line in enumerate(lines) if line.strip()), (0, ""))
    if _ALIKE.fullmatch(first):
        yield first_line + number, f"`{first.strip()}` is text and no role: {_CHAT}"
        return
    for number, line in enumerate(lines):
        if role_of(line) == "system":
            yield (
                first_line + number,
                f"`{line.strip()}` is text and no role: {_CHAT}, and nothing is above it",
            )
            return
