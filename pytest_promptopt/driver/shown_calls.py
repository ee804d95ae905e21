"""The calls of an optimization at this moment, for whoever watches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.driver.case_engine import CaseEngine
from pytest_promptopt.reports.live import Progress
from pytest_promptopt.reports.live_wording import CallFigures
from pytest_promptopt.unpatched import time

#: Seconds between two looks at the calls in flight: summing up what was spent is not free.
SHOW_EVERY = 0.1


class ShownCalls:
    """Looks at the calls of `engine`, and at the account that pays for them."""

    def __init__(self, engine: CaseEngine[Any], ledger: Ledger) -> None:
        self._engine = engine
        self._ledger = ledger
        self._progress: Progress | None = None
        self._thread = 0
        self._shown = 0.0

    @contextmanager
    def told_to(self, progress: Progress) -> Iterator[None]:
        """While inside, `progress` is told again and again, by whoever waits in this thread."""
        client = self._engine.client
        before, client.while_waiting = client.while_waiting, self.show
        self._progress, self._thread = progress, get_ident()
        try:
            yield
        finally:
            self._progress, client.while_waiting = None, before

    def show(self) -> None:
        """Tell how it is, if it is time."""
        now = time.monotonic()
        if self._progress is None or now < self._shown + SHOW_EVERY or get_ident() != self._thread:
            return
        self._shown = now
        client, spend = self._engine.client, self._ledger.spend
        in_flight, longest = client.under_way
        answers, cached = client.answers
        share = cached / answers if answers else None
        self._progress.calls(CallFigures(in_flight, longest, spend.calls, spend, share), self._engine.step)
