"""What a check says in pytest's terminal: why prompts fail, and whether the gate holds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_promptopt.failures.categories import CONFUSION
from pytest_promptopt.gate_rule import GateDecision, GateRule, GateVerdict
from pytest_promptopt.optimizer.flaky_cases import flaky_cases
from pytest_promptopt.optimizer.stage_faults.telling import tell_by_results
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import EPSILON, Status
from pytest_promptopt.reports.lines import (
    BAD,
    BOLD,
    DIM,
    GOOD,
    MAX_EXAMPLES,
    MAX_ID_WIDTH,
    WARN,
    Line,
    case_with_note,
    example_cases,
    headed,
    passed_samples,
)
from pytest_promptopt.reports.stage_wording import faults_sentence
from pytest_promptopt.reports.wording import (
    junit_name,
    model_name,
    percent,
    small_dollars,
    small_seconds,
    table,
)
from pytest_promptopt.settings import GateSplit
from pytest_promptopt.text import excerpt, plural, printable
from pytest_promptopt.thresholds import GateName, LimitGate

if TYPE_CHECKING:
    from pytest_promptopt.failures import Category, FailedCase, Feedback

#: What a section shows at most before it says how much more there is.
MAX_CATEGORIES = 6
MAX_CONFUSIONS = 6

#: Longest value in a table.
MAX_VALUE_WIDTH = 36


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
        lines.extend(_models(check))
        feedback, told = feedbacks.get(check.prompt), _passed_samples(check)
        if feedback is not None:
            lines.extend(_categories(feedback, told, width))
        elif check.failing:
            failing = [r.case.id for r in check.results if r.failing is not None]
            lines.extend(Line(f"    {example}") for example in example_cases(failing, told))
        lines.extend(_flaky(check, told))
        lines.extend(_errored(check))
        if at_fault := faults_sentence(list(tell_by_results(check.results).values())):
            lines.append(Line(f"  stage at fault: {printable(at_fault)}"))
        lines.append(Line())
    if any(c.failing for c in shown):
        lines.append(Line("To let a model rewrite the failing prompts, run: pytest --optimize", BOLD))
    return lines


def _models(check: PromptCheck) -> Iterator[Line]:
    """The rate of each model, where several answer the same prompt."""
    parts = check.by_model
    if len(parts) > 1:
        for model, part in parts.items():
            yield Line(f"  {printable(model) or 'no model'}: {_passing(part)}")


def _heading(check: PromptCheck) -> str:
    return f"{printable(check.prompt)}: {_passing(check)}"


def _passing(check: PromptCheck) -> str:
    counted = check.cases - check.errored
    # With samples and subtests a failing case may have a rate of its own.
    partial = check.rate is not None and abs(check.rate * counted - (counted - check.failing)) > 1e-6
    how = "weighted pass rate: " if check.weighted else "pass rate with partial credit: " * partial
    rate = how + percent(check.rate)
    passing = f"{counted - check.failing}/{counted} cases pass ({rate})"
    if not counted:
        passing = "no case has a usable answer"
    errored = f", {plural(check.errored, 'further case')} errored" if check.errored and counted else ""
    return f"{passing}{errored}"


def _passed_samples(check: PromptCheck) -> dict[str, str]:
    """What is told of each case that ran several times."""
    counted = {result.case.id: [o.status for o in result.counted] for result in check.results}
    return {
        case: passed_samples(statuses.count(Status.PASSED), len(statuses))
        for case, statuses in counted.items()
        if len(statuses) > 1
    }


def _categories(feedback: Feedback, told: Mapping[str, str], width: int) -> Iterator[Line]:
    for category in feedback.categories[:MAX_CATEGORIES]:
        yield Line()
        yield Line(f"  {printable(category.name)}: {plural(category.count, 'case')}", BOLD)
        yield from _category(category, feedback.by_case, told, width)
    hidden = feedback.categories[MAX_CATEGORIES:]
    if hidden:
        cases = plural(sum(c.count for c in hidden), "case")
        yield Line(f"  and {len(hidden)} more kinds of failure ({cases})", DIM)


def _category(
    category: Category, failed: Mapping[str, FailedCase], told: Mapping[str, str], width: int
) -> Iterator[Line]:
    if category.name != CONFUSION:  # the table says the same
        yield from _labelled("observed", category.observed, width)
    if category.confusion:
        rows = [("expected", "actual", "cases")]
        rows += [(_value(e), _value(a), str(n)) for e, a, n in category.confusion[:MAX_CONFUSIONS]]
        yield from headed(table(rows, right=[2]), indent=6)
        hidden = category.confusion[MAX_CONFUSIONS:]
        if hidden:
            cases = plural(sum(n for *_, n in hidden), "case")
            yield Line(f"      ... and {plural(len(hidden), 'more pair')} ({cases})", DIM)
    yield from _labelled("likely cause", category.cause, width)
    yield from _labelled("suggested fix", category.fix, width)
    said = ""
    for number, example in enumerate(category.examples[:MAX_EXAMPLES]):
        shown = case_with_note(example, told.get(example, ""))
        yield Line(f"    {'' if number else 'examples:':<15}{shown}", DIM)
        operands = _operands(failed[example]) if example in failed and not category.confusion else said
        if operands != said:
            yield Line(f"    {'':<17}{operands}")
        said = operands


def _operands(case: FailedCase) -> str:
    if case.faults:
        return excerpt("; ".join(case.faults), 2 * MAX_VALUE_WIDTH)
    if case.expected is None:
        return excerpt(case.message, 2 * MAX_VALUE_WIDTH)
    expected, actual = (excerpt(value, MAX_VALUE_WIDTH) for value in (case.expected, case.actual))
    remark = f": {printable(case.remark)}" if case.remark else ""
    return f'expected "{expected}", got "{actual}"{remark}'


def _labelled(label: str, sentence: str, width: int) -> Iterator[Line]:
    if sentence:
        text = textwrap.wrap(printable(sentence), max(width - 19, 40))
        for number, part in enumerate(text):
            yield Line(f"    {'' if number else label + ':':<15}{part}")


def _value(value: object) -> str:
    """A value in a table; blanks that a reader could not see are put in quotes."""
    text = str(value)
    return excerpt(text if text and text == text.strip() else f'"{text}"', MAX_VALUE_WIDTH)


def _flaky(check: PromptCheck, told: Mapping[str, str]) -> Iterator[Line]:
    noisy = [case.case for case in flaky_cases(check.results)]
    if noisy:
        yield Line()
        yield Line(f"  flaky: {plural(len(noisy), 'case')} both passed and failed under this very text", WARN)
        yield from (Line(f"    {example}") for example in example_cases(noisy, told))


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


@dataclass(frozen=True)
class GateLine:
    """What one gate says.

    :param name: of the gate, with the model in brackets where each of several has one: ``gate[demo]``.
    :param held: None where nothing was decided.
    :param where: who asks for it: ``file:line``, or an option.
    :param errored: the ids of its cases that have no usable answer.
    """

    name: str
    held: bool | None
    line: Line
    where: str
    errored: tuple[str, ...] = ()


def gate_verdicts(check: PromptCheck) -> list[GateLine]:
    """What a prompt must reach or keep; one of each for each model where several answer it."""
    found = []
    if check.min_pass_rate is not None:
        for model, part in check.by_gate.items():
            of_model = model if len(check.by_gate) > 1 else None
            line = _gate_line(part, check.min_pass_rate, _subject(check, of_model))
            errored = tuple(result.case.id for result in part.results if result.errored)
            found.append(GateLine(junit_name("gate", of_model), part.held, line, check.where, errored))
    for limit in check.limits:
        line = _limit_line(limit, _subject(check, limit.model))
        found.append(GateLine(junit_name(limit.name, limit.model), limit.held, line, limit.limit.where))
    return found


def gate_lines(checks: Iterable[PromptCheck]) -> list[Line]:
    """The verdict of each gate, with its errored cases named under it."""
    lines: list[Line] = []
    for verdict in (verdict for check in checks for verdict in gate_verdicts(check)):
        lines.append(verdict.line)
        examples = example_cases(list(verdict.errored))
        lines.extend(Line(f"      errored: {example}", WARN) for example in examples)
    return lines


def _subject(check: PromptCheck, model: str | None) -> str:
    name = printable(check.prompt)
    return name if model is None else f"{name} with {model_name(model)}"


def limit_words(check: PromptCheck) -> dict[str, bool]:
    """Each limit of a prompt in words, and whether all models keep it."""
    found: dict[str, bool] = {}
    for limit in check.limits:
        word = _limit_word(limit)
        found[word] = found.get(word, True) and limit.held
    return found


def _limit_word(limit: LimitGate, digits: int = 3) -> str:
    """``at most $0.00200 a case``."""
    what = "a case" if limit.name is GateName.COST else "for 95% of its answers"
    return f"at most {_amount(limit, limit.limit.value, digits)} {what}"


def _amount(limit: LimitGate, value: float, digits: int) -> str:
    return (small_dollars if limit.name is GateName.COST else small_seconds)(value, digits)


def _telling_digits(limit: LimitGate) -> int:
    """As many as it takes to see that a limit is not kept."""
    if limit.held or limit.measured is None:
        return 3
    sides = limit.measured, limit.limit.value
    return next((n for n in range(3, 8) if len({_amount(limit, side, n) for side in sides}) > 1), 8)


def _limit_line(limit: LimitGate, name: str) -> Line:
    digits = _telling_digits(limit)
    runs, answers = f"{plural(limit.runs, 'run')} of its cases", plural(limit.calls, "answer")
    if limit.measured is None:
        what, of = "nothing that was measured", runs
        if limit.unpriced:
            what, of = "no known price", f"{limit.unpriced:,} of {answers} have none"
    elif limit.name is GateName.COST:
        what, of = f"{_amount(limit, limit.measured, digits)} a case", runs
    else:
        what, of = _amount(limit, limit.measured, digits), answers
    where = f"; {printable(limit.limit.where)}" if limit.limit.where else ""
    verdict = "holds" if limit.held else "FAILED"
    text = f"gate: {name} has {what}, {_limit_word(limit, digits)}: {verdict} ({of}{where})"
    return Line(text, GOOD if limit.held else {**BOLD, **BAD})


def _gate_line(check: PromptCheck, least: float, name: str) -> Line:
    decision, required = check.decision, f"{name}, {percent(least)} required"
    nothing = "so there is nothing to decide on"
    if decision is None:
        return Line(f"gate: {required}: {plural(len(check.results), 'case')} skipped, {nothing}", WARN)
    if not check.results:
        return Line(f"gate: {required}: FAILED: no {_kind(check.rule)} ran, {nothing}", {**BOLD, **BAD})
    held = check.rule.holds(decision.verdict)
    counted = check.cases - check.errored
    if check.rate is None:
        measured, passing = f"has no pass rate, {percent(least)} required", "no case has a usable answer"
    else:
        measured = f"{_measured(check.rate, least, decision)} required"
        passing = f"{counted - check.failing} of {plural(counted, _kind(check.rule))} passed"
        if counted and abs(check.rate - (counted - check.failing) / counted) > EPSILON:
            passing += ", weights count" if check.weighted else ", partial credit counts"
    errored = f", {check.errored} errored" if check.errored else ""
    if lost := sum(result.lost for result in check.results):
        errored += f", {plural(lost, 'sample')} not answered"
    where = f"; {printable(check.where)}" if check.where else ""
    text = f"gate: {name} {measured}: {_said(decision, held)} ({passing}{errored}{where})"
    return Line(text, GOOD if held else {**BOLD, **BAD})


def _kind(rule: GateRule) -> str:
    return "held-out case" if rule.split is GateSplit.HELDOUT else "case"


def _measured(rate: float, least: float, decision: GateDecision) -> str:
    interval = decision.interval
    if interval is None:
        return _compared(rate, least, held=decision.verdict is GateVerdict.PASS)
    return f"{percent(rate)} ({percent(interval.low)} to {percent(interval.high)}), {percent(least)}"


def _said(decision: GateDecision, held: bool) -> str:
    if decision.by_margin:
        return "holds within the margin"
    if decision.verdict is not GateVerdict.UNDECIDED:
        return "holds" if held else "FAILED"
    if decision.cases is not None:
        needed = f"samples cannot decide it; about {plural(decision.cases, 'more case')} can"
    elif decision.samples is not None:
        needed = f"about {plural(decision.samples, 'more sample')} of each case would decide it"
    else:
        needed = "the rate is too close to it for any number of samples"
    passes = ", which passes" if held else ""
    return f"{'undecided' if held else 'UNDECIDED'}{passes}: {needed}"


def _compared(rate: float, least: float, *, held: bool) -> str:
    """``61.7% < 80.0%``, with as many digits as it takes to see the difference."""
    if held:
        return f"{percent(rate)} >= {percent(least)}"
    digits = next((d for d in (1, 2, 3) if f"{rate:.{d}%}" != f"{least:.{d}%}"), 4)
    return f"{rate:.{digits}%} < {least:.{digits}%}"
