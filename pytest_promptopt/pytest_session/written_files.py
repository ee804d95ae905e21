"""The files that a session is to write at its end: looked at before it pays for anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.file_writing import why_unwritable
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import shown_path


def check_written_files(config: pytest.Config, settings: Settings) -> None:
    """Raises `SettingsError` for a file that could not be written as things are now.

    To be called in the process that writes them: a worker on another machine has other folders.
    """
    for option, path in _files(config, settings):
        if why := why_unwritable(path):
            raise SettingsError(f"{option}: {shown_path(path, settings.rootdir)} cannot be written: {why}")


def _files(config: pytest.Config, settings: Settings) -> Iterator[tuple[str, Path]]:
    report = "--promptopt-report" if config.option.promptopt_report else "promptopt_report"
    yield from ((report, path) for path in settings.reports)
    if settings.pr_body is not None:
        yield "--promptopt-pr-body", settings.pr_body
    if settings.save_baseline is not None:
        yield "--promptopt-save-baseline", settings.save_baseline
