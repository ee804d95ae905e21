"""How the reports write figures, and how they show text that others wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_promptopt.records import Spend
from pytest_promptopt.results import CatchUp

# Colors; controls besides tab and line end; separators of lines; turns of the direction; half characters;
# characters that nobody sees.
_OBEYED = re.compile(
    "(\x1b\\[[0-9;]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
    "|[\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""`text` on one line and harmless for a terminal.

    What is not printable (escape sequences, line ends, controls of the writing direction, lone surrogates) is
    written as Python would: ``\x1b``.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def harmless(text: str, *, colored: bool) -> str:
    """`text` of several lines without what a terminal obeys or hides; for what others print.

    :param colored: leave colors in.
    """
    return _OBEYED.sub(lambda found: found[0] if found[1] and colored else printable(found[0]), text)


def excerpt(text: str, width: int) -> str:
    """`printable` text of at most `width` characters; a cut is marked by ``...``."""
    shown = printable(text)
    return shown if len(shown) <= width else shown[: width - 3].rstrip() + "..."


def percent(rate: float | None) -> str:
    """``61.7%``; 0.0% and 100.0% mean exactly that. None is ``unknown``."""
    if rate is None:
        return "unknown"
    if 0.0 < rate < 1.0:
        rate = min(max(rate, 0.001), 0.999)
    return f"{rate:.1%}"


def plural(count: int, noun: str, /) -> str:
    """``1 case``, ``1,024 cases``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def caught_up(found: CatchUp) -> str:
    """``17 cases made up: 98.6% (1 fails; 17 calls)``: the search had spared them."""
    fail = f"{found.failing} fails" if found.failing == 1 else f"{found.failing:,} fail"
    counts = f"{fail}; {plural(found.calls, 'call')}"
    return f"{plural(found.cases, 'case')} made up: {percent(found.rate)} ({counts})"


def duration(seconds: float) -> str:
    """``4.2s``, ``1m 05s``, ``2h 03m``."""
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"


def cost(spend: Spend) -> str:
    """What was paid, in dollars; calls without a known price are said, never taken as free."""
    if not spend.unpriced:
        return _dollars(spend.cost)
    if spend.unpriced >= spend.calls:
        return "price unknown"
    return f"{_dollars(spend.cost)} + {plural(spend.unpriced, 'call')} of unknown price"


def _dollars(amount: float) -> str:
    if 0.0 < amount < 0.0001:
        return "< $0.0001"
    return f"${amount:,.4f}" if 0.0 < amount < 1.0 else f"${amount:,.2f}"


def table(rows: Iterable[tuple[str, ...]], *, right: Iterable[int] = ()) -> list[str]:
    """Rows as aligned columns, two spaces apart; the columns numbered in `right` are flush right."""
    cells = list(rows)
    flush = set(right)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number in flush else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
