"""Equal requests of one run of a case: which of them is asked again, and which is a further question."""

from __future__ import annotations

import threading
from collections import Counter

from pytest_promptopt.models.unpatched_asyncio import asyncio


class Repeats:
    """Numbers the equal requests of one run, by whoever asks. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        #: Those without an answer yet: when the same one asks it again, it is the same question.
        self._open: dict[tuple[str, object], int] = {}

    def number(self, key: str) -> int:
        """How many equal requests have been made before this one."""
        with self._lock:
            number = self._open.get((key, _asker()))
            if number is None:
                number = self._seen[key]
                self._seen[key] += 1
                self._open[key, _asker()] = number
            return number

    def answered(self, key: str) -> None:
        """Whoever asks has the answer; when it asks the same again, it wants another one."""
        with self._lock:
            self._open.pop((key, _asker()), None)


def _asker() -> object:
    """What tells who asks: a thread, and the task in it."""
    try:
        return threading.get_ident(), id(asyncio.current_task())
    except RuntimeError:
        return threading.get_ident()
