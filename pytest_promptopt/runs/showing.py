"""The page of an earlier run: the HTML report, made from its journal."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from pytest_promptopt import __version__
from pytest_promptopt.journal import FILE_NAME, JournalError
from pytest_promptopt.reports.html_report import write_html
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.runs.listing import state_of
from pytest_promptopt.runs.past import PastRun
from pytest_promptopt.runs.past_result import past_result, settings_of
from pytest_promptopt.settings import Mode, Settings

PAGE = "report.html"

#: Settings of a run that its page tells, or draws a conclusion with.
_TOLD = ("model", "models", "optimizer_model", "judge_model", "samples", "alpha")


def write_page(run: PastRun, rootdir: Path, *, at_work: str = "") -> Path:
    """Write the page into the run's folder; its path. Raises `JournalError`, and `OSError`.

    :param at_work: the id of the run that is not over; empty without one.
    """
    path = run.folder / PAGE
    write_html(path, past_report(run, rootdir, at_work=at_work))
    return path


def past_report(run: PastRun, rootdir: Path, *, at_work: str = "") -> SessionReport:
    """What the journal tells of the run, and nothing of pytest's own loop, which it does not have.

    Raises `JournalError` where it is of a version that this one cannot read.
    """
    result = past_result(run, rootdir)
    try:
        settings, facts = _settings(settings_of(run), rootdir), tuple(_facts(run, at_work))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise JournalError(f"{run.folder / FILE_NAME}: not of a run of this version: {error!r}") from None
    return SessionReport(
        checks=(), run=result, feedbacks={}, settings=settings, version=__version__, past=facts
    )


def _settings(stored: Mapping[str, Any], rootdir: Path) -> Settings:
    """As far as a page tells of them; what an older journal lacks is as by default."""
    told = {name: stored[name] for name in _TOLD if name in stored}
    if "models" in told:
        told["models"] = tuple(told["models"])
    # Nobody knows which optimizer was meant where no search had begun.
    mode = Mode.OPTIMIZE if "optimizer_model" in told else Mode.CHECK
    return Settings(rootdir=rootdir, mode=mode, **told)


def _facts(run: PastRun, at_work: str) -> Iterator[tuple[str, str]]:
    yield "run", run.id
    yield "begun", f"{run.begun:%Y-%m-%d %H:%M}"
    yield "state", state_of(run, at_work)
    if selection := run.opened.get("selection"):
        yield "cases chosen with", selection
    given = ", ".join(f"{name}={value}" for name, value in run.options.items())
    if given:
        yield "options", given
    if run.opened.get("mode") == Mode.DRY_RUN:
        yield "mode", "dry run"


def may_open(out: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody sits before it: a terminal, no CI, and ``BROWSER`` is not set to nothing."""
    return out.isatty() and not environment.get("CI") and environment.get("BROWSER") != ""


def open_page(path: Path) -> None:
    """Open it in the browser, if there is one; its path was printed in any case."""
    with suppress(webbrowser.Error, OSError):
        webbrowser.open(path.resolve().as_uri())
