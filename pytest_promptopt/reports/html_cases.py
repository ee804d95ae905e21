"""The cases of a session as the HTML report holds them: short rows for its list, details to unfold.

A row is a list, since thousands of objects would name their keys thousands of times; `ROW` says what stands
where. Details are compressed, a hundred cases together, and read by the page when it is shown.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from math import fsum, isfinite
from typing import TYPE_CHECKING, Any

from pytest_promptopt.optimizer.flaky_cases import flaky_cases
from pytest_promptopt.optimizer.stage_faults.telling import tell_by_results
from pytest_promptopt.records import Call, CaseResult, Outcome, Status
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.reports.stage_wording import fault_sentence
from pytest_promptopt.reports.wording import SPLIT_NAMES
from pytest_promptopt.text import cut_end, cut_middle, encodable, one_line, value_text

if TYPE_CHECKING:
    from pytest_promptopt.failures import FailedCase

#: What stands in a row. `prompt`, `model` and `category` are places in lists, -1 for none; `details` is the
#: place of the case in the details, which a case of several prompts has once.
ROW = (
    *("prompt", "details", "id", "split", "model", "status", "rate", "passed", "samples", "flaky"),
    *("category", "seconds", "cost", "input", "expected", "got"),
)

#: Cases that are compressed together.
CHUNK = 100

#: Lines of a difference, and verdicts of a judge, that are kept for a case.
MAX_LINES = 60


class Table:
    """Words that many rows share: each once, by its place."""

    def __init__(self) -> None:
        self.words: dict[str, int] = {}

    def place(self, word: str | None) -> int:
        return -1 if not word else self.words.setdefault(word, len(self.words))


def case_rows(report: SessionReport, models: Table, categories: Table, *, width: int) -> list[list[Any]]:
    """A row for each case of each prompt.

    :param width: of the values that are shown in the list.
    """
    places: dict[str, int] = {}
    rows = []
    for number, check in enumerate(report.checks):
        failed = failed_cases(report, check.prompt)
        for result in check.results:
            place = places.setdefault(result.case.id, len(places))
            model, case = result.case.model_of(check.prompt), failed.get(result.case.id)
            rows.append(
                [
                    number,
                    place,
                    result.case.id,
                    SPLIT_NAMES[result.case.split],
                    models.place(model),
                    result.status,
                    _rounded(result.rate),
                    sum(outcome.status is Status.PASSED for outcome in result.counted),
                    len(result.counted),
                    int(bool(flaky_cases([result]))),
                    categories.place(None if case is None else case.category),
                    *_took(result),
                    *(list_value(text, width) for text in _seen(result, check.prompt, case)),
                ]
            )
    return rows


def list_value(text: str, width: int) -> str:
    """`text` as the list shows it, and as the page looks for it there."""
    return cut_end(one_line(text), width)


def failed_cases(report: SessionReport, prompt: str) -> Mapping[str, FailedCase]:
    """What is known of the cases of a prompt that failed, by their ids."""
    feedback = report.feedbacks.get(prompt)
    return {} if feedback is None else feedback.by_case


def _took(result: CaseResult) -> tuple[float | None, float | None]:
    """The seconds of the calls of one run, on the mean, and what all runs cost; None where nobody knows."""
    runs = [outcome.all_calls for outcome in result.outcomes if outcome.all_calls]
    seconds = [call.latency for calls in runs for call in calls]
    costs = [call.cost for calls in runs for call in calls if call.cost is not None]
    return _rounded(fsum(seconds) / len(runs)) if runs else None, _rounded(fsum(costs)) if costs else None


def _seen(result: CaseResult, prompt: str, case: FailedCase | None) -> tuple[str, str, str]:
    """Input, expected and got of the run that the list shows."""
    outcome = result.failing or next(iter(result.counted or result.outcomes), None)
    if outcome is None:
        return "", "", ""
    call = next((call for call in outcome.calls if call.prompt == prompt), None)
    inputs = call.variables if call is not None else outcome.inputs or outcome.parameters
    failure = outcome.failure
    got = case.actual if case is not None else call.words if call is not None else outcome.error or ""
    if failure is not None and case is None and failure.actual is not None:
        got = value_text(failure.actual)
    wanted = failure.constraint or failure.expected if failure is not None else outcome.expected
    expected = case.expected if case is not None and case.expected is not None else wanted
    return " · ".join(map(value_text, inputs.values())), "" if expected is None else value_text(expected), got


def _rounded(number: float | None) -> float | None:
    return float(f"{number:.6g}") if number is not None and isfinite(number) else None


def case_details(report: SessionReport, *, limit: int) -> list[str]:
    """The details of all cases, in the order of their places, in compressed chunks.

    :param limit: characters of one text.
    """
    found: dict[str, dict[str, Any]] = {}
    for check in report.checks:
        failed = failed_cases(report, check.prompt)
        faults = tell_by_results(check.results)
        for result in check.results:
            details = found.setdefault(result.case.id, _details(result, limit))
            if result.case.id in failed:
                details["why"].append(_why(check.prompt, failed[result.case.id], limit))
            if (fault := faults.get(result.case.id)) is not None and fault.stage:
                details["fault"] = fault_sentence(fault)
    everything = list(found.values())
    return [_packed(everything[start : start + CHUNK]) for start in range(0, len(everything), CHUNK)]


def _packed(cases: Sequence[Any]) -> str:
    text = encodable(json.dumps(cases, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _details(result: CaseResult, limit: int) -> dict[str, Any]:
    checks = dict.fromkeys(outcome.check for outcome in result.outcomes if outcome.check)
    return {
        "where": result.case.where,
        "weight": result.case.weight,
        "check": cut_middle("\n".join(checks), limit),
        "runs": [_run(outcome, limit) for outcome in result.outcomes],
        "why": [],
    }


def _why(prompt: str, case: FailedCase, limit: int) -> dict[str, Any]:
    lines = [cut_middle(line, limit) for line in (*case.faults, *case.difference)[:MAX_LINES]]
    return {"prompt": prompt, "category": case.category, "lines": lines, "remark": case.remark}


def _run(outcome: Outcome, limit: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "sample": outcome.sample,
        "status": outcome.status,
        "score": _rounded(outcome.score),
        "calls": list(_calls(outcome, limit)),
    }
    if outcome.error:
        told["error"] = cut_middle(outcome.error, limit)
    given = outcome.parameters or outcome.inputs
    if given:
        told["given"] = {name: cut_middle(value_text(value), limit) for name, value in given.items()}
    if outcome.expected is not None:
        told["expected"] = cut_middle(value_text(outcome.expected), limit)
    if outcome.failure is not None:
        told["failure"] = dict(_failure(outcome, limit))
    if outcome.verdicts:
        told["verdicts"] = [
            {
                **verdict.to_json(),
                "issues": [cut_middle(issue, limit) for issue in verdict.issues],
                "strengths": [cut_middle(strength, limit) for strength in verdict.strengths],
                "suggestions": [cut_middle(each.text, limit) for each in verdict.suggestions],
                "reasons": cut_middle(verdict.reasons, limit),
                "criterion": cut_middle(verdict.criterion, limit),
            }
            for verdict in outcome.verdicts[:MAX_LINES]
        ]
    return told


def _failure(outcome: Outcome, limit: int) -> Iterator[tuple[str, str]]:
    failure = outcome.failure
    assert failure is not None
    yield "where", failure.where
    yield "message", cut_middle(failure.message, limit)
    for name in ("expected", "actual", "constraint"):
        if (value := getattr(failure, name)) is not None:
            yield name, cut_middle(value_text(value), limit)


def _calls(outcome: Outcome, limit: int) -> Iterator[dict[str, Any]]:
    """All of them; the last one of each stage has the grade of the stage."""
    last = {call.prompt: number for number, call in enumerate(outcome.calls)}
    for number, call in enumerate(outcome.all_calls):
        told = _call(call, limit)
        grade = outcome.grade_of(call.prompt)
        if grade is not None and last.get(call.prompt) == number:
            told["grade"] = {"score": _rounded(grade.score), "why": cut_middle(grade.why, limit)}
        yield told


def _call(call: Call, limit: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "prompt": call.prompt,
        "variables": {name: cut_middle(value_text(v), limit) for name, v in call.variables.items()},
        "answer": cut_middle(call.words, limit),
        "stop": call.stop_reason,
        "seconds": _rounded(call.latency),
        "cost": _rounded(call.cost),
        "cached": call.cached,
    }
    if call.usage is not None:
        told["tokens"] = [call.usage.input_tokens, call.usage.output_tokens]
    if call.files:
        told["files"] = list(call.files)
    return told
