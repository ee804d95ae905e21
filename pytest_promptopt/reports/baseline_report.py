"""What a comparison with a baseline says in pytest's terminal, and what a suite does by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_promptopt.baselines.compare_rule import CompareRule
from pytest_promptopt.baselines.comparison import Pair, PromptComparison
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.reports.baseline_wording import (
    change_words,
    figure_lines,
    name_of,
    noise_sentences,
    only_new,
    only_removed,
    other_models_words,
    p_words,
    verdict_words,
)
from pytest_promptopt.reports.lines import (
    BAD,
    BOLD,
    DIM,
    GOOD,
    MAX_ID_WIDTH,
    WARN,
    Line,
    case_with_note,
    example_cases,
)
from pytest_promptopt.reports.wording import percent
from pytest_promptopt.text import excerpt, plural

#: Broken cases whose answers are shown side by side.
MAX_BROKEN = 10


def comparison_section(found: Iterable[PromptComparison], *, width: int = 100) -> list[Line]:
    """What has changed for each prompt and model."""
    lines: list[Line] = []
    for each in found:
        lines.append(Line(_heading(each), BOLD))
        lines.extend(_not_compared(each))
        lines.extend(_changed_cases(each, width))
        lines.extend(Line(f"  {text}") for text in figure_lines(each))
        lines.append(Line())
    return lines[:-1]


def compare_lines(found: Iterable[PromptComparison], rule: CompareRule) -> list[Line]:
    """One verdict for each prompt and model."""
    return [_verdict(each, rule) for each in found]


def noise_lines(checks: Iterable[PromptCheck], alpha: float) -> Iterator[Line]:
    """What the cases of each prompt and model do by themselves, where they ran several times."""
    for check in checks:
        yield from (Line(text, DIM) for text in noise_sentences(check, alpha))


def _heading(found: PromptComparison) -> str:
    if not found.pairs:
        return f"{name_of(found)}: no case can be compared"
    before, now = map(percent, found.rates)
    same = ", the same text" if found.same_text else ""
    return f"{name_of(found)}: {before} before, {now} now ({plural(len(found.pairs), 'case')}{same})"


def _verdict(found: PromptComparison, rule: CompareRule) -> Line:
    failed, name, said = rule.why_failed(found), name_of(found), verdict_words(found, rule)
    if not found.pairs:
        return Line(f"compare: {name}: {said}", {**BOLD, **BAD} if failed else WARN)
    counts = f"{len(found.fixed):,} fixed, {len(found.broken):,} broken"
    measured = f"{change_words(found)} over {plural(len(found.pairs), 'case')}"
    chance = f"p {p_words(found.p)}, exact {found.test.test}"
    worse = found.is_worse(rule.alpha, 0.0)
    markup = {**BOLD, **BAD} if failed else WARN if worse else GOOD
    return Line(f"compare: {name} {measured}: {said} ({counts}; {chance})", markup)


def _not_compared(found: PromptComparison) -> Iterator[Line]:
    if others := other_models_words(found):
        yield Line(f"  {others}", WARN)
    for reason, changed in found.changed.items():
        yield Line(f"  not compared, {reason}: {plural(len(changed), 'case')}, removed and new", WARN)
        yield from _named(changed)
    told: dict[str, Sequence[str]] = {
        "new": only_new(found),
        "removed": only_removed(found),
        "without a usable answer, before or now": found.unanswered,
    }
    for what, cases in told.items():
        if cases:
            yield Line(f"  {what}: {plural(len(cases), 'case')}")
            yield from _named(cases)
    if found.left_out:
        yield Line(f"  left out of this run: {plural(len(found.left_out), 'case')} of the baseline", WARN)


def _named(cases: Sequence[str]) -> Iterator[Line]:
    yield from (Line(f"    {each}", DIM) for each in example_cases(cases))


def _changed_cases(found: PromptComparison, width: int) -> Iterator[Line]:
    if found.fixed:
        yield Line(f"  fixed: {plural(len(found.fixed), 'case')}", GOOD)
        yield from _named([pair.now.case for pair in found.fixed])
    if found.flaky:
        yield Line(f"  flaky: {plural(len(found.flaky), 'case')} passed and failed under one text", WARN)
        told = {pair.now.case: _samples(pair) for pair in found.flaky}
        yield from (Line(f"    {each}", DIM) for each in example_cases([*told], told))
    if found.broken:
        yield Line(f"  broken: {plural(len(found.broken), 'case')}", BAD)
        for pair in found.broken[:MAX_BROKEN]:
            yield from _side_by_side(pair, width)
        if (hidden := len(found.broken) - MAX_BROKEN) > 0:
            yield Line(f"    ... and {hidden:,} more", DIM)


def _samples(pair: Pair) -> str:
    before, now = (f"{side.passed:,} of {len(side.scores):,}" for side in (pair.before, pair.now))
    return f"{before} passed before, {now} now"


def _side_by_side(pair: Pair, width: int) -> Iterator[Line]:
    before, now = pair.before, pair.now
    note = f"now: {now.category}" if now.category else ""
    yield Line(f"    {case_with_note(excerpt(now.case, MAX_ID_WIDTH), note)}", DIM)
    if pair.same_answers:
        yield Line(f"      both    {excerpt(now.answer, max(width - 14, 40))}")
        return
    for when, side in (("before", before), ("now", now)):
        yield Line(f"      {when:<7} {excerpt(side.answer, max(width - 14, 40))}")
