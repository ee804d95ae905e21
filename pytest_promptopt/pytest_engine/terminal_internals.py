"""What is private of pytest where it writes to the terminal."""

from __future__ import annotations

import sys
from typing import Any

import pytest


def open_streams(config: pytest.Config) -> list[tuple[Any, str]]:
    """Where a test's output goes straight to the terminal: whose attributes hold the streams."""
    capture = config.getoption("capture", "no")
    if capture == "no":
        return [(sys, "stdout"), (sys, "stderr")]
    if capture == "tee-sys":
        manager: Any = config.pluginmanager.get_plugin("capturemanager")
        both = manager._global_capturing
        return [(both.out.tmpfile, "_other"), (both.err.tmpfile, "_other")]
    return []


def uncaptured_streams(config: pytest.Config) -> list[tuple[Any, str]]:
    """Where tests get the streams from that they write to while capturing is disabled (`capsys.disabled`)."""
    manager: Any = config.pluginmanager.get_plugin("capturemanager")
    both = getattr(manager, "_global_capturing", None)
    if both is None:
        return []
    holders = [getattr(each, "syscapture", each) for each in (both.out, both.err)]
    return [(holder, "_old") for holder in holders if hasattr(holder, "_old")]


def terminal_width(reporter: pytest.TerminalReporter) -> int:
    return reporter._tw.fullwidth


def terminal_place(reporter: pytest.TerminalReporter) -> tuple[Any, str]:
    """Which object's attribute, and which one, holds the stream that pytest writes to."""
    return reporter._tw, "_file"


def write_line(config: pytest.Config, line: str) -> None:
    """Write a line above the progress, unless pytest is to be quiet."""
    reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.verbosity >= 0:
        if reporter._tw.width_of_current_line:  # as xdist leaves it on a terminal
            reporter._tw.line()
        reporter.write_line(line)
