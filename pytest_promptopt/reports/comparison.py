"""Several strategies side by side, for the terminal: what each found, and what it would have paid alone."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from pytest_promptopt.records import Role, Spend, Split
from pytest_promptopt.reports.labels import dominant_answer_lines
from pytest_promptopt.reports.lines import BAD, BOLD, DIM, WARN, Line, headed
from pytest_promptopt.reports.optimization import error_lines, shown_rate, spend_table
from pytest_promptopt.reports.wording import cost, duration, table
from pytest_promptopt.results import ConfirmationVerdict, PromptResult, RunResult, SplitScore
from pytest_promptopt.text import printable

Row = tuple[str, ...]

INDENT = 2
_RATES: Row = ("strategy", "train", "validation", "held-out", "gain")
_SPENT: Row = ("calls", "tokens", "cost", "time")

_LEGEND = (
    "calls: of the target + of the optimizer model. Calls, tokens and cost are what the strategy would have "
    "paid alone with an empty cache, retries left out. Time is as it took here, where answers that an "
    "earlier one had got came at once."
)


def comparison_summary(result: RunResult, *, alpha: float, width: int = 100) -> list[Line]:
    """A table per group of prompts, then why each strategy stopped, its journal, and what was really paid."""
    lines: list[Line] = []
    if result.interrupted:
        lines += [Line("interrupted: what follows is what was known by then", WARN), Line()]
    groups = _groups(result.compared)
    for names in groups:
        rows = [_rates(_of(run, names), alpha) for run in result.compared]
        spent = [_spent(run) for run in result.compared] if len(groups) == 1 else None
        before = _before([_of(run, names) for run in result.compared])
        lines += [
            Line(printable(" and ".join(names)), BOLD),
            *_table(result, before, rows, spent, width),
            Line(),
        ]
    if len(groups) > 1:
        rows = [(run.strategy, *_spent(run)) for run in result.compared]
        lines += [*headed(table([("all prompts", *_SPENT), *rows], right=(1, 2)), indent=INDENT), Line()]
    lines += [Line(line, DIM) for line in textwrap.wrap(_LEGEND, max(width, 40))]
    for run in result.compared:
        lines += _about(run, groups, width)
    told = [prompt.why for run in result.compared for prompt in run.prompts]
    lines += [*error_lines(result.all_errors, width, told=told), Line(), *spend_table(result)]
    return lines


def _groups(runs: Sequence[RunResult]) -> list[tuple[str, ...]]:
    """The prompts that were searched together, by name."""
    return list(dict.fromkeys(prompt.pipeline or (prompt.prompt,) for run in runs for prompt in run.prompts))


def _of(run: RunResult, names: tuple[str, ...]) -> list[PromptResult]:
    return [prompt for prompt in run.prompts if prompt.prompt in names]


def _table(
    result: RunResult, before: Row, rates: Sequence[Row], spent: Sequence[Row] | None, width: int
) -> Iterator[Line]:
    """One table, or two where the terminal is too narrow for one."""
    named = [(run.strategy, *row) for run, row in zip(result.compared, rates, strict=True)]
    left = [_RATES, ("(before)", *before, ""), *named]
    if spent is None:
        yield from headed(table(left), indent=INDENT)
        return
    right = [_SPENT, ("",) * len(_SPENT), *spent]
    whole = table([(*a, *b) for a, b in zip(left, right, strict=True)], right=(5, 6))
    if max(map(len, whole)) <= width - INDENT:
        yield from headed(whole, indent=INDENT)
        return
    yield from headed(table(left), indent=INDENT)
    yield Line()
    spent = [(name, *row) for (name, *_), row in zip(left, right, strict=True) if any(row)]
    yield from headed(table(spent), indent=INDENT)


def _before(runs: Sequence[Sequence[PromptResult]]) -> Row:
    """The rates of the texts as they were: the same for all, if they were measured."""
    scores = [score for prompts in runs for score in prompts[0].scores]
    return tuple(
        next((shown_rate(s, s.before) for s in scores if s.split is split and s.before is not None), "-")
        for split in Split
    )


def _rates(prompts: Sequence[PromptResult], alpha: float) -> Row:
    scores = {score.split: score for score in prompts[0].scores}
    return (
        *(_after(scores.get(split)) for split in Split),
        gain_words(prompts, scores.get(Split.HELDOUT), alpha),
    )


def _after(score: SplitScore | None) -> str:
    return "-" if score is None or score.after is None else shown_rate(score, score.after)


def gain_words(prompts: Sequence[PromptResult], heldout: SplitScore | None, alpha: float) -> str:
    """``confirmed, carries over``: what fresh answers and held-out cases say of the new text."""
    changed = next((prompt for prompt in prompts if prompt.before != prompt.after), None)
    if changed is None or changed.confirmation is None:
        return (changed or prompts[0]).outcome
    if changed.confirmation.verdict is not ConfirmationVerdict.IMPROVED:
        return changed.confirmation.verdict
    if heldout is None or heldout.after is None:
        return "confirmed"
    if heldout.chance.better <= alpha:
        return "confirmed, carries over"
    if heldout.chance.worse <= alpha:
        return "worse on held-out"
    return "confirmed, held-out not shown"


def _spent(run: RunResult) -> Row:
    total = sum(run.spend.values(), Spend())
    target, optimizer = (run.spend.get(role, Spend()).calls for role in (Role.TARGET, Role.OPTIMIZER))
    tokens = total.input_tokens + total.output_tokens
    return (f"{target:,} + {optimizer:,}", f"{tokens:,}", cost(total), duration(run.elapsed))


def _about(run: RunResult, groups: Sequence[tuple[str, ...]], width: int) -> Iterator[Line]:
    """Why it stopped, what else there is to say, and where its texts are."""
    for names in groups:
        one = _of(run, names)[0]
        where = f" ({' and '.join(names)})" * (len(groups) > 1)
        said = f"{run.strategy}{where}: {one.stop}: {one.why}" + f"; {one.note}" * bool(one.note)
        wrapped = textwrap.wrap(
            printable(said), max(width, 40), subsequent_indent="  ", break_on_hyphens=False
        )
        yield from map(Line, wrapped)
        if one.before != one.after:
            yield from (Line(f"  warning: {told}", BAD) for told in dominant_answer_lines(one))
    if run.journal:
        yield Line(f"  texts and journal: {printable(run.journal)}", DIM)
