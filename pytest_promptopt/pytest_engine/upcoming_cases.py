"""Cases that can be run ahead of their turns."""

from __future__ import annotations

from collections import deque

import pytest

from pytest_promptopt.assertions.judge_criteria import JUDGE
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.replay.run import Run


class UpcomingCases:
    """In their order. A case without our fixtures may ask nothing at all, and would be run twice for nothing:
    such cases wait until one of them has been seen to ask.
    """

    def __init__(self) -> None:
        self._asking: deque[pytest.Item] = deque()
        self._others: deque[pytest.Item] = deque()
        #: Whether a case without our fixtures has made a call; None while none has been run.
        self._calls_seen: bool | None = None

    def add(self, case: PromptCase) -> None:
        (self._asking if _has_fixture(case) or self._calls_seen else self._others).append(case.item)

    def is_quiet(self, case: PromptCase) -> bool:
        """Whether it has none of our fixtures, and others of its kind were run and made no call."""
        return self._calls_seen is False and not _has_fixture(case)

    def note(self, run: Run[PromptCase]) -> None:
        """Look whether a run has made a call by itself: then others may do so too."""
        if run.asked_otherwise or (run.asked and not run.case.asks):
            self._calls_seen = True
            self._asking.extend(self._others)
            self._others.clear()
        elif self._calls_seen is None and not _has_fixture(run.case):
            self._calls_seen = False

    def next(self) -> pytest.Item | None:
        return self._asking.popleft() if self._asking else None


def _has_fixture(case: PromptCase) -> bool:
    return case.asks or JUDGE in case.fixtures
