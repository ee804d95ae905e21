"""The sections of pytest's terminal: why prompts fail, what ``--optimize`` did, and what the gate says.

Each section is a pure function from records to lines; `show` prints them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pytest_promptopt.evidence import ALPHA, SMALL_SPLIT, sign_test, wilson
from pytest_promptopt.prompts import unified_diff
from pytest_promptopt.records import PromptCheck, PromptResult, RunResult, Split, SplitScore
from pytest_promptopt.reports.wording import cost, duration, excerpt, percent, plural, printable, table, total

if TYPE_CHECKING:
    from pytest_promptopt.failures import Category, FailedCase, Feedback

#: What a section shows at most before it says how much more there is.
MAX_CATEGORIES = 6
MAX_CONFUSIONS = 6
MAX_EXAMPLES = 3
MAX_DIFF_LINES = 40

#: Longest shown line of a prompt, an example id, a value in a table.
MAX_DIFF_WIDTH = 2_000
MAX_ID_WIDTH = 150
MAX_VALUE_WIDTH = 36

Markup = Mapping[str, bool]
PLAIN: Markup = {}
BOLD: Markup = {"bold": True}
GOOD: Markup = {"green": True}
BAD: Markup = {"red": True}
WARN: Markup = {"yellow": True}
DIM: Markup = {"light": True}

_SPLIT_NAMES = {Split.TRAIN: "train", Split.VALIDATION: "validation", Split.HELDOUT: "held-out"}


class Line(NamedTuple):
    """One line of the terminal; `markup` as pytest's terminal writer takes it."""

    text: str = ""
    markup: Markup = PLAIN


class Writer(Protocol):
    """Where lines go; pytest's TerminalReporter is one."""

    def write_line(self, line: str, **markup: bool) -> None: ...

    def section(self, title: str, sep: str = "=", **markup: bool) -> None: ...


def show(writer: Writer, title: str, lines: Sequence[Line]) -> None:
    """Print a section; nothing at all, not even its title, when it has no lines."""
    if lines:
        writer.section(title)
        for line in lines:
            writer.write_line(line.text, **line.markup)


def failure_section(
    checks: Iterable[PromptCheck], feedbacks: Mapping[str, Feedback], *, width: int = 100
) -> list[Line]:
    """Why prompts fail, for those with failing or errored cases; empty when there are none.

    :param feedbacks: by prompt; a failing prompt without one is shown with example ids only.
    :param width: columns to wrap sentences at.
    """
    shown = [c for c in checks if c.failing or c.errored]
    lines: list[Line] = []
    for check in shown:
        lines.append(Line(_heading(check), {**BOLD, **(BAD if check.failing else WARN)}))
        feedback = feedbacks.get(check.prompt)
        if feedback is not None:
            lines.extend(_categories(feedback, width))
        elif check.failing:
            failing = [r.case.id for r in check.results if r.failing is not None]
            lines.extend(Line(f"    {example}") for example in _examples(failing))
        lines.extend(_errored(check))
        lines.append(Line())
    if any(c.failing for c in shown):
        lines.append(Line("To let a model rewrite the failing prompts, run: pytest --optimize", BOLD))
    return lines


def _heading(check: PromptCheck) -> str:
    counted = check.cases - check.errored
    # With samples and subtests a failing case may have a rate of its own.
    partial = check.rate is not None and abs(check.rate * counted - (counted - check.failing)) > 1e-6
    rate = "pass rate with partial credit: " * partial + percent(check.rate)
    passing = f"{counted - check.failing}/{counted} cases pass ({rate})"
    if not counted:
        passing = "no case has a usable answer"
    errored = f", {plural(check.errored, 'further case')} errored" if check.errored and counted else ""
    return f"{printable(check.prompt)}: {passing}{errored}"


def _categories(feedback: Feedback, width: int) -> Iterator[Line]:
    failed = {case.case: case for case in feedback.failed}
    for category in feedback.categories[:MAX_CATEGORIES]:
        yield Line()
        yield Line(f"  {printable(category.name)}: {plural(category.count, 'case')}", BOLD)
        yield from _category(category, failed, width)
    hidden = feedback.categories[MAX_CATEGORIES:]
    if hidden:
        cases = plural(sum(c.count for c in hidden), "case")
        yield Line(f"  and {len(hidden)} more kinds of failure ({cases})", DIM)


