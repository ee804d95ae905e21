"""An event loop in a thread of its own, for synchronous code that does not wait for what it starts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from pytest_promptopt.captured import time


class Background:
    """Runs from the start until `stop`. Its methods may be called from any other thread.

    :param at_end: the last thing that is awaited, when all tasks are over.
    """

    def __init__(self, at_end: Callable[[], Awaitable[None]]) -> None:
        self._at_end = at_end
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        # Made by the caller, who so gets the error when the system has no more descriptors.
        self._loop = asyncio.new_event_loop()
        with suppress(TypeError):  # a loop that is not written in Python has a clock of its own
            vars(self._loop)["time"] = time.monotonic
        self._thread = threading.Thread(target=self._run, name="pytest-promptopt models", daemon=True)
        self._thread.start()

    def start(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._loop.call_soon_threadsafe(self._create, task)

    def cancel(self) -> None:
        """Cancel all tasks."""
        self._loop.call_soon_threadsafe(self._cancel)

    def stop(self, seconds: float) -> None:
        """Cancel all tasks and end the thread; what takes longer than `seconds` to end is left behind."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(seconds)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await self._over.wait()
        tasks = tuple(self._tasks)
        self._cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._at_end()

    def _create(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        created = self._loop.create_task(task())
        self._tasks.add(created)
        created.add_done_callback(self._tasks.discard)

    def _cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
