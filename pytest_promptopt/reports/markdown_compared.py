"""A comparison with a baseline as Markdown: one table, what is beside it, and what broke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pytest_promptopt.baselines.comparison import PromptComparison
from pytest_promptopt.reports.baseline_wording import (
    change_words,
    figure_lines,
    not_compared,
    only_new,
    only_removed,
    other_models_words,
    p_words,
    verdict_words,
)
from pytest_promptopt.reports.markdown_text import code, table, words
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.reports.wording import NO_MODEL, percent
from pytest_promptopt.text import plural

#: Broken cases of one prompt and model whose answers are shown, and of the whole page: the kinds of failure
#: come after them, and a page has a largest size.
MAX_BROKEN = 10
MAX_BROKEN_IN_ALL = 40

#: Prompts of which more is told than their row.
MAX_DETAILS = 20


def compared_blocks(report: SessionReport) -> Iterator[str]:
    """The section; nothing where nothing was compared."""
    if not report.compared:
        return
    several = Counter(found.prompt for found in report.compared)
    names = [_name(found, several=several[found.prompt] > 1) for found in report.compared]
    yield f"### Compared with {code(report.compared_with)}"
    yield _verdicts(report, names)
    if details := _all_details(report, names):
        yield "\n".join(details)
    room = MAX_BROKEN_IN_ALL
    for name, found in zip(names, report.compared, strict=True):
        if shown := min(room, MAX_BROKEN, len(found.broken)):
            yield _broken(name, found, shown)
            room -= shown


def _name(found: PromptComparison, *, several: bool) -> str:
    return code(found.prompt) + f" with {code(found.model or NO_MODEL)}" * several


def _verdicts(report: SessionReport, names: list[str]) -> str:
    rows = [("prompt", "before", "now", "change", "p", "fixed", "broken", "verdict")]
    for name, found in zip(names, report.compared, strict=True):
        figures = ("–",) * 4
        if found.pairs:
            before, now = map(percent, found.rates)
            figures = (
                before,
                f"**{now}**",
                words(change_words(found)),
                words(p_words(found.p).removeprefix("= ")),
            )
        counts = (f"{len(found.fixed):,}", f"{len(found.broken):,}")
        rows.append((name, *figures, *counts, _verdict(report, found)))
    return table(rows, right=range(1, 7))


def _verdict(report: SessionReport, found: PromptComparison) -> str:
    """With a mark where a verdict decides on the session."""
    rule = report.compare_rule
    mark = "" if rule.fail_on is None else "❌ " if rule.why_failed(found) else "✅ "
    return mark + words(verdict_words(found, rule))


def _all_details(report: SessionReport, names: list[str]) -> list[str]:
    told = [
        f"* {name}: {' · '.join(details)}"
        for name, found in zip(names, report.compared, strict=True)
        if (details := list(_details(found)))
    ]
    hidden = len(told) - MAX_DETAILS
    return [*told[:MAX_DETAILS], *([f"* and {hidden:,} more"] if hidden > 0 else [])]


def _details(found: PromptComparison) -> Iterator[str]:
    if found.pairs:
        same = ", the same text" if found.same_text else ""
        yield f"{plural(len(found.pairs), 'case')} compared{same}"
    if others := other_models_words(found):
        yield words(others)
    if left := not_compared(found):
        told = (f"{plural(len(cases), 'case')} \\({words(reason)}\\)" for reason, cases in left.items())
        yield f"not compared: {', '.join(told)}"
    counts = {"flaky": found.flaky, "new": only_new(found), "removed": only_removed(found)}
    yield from (f"{what}: {plural(len(cases), 'case')}" for what, cases in counts.items() if cases)
    yield from map(words, figure_lines(found))


def _broken(name: str, found: PromptComparison, shown: int) -> str:
    rows = [("broken case", "kind of failure", "answer before", "answer now")]
    for pair in found.broken[:shown]:
        before, now = pair.before, pair.now
        answer = "the same" if pair.same_answers else code(now.answer)
        rows.append((code(now.case), words(now.category) or "–", code(before.answer), answer))
    hidden = len(found.broken) - shown
    more = f"\n\nAnd {plural(hidden, 'more broken case')}." if hidden else ""
    return f"{name}, broken:\n\n{table(rows)}{more}"
