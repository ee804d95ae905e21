"""A summary of an incident report has no single right wording, so a judge grades it by a rubric."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

LINES = Path(__file__).with_name("reports.jsonl").read_text(encoding="utf-8").splitlines()
REPORTS = [pytest.param(row["report"], id=row["id"]) for row in map(json.loads, LINES)]


@pytest.mark.prompt("../prompts/summary.md")
@pytest.mark.parametrize("report", REPORTS)
def test_summary(prompt, judge, report):
    assert judge(prompt(report=report), "rubrics/summary.md", context=report)
