"""Where a session leaves its reports: files, and the page of a job on GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

from pytest_promptopt.reports.session_report import SessionReport

#: Plugins that annotate failing tests themselves.
ANNOTATING = ("pytest_github_actions_annotate_failures", "pytest_github_actions_annotate_failures.plugin")


def write_reports(report: SessionReport) -> Iterator[str]:
    """Write each report that the settings ask for, and the summary of a job; yields what went wrong."""
    from pytest_promptopt.reports import github_actions
    from pytest_promptopt.reports.report_files import write_report

    for path in report.settings.reports:
        if report.mutation is not None and path.suffix.lower() == ".xml":
            yield f"{path} was not written: what --promptopt-mutate finds goes into .html, .md and .json"
            continue
        try:
            write_report(path, report)
        except OSError as error:
            yield f"--promptopt-report: {path} was not written: {error}"
    if report.settings.pr_body is not None:
        yield from _write_pr_body(report.settings.pr_body, report)
    summary = github_actions.summary_file(os.environ)
    if summary is not None and (report.checks or report.run is not None):
        try:
            github_actions.append_summary(summary, report)
        except OSError as error:
            yield f"GITHUB_STEP_SUMMARY: {summary} was not written: {error}"


def _write_pr_body(path: Path, report: SessionReport) -> Iterator[str]:
    from pytest_promptopt.reports.pull_request_body import write_pull_request_body

    try:
        if not write_pull_request_body(path, report):
            yield f"--promptopt-pr-body: {path} is empty, since no prompt file was written"
    except OSError as error:
        yield f"--promptopt-pr-body: {path} was not written: {error}"


def annotation_lines(config: pytest.Config, report: SessionReport, failed: Set[str]) -> list[str]:
    """What GitHub Actions shows at the lines that failed; empty elsewhere.

    :param failed: the ids of the cases that fail the session.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return []
    from pytest_promptopt.reports import github_actions

    others = any(config.pluginmanager.has_plugin(name) for name in ANNOTATING)
    return list(
        github_actions.annotation_lines(
            report.checks,
            report.feedbacks,
            failed,
            root=report.settings.rootdir,
            environment=os.environ,
            cases=not others,
        )
    )
