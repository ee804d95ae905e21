"""The report as Markdown: the body of a pull request, a comment, the summary of a job.

The prompts first, then a comparison with a baseline, what ``--optimize`` did, and why prompts fail: a page
that is cut keeps what decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_promptopt.file_writing import replace_file
from pytest_promptopt.gate_rule import GateVerdict
from pytest_promptopt.optimizer.stage_faults.telling import tell_by_results
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import Outcome
from pytest_promptopt.reports.baseline_wording import noise_sentences
from pytest_promptopt.reports.check_report import gate_verdicts, limit_words
from pytest_promptopt.reports.markdown_compared import compared_blocks
from pytest_promptopt.reports.markdown_run import run_blocks
from pytest_promptopt.reports.markdown_text import MAX_VALUE, code, fit, table, words
from pytest_promptopt.reports.mutation_report import mutation_blocks
from pytest_promptopt.reports.session_report import (
    Part,
    SessionReport,
    interval,
    parts_by_model,
    parts_by_split,
    whole,
)
from pytest_promptopt.reports.stage_wording import faults_sentence
from pytest_promptopt.reports.wording import calls_line, cost, duration, percent
from pytest_promptopt.results import PromptOutcome
from pytest_promptopt.stage_trace import TracedStage, stage_trace
from pytest_promptopt.text import plural

if TYPE_CHECKING:
    from pytest_promptopt.failures import Category, FailedCase, Feedback
    from pytest_promptopt.model_comparison import ModelFigures

#: The largest body of a pull request or a comment that GitHub takes.
MAX_BODY = 65_536

MAX_CATEGORIES = 6
MAX_CONFUSIONS = 8
MAX_EXAMPLES = 3
MAX_ERRORED = 5
MAX_NOTES = 20

#: Characters of an input or an output of a stage.
MAX_STAGE = 80


def write_markdown(path: Path, report: SessionReport) -> None:
    """Write the report, whole or not at all; missing folders are made. Raises `OSError`."""
    replace_file(path, markdown(report, MAX_BODY).encode("utf-8", "backslashreplace"))


def markdown(report: SessionReport, limit: int) -> str:
    """The report in at most so many bytes."""
    return fit(list(_blocks(report)), limit)


def _blocks(report: SessionReport) -> Iterator[str]:
    yield f"## {_title(report)}"
    if report.checks:
        yield overview(report)
        if spent := calls_line(report.calls.cached, report.calls.made, report.calls.paid):
            yield f"{words(spent)}."
        if noises := _noises(report):
            yield "\n".join(noises)
    yield from compared_blocks(report)
    if report.run is not None:
        yield from run_blocks(report.run, report.settings)
    if report.mutation is not None:
        yield from mutation_blocks(report.mutation)
    for check in report.checks:
        yield from _prompt(check, report.feedbacks.get(check.prompt))
    if report.notes:
        yield "### Notes"
        yield "\n".join(f"* {words(note)}" for note in report.notes[:MAX_NOTES])
    yield version_line(report)


def _title(report: SessionReport) -> str:
    """``❌ Prompts: 1 of 2 improved, gate held by 1 of 2``."""
    gates = [check for check in report.checks if check.passed is not None]
    told = []
    if report.run is not None and report.run.prompts:
        improved = sum(prompt.outcome is PromptOutcome.IMPROVED for prompt in report.run.prompts)
        told.append(f"{improved:,} of {len(report.run.prompts):,} improved")
    if gates:
        told.append(f"gate held by {sum(bool(check.passed) for check in gates):,} of {len(gates):,}")
    if failed := len(report.failed_comparisons):
        told.append(f"comparison failed by {failed:,} of {len(report.compared):,}")
    if report.mutation is not None:
        unnoticed, tried = map(sum, zip(*(each.counts for each in report.mutation.prompts), strict=True))
        told.append(f"no test notices {unnoticed:,} of {plural(tried, 'instruction')}")
    if not told:
        failing, cases = (sum(getattr(c, name) for c in report.checks) for name in ("failing", "cases"))
        told.append(f"failing cases {failing:,} of {cases:,}")
    good = report.passed and not failed
    verdict = f"{'✅' if good else '❌'} " * bool(gates or failed)
    return f"{verdict}Prompts: {', '.join(told)}"


def version_line(report: SessionReport) -> str:
    """The last line of a page."""
    return f"<sub>pytest-promptopt {words(report.version)}. Intervals of pass rates are 95 % intervals.</sub>"


def overview(report: SessionReport) -> str:
    """The table of the prompts: rates, gates, cost."""
    rows = [("prompt", "pass rate", "interval", "passing cases", "errored", "gate", "cost")]
    for check in report.checks:
        part = whole(check)
        rows.append((code(check.prompt), *_figures(part), gate_word(check), _cost(part.figures)))
    return table(rows, right=[1, 2, 3, 4, 6])


def _noises(report: SessionReport) -> list[str]:
    """What the suite does by itself, for the first prompts."""
    told = [each for check in report.checks for each in noise_sentences(check, report.settings.alpha)]
    hidden = len(told) - MAX_NOTES
    more = [f"* and {hidden:,} more"] if hidden > 0 else []
    return [*(f"* {words(sentence)}" for sentence in told[:MAX_NOTES]), *more]


def gate_word(check: PromptCheck) -> str:
    """``❌ 90.0% required; ✅ at most 2s for 95% of its answers``; a dash without a gate."""
    said: dict[str, bool] = {}
    if check.min_pass_rate is not None and check.verdict is not None:
        undecided = " (undecided)" * (check.verdict is GateVerdict.UNDECIDED)
        said[f"{percent(check.min_pass_rate)} required{undecided}"] = bool(check.held)
    said |= limit_words(check)
    return "; ".join(f"{'✅' if held else '❌'} {word}" for word, held in said.items()) or "–"


def _figures(part: Part) -> tuple[str, str, str, str]:
    check = part.check
    counted = check.cases - check.errored
    ends = interval(check)
    between = "–" if ends is None else f"{percent(ends[0])} to {percent(ends[1])}"
    rate = "–" if check.rate is None else f"**{percent(check.rate)}**"
    return rate, between, f"{counted - check.failing:,} of {counted:,}", f"{check.errored:,}"


def _cost(figures: ModelFigures) -> str:
    if not figures.calls:
        return "–"
    return cost(figures.spend)


def _prompt(check: PromptCheck, feedback: Feedback | None) -> Iterator[str]:
    splits, models = parts_by_split(check), parts_by_model(check)
    if not (splits or models or check.failing or check.errored or check.passed is False):
        return
    yield f"### {code(check.prompt)}"
    yield from (f"**{words(gate.line.text)}**" for gate in gate_verdicts(check))
    for name, parts in (("split", splits), ("model", models)):
        if parts:
            yield _parts(name, parts)
    if feedback is not None:
        failing = {result.case.id: result.failing for result in check.results if result.failing}
        yield from _categories(feedback, failing)
    if told := faults_sentence(list(tell_by_results(check.results).values())):
        yield f"Stage at fault: {words(told)}"
    yield from _errored(check)


def _parts(name: str, parts: list[Part]) -> str:
    rows = [(name, "pass rate", "interval", "passing cases", "errored", "cost", "latency p50")]
    for part in parts:
        latency = part.figures.latency
        seconds = "–" if latency is None else duration(latency)
        rows.append((words(part.name), *_figures(part), _cost(part.figures), seconds))
    return table(rows, right=[1, 2, 3, 4, 5, 6])


def _categories(feedback: Feedback, failing: Mapping[str, Outcome]) -> Iterator[str]:
    for category in feedback.categories[:MAX_CATEGORIES]:
        yield "\n".join(_category(category, feedback.by_case, failing))
        if category.confusion:
            yield _confusion(category)
    if hidden := feedback.categories[MAX_CATEGORIES:]:
        cases = plural(sum(category.count for category in hidden), "case")
        yield f"And {plural(len(hidden), 'more kind')} of failure ({cases})."


def _category(
    category: Category, failed: Mapping[str, FailedCase], failing: Mapping[str, Outcome]
) -> Iterator[str]:
    yield f"**{words(category.name)}**: {plural(category.count, 'case')}"
    yield ""
    told = {"Observed": category.observed, "Likely cause": category.cause, "Suggested fix": category.fix}
    yield from (f"* {label}: {words(text)}" for label, text in told.items() if text)
    for number, example in enumerate(category.examples[:MAX_EXAMPLES]):
        case = failed.get(example)
        yield f"* {code(example)}" + (f": {_operands(case)}" if case is not None else "")
        if not number:  # one way through a pipeline is enough for a kind of failure
            yield from map(_stage, stage_trace(failing.get(example)))


def _stage(stage: TracedStage) -> str:
    why = f" ({words(stage.grade.why, MAX_VALUE)})" if stage.grade is not None and stage.grade.why else ""
    grade = f", grade {stage.grade.score:.2g}{why}" if stage.grade is not None else ""
    given = code(" · ".join(stage.inputs.values()), MAX_STAGE)
    said = f"{given} → {code(stage.output, MAX_STAGE)}" if stage.calls else "not called"
    return f"  * {code(stage.prompt)}: {said}{grade}"


def _operands(case: FailedCase) -> str:
    if case.faults:
        return words("; ".join(case.faults), 300)
    if case.expected is None:
        return code(case.message)
    remark = f" ({words(case.remark)})" if case.remark else ""
    return f"expected {code(case.expected)}, got {code(case.actual)}{remark}"


def _confusion(category: Category) -> str:
    rows = [("expected", "got", "cases")]
    rows += [(code(str(e)), code(str(a)), f"{n:,}") for e, a, n in category.confusion[:MAX_CONFUSIONS]]
    hidden = category.confusion[MAX_CONFUSIONS:]
    if hidden:
        rows.append((plural(len(hidden), "more pair"), "", f"{sum(n for *_, n in hidden):,}"))
    return table(rows, right=[2])


def _errored(check: PromptCheck) -> Iterator[str]:
    errored = [result for result in check.results if result.errored]
    if not errored:
        return
    lines = [f"**{plural(len(errored), 'case')} errored**: no usable answer, so in no pass rate", ""]
    for result in errored[:MAX_ERRORED]:
        reason = next((outcome.error for outcome in result.outcomes if outcome.error), "")
        lines.append(f"* {code(result.case.id)}" + (f": {words(reason, 300)}" if reason else ""))
    if hidden := len(errored) - MAX_ERRORED:
        lines += [f"* and {hidden:,} more"] * (hidden > 0)
    yield "\n".join(lines)
