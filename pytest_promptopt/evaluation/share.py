"""This process's share of the work: all of it, or one part in as many as xdist has workers."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Share:
    """Part `number` of `parts`, from 0; by node id, since a worker does not know what it will be given."""

    number: int = 0
    parts: int = 1

    @classmethod
    def of(cls, config: pytest.Config) -> Share:
        worker: dict[str, str] | None = getattr(config, "workerinput", None)
        if worker is None:
            return cls()
        name, parts = worker["workerid"], int(worker["workercount"])
        number = name.removeprefix("gw")
        # The user may have named the workers, and one that replaces another has a number beyond their count.
        counted = int(number) if number.isdecimal() else zlib.crc32(name.encode())
        return cls(counted % parts, parts)

    def concurrency(self, limit: int) -> int:
        """How many of `limit` calls in flight this process may have; at least one."""
        return max(1, limit // self.parts)

    def has(self, item: pytest.Item) -> bool:
        """Whether this process fetches the answers of `item` before its turn."""
        return zlib.crc32(item.nodeid.encode()) % self.parts == self.number
