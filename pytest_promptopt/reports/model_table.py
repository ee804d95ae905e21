"""Several models on the same cases, for the terminal: a column for each, and which differences are real."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import ascii_uppercase

from pytest_promptopt.model_comparison import ModelComparison, ModelDifference, ModelFigures
from pytest_promptopt.records import Spend
from pytest_promptopt.reports.lines import BOLD, DIM, GOOD, MAX_ID_WIDTH, WARN, Line, headed
from pytest_promptopt.reports.wording import cost, percent, table
from pytest_promptopt.text import plural, printable

#: Cases named on which the models differ; the JSON report has all.
MAX_CASES = 10

INDENT = "  "


def model_tables(comparisons: Iterable[ModelComparison], *, alpha: float, width: int = 100) -> list[Line]:
    """A table per prompt; each pair of models whose difference is more than chance is named below it.

    :param alpha: from this p-value down, corrected for the number of pairs.
    """
    lines: list[Line] = []
    for each in comparisons:
        cases = plural(len(each.rates), "case")
        lines.append(Line(f"{printable(' and '.join(each.prompts))}: {cases}", BOLD))
        names, legend = _columns(each.models, width)
        rows = _table(names, each.models, width)
        lines += headed(table(rows, right=range(1, len(rows[0]))), indent=len(INDENT))
        lines += [Line(f"{INDENT}{text}", DIM) for text in legend]
        lines += _differences(each.differences, alpha, width)
        lines += _cases(each, names, width)
        lines.append(Line())
    return lines[:-1]


def _columns(models: Sequence[ModelFigures], width: int) -> tuple[list[str], list[str]]:
    """The heads of the columns: the models' names, or letters that lines below explain."""
    names = [printable(figures.model) or "no model" for figures in models]
    if _fits([("", *names), *_figures(models)], width):
        return names, []
    letters = [_letters(number) for number in range(len(names))]
    return letters, [f"{letter}  {name}" for letter, name in zip(letters, names, strict=True)]


def _letters(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    before, letter = divmod(number, len(ascii_uppercase))
    return (_letters(before - 1) if before else "") + ascii_uppercase[letter]


def _table(names: Sequence[str], models: Sequence[ModelFigures], width: int) -> list[tuple[str, ...]]:
    """A column for each model, or a row where there are too many of them."""
    columns = [("", *names), *_figures(models)]
    return columns if _fits(columns, width) else list(zip(*columns, strict=True))


def _fits(rows: Sequence[tuple[str, ...]], width: int) -> bool:
    return max(map(len, table(rows))) + len(INDENT) <= width


def _figures(models: Sequence[ModelFigures]) -> Iterator[tuple[str, ...]]:
    checks = [figures.check for figures in models]
    yield ("pass rate", *(percent(check.rate) for check in checks))
    yield ("95% interval", *(_interval(figures) for figures in models))
    if len({check.cases for check in checks}) > 1:
        yield ("cases", *(f"{check.cases:,}" for check in checks))
    if any(check.errored for check in checks):
        yield ("errored", *(f"{check.errored:,}" for check in checks))
    yield ("cost", *(_cost(figures) for figures in models))
    yield ("latency p50", *(_seconds(figures.latency) for figures in models))


def _interval(figures: ModelFigures) -> str:
    if figures.check.rate is None:
        return ""
    low, high = figures.check.interval
    return f"{low * 100:.0f}-{high * 100:.0f}%"


def _cost(figures: ModelFigures) -> str:
    if figures.cost is None:
        return "unknown"
    known = cost(Spend(calls=figures.calls, cost=figures.cost))
    return f"> {known}" if figures.unpriced else known


def _seconds(latency: float | None) -> str:
    if latency is None:
        return "unknown"
    return f"{latency:.2f}s" if latency < 10 else f"{latency:.1f}s"


def _differences(found: Sequence[ModelDifference], alpha: float, width: int) -> Iterator[Line]:
    for each in found:
        if each.is_shown(alpha):
            text = f"{each.first} is better than {each.second}: {_told(each, len(found))}"
            yield from _wrapped(text, width, GOOD)
        elif not each.cases:
            yield from _wrapped(f"{each.first} and {each.second} have no case in common", width, WARN)
        else:
            pair = f"{each.first} and {each.second}"
            yield from _wrapped(f"no difference shown: {pair}: {_told(each, len(found))}", width, WARN)


def _told(each: ModelDifference, pairs: int) -> str:
    """``+10.0 points over 200 cases, 34 better, 14 worse (p = 0.006, corrected 0.017; exact sign test)``."""
    corrected = _p(each.adjusted).removeprefix("= ")
    chance = f"p {_p(each.p)}" + f", corrected {corrected}" * (pairs > 1)
    return (
        f"{100 * each.gain:+.1f} points over {plural(each.cases, 'case')}, {each.better:,} better, "
        f"{each.worse:,} worse ({chance}; exact {each.test})"
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def _cases(comparison: ModelComparison, names: Sequence[str], width: int) -> Iterator[Line]:
    """The cases on which the models differ, in the order of the suite."""
    differing = comparison.differing
    if not differing:
        return
    models = [figures.model for figures in comparison.models]
    rows = [
        tuple(_verdict(rates, model) for model in models) for rates in list(differing.values())[:MAX_CASES]
    ]
    header, *body = table([tuple(names), *rows])
    column = max(map(len, (header, *body)))
    left = min(max(width - len(INDENT) - column - 2, 20), MAX_ID_WIDTH)
    head = f"they differ on {plural(len(differing), 'case')}"
    yield Line(f"{INDENT}{header.ljust(column)}  {head}", DIM)
    for row, case in zip(body, differing, strict=False):
        yield Line(f"{INDENT}{row.ljust(column)}  {_end_of(case, left)}")
    if (hidden := len(differing) - MAX_CASES) > 0:
        yield Line(f"{INDENT}... and {hidden:,} more, see --promptopt-report=FILE.json", DIM)


def _end_of(case: str, width: int) -> str:
    """A node id, without its beginning where it is too long: its end tells one case from another."""
    shown = printable(case)
    return shown if len(shown) <= width else f"...{shown[3 - width :]}"


def _verdict(rates: Mapping[str, float], model: str) -> str:
    if model not in rates:
        return "-"
    rate = rates[model]
    return "pass" if rate >= 1 else "fail" if rate <= 0 else percent(rate)


def _wrapped(text: str, width: int, markup: Mapping[str, bool]) -> Iterator[Line]:
    for line in textwrap.wrap(
        printable(text), max(width - len(INDENT), 40), subsequent_indent="    ", break_on_hyphens=False
    ):
        yield Line(INDENT + line, markup)
