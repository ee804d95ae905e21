"""The pages of the documentation, and the named blocks of code in them.

A comment before a block says what it is and what a test does with it::

    <!-- name: first-test; file: tests/test_support.py -->

* ``file: PATH``: it is written to this file of the page's project; ``append: PATH`` adds it to one.
* ``exit: 1 0``: its commands are run, and these are their exit statuses.
* ``output``: it is shown by the command before it; ``...`` stands for what is left out.
* ``shape``: the same, with other figures: what a search finds changes with the search.
* ``checked``: a test of its own looks at it.
* ``not run: REASON``.

``<!-- project: NAME -->`` on top of a page has its project begin as a copy of an example, or with the files
of another page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"^(?:<!-- name: (?P<about>.+?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_GENERATED = re.compile(r"<!-- generated: .*?<!-- end of generated -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    :param purpose: ``file``, ``append``, ``exit``, ``output``, ``shape``, ``checked`` or ``not run``; empty
        when the page does not say.
    :param value: what stands after the purpose: a path, exit statuses, a reason.
    """

    page: str
    name: str
    language: str
    text: str
    purpose: str
    value: str

    @property
    def commands(self) -> list[str]:
        """The command lines without prompt and comment."""
        lines = [line.removeprefix("$ ").partition("  #")[0].strip() for line in self.text.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]


def _pages() -> Iterator[Path]:
    yield from (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
    for page in sorted((ROOT / "docs").rglob("*.md")):
        if "_build" not in page.parts:
            yield page


#: Every page by its path, as written.
PAGES = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in _pages()}


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """The blocks of a page that are written by hand, in order."""
    found = _BLOCK.finditer(_GENERATED.sub("", PAGES[page]))
    return tuple(_block(page, match) for match in found)


def _block(page: str, match: re.Match[str]) -> Block:
    name, _, about = (match["about"] or "").partition("; ")
    purpose, _, value = about.partition(": ")
    return Block(page, name, match["language"], match["text"], purpose, value)


def block(page: str, name: str) -> Block:
    """The block of `page` that is called `name`."""
    (found,) = [block for block in blocks(page) if block.name == name]
    return found


def project_of(page: str) -> str:
    """The example or page that the project of `page` begins with; empty for an empty folder."""
    match = re.match(r"<!-- project: (\S+) -->", PAGES[page])
    return match[1] if match else ""


def section(page: str, title: str) -> str:
    """The text of a page from a heading to the next one."""
    text = PAGES[page]
    start = text.index(f"# {title}\n")
    end = re.compile(r"^##+ ", re.MULTILINE).search(text, start + len(title))
    return text[start : end.start() if end else None]


def first_cells(text: str) -> list[str]:
    """The code in the first column of the tables in `text`, row by row."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(.+?)`", row)]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    titles = re.findall(r"^#+ (.+)$", PAGES[page], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
