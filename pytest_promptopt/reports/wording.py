"""How the reports write figures: rates, times, costs and tables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from pytest_promptopt.records import Spend, Split
from pytest_promptopt.results import CatchUp
from pytest_promptopt.text import plural, printable

#: How reports call the splits.
SPLIT_NAMES = {Split.TRAIN: "train", Split.VALIDATION: "validation", Split.HELDOUT: "held-out"}

#: What a report calls a model that nobody names.
NO_MODEL = "no model named"


def model_name(model: str) -> str:
    """The model, or that nobody names one."""
    return printable(model) or NO_MODEL


def junit_name(what: str, model: str | None) -> str:
    """``gate[demo]``: the name of a test case of JUnit; `model` is None where there are not several."""
    return what if model is None else f"{what}[{model or 'no model'}]"


def percent(rate: float | None) -> str:
    """``61.7%``; 0.0% and 100.0% mean exactly that. None is ``unknown``."""
    if rate is None:
        return "unknown"
    if 0.0 < rate < 1.0:
        rate = min(max(rate, 0.001), 0.999)
    return f"{rate:.1%}"


def count_examples(count: int) -> str:
    """How many cases stand in the prompt as examples; each was run under the text without its own one."""
    if count == 1:
        return "1 is an example, run without it"
    return f"{count:,} are examples, each run without its own"


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


def calls_line(cached: int, made: int, paid: Spend) -> str:
    """What a check has asked: calls, tokens, dollars, repeated requests; empty when it asked nothing.

    :param cached: answers that came from the cache.
    :param made: calls that were made besides, for which `paid` counts each request that was sent.
    """
    if not (cached or made):
        return ""
    told = f"{plural(cached + made, 'model call')}, {cached:,} of them from the cache"
    if not made:
        return f"{told}: nothing was paid"
    tokens = f"{paid.input_tokens:,} input and {paid.output_tokens:,} output tokens"
    repeats = paid.calls - made
    repeated = f"; {repeats:,} of {paid.calls:,} requests repeated another" * bool(repeats)
    return f"{told}; {tokens}, {cost(replace(paid, calls=made))}{repeated}"


def _dollars(amount: float) -> str:
    if 0.0 < amount < 0.0001:
        return "< $0.0001"
    return f"${amount:,.4f}" if 0.0 < amount < 1.0 else f"${amount:,.2f}"


def small_dollars(amount: float, digits: int = 3) -> str:
    """What one case costs, with as many digits that say something: ``$0.000123``."""
    return f"${amount:,.{max(2, _decimals(amount, digits))}f}"


def small_seconds(amount: float, digits: int = 3) -> str:
    """What one answer takes, with at most so many digits that say something: ``0.0125s``, ``3,600s``."""
    text = f"{amount:,.{_decimals(amount, digits)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "s"


def _decimals(amount: float, digits: int) -> int:
    return 0 if amount <= 0 else max(0, digits - 1 - math.floor(math.log10(amount)))


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
