"""This process's share of the work: all of it, or one part in as many as xdist has workers."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

#: In a worker's input: the number of its part.
KEY = "promptopt_part"


@dataclass(frozen=True)
class WorkerPartition:
    """Part `number` of `parts`, from 0; by node id, since a worker does not know what it will be given."""

    number: int = 0
    parts: int = 1

    @classmethod
    def of(cls, config: pytest.Config) -> WorkerPartition:
        worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        if worker is None:
            return cls()
        parts = int(worker["workercount"])
        return cls(worker.get(KEY, 0) % parts, parts)

    def concurrency(self, limit: int) -> int:
        """How many of `limit` calls in flight this process may have; at least one."""
        return max(1, limit // self.parts)

    def has(self, item: pytest.Item) -> bool:
        """Whether this process fetches the answers of `item` before its turn."""
        return zlib.crc32(item.nodeid.encode()) % self.parts == self.number


class Parts:
    """Which part each worker has. The controller deals them out: what a worker that died leaves, the one that
    replaces it takes, or its cases would be asked one at a time.
    """

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def give(self, worker: dict[str, Any]) -> None:
        """Put the first part that nobody has into this worker's input."""
        worker[KEY] = next(part for part in count() if part not in self._taken.values())
        self._taken[worker["workerid"]] = worker[KEY]

    def take_back(self, worker: dict[str, Any]) -> None:
        """This worker is gone."""
        self._taken.pop(worker["workerid"], None)
