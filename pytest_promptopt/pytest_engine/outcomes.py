"""From the reports of a run to its outcome, and outcomes as JSON, which crosses to xdist's controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.assertions.plain_values import plain_value
from pytest_promptopt.errors import UnusableVerdict
from pytest_promptopt.partial_credit import partial_credit
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.tolerated_failures import is_tolerated
from pytest_promptopt.records import Call, Failure, Outcome, StageGrade, Status, Usage
from pytest_promptopt.records.content import ToolCall
from pytest_promptopt.replay.stage_grades import joined_grades
from pytest_promptopt.verdicts import Verdict

if TYPE_CHECKING:
    from pytest_promptopt.pytest_engine.prompt_case import PromptCase
    from pytest_promptopt.replay.run import Run


def outcome_of(run: Run[PromptCase], reports: Sequence[pytest.TestReport]) -> Outcome:
    """What a run that lacks no answer has shown; with a model error it is errored, even a swallowed one."""
    return replace(
        _verdict(run, reports),
        calls=tuple(run.calls),
        other_calls=tuple(run.other_calls),
        verdicts=tuple(run.verdicts),
        grades=joined_grades(run.grades),
        duration=sum(report.duration for report in reports),
        expected=_expected(run),
        parameters=run.case.parameters,
        check=run.case.source.check,
        helpers=run.case.source.helpers,
    )


def _verdict(run: Run[PromptCase], reports: Sequence[pytest.TestReport]) -> Outcome:
    case, sample, failure = run.case.case.id, run.sample, run.failure
    if run.error is not None:
        return Outcome(
            case,
            Status.ERRORED,
            0.0,
            sample,
            error=str(run.error),
            unrenderable=run.unrenderable,
            unjudged=isinstance(run.error, UnusableVerdict),
        )
    own = [report for report in reports if not internals.is_subtest(report)]
    broken = next((report for report in own if report.failed and report.when != "call"), None)
    if broken is not None:
        error = f"{broken.when}: {failure.message if failure else broken.longreprtext[-500:]}"
        return Outcome(case, Status.ERRORED, 0.0, sample, failure, error)
    body = body_report(own)
    if body is None:
        return Outcome(case, Status.SKIPPED, 0.0, sample)
    if body.failed and not run.used:
        told = f"{failure.kind}: {failure.message}".rstrip(": ") if failure else body.longreprtext[-500:]
        where = f" at {failure.where}" if failure and failure.where else ""
        error = f"the test ended{where} before it used its prompt: {told}"
        return Outcome(case, Status.ERRORED, 0.0, sample, failure, error)
    if internals.is_strict_xpass(body):
        return Outcome(case, Status.PASSED, 1.0, sample)
    parts = [report for report in reports if internals.is_subtest(report) and not report.skipped]
    subtests = [part.passed and not is_tolerated(part) for part in parts]
    if body.passed and all(subtests):
        return Outcome(case, Status.PASSED, 1.0, sample)
    # With subtests the share of them that passed; a test that fails besides its subtests earns what a judge
    # gave, if that was too little, and else nothing.
    passed = body.passed and bool(subtests)
    score = sum(subtests) / len(subtests) if passed else partial_credit(failure, run.verdicts)
    values = {} if run.calls else run.case.values
    inputs = {name: str(plain_value(value)) for name, value in values.items()}
    return Outcome(case, Status.FAILED, score, sample, failure, inputs=inputs)


def body_report(reports: Sequence[pytest.TestReport]) -> pytest.TestReport | None:
    """What became of the test function itself; None if it was not run, or skipped."""
    own = (report for report in reports if report.when == "call" and not internals.is_subtest(report))
    return next((report for report in own if not report.skipped), None)


def _expected(run: Run[PromptCase]) -> Any | None:
    """What the answer is compared with: what the source says, else the operand of the failed ``==``."""
    if run.case.expected is not None or run.case.source.measured:
        return run.case.expected
    return run.failure.expected if run.failure is not None and run.failure.operator == "==" else None


def to_json(outcome: Outcome) -> dict[str, Any]:
    """`outcome` as plain data."""
    return {
        **vars(outcome),
        "failure": None if outcome.failure is None else vars(outcome.failure),
        "calls": [_call(call) for call in outcome.calls],
        "other_calls": [_call(call) for call in outcome.other_calls],
        "verdicts": [verdict.to_json() for verdict in outcome.verdicts],
        "grades": [grade.to_json() for grade in outcome.grades],
    }


def _call(call: Call) -> dict[str, Any]:
    calls = [vars(each) for each in call.tool_calls]
    usage = None if call.usage is None else vars(call.usage)
    return {**vars(call), "usage": usage, "tool_calls": calls}


def _call_from(data: Mapping[str, Any]) -> Call:
    read = {
        "usage": None if data["usage"] is None else Usage(**data["usage"]),
        "tool_calls": tuple(ToolCall(**each) for each in data["tool_calls"]),
        "tools": tuple(data["tools"]),
        "files": tuple(data["files"]),
    }
    return Call(**{**data, **read})


def from_json(data: Mapping[str, Any]) -> Outcome:
    calls, other_calls = (tuple(map(_call_from, data[name])) for name in ("calls", "other_calls"))
    failure = None if data["failure"] is None else Failure(**data["failure"])
    return Outcome(
        **{
            **data,
            "status": Status(data["status"]),
            "failure": failure,
            "helpers": tuple(data["helpers"]),
            "calls": calls,
            "other_calls": other_calls,
            "verdicts": tuple(map(Verdict.from_json, data["verdicts"])),
            "grades": tuple(map(StageGrade.from_json, data["grades"])),
        }
    )
