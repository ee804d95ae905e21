"""Regions of a prompt that no rewrite may change.

They lie between ``<!-- promptopt: keep -->`` and ``<!-- /promptopt -->``, which are sent as they stand. The
marks may also be comments of the template language, which are not sent: ``{# promptopt: keep #}`` in Jinja2,
``{{! promptopt: keep }}`` and ``{{!-- promptopt: keep --}}`` in Mustache and Handlebars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_promptopt.text import cut_end, one_line

_SAID = r"(?:promptopt:\s*keep|/promptopt)"

#: A mark, in a group of its kind; each kind closes what it has opened.
_MARK = re.compile(
    rf"<!--\s*(?P<html>{_SAID})\s*-->"
    rf"|\{{#-?\s*(?P<jinja>{_SAID})\s*-?#\}}"
    rf"|\{{\{{~?!(?:--)?\s*(?P<mustache>{_SAID})\s*(?:--)?~?\}}\}}"
)


class OpenRegionError(ValueError):
    """Marks of regions that do not go in pairs; `line` of the text, from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def kept_regions(text: str) -> tuple[str, ...]:
    """The regions of `text`, marks and all, in order. Raises `OpenRegionError`."""
    return tuple(text[start:end] for start, end in _spans(text))


def mark_places(text: str) -> list[int]:
    """Where marks begin in `text`, whether or not they go in pairs."""
    return [mark.start() for mark in _MARK.finditer(text)]


def line_outside(text: str, line: int) -> int:
    """`line`, from 0, or the one above it where a region begins that a text put before `line` would break."""
    try:
        spans = _spans(text)
    except OpenRegionError:
        return line
    for span in reversed(spans):
        first, last = (text.count("\n", 0, place) for place in span)
        line = first if first < line <= last else line
    return line


def _spans(text: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    opened: re.Match[str] | None = None
    for mark in _MARK.finditer(text):
        opens = not _said(mark).startswith("/")
        if opens and opened is not None:
            raise _open_region(mark, "stands within a region that is kept already")
        if opens:
            opened = mark
        elif opened is None:
            raise _open_region(mark, "closes no region; one is opened by <!-- promptopt: keep -->")
        elif opened.lastgroup != mark.lastgroup:
            raise _open_region(mark, f"does not close {opened[0]}: both must be written alike")
        else:
            found.append((opened.start(), mark.end()))
            opened = None
    if opened is not None:
        closing = opened[0].replace(_said(opened), "/promptopt")
        raise _open_region(opened, f"is not closed by {closing}")
    return found


def _said(mark: re.Match[str]) -> str:
    said: str = next(filter(None, mark.groups()))
    return said


def _open_region(mark: re.Match[str], reason: str) -> OpenRegionError:
    return OpenRegionError(mark.string.count("\n", 0, mark.start()) + 1, f"{mark[0]} {reason}")


def changed_regions(current: str, candidate: str) -> Iterator[str]:
    """What speaks against `candidate`, in sentences."""
    before = kept_regions(current)
    try:
        after = kept_regions(candidate)
    except OpenRegionError as error:
        yield f"It has a wrong mark of a region: {error}."
        return
    if before == after:
        return
    for region in before:
        if region not in after:
            yield f"It changed the kept region {cut_end(one_line(region), 100)!r}, which must stay as it is."
            return
    yield "It moved, repeated or added a kept region."
