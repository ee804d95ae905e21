"""Where a session leaves its reports: files, and the page of a job on GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Set
from pathlib import Path

import pytest

from pytest_promptopt.pytest_engine.tolerated_failures import Fault
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.text import shown_path

#: Plugins that annotate failing tests themselves.
ANNOTATING = ("pytest_github_actions_annotate_failures", "pytest_github_actions_annotate_failures.plugin")


def write_reports(report: SessionReport) -> tuple[list[Fault], list[str]]:
    """Write each report that the settings ask for, and the summary of a job, whatever becomes of the others.

    :return: those that were not written, and what else the user should know, in sentences.
    """
    found_no_verdicts = report.mutation is not None
    unfit = {path for path in report.settings.reports if found_no_verdicts and path.suffix.lower() == ".xml"}
    faults = list(_write_files(report, unfit))
    told = [
        f"{path} was not written: what --promptopt-mutate finds goes into .html, .md and .json"
        for path in unfit
    ]
    if report.settings.pr_body is not None:
        _write_pr_body(report.settings.pr_body, report, faults, told)
    told += _write_job_summary(report)
    return faults, told


def _write_files(report: SessionReport, unfit: Collection[Path]) -> Iterator[Fault]:
    from pytest_promptopt.reports.report_files import write_report

    for path in report.settings.reports:
        if path in unfit:
            continue
        try:
            write_report(path, report)
        except OSError as error:
            yield _unwritten("--promptopt-report", path, report, error)


def _unwritten(option: str, path: Path, report: SessionReport, error: OSError) -> Fault:
    shown = shown_path(path, report.settings.rootdir)
    return shown, "write", f"{option}: {shown} was not written: {error}"


def _write_job_summary(report: SessionReport) -> Iterator[str]:
    """Nobody has asked for it, so the session does not fail without it."""
    from pytest_promptopt.reports import github_actions

    summary = github_actions.summary_file(os.environ)
    if summary is not None and (report.checks or report.run is not None):
        try:
            github_actions.append_summary(summary, report)
        except OSError as error:
            yield f"GITHUB_STEP_SUMMARY: {summary} was not written: {error}"


def _write_pr_body(path: Path, report: SessionReport, faults: list[Fault], told: list[str]) -> None:
    from pytest_promptopt.reports.pull_request_body import write_pull_request_body

    try:
        if not write_pull_request_body(path, report):
            told.append(f"--promptopt-pr-body: {path} is empty, since no prompt file was written")
    except OSError as error:
        faults.append(_unwritten("--promptopt-pr-body", path, report, error))


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
