"""A failure that fails no session by itself is no failure to anybody: not to JUnit, annotations or ``-x``.

What decides instead (a gate, or the rule about held-out cases) is told where the case's failure would be: the
case carries a property and its message, and a gate that does not hold is a failing test case of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.report_data import read_data
from pytest_promptopt.records import Status

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


def tell_junit(
    config: pytest.Config,
    checks: Iterable[PromptCheck],
    unwritten: Iterable[str],
    compared: Iterable[tuple[str, str, str]] = (),
) -> None:
    """Add what fails the session to the JUnit report, if there is one, besides cases that failed.

    :param compared: what is worse than it was: prompt, name of the test case, text.
    """
    for prompt, name, text in (*_failing(checks, unwritten), *compared):
        report = pytest.TestReport(
            nodeid=f"{prompt}::{name}",
            location=(prompt, None, name),
            keywords={},
            outcome="failed",
            longrepr=text,
            when="call",
        )
        internals.add_to_junit(config, report)


def _failing(checks: Iterable[PromptCheck], unwritten: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    for check in checks:
        if check.passed is False:
            from pytest_promptopt.reports.check_report import gate_verdicts

            for gate in gate_verdicts(check):
                if gate.held is False:
                    yield check.prompt, gate.name, gate.line.text
    for prompt in unwritten:
        yield prompt, "write", "a better text could not be put into the file; see the terminal's report"
