"""The ending of a report's path says which report it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.reports.report_files import ENDINGS, check_report_path, write_report
from tests.reported_session import session_report


@pytest.mark.parametrize("text", ["report.json", "out/Report.JSON", "pr.md"])
def test_the_endings_that_are_accepted(text: str) -> None:
    assert check_report_path(text) == Path(text)


@pytest.mark.parametrize("text", ["report.htm", "report", "", ".json", "json", "report.xlsx"])
def test_any_other_ending_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_report_path(text)
    assert str(caught.value).startswith(f"--promptopt-report: {text!r} is not")
    assert all(ending in str(caught.value) for ending in ENDINGS)


@pytest.mark.parametrize(
    ("ending", "start"), [(".json", "{"), (".md", "## "), (".MD", "## "), (".xml", "<?xml ")]
)
def test_each_ending_has_its_writer(tmp_path: Path, ending: str, start: str) -> None:
    path = tmp_path / "deep" / f"report{ending}"
    write_report(path, session_report())
    assert path.read_text(encoding="utf-8").startswith(start)
