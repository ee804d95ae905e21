"""What a shared fixture leaves behind when it is set up: output, logs and warnings.

It is set up once, whatever becomes of the run that did it. A dropped run hands these on to the next run of
its item, so that they are shown where they are shown without the plugin.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from pytest_promptopt.pytest_engine.buffered_run import BufferedStream


class SharedFixtureOutput:
    """The traces of the shared fixtures that the dropped runs of one item have set up."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._again: list[Callable[[], object]] = []

    @contextmanager
    def collect(self) -> Generator[None]:
        """Keep what happens inside, which is the setup of a shared fixture."""
        before = self._take_output()
        warned = _collected_warnings()
        count = len(warned)
        logged = _Records()
        logging.getLogger().addHandler(logged)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(logged)
            output = self._take_output()
            for texts in (before, output):
                _write(*texts)
            self._again.append(partial(_write, *output))
            self._again += [
                partial(logging.getLogger(record.name).handle, record) for record in logged.records
            ]
            self._again += [partial(_warn, message) for message in warned[count:]]

    def repeat(self) -> None:
        """Let it happen once more, at the start of the next run's setup."""
        for event in self._again:
            event()

    def _take_output(self) -> tuple[str, str]:
        """What a test has written so far to its two streams, which then have nothing."""
        if isinstance(sys.stdout, BufferedStream) and isinstance(sys.stderr, BufferedStream):
            return sys.stdout.take(), sys.stderr.take()
        if self._capture is None:
            return "", ""
        out, err = self._capture.read_global_capture()
        return out, err


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _write(out: str, err: str) -> None:
    sys.stdout.write(out)
    sys.stderr.write(err)


def _collected_warnings() -> list[Any]:
    """The list that pytest collects the warnings of this test in; an empty one when it does not."""
    collect = getattr(warnings, "_showwarnmsg_impl", None)
    found = getattr(collect, "__self__", None)
    return found if isinstance(found, list) else []


def _warn(message: Any) -> None:
    _collected_warnings().append(message)
