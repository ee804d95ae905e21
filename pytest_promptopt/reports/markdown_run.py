"""What ``--optimize`` did, as Markdown: before and after, the evidence, and the diff of each prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_promptopt.prompts import unified_diff
from pytest_promptopt.records import Spend, Split
from pytest_promptopt.reports.evidence_wording import (
    confirmation_sentence,
    heldout_sentence,
    outcome_words,
    upper,
    why_unwritten,
)
from pytest_promptopt.reports.labels import dominant_answer_lines
from pytest_promptopt.reports.markdown_text import code, fenced, table, words
from pytest_promptopt.reports.passage_evidence import passage_evidence, passage_sentence
from pytest_promptopt.reports.stage_wording import fault_sentence, faults_sentence
from pytest_promptopt.reports.tried_texts import TriedTexts, read_journal
from pytest_promptopt.reports.wording import NO_MODEL, SPLIT_NAMES, cost, duration, percent
from pytest_promptopt.results import ModelChange, PromptOutcome, PromptResult, RunResult, SplitScore
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import cut_end, one_line, plural

#: Characters of one diff; the rest is counted.
MAX_DIFF = 24_000

MAX_CASES = 5

#: Failing cases whose stage at fault is told by itself; all are in the other reports.
MAX_FAULTS = 20

MAX_PASSAGES = 5


def run_blocks(run: RunResult, settings: Settings) -> Iterator[str]:
    """The blocks of a run, or of each strategy of a comparison."""
    if run.interrupted:
        yield "**Interrupted: what follows is what was known by then.**"
    for each in run.compared or (run,):
        if run.compared:
            yield f"### Strategy {code(each.strategy)}"
        tried = read_journal(each, settings.rootdir)
        for prompt in each.prompts:
            yield from _prompt(prompt, settings.alpha)
            if shown := list(_shown_passages(prompt, tried, settings.alpha)):
                yield "\n".join(shown)
    yield _spend(run)
    if run.all_errors:
        yield "\n".join(f"* Error: {words(error)}" for error in run.all_errors)
    if run.notes:
        yield "\n".join(f"* {words(note)}" for note in run.notes)


def _prompt(prompt: PromptResult, alpha: float) -> Iterator[str]:
    changed = prompt.before != prompt.after
    why = f" ({words(reason)})" if (reason := why_unwritten(prompt)) else ""
    yield f"### {code(prompt.prompt)}: {words(outcome_words(prompt))}{why}"
    measured = [score for score in prompt.scores if score.cases]
    if measured:
        yield _scores(measured)
    for change in _changes(prompt):
        scores = [score for score in change.scores if score.cases]
        if scores:
            yield f"With {code(change.model or NO_MODEL)}:"
            yield _scores(scores)
    yield "\n".join(f"* {sentence}" for sentence in _evidence(prompt, alpha, changed=changed))
    if changed:
        lines = unified_diff(prompt.before, prompt.after, name=prompt.prompt).split("\n")
        yield fenced("diff", lines, MAX_DIFF)


def _shown_passages(prompt: PromptResult, tried: TriedTexts, alpha: float) -> Iterator[str]:
    """The passages that were shown to change something, those that stand for themselves first."""
    shown = [each for each in passage_evidence(prompt, tried, alpha).evidence if each.is_shown]
    for each in shown[:MAX_PASSAGES]:
        first, others = cut_end(one_line(each.passages[0]), 100), len(each.passages) - 1
        named = f"{code(first)}{f' and {others:,} more' * bool(others)}"
        where = "" if each.new else " (only in the text before)"
        yield f"* {named}{where}: {words(passage_sentence(each))}"


def _changes(prompt: PromptResult) -> Sequence[ModelChange]:
    if prompt.migration is not None:
        return prompt.migration.old, prompt.migration.new
    return prompt.models


def _scores(scores: Sequence[SplitScore]) -> str:
    rows = [("pass rate", "before", "after", "interval after", "cases", "fixed", "broken")]
    for score in scores:
        between = "–"
        if score.after is not None:
            low, high = score.interval(score.after)
            between = f"{percent(low)} to {percent(high)}"
        name = SPLIT_NAMES[score.split]
        rows.append(
            (
                f"**{name}**" if score.split is Split.HELDOUT else name,
                _rate(score.before),
                _rate(score.after),
                between,
                f"{score.cases:,}" + f" ({score.errored:,} errored)" * bool(score.errored),
                f"{score.fixed:,}",
                f"{score.broken:,}",
            )
        )
    return table(rows, right=range(1, 7))


def _rate(rate: float | None) -> str:
    return "not measured" if rate is None else percent(rate)


def _evidence(prompt: PromptResult, alpha: float, *, changed: bool) -> Iterator[str]:
    if changed and prompt.confirmation is not None:
        yield words(upper(confirmation_sentence(prompt.confirmation)))
    if changed and (prompt.outcome is not PromptOutcome.NOT_SHOWN or prompt.accepted):
        yield words(upper(heldout_sentence(prompt.scores, alpha)))
    for label, cases in (("Fixed", prompt.fixed), ("Broken", prompt.broken)):
        if changed and cases:
            named = ", ".join(map(code, cases[:MAX_CASES]))
            more = f" and {len(cases) - MAX_CASES:,} more" * (len(cases) > MAX_CASES)
            yield f"{label}: {plural(len(cases), 'case')}: {named}{more}"
    if changed:
        yield from (f"Warning: {words(line)}" for line in dominant_answer_lines(prompt))
        if prompt.verbosity:
            yield f"Warning: {words(prompt.verbosity)}"
    iterations = len(prompt.iterations)
    candidates = sum(len(iteration.candidates) for iteration in prompt.iterations)
    yield f"Tried: {plural(iterations, 'iteration')}, {plural(candidates, 'candidate')}"
    if told := faults_sentence(prompt.at_fault):
        yield f"At fault: {words(told)}"
        faults = [fault for fault in prompt.at_fault if fault.stage]
        yield from (f"{code(fault.case)}: {words(fault_sentence(fault))}" for fault in faults[:MAX_FAULTS])
        if len(faults) > MAX_FAULTS:
            yield f"and {plural(len(faults) - MAX_FAULTS, 'more case')}"
    if prompt.why and prompt.outcome is not PromptOutcome.PASSING:
        yield f"Stopped: {words(f'{prompt.stop}: {prompt.why}')}"
    if prompt.note:
        yield words(prompt.note)


def _spend(run: RunResult) -> str:
    named = [(role.value, spend) for role, spend in run.spend.items() if spend.calls]
    if not named:
        return f"No model call was paid for. Elapsed: {duration(run.elapsed)}."
    if len(named) > 1:
        named.append(("total", sum(run.spend.values(), Spend())))
    rows = [("spend", "calls", "input tokens", "output tokens", "cost")]
    rows += [
        (name, f"{s.calls:,}", f"{s.input_tokens:,}", f"{s.output_tokens:,}", words(cost(s)))
        for name, s in named
    ]
    return table(rows, right=[1, 2, 3, 4])