def _category(category: Category, failed: Mapping[str, FailedCase], width: int) -> Iterator[Line]:
    yield from _labelled("observed", category.observed, width)
    if category.confusion:
        rows = [("expected", "actual", "cases")]
        rows += [(_value(e), _value(a), str(n)) for e, a, n in category.confusion[:MAX_CONFUSIONS]]
        header, *body = table(rows, right=[2])
        yield Line(f"      {header}", DIM)
        yield from (Line(f"      {row}") for row in body)
        hidden = category.confusion[MAX_CONFUSIONS:]
        if hidden:
            cases = plural(sum(n for *_, n in hidden), "case")
            yield Line(f"      ... and {plural(len(hidden), 'more pair')} ({cases})", DIM)
    yield from _labelled("likely cause", category.cause, width)
    yield from _labelled("suggested fix", category.fix, width)
    for number, example in enumerate(category.examples[:MAX_EXAMPLES]):
        yield Line(f"    {'' if number else 'examples:':<15}{excerpt(example, MAX_ID_WIDTH)}", DIM)
        if example in failed and not category.confusion:
            yield Line(f"    {'':<17}{_operands(failed[example])}")


def _operands(case: FailedCase) -> str:
    if case.expected is None:
        return excerpt(case.message, 2 * MAX_VALUE_WIDTH)
    expected, actual = (excerpt(value, MAX_VALUE_WIDTH) for value in (case.expected, case.actual))
    return f'expected "{expected}", got "{actual}"'


def _labelled(label: str, sentence: str, width: int) -> Iterator[Line]:
    if sentence:
        text = textwrap.wrap(printable(sentence), max(width - 19, 40))
        for number, part in enumerate(text):
            yield Line(f"    {'' if number else label + ':':<15}{part}")


def _value(value: object) -> str:
    """A value in a table; blanks that a reader could not see are put in quotes."""
    text = str(value)
    return excerpt(text if text and text == text.strip() else f'"{text}"', MAX_VALUE_WIDTH)


def _examples(ids: Sequence[str], *, of: int | None = None) -> list[str]:
    """The first ids and how many more there are of all `of` (default: as many as `ids`)."""
    shown = [excerpt(i, MAX_ID_WIDTH) for i in ids[:MAX_EXAMPLES]]
    hidden = (len(ids) if of is None else of) - len(shown)
    return [*shown, f"... and {hidden:,} more"] if shown and hidden > 0 else shown


def _errored(check: PromptCheck) -> Iterator[Line]:
    errored = [r for r in check.results if r.errored]
    if not errored:
        return
    yield Line()
    yield Line(f"  {plural(len(errored), 'case')} errored: no usable answer, so in no pass rate", WARN)
    for result in errored[:MAX_EXAMPLES]:
        reason = next((o.error for o in result.outcomes if o.error), "")
        yield Line(
            f"    {excerpt(result.case.id, MAX_ID_WIDTH)}{': ' if reason else ''}{excerpt(reason, 200)}"
        )
    if len(errored) > MAX_EXAMPLES:
        yield Line(f"    ... and {len(errored) - MAX_EXAMPLES:,} more")


def gate_lines(checks: Iterable[PromptCheck]) -> list[Line]:
    """One verdict for each prompt that has a threshold; its errored cases are named under it."""
    lines: list[Line] = []
    for check in checks:
        if check.min_pass_rate is not None:
            lines.append(_gate_line(check, check.min_pass_rate))
            errored = [r.case.id for r in check.results if r.errored]
            lines.extend(Line(f"      errored: {example}", WARN) for example in _examples(errored))
    return lines


def _gate_line(check: PromptCheck, least: float) -> Line:
    counted = check.cases - check.errored
    if check.rate is None:
        measured, passing = f"has no pass rate, {percent(least)} required", "no case has a usable answer"
    else:
        measured = f"{_compared(check.rate, least, held=bool(check.held))} required"
        passing = f"{counted - check.failing} of {plural(counted, 'case')} passed"
    errored = f", {check.errored} errored" if check.errored else ""
    where = f"; {printable(check.where)}" if check.where else ""
    verdict = "holds" if check.held else "FAILED"
    text = f"gate: {printable(check.prompt)} {measured}: {verdict} ({passing}{errored}{where})"
    return Line(text, GOOD if check.held else {**BOLD, **BAD})


