"""A diskcache store of text only; apart from `cache`, so that diskcache is imported when needed."""

from __future__ import annotations

from typing import Any

from diskcache import UNKNOWN, Disk
from diskcache.core import MODE_RAW


class ForeignRowError(Exception):
    """A row of another writer. Reading it could run code (CVE-2025-69872), so it is not read."""


class TextDisk(Disk):  # type: ignore[misc]  # diskcache has no types
    """Keys and values are text inside the database: nothing is pickled, unpickled or kept in files."""

    def put(self, key: str) -> tuple[str, bool]:
        return key, True

    def get(self, key: Any, raw: bool) -> Any:
        if not raw:
            raise ForeignRowError("a key that is not plain text")
        return key

    def store(self, value: str, read: bool, key: object = UNKNOWN) -> tuple[int, int, None, str]:
        if type(value) is not str:
            raise TypeError(f"only text is stored, got {type(value).__name__}")
        return 0, MODE_RAW, None, value

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> str:
        if mode != MODE_RAW or filename is not None or type(value) is not str:
            raise ForeignRowError(f"a row of mode {mode}")
        return value

    def remove(self, file_path: str) -> None:
        """Nothing: a row that names a file is not ours, and neither is the file."""
