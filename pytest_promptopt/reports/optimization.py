"""What ``--optimize`` did, for the terminal: prompt by prompt, then what it cost."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from pytest_promptopt.prompts import unified_diff
from pytest_promptopt.prompts.examples import without_examples
from pytest_promptopt.records import Spend, Split
from pytest_promptopt.reports.evidence_wording import (
    SEEN_AGAIN,
    asked_again,
    confirmation_sentence,
    graded_changes,
    heldout_score,
    heldout_sentence,
    outcome_words,
    why_unwritten,
)
from pytest_promptopt.reports.labels import dominant_answer_lines, label_table
from pytest_promptopt.reports.lines import (
    BAD,
    BOLD,
    DIM,
    GOOD,
    MAX_ID_WIDTH,
    PLAIN,
    WARN,
    Line,
    Markup,
    example_cases,
    headed,
    passed_samples,
)
from pytest_promptopt.reports.model_changes import migration_lines, scores_by_model
from pytest_promptopt.reports.stage_wording import faults_sentence
from pytest_promptopt.reports.wording import (
    SPLIT_NAMES,
    caught_up,
    cost,
    count_examples,
    duration,
    percent,
    table,
)
from pytest_promptopt.results import (
    CandidateResult,
    CandidateVerdict,
    CatchUp,
    ConfirmationVerdict,
    Iteration,
    PromptOutcome,
    PromptResult,
    RunResult,
    SplitScore,
)
from pytest_promptopt.statistics import small_split
from pytest_promptopt.text import excerpt, plural, printable

#: Lines of a diff shown, and the longest: most of a prompt may stand on one.
MAX_DIFF_LINES = 40
MAX_DIFF_WIDTH = 2_000

#: Reasons of refused candidates that are named.
MAX_REASONS = 3

#: About so many characters make a token.
TOKEN = 4

#: The longest error in a headline.
MAX_REASON_WIDTH = 400


def run_summary(result: RunResult, *, alpha: float, width: int = 100) -> list[Line]:
    """What ``--optimize`` did: prompt by prompt, then what it cost and where the journal is.

    :param alpha: a change on held-out cases counts as shown from this p-value down.
    """
    lines: list[Line] = []
    if result.interrupted:
        lines += [Line("interrupted: what follows is what was known by then", WARN), Line()]
    searches: dict[tuple[str, ...], list[PromptResult]] = {}
    for prompt in result.prompts:
        searches.setdefault(prompt.pipeline or (prompt.prompt,), []).append(prompt)
    for prompts in searches.values():
        lines += [*_search(prompts, result, alpha, width), Line()]
    lines += spend_table(result)
    if result.journal:
        lines.append(Line(f"journal: {printable(result.journal)}"))
    lines += error_lines(result.errors, width, told=[prompt.why for prompt in result.prompts])
    for note in result.notes:
        lines += [Line(line, WARN) for line in textwrap.wrap(printable(f"note: {note}"), max(width, 40))]
    return lines


def error_lines(found: Sequence[str], width: int, *, told: Sequence[str] = ()) -> Iterator[Line]:
    """What went wrong in code that is not ours; `told` are the sentences that stand above already."""
    for error in found:
        if error not in told:
            yield from (
                Line(line, BAD) for line in textwrap.wrap(printable(f"error: {error}"), max(width, 40))
            )


OUTCOME_MARKUP: Mapping[PromptOutcome, Markup] = {
    PromptOutcome.IMPROVED: GOOD,
    PromptOutcome.UNCHANGED: WARN,
    PromptOutcome.NOT_SHOWN: WARN,
    PromptOutcome.WORSE: BAD,
    PromptOutcome.PASSING: GOOD,
    PromptOutcome.INTERRUPTED: WARN,
}


def _search(prompts: Sequence[PromptResult], run: RunResult, alpha: float, width: int) -> Iterator[Line]:
    """One search: of a prompt on its own, or of the prompts of a pipeline, whose scores are the same."""
    one = prompts[0]
    changed = [prompt for prompt in prompts if prompt.before != prompt.after]
    iterations = {i.number: i for prompt in prompts for i in prompt.iterations}.values()
    candidates = [candidate for iteration in iterations for candidate in iteration.candidates]
    more = ""
    if changed:
        more = _gains(one.scores)
    elif one.outcome is PromptOutcome.UNCHANGED:
        measured = any(candidate.rate is not None for candidate in candidates)
        more = ", no candidate was better" if measured else ", no candidate was measured"
    if one.pipeline:
        yield Line(f"pipeline of {printable(' and '.join(one.pipeline))}{more}", BOLD)
    else:
        yield _headline(one, more)
    yield from _dominant_answer_warnings(changed, width)
    yield from _scores(one.scores)
    yield from scores_by_model(one.models)
    if one.migration:
        yield from migration_lines(one.migration)
    yield from label_table(one.labels)
    if changed:
        yield from _evidence(changed[0], run, alpha, width)
    elif one.caught_up:
        yield _made_up(one.caught_up)
    yield from _flaky(one, width)
    yield from _tried(iterations, candidates)
    yield from _ended(one, width)
    for prompt in prompts:
        if prompt.pipeline:
            yield _headline(prompt)
        if prompt in changed:
            yield from _examples(prompt, width)
            yield from _diff(prompt, run.journal)
            yield _written(prompt, run.journal)


def _ended(one: PromptResult, width: int) -> Iterator[Line]:
    """Which stages were at fault, why the search stopped, and what else is to be said."""
    if told := faults_sentence(one.at_fault):
        yield from _wrapped(f"at fault: {printable(told)}", width)
    if one.why and one.outcome is not PromptOutcome.PASSING:
        yield from _wrapped(f"stopped:  {one.stop}: {one.why}", width, BAD if one.stop == "error" else PLAIN)
    if one.note:
        yield from _wrapped(f"note:     {one.note}", width, WARN)


def _dominant_answer_warnings(changed: Sequence[PromptResult], width: int) -> Iterator[Line]:
    """What the new text answers to nearly everything, and whether only a judge likes it: rates may have risen
    all the same.
    """
    for warning in [*dominant_answer_lines(changed[0]), changed[0].verbosity] if changed else ():
        if not warning:
            continue
        yield from _wrapped(f"warning:  {warning}", width, BAD)


def _tried(iterations: Collection[Iteration], candidates: Sequence[CandidateResult]) -> Iterator[Line]:
    """How much was tried, and why candidates were refused, the most frequent reason first."""
    if iterations:
        tried = f"{plural(len(iterations), 'iteration')}, {plural(len(candidates), 'candidate')}"
        critiques = sum(iteration.critiques for iteration in iterations)
        tried += f", {plural(critiques, 'critique')} of the worst answers" * bool(critiques)
        yield Line(f"  tried:    {tried}")
    reasons = Counter(
        candidate.why for candidate in candidates if candidate.verdict is CandidateVerdict.REFUSED
    )
    if not reasons:
        return
    yield Line(f"  refused:  {plural(reasons.total(), 'candidate')}, before any call was made:")
    for why, count in reasons.most_common(MAX_REASONS):
        yield Line(f"            {count:,} x {excerpt(why, MAX_ID_WIDTH)}")
    if (hidden := len(reasons) - MAX_REASONS) > 0:
        yield Line(f"            ... and {plural(hidden, 'further reason')}")


def _headline(prompt: PromptResult, more: str = "") -> Line:
    markup = OUTCOME_MARKUP[prompt.outcome]
    if why := why_unwritten(prompt):
        more = f": {excerpt(why, MAX_REASON_WIDTH)}"
        markup = WARN
    words = f"{printable(prompt.prompt)}: {printable(outcome_words(prompt))}"
    return Line(f"{words}{more}", {**BOLD, **markup})


def _gains(scores: Sequence[SplitScore]) -> str:
    """``, train 61.1% -> 97.2%`` for each split whose rate changed."""
    return "".join(
        f", {SPLIT_NAMES[s.split]} {percent(s.before)} -> {percent(s.after)}"
        for s in scores
        if s.before is not None and s.after is not None and s.before != s.after
    )


def _scores(scores: Sequence[SplitScore]) -> Iterator[Line]:
    measured = [s for s in scores if s.cases]
    if not measured:
        return
    rows = [("pass rate", "before", "after", "cases")]
    rows += [
        (SPLIT_NAMES[s.split], shown_rate(s, s.before), shown_rate(s, s.after), f"{s.cases}{_remark(s)}")
        for s in measured
    ]
    yield from headed(table(rows))


def _remark(score: SplitScore) -> str:
    remarks = [f"{score.errored} errored, in no rate"] * bool(score.errored)
    remarks += [f"{score.unverified} not run with this text"] * bool(score.unverified)
    remarks += [count_examples(score.examples)] * bool(score.examples)
    measured = score.before is not None or score.after is not None
    remarks += ["in brackets: 95% interval"] * (score.split is Split.HELDOUT and measured)
    return f" ({'; '.join(remarks)})" if remarks else ""


def shown_rate(score: SplitScore, rate: float | None) -> str:
    """A rate; on held-out cases with its interval, since only there it stands for cases not seen."""
    if rate is None:
        return "not measured"
    if score.split is not Split.HELDOUT:
        return percent(rate)
    low, high = score.interval(rate)
    return f"{percent(rate)} [{low * 100:.0f}-{high * 100:.0f}]"


def _evidence(prompt: PromptResult, run: RunResult, alpha: float, width: int) -> Iterator[Line]:
    """What speaks for the new text, and against it."""
    yield from _changed_cases(prompt)
    if prompt.caught_up:
        yield _made_up(prompt.caught_up)
    if prompt.confirmation is not None:
        fresh = prompt.confirmation
        yield from _wrapped(confirmation_sentence(fresh), width, _CONFIRMED[fresh.verdict])
        yield from _asked_before(prompt.asked_before, alpha, width)
    if prompt.confirmation is not None and prompt.confirmation.needed and not prompt.accepted:
        more = prompt.confirmation.needed
        ceiling = sum(run.spend.values(), Spend()).calls + more
        resumed = f"pytest --optimize-resume --promptopt-max-calls={ceiling}"
        yield from _wrapped(
            f"needed:   about {plural(more, 'more call')} would confirm it: {resumed}", width, WARN
        )
    if prompt.outcome is PromptOutcome.NOT_SHOWN and prompt.accepted:
        text = "the new text is not shown to be better; --promptopt-accept=best takes it all the same"
        yield from _wrapped(f"accepted: {text}", width, WARN)
    if prompt.outcome is not PromptOutcome.NOT_SHOWN or prompt.accepted:
        yield from _heldout(prompt.scores, alpha, width)
    if prompt.heldout_before:
        times = plural(prompt.heldout_before, "earlier run")
        text = f"{times} scored these held-out cases: {SEEN_AGAIN}"
        yield from _wrapped(f"          {text}", width, WARN)


def _made_up(found: CatchUp) -> Line:
    """``made up:  17 cases made up: 98.6% (1 fails; 17 calls)``: the search had spared them."""
    return Line(f"  made up:  {caught_up(found)}")


def _asked_before(times: int, alpha: float, width: int) -> Iterator[Line]:
    if times:
        runs = f"{plural(times, 'earlier run')} asked these cases"
        text = f"{runs}; {asked_again(alpha)}"
        yield from _wrapped(f"          {text}", width, WARN)


def _changed_cases(prompt: PromptResult) -> Iterator[Line]:
    scores = [score for score in prompt.scores if score.split is not Split.HELDOUT]
    where = f" in {' and '.join(SPLIT_NAMES[score.split] for score in scores)}" * bool(scores)
    graded = graded_changes(sum(score.raised for score in scores), sum(score.lowered for score in scores))
    counts = f"{plural(len(prompt.fixed), 'case')} fixed, {len(prompt.broken):,} broken{graded}{where}"
    yield Line(f"  changed:  {counts}{':' if prompt.broken else ''}")
    rates = {case: prompt.rates[case][1] for case in prompt.broken if case in prompt.rates}
    told = {case: f"pass rate {percent(rate)}" for case, rate in rates.items() if rate}
    yield from (Line(f"            {example}", WARN) for example in example_cases(prompt.broken, told))


def _flaky(prompt: PromptResult, width: int) -> Iterator[Line]:
    if not prompt.flaky:
        return
    text = f"{plural(len(prompt.flaky), 'case')} both passed and failed under the first text:"
    yield from _wrapped(f"flaky:    {text}", width, WARN)
    told = {case.case: passed_samples(case.passed, case.samples) for case in prompt.flaky}
    yield from (Line(f"            {example}", WARN) for example in example_cases([*told], told))


_CONFIRMED: Mapping[ConfirmationVerdict, Markup] = {
    ConfirmationVerdict.IMPROVED: GOOD,
    ConfirmationVerdict.NOT_SHOWN: WARN,
    ConfirmationVerdict.WORSE: BAD,
}


def _heldout(scores: Sequence[SplitScore], alpha: float, width: int) -> Iterator[Line]:
    score = heldout_score(scores)
    markup = WARN if score is None else _heldout_markup(score, alpha)
    yield from _wrapped(heldout_sentence(scores, alpha), width, markup)
    if score is not None and score.cases < (least := small_split(alpha)):
        text = f"only {plural(score.cases, 'held-out case')}: too few to show much; {least} is the least"
        yield from _wrapped(f"          {text}", width, WARN)


def _heldout_markup(score: SplitScore, alpha: float) -> Markup:
    if score.chance.better <= alpha:
        return GOOD
    return BAD if score.chance.worse <= alpha else WARN


def _examples(prompt: PromptResult, width: int) -> Iterator[Line]:
    """What of the diff is training cases, and what they add to each call."""
    if prompt.examples:
        size = len(prompt.after) - len(without_examples(prompt.after))
        verb = "stands" if len(prompt.examples) == 1 else "stand"
        text = f"{len(prompt.examples)} of your training cases now {verb} in the prompt"
        tokens = f"about {plural(math.ceil(size / TOKEN), 'token')} in each call"
        yield from _wrapped(f"examples: {text}, {tokens}", width)


def _diff(prompt: PromptResult, journal: str) -> Iterator[Line]:
    lines = unified_diff(prompt.before, prompt.after, name=prompt.prompt).split("\n")[2:]
    yield Line("  diff:")
    for line in lines[:MAX_DIFF_LINES]:
        markup = {"+": GOOD, "-": BAD, "@": {"cyan": True}}.get(line[0], PLAIN)
        yield Line(f"    {excerpt(line, MAX_DIFF_WIDTH)}", markup)
    hidden = len(lines) - MAX_DIFF_LINES
    if hidden > 0:
        whole = f"; the whole text is in {printable(journal)}" if journal else ""
        yield Line(f"    ... {plural(hidden, 'more line')}{whole}", DIM)


def _written(prompt: PromptResult, journal: str) -> Line:
    if prompt.written:
        return Line(f"  written:  {printable(prompt.prompt)}", GOOD)
    kept = f"; the new text is in {printable(journal)}" if journal else ""
    return Line(f"  written:  no{kept}", WARN)


def spend_table(result: RunResult) -> Iterator[Line]:
    """What was paid in the session, by role."""
    rows = [("spend", "calls", "input tokens", "output tokens", "cost")]
    named = [(role.value, spend) for role, spend in result.spend.items() if spend.calls]
    if len(named) > 1:
        named.append(("total", sum(result.spend.values(), Spend())))
    rows += [
        (name, f"{s.calls:,}", f"{s.input_tokens:,}", f"{s.output_tokens:,}", cost(s)) for name, s in named
    ]
    if named:
        yield from headed(table(rows, right=[1, 2, 3]), indent=0)
    else:
        yield Line("spend: no model call was paid for")
    yield Line(f"elapsed: {duration(result.elapsed)}")


def _wrapped(text: str, width: int, markup: Markup = PLAIN) -> Iterator[Line]:
    """A labelled sentence of a prompt's summary; what does not fit goes under the sentence, not the label."""
    for line in textwrap.wrap(printable(text), max(width - 2, 40), subsequent_indent=" " * 10):
        yield Line(f"  {line}", markup)
