"""Delays Ctrl-C for the milliseconds in which files and journal are written together."""

from __future__ import annotations

import ast
import signal
import threading
from types import FrameType
from typing import Any

from pytest_promptopt.assertions.source_file import source_file
from pytest_promptopt.assertions.source_location import traceback_entries


def is_raised(interrupt: KeyboardInterrupt) -> bool:
    """Whether a statement has raised it, and not Ctrl-C."""
    frame, line = traceback_entries(interrupt.__traceback__)[-1]
    return isinstance(source_file(frame.f_code.co_filename).statement_at(line), ast.Raise)


class Interrupts:
    """Delays Ctrl-C between `hold` and `release`, in the main thread, the only one that gets it."""

    def __init__(self) -> None:
        self._before: Any = None
        self._holding = False
        self._came = False

    def hold(self) -> None:
        """Delay Ctrl-C from now on; safe to call again."""
        if not self._holding and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
            self._holding = True

    def release(self) -> None:
        """Delay Ctrl-C no longer; raises `KeyboardInterrupt` if one came meanwhile."""
        if self._holding:
            self._holding = False
            signal.signal(signal.SIGINT, self._before)
        if self._came:
            self._came = False
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True
