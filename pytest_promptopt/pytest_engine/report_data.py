"""What our reports carry for the process that prints: plain data, so that xdist takes it along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_promptopt.assertions.plain_values import to_plain_types

#: The attribute of a report.
ATTRIBUTE = "promptopt"

#: What is asked of a report at any time: how its case counts.
LASTING = frozenset({"tolerated", "status", "message", "unanswered", "lost"})


def attach_data(report: pytest.TestReport, data: Mapping[str, Any]) -> None:
    setattr(report, ATTRIBUTE, to_plain_types(data))


def read_data(report: object) -> Mapping[str, Any]:
    """What `attach_data` left on a report; empty for any other."""
    found = getattr(report, ATTRIBUTE, None)
    return found if isinstance(found, Mapping) else {}


def forget_case(report: pytest.TestReport) -> None:
    """Take the case's answers off a report that has been added up: pytest keeps every report to the end."""
    setattr(report, ATTRIBUTE, {name: data for name, data in read_data(report).items() if name in LASTING})
