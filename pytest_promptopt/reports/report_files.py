"""The reports that can be written, by the ending of the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_promptopt.errors import SettingsError

if TYPE_CHECKING:
    from pytest_promptopt.reports.session_report import SessionReport

#: Each ending that is accepted, and what it stands for.
ENDINGS = {".json": "for scripts", ".md": "for a pull request", ".html": "for people", ".xml": "JUnit"}


def check_report_path(text: str, *, name: str = "--promptopt-report") -> Path:
    """The path of a report; early, so that a typo costs no run. Raises `SettingsError` about `name`."""
    path = Path(text)
    if path.suffix.lower() not in ENDINGS:
        accepted = ", ".join(f"{ending} ({use})" for ending, use in ENDINGS.items())
        raise SettingsError(f"{name}: {text!r} is not the path of a report; accepted endings: {accepted}")
    return path


def write_report(path: Path, report: SessionReport) -> None:
    """Write the report that the ending of `path` asks for, whole or not at all. Raises `OSError`."""
    match path.suffix.lower():
        case ".md":
            from pytest_promptopt.reports.markdown_report import write_markdown

            write_markdown(path, report)
        case ".html":
            from pytest_promptopt.reports.html_report import write_html

            write_html(path, report)
        case ".xml":
            from pytest_promptopt.reports.junit_report import write_junit

            write_junit(path, report)
        case _:
            from pytest_promptopt.reports.json_report import write_json

            write_json(path, report)