def _compared(rate: float, least: float, *, held: bool) -> str:
    """``61.7% < 80.0%``, with as many digits as it takes to see the difference."""
    if held:
        return f"{percent(rate)} >= {percent(least)}"
    digits = next((d for d in (1, 2, 3) if f"{rate:.{d}%}" != f"{least:.{d}%}"), 4)
    return f"{rate:.{digits}%} < {least:.{digits}%}"


def run_summary(result: RunResult, *, width: int = 100) -> list[Line]:
    """What ``--optimize`` did: prompt by prompt, then what it cost and where the journal is."""
    lines: list[Line] = []
    if result.interrupted:
        lines += [Line("interrupted: what follows is what was known by then", WARN), Line()]
    for prompt in result.prompts:
        lines += [*_prompt(prompt, result.journal, width), Line()]
    lines += _spend(result)
    if result.journal:
        lines.append(Line(f"journal: {printable(result.journal)}"))
    for note in result.notes:
        lines += [Line(line, WARN) for line in textwrap.wrap(printable(f"note: {note}"), max(width, 40))]
    return lines


_OUTCOMES: Mapping[str, tuple[str, Markup]] = {
    "improved": ("improved", GOOD),
    "unchanged": ("unchanged", WARN),
    "worse": ("worse on held-out cases, left alone", BAD),
    "passing": ("no failing case, left alone", GOOD),
    "interrupted": ("interrupted", WARN),
}


def _prompt(prompt: PromptResult, journal: str, width: int) -> Iterator[Line]:
    words, markup = _OUTCOMES.get(prompt.outcome, (printable(prompt.outcome), WARN))
    changed = prompt.before != prompt.after
    more = _gains(prompt.scores) if changed else _tried_in_vain(prompt) * (prompt.outcome == "unchanged")
    yield Line(f"{printable(prompt.prompt)}: {words}{more}", {**BOLD, **markup})
    yield from _scores(prompt.scores)
    if changed:
        yield from _changed_cases(prompt)
        yield from _heldout(prompt.scores, width)
    candidates = sum(len(i.candidates) for i in prompt.iterations)
    if prompt.iterations:
        tried = f"{plural(len(prompt.iterations), 'iteration')}, {plural(candidates, 'candidate')}"
        yield Line(f"  tried:    {tried}")
    if prompt.why and prompt.outcome != "passing":
        yield from _wrapped(f"stopped:  {prompt.stop}: {prompt.why}", width)
    if changed:
        yield from _diff(prompt, journal)
        yield _where(prompt)
    if prompt.note:
        yield from _wrapped(f"note:     {prompt.note}", width, WARN)


def _tried_in_vain(prompt: PromptResult) -> str:
    if _gains(prompt.scores):
        return ""  # its cases share a pipeline with a prompt that was improved; the note names it
    measured = any(candidate.rate is not None for i in prompt.iterations for candidate in i.candidates)
    return ", no candidate was better" if measured else ", no candidate was measured"


def _gains(scores: Sequence[SplitScore]) -> str:
    """``, train 61.1% -> 97.2%`` for each split whose rate changed."""
    return "".join(
        f", {_SPLIT_NAMES[s.split]} {percent(s.before)} -> {percent(s.after)}"
        for s in scores
        if s.before is not None and s.after is not None and s.before != s.after
    )


def _scores(scores: Sequence[SplitScore]) -> Iterator[Line]:
    measured = [s for s in scores if s.cases]
    if not measured:
        return
    rows = [("pass rate", "before", "after", "cases")]
    rows += [
        (_SPLIT_NAMES[s.split], _score(s, s.before), _score(s, s.after), f"{s.cases}{_remark(s)}")
        for s in measured
    ]
    header, *body = table(rows)
    yield Line(f"  {header}", DIM)
    yield from (Line(f"  {row}") for row in body)


def _remark(score: SplitScore) -> str:
    remarks = [f"{score.errored} errored, in no rate"] * bool(score.errored)
    measured = score.before is not None or score.after is not None
    remarks += ["in brackets: 95% interval"] * (score.split is Split.HELDOUT and measured)
    return f" ({'; '.join(remarks)})" if remarks else ""


