"""What a comparison with a baseline says in pytest's terminal, and what a suite does by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_promptopt.baselines.compare_rule import CompareRule
from pytest_promptopt.baselines.comparison import Pair, PromptComparison
from pytest_promptopt.baselines.noise import SuiteNoise, suite_noise
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import CaseResult, Spend, Status
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
from pytest_promptopt.reports.wording import cost, percent
from pytest_promptopt.text import excerpt, plural, printable

#: Broken cases whose answers are shown side by side.
MAX_BROKEN = 10
#: Kinds of failure that are told.
MAX_CATEGORIES = 6


def comparison_section(found: Iterable[PromptComparison], *, width: int = 100) -> list[Line]:
    """What has changed for each prompt and model."""
    lines: list[Line] = []
    for each in found:
        lines.append(Line(_heading(each), BOLD))
        lines.extend(_not_compared(each))
        lines.extend(_changed_cases(each, width))
        lines.extend(_figures(each))
        lines.append(Line())
    return lines[:-1]


def compare_lines(found: Iterable[PromptComparison], rule: CompareRule) -> list[Line]:
    """One verdict for each prompt and model."""
    return [_verdict(each, rule) for each in found]


def noise_lines(checks: Iterable[PromptCheck], alpha: float) -> Iterator[Line]:
    """What the cases of each prompt and model do by themselves, where they ran several times."""
    for check in checks:
        parts = check.by_model
        for model, part in parts.items():
            noise = suite_noise([_passed(result) for result in part.results], alpha)
            if noise is not None:
                yield noise_line(f"{check.prompt} with {model}" if len(parts) > 1 else check.prompt, noise)


def _passed(result: CaseResult) -> tuple[int, int]:
    """How many of its samples passed, and how many there are."""
    return sum(outcome.status is Status.PASSED for outcome in result.counted), len(result.counted)


def noise_line(prompt: str, noise: SuiteNoise) -> Line:
    """How many cases of a prompt flip under one text, and what a comparison of it can show."""
    flip = f"{noise.flipping:,} of {plural(noise.cases, 'case')} {'flips' if noise.flipping == 1 else 'flip'}"
    shows = "no change of any size can be shown with so few steady cases"
    if noise.smallest is not None:
        shows = f"the smallest change that can be shown is {_points(noise.smallest)}"
    return Line(f"noise: {printable(prompt)}: {flip} under the same text; {shows}", DIM)


def name_of(found: PromptComparison) -> str:
    """The prompt, with its model."""
    return f"{printable(found.prompt)} with {printable(found.model) or 'no model named'}"


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _heading(found: PromptComparison) -> str:
    if not found.pairs:
        return f"{name_of(found)}: no case can be compared"
    before, now = map(percent, found.rates)
    same = ", the same text" if found.same_text else ""
    return f"{name_of(found)}: {before} before, {now} now ({plural(len(found.pairs), 'case')}{same})"


def _verdict(found: PromptComparison, rule: CompareRule) -> Line:
    failed, name = rule.why_failed(found), name_of(found)
    said = f"FAILED: {failed}" if failed else _told(found, rule)
    if not found.pairs:
        return Line(f"compare: {name}: {said}", {**BOLD, **BAD} if failed else WARN)
    change, test = found.change, found.test
    chance = f"p {_p(test.worse if change < 0 else test.better)}, exact {test.test}"
    counts = f"{len(found.fixed):,} fixed, {len(found.broken):,} broken"
    measured = f"{100 * change:+.1f} points over {plural(len(found.pairs), 'case')}"
    worse = found.is_worse(rule.alpha, 0.0)
    markup = {**BOLD, **BAD} if failed else WARN if worse else GOOD
    return Line(f"compare: {name} {measured}: {said} ({counts}; {chance})", markup)


def _told(found: PromptComparison, rule: CompareRule) -> str:
    """What the comparison says where it fails nothing."""
    if not found.pairs:
        return "none of its cases can be compared" if found.incomparable else "not in the baseline"
    if not found.change:
        return "no change"
    kind, p = ("loss", found.test.worse) if found.change < 0 else ("gain", found.test.better)
    if p > rule.alpha:
        return f"no {kind} is shown"
    within = kind == "loss" and not found.is_worse(rule.alpha, rule.margin)
    return f"a {kind} is shown" + f", within the margin of {100 * rule.margin:g} points" * within


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def _not_compared(found: PromptComparison) -> Iterator[Line]:
    if found.other_models:
        others = ", ".join(printable(model) or "no model named" for model in found.other_models)
        yield Line(f"  the baseline has it with {others}: another model is not compared", WARN)
    for reason, changed in found.changed.items():
        yield Line(f"  not compared, {reason}: {plural(len(changed), 'case')}, removed and new", WARN)
        yield from _named(changed)
    told: dict[str, Sequence[str]] = {
        "new": [case for case in found.new if not _is_changed(found, case)],
        "removed": [case for case in found.removed if not _is_changed(found, case)],
        "without a usable answer, before or now": found.unanswered,
    }
    for what, cases in told.items():
        if cases:
            yield Line(f"  {what}: {plural(len(cases), 'case')}")
            yield from _named(cases)
    if found.left_out:
        yield Line(f"  left out of this run: {plural(len(found.left_out), 'case')} of the baseline", WARN)


def _is_changed(found: PromptComparison, case: str) -> bool:
    return any(case in cases for cases in found.changed.values())


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
    if before.answers and before.answers == now.answers:
        yield Line(f"      both    {excerpt(now.answer, max(width - 14, 40))}")
        return
    for when, side in (("before", before), ("now", now)):
        yield Line(f"      {when:<7} {excerpt(side.answer, max(width - 14, 40))}")


def _figures(found: PromptComparison) -> Iterator[Line]:
    changed = [(name, was, is_) for name, (was, is_) in found.categories.items() if was != is_]
    if changed:
        told = [f"{printable(name)} {was:,} -> {is_:,}" for name, was, is_ in changed[:MAX_CATEGORIES]]
        more = f"; {len(changed) - MAX_CATEGORIES} more" * (len(changed) > MAX_CATEGORIES)
        yield Line(f"  kinds of failure: {'; '.join(told)}{more}")
    told = []
    if found.costs is not None and any(found.costs):
        told.append("cost " + " -> ".join(cost(Spend(calls=1, cost=each)) for each in found.costs))
    if found.latencies is not None and any(found.latencies):
        told.append("latency p50 " + " -> ".join(f"{each:.2f}s" for each in found.latencies))
    if told:
        yield Line(f"  {', '.join(told)}")
