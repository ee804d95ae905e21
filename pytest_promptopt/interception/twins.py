"""Copies of an application's connection pools, through which its calls are made while its test is suspended.

A pool may be closed by then, and an async one belongs to an event loop that has ended. Its copy has the same
proxy, certificates, limits and network, and connections of its own.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from inspect import isawaitable
from typing import Any

from pytest_promptopt.models.unpatched_asyncio import asyncio


class Twins:
    """One copy for each pool and each event loop that asks for it.

    :param close: closes the connections of a copy; may give an awaitable.
    :param make: makes a copy without connections, for the running event loop.
    """

    def __init__(self, close: Callable[[Any], Any], make: Callable[[Any], Any]) -> None:
        self._close = close
        self._make = make
        self._lock = threading.Lock()
        self._twins: weakref.WeakKeyDictionary[Any, tuple[object, Any]] = weakref.WeakKeyDictionary()
        _all.append(self)

    def of(self, pool: Any) -> Any:
        """The copy through which calls are made."""
        loop = _running_loop()
        with self._lock:
            found = self._twins.get(pool)
            if found is None or found[0] is not loop:
                twin = self._make(pool)
                weakref.finalize(pool, self._end, twin, loop).atexit = False
                found = self._twins[pool] = (loop, twin)
            return found[1]

    def _end(self, twin: Any, loop: Any) -> None:
        """The application has no use for the pool any more."""
        with suppress(Exception):
            if loop is None:
                self._close(twin)
            else:
                loop.call_soon_threadsafe(lambda: loop.create_task(self._aclose(twin)))

    async def aclose(self) -> None:
        """Close what this event loop has opened, and what belongs to no loop."""
        with self._lock:
            mine = [twin for loop, twin in self._twins.values() if loop in (None, _running_loop())]
            self._twins.clear()
        for twin in mine:
            await self._aclose(twin)

    async def _aclose(self, twin: Any) -> None:
        with suppress(Exception):
            closing = self._close(twin)
            if isawaitable(closing):
                await closing


_all: list[Twins] = []


async def close_twins() -> None:
    """Close all connections through which calls of applications were made."""
    for twins in _all:
        await twins.aclose()


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
