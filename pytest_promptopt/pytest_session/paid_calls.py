"""What the calls of a session have cost, in all its processes and whatever became of the cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from threading import Lock
from typing import Any

from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.records import Spend


class PaidCalls:
    """Adds up settled calls, in any thread, also those without an answer and of cases without a report.

    `spend` counts each request that was sent, so more than there are calls when some were repeated.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.spend = Spend()
        #: Of their requests; another process may find an answer in the cache that was paid for here.
        self.keys: set[str] = set()
        self._lock = Lock()

    def add(self, paid: PaidCall) -> None:
        with self._lock:
            self.calls += 1
            self.spend += paid.spend
            self.keys.add(paid.request.key)

    def to_json(self) -> dict[str, Any]:
        """For another process, which takes it in with `add_told`."""
        return {"calls": self.calls, "spend": astuple(self.spend), "keys": sorted(self.keys)}

    def add_told(self, told: Mapping[str, Any]) -> None:
        with self._lock:
            self.calls += told["calls"]
            self.spend += Spend(*told["spend"])
            self.keys.update(told["keys"])
