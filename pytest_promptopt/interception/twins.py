"""Copies of an application's connection pools, through which its calls are made while its test is suspended.

A pool may be closed by then, and an async one belongs to an event loop that has ended. Its copy has the same
proxy, certificates and network, and as many connections of its own as there are calls at once.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any

from pytest_promptopt.models.unpatched_asyncio import asyncio

#: For which event loop of ours a thread makes a call.
_loop: ContextVar[Any] = ContextVar("pytest_promptopt_loop", default=None)


class Twins:
    """One copy for each pool and each event loop of ours that makes calls.

    :param close: closes the connections of a copy; may give an awaitable.
    :param make: makes a copy without connections, for the running event loop.
    """

    def __init__(self, close: Callable[[Any], Any], make: Callable[[Any], Any]) -> None:
        self._close = close
        self._make = make
        self._lock = threading.Lock()
        self._twins: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()
        #: What is not closed yet, each with its loop.
        self._open: set[tuple[Any, Any]] = set()
        _all.append(self)

    def of(self, pool: Any) -> Any:
        """The copy through which calls are made."""
        loop = _loop.get() or asyncio.get_running_loop()
        with self._lock:
            twins = self._twins.setdefault(pool, {})
            if loop not in twins:
                twins[loop] = twin = self._make(pool)
                self._open.add((loop, twin))
                weakref.finalize(pool, self._end, loop, twin).atexit = False
            return twins[loop]

    def _end(self, loop: Any, twin: Any) -> None:
        """The application has no use for the pool any more."""
        with suppress(RuntimeError):  # the loop is over, and has closed its copies
            loop.call_soon_threadsafe(lambda: loop.create_task(self._aclose(loop, twin)))

    async def aclose(self) -> None:
        """Close what was opened for this event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for twins in self._twins.values():
                twins.pop(loop, None)
            mine = [twin for each, twin in self._open if each is loop]
        for twin in mine:
            await self._aclose(loop, twin)

    async def _aclose(self, loop: Any, twin: Any) -> None:
        with self._lock:
            self._open.discard((loop, twin))
        with suppress(Exception):
            closing = self._close(twin)
            if isawaitable(closing):
                await closing


_all: list[Twins] = []


def work_for(loop: Any) -> None:
    """Calls of this thread are made for an event loop of ours, which closes their connections in the end."""
    _loop.set(loop)


async def close_twins() -> None:
    """Close all connections through which calls of applications were made for this event loop."""
    for twins in _all:
        await twins.aclose()
