"""A failure that fails no session by itself is no failure to anybody: not to JUnit, annotations or ``-x``.

What decides instead (a gate, or the rule about held-out cases) is told where the case's failure would be: the
case carries a property and its message, and a gate is a test case of its own, which fails if the gate does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.report_data import read_data
from pytest_promptopt.records import Status

if TYPE_CHECKING:
    from pytest_promptopt.reports.check_report import GateLine

#: What fails a session besides cases and gates: what it is about, a name for JUnit's test case, and why.
Fault = tuple[str, str, str]

#: What a fault is about that is of no prompt and no file.
OWN = "promptopt"

#: The property of a tolerated case; its value says why it is tolerated.
PROPERTY = "promptopt.tolerated"


def report_as_passed(
    item: pytest.Item, report: pytest.TestReport, data: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Make a failed report a passed one, with the property; returns `data` with its failure and message."""
    if not report.failed:
        return data
    message = report.longreprtext
    internals.forget_failed_subtests(item)
    report.outcome = "passed"
    report.longrepr = None
    told = (PROPERTY, str(data["tolerated"]))
    for properties in (report.user_properties, item.user_properties):  # the second for the teardown's report
        if told not in properties:
            properties.append(told)
    return {**data, "status": Status.FAILED.value, "message": message}


def is_tolerated(report: pytest.TestReport) -> bool:
    """Whether it is the last word on a tolerated failure; a run that another plugin repeats is not."""
    data = read_data(report)
    return report.passed and bool(data.get("tolerated")) and data.get("status") == Status.FAILED


def tell_junit(config: pytest.Config, checks: Iterable[PromptCheck], faults: Iterable[Fault]) -> None:
    """Add what decides about the session, besides its cases, to the JUnit report, if there is one.

    Each gate that decides is a test case, which fails if the gate does, and so is each of `faults`.
    """
    told = [
        (check.prompt, gate.name, gate.line.text, gate.held) for check in checks for gate in _deciding(check)
    ]
    for subject, name, text, held in (*told, *((*fault, False) for fault in faults)):
        report = pytest.TestReport(
            nodeid=f"{subject}::{name}",
            location=(subject, None, name),
            keywords={},
            outcome="passed" if held else "failed",
            longrepr=None if held else text,
            when="call",
        )
        internals.add_to_junit(config, report, text if held else "")


def _deciding(check: PromptCheck) -> Iterator[GateLine]:
    """The gates of a prompt that have decided; what says it in words is imported where there is one only."""
    if check.passed is not None:
        from pytest_promptopt.reports.check_report import gate_verdicts

        yield from (gate for gate in gate_verdicts(check) if gate.held is not None)
