"""The reports of runs that nobody will see."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_promptopt.pytest_engine.buffered_run import BufferedRun


class UnseenReports:
    """Says no more of an unseen run than how it ended.

    To show a traceback, pytest parses the source of every frame: seconds for one through a large SDK.

    :param buffered: the run that is under way.
    """

    def __init__(self, buffered: Callable[[], BufferedRun | None]) -> None:
        self._buffered = buffered

    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> pytest.TestReport | None:
        run = self._buffered()
        if run is None or run.item is not item or run.committed or run.reportable():
            return None
        if call.excinfo is None or call.excinfo.errisinstance(pytest.skip.Exception):
            return None
        assert call.when != "collect"
        return pytest.TestReport(
            item.nodeid,
            item.location,
            dict.fromkeys(item.keywords, 1),
            "failed",
            call.excinfo.exconly(),
            call.when,
            duration=call.duration,
            start=call.start,
            stop=call.stop,
            user_properties=item.user_properties,
        )
