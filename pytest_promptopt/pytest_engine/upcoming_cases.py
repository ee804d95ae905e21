"""Cases that can be run ahead of their turns."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from pytest_promptopt.replay.run import Run


class UpcomingCases:
    """In their order. A case without our fixtures may ask nothing at all, and would be run twice for nothing:
    such cases wait until one of them has been seen to ask.
    """

    def __init__(self) -> None:
        self._asking: deque[pytest.Item] = deque()
        self._others: deque[pytest.Item] = deque()
        self._calls_seen = False

    def add(self, item: pytest.Item, *, asks: bool) -> None:
        """:param asks: whether it has one of our fixtures."""
        (self._asking if asks or self._calls_seen else self._others).append(item)

    def note(self, run: Run[Any]) -> None:
        """Look whether a run has made a call by itself: then others may do so too."""
        if not self._calls_seen and any(request.wire is not None for request in run.missing.values()):
            self._calls_seen = True
            self._asking.extend(self._others)
            self._others.clear()

    def next(self) -> pytest.Item | None:
        return self._asking.popleft() if self._asking else None