def _score(score: SplitScore, rate: float | None) -> str:
    """A rate; on held-out cases with its interval, since only there it stands for cases not seen."""
    if rate is None:
        return "not measured"
    if score.split is not Split.HELDOUT:
        return percent(rate)
    low, high = wilson(rate, score.cases - score.errored)
    return f"{percent(rate)} [{low * 100:.0f}-{high * 100:.0f}]"


def _changed_cases(prompt: PromptResult) -> Iterator[Line]:
    counts = f"{plural(len(prompt.fixed), 'case')} fixed, {len(prompt.broken):,} broken"
    yield Line(f"  changed:  {counts}{':' if prompt.broken else ''}")
    yield from (Line(f"            {example}", WARN) for example in _examples(prompt.broken))


def _heldout(scores: Sequence[SplitScore], width: int) -> Iterator[Line]:
    score = next((s for s in scores if s.split is Split.HELDOUT and s.cases), None)
    if score is None or score.before is None or score.after is None:
        why = "there are no held-out cases" if score is None else "the held-out cases were not measured"
        advice = " Mark some tests with @pytest.mark.heldout, or set promptopt_split = 60/20/20." * (
            score is None
        )
        text = f"held-out: no evidence that this carries over to new inputs: {why}.{advice}"
        yield from _wrapped(text, width, WARN)
        return
    yield from _wrapped(f"held-out: {heldout_verdict(score)}", width, _heldout_markup(score))
    if score.cases < SMALL_SPLIT:
        text = (
            f"only {plural(score.cases, 'held-out case')}: too few to show much; {SMALL_SPLIT} is the least"
        )
        yield from _wrapped(f"          {text}", width, WARN)


def heldout_verdict(score: SplitScore) -> str:
    """Whether the change carries over to cases that the search never saw, in words."""
    counts = f"{plural(score.fixed, 'case')} fixed, {score.broken} broken"
    gain, loss = sign_test(score.fixed, score.broken), sign_test(score.broken, score.fixed)
    if not score.fixed and not score.broken:
        return "gain not shown: no case changed its verdict"
    if gain <= ALPHA:
        return f"the gain carries over: {counts} ({_chance(gain)})"
    if loss <= ALPHA:
        return f"worse on cases it never saw: {counts} ({_chance(loss)})"
    return f"gain not shown: {counts}, which may be chance ({_chance(gain)})"


def _heldout_markup(score: SplitScore) -> Markup:
    if sign_test(score.fixed, score.broken) <= ALPHA:
        return GOOD
    return BAD if sign_test(score.broken, score.fixed) <= ALPHA else WARN


def _chance(p: float) -> str:
    return "p < 0.001, exact sign test" if p < 0.001 else f"p = {p:.2g}, exact sign test"


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


def _where(prompt: PromptResult) -> Line:
    if prompt.written:
        return Line(f"  written:  {printable(prompt.prompt)}", GOOD)
    return Line(f"  written:  nothing, {printable(prompt.prompt)} is as it was", WARN)


def _spend(result: RunResult) -> Iterator[Line]:
    rows = [("spend", "calls", "input tokens", "output tokens", "cost")]
    named = [(role.value, spend) for role, spend in result.spend.items() if spend.calls]
    if len(named) > 1:
        named.append(("total", total(result.spend.values())))
    rows += [
        (name, f"{s.calls:,}", f"{s.input_tokens:,}", f"{s.output_tokens:,}", cost(s)) for name, s in named
    ]
    if named:
        header, *body = table(rows, right=[1, 2, 3])
        yield Line(header, DIM)
        yield from map(Line, body)
    else:
        yield Line("spend: no model call was paid for")
    yield Line(f"elapsed: {duration(result.elapsed)}")


def _wrapped(text: str, width: int, markup: Markup = PLAIN) -> Iterator[Line]:
    """A labelled sentence of a prompt's summary; what does not fit goes under the sentence, not the label."""
    for line in textwrap.wrap(printable(text), max(width - 2, 40), subsequent_indent=" " * 10):
        yield Line(f"  {line}", markup)
