"""Regions of a prompt that no rewrite may change.

They lie between ``<!-- promptopt: keep -->`` and ``<!-- /promptopt -->``, which are sent as they stand. In
Jinja2 the marks may be comments of the language, which are not sent: ``{# promptopt: keep #}`` and
``{# /promptopt #}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_promptopt.text import cut_end, one_line

_MARK = re.compile(
    r"<!--\s*(?P<html>promptopt:\s*keep|/promptopt)\s*-->|\{#-?\s*(?P<jinja>promptopt:\s*keep|/promptopt)\s*-?#\}"
)


class OpenRegionError(ValueError):
    """Marks of regions that do not go in pairs; `line` of the text, from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def kept_regions(text: str) -> tuple[str, ...]:
    """The regions of `text`, marks and all, in order. Raises `OpenRegionError`."""
    found: list[str] = []
    opened: re.Match[str] | None = None
    for mark in _MARK.finditer(text):
        line = text.count("\n", 0, mark.start()) + 1
        opens = not (mark["html"] or mark["jinja"]).startswith("/")
        if opens and opened is not None:
            raise OpenRegionError(line, f"{mark[0]} stands within a region that is kept already")
        if opens:
            opened = mark
        elif opened is None:
            raise OpenRegionError(
                line, f"{mark[0]} closes no region; one is opened by <!-- promptopt: keep -->"
            )
        elif (opened["html"] is None) != (mark["html"] is None):
            raise OpenRegionError(line, f"{mark[0]} does not close {opened[0]}: both must be written alike")
        else:
            found.append(text[opened.start() : mark.end()])
            opened = None
    if opened is not None:
        line = text.count("\n", 0, opened.start()) + 1
        raise OpenRegionError(line, f"{opened[0]} is not closed by <!-- /promptopt -->")
    return tuple(found)


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
