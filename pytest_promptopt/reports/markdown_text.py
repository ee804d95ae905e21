"""Text that others wrote, in Markdown: it is shown as it is and can do nothing there.

It makes no HTML, no link, no mention of a person, no heading or table cell, and closes no block of code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pytest_promptopt.text import cut_end, escape_controls, plural, printable, without_unseen

#: What has a meaning somewhere in Markdown.
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_STRUCTURE = re.compile(r"[\\`*_{}\[\]()<>#+!|~&$]")

#: Where a forge would make a link by itself: of a person, an issue, an address. It is broken at the blank.
_LINKED = (
    (re.compile(r"([@#]|\bGH-)(?=\S)", re.IGNORECASE), r"\1\0"),
    (re.compile("://"), r":\0//"),
    (re.compile(r"\b(www)\.", re.IGNORECASE), r"\1\0."),
)
#: Nobody sees it and it is part of no name, so that nothing is linked.
_JOINT = "&#8203;"

#: At the start of a line they make a list, a rule or a heading.
_OPENING = re.compile(r"^(\d*)([-=.)])")

#: The longest value in a table or a list.
MAX_VALUE = 200

#: The longest line of a diff; most of a prompt may stand on one.
MAX_DIFF_WIDTH = 2_000


def code(text: str, limit: int = MAX_VALUE) -> str:
    """`text` in one line, shown letter by letter: a span of code, in which a forge links nothing."""
    shown = cut_end(printable(text), limit)
    if not shown.strip():
        shown = f'"{shown}"'
    if not re.search(r"[`|\\]", shown):
        return f"`{shown}`"
    # Neither a backtick nor the bar of a table can be escaped in a span of backticks.
    return f"<code>{_PUNCTUATION.sub(lambda found: f'&#{ord(found[0])};', shown)}</code>"


def words(text: str, limit: int = 1_000) -> str:
    """A sentence that may quote what others wrote, in one line, for a paragraph or the cell of a table."""
    shown = cut_end(printable(text).strip(), limit)  # four spaces would begin a block of code
    for pattern, broken in _LINKED:
        shown = pattern.sub(broken, shown)
    shown = _STRUCTURE.sub(lambda found: _ENTITY.get(found[0], f"\\{found[0]}"), shown)
    return _OPENING.sub(r"\1\\\2", shown).replace("\0", _JOINT)


_ENTITY = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def fenced(language: str, lines: Iterable[str], limit: int) -> str:
    """A block of code that no line of it closes; what is over `limit` characters is left out and counted."""
    shown, left_out, size = [], 0, 0
    for line in lines:
        line = cut_end(_visible(line), MAX_DIFF_WIDTH)
        size += len(line) + 1
        if size > limit:
            left_out += 1
        else:
            shown.append(line)
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    block = "\n".join([f"{fence}{language}", *shown, fence])
    return block + (f"\n\n{plural(left_out, 'more line')} left out here." if left_out else "")


def _visible(line: str) -> str:
    """`line` with what nobody would see written out; a tab stays."""
    line = escape_controls(line.replace("\n", "\\n"), colored=False)
    if without_unseen(line) == line:
        return line
    return "".join(each if each == "\t" or without_unseen(each) else printable_point(each) for each in line)


def printable_point(character: str) -> str:
    """``\\u200b`` for a character that nobody sees."""
    return character.encode("unicode_escape").decode()


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """A table; its first row is the head, and the columns in `right` are flush right.

    :param rows: cells that are Markdown already.
    """
    flush = set(right)
    head, *body = rows
    rule = ["--:" if number in flush else "---" for number in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def fit(blocks: Sequence[str], limit: int) -> str:
    """The blocks of a page, as many as `limit` bytes hold; a last sentence says when some are left out."""
    whole = "\n\n".join(blocks) + "\n"
    if len(whole.encode()) <= limit:
        return whole
    last = "\n\n**The rest of this report was left out: a page here has a largest size.**\n"
    room = limit - len(last.encode())
    kept, size = [], 0
    for block in blocks:
        size += len(block.encode()) + 2
        if size > room:
            break
        kept.append(block)
    return "\n\n".join(kept) + last if kept else last.lstrip()[: max(0, limit)]
