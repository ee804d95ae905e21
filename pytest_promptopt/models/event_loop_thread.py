"""An event loop in a thread of its own, for synchronous code that does not wait for what it starts."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from threading import Lock, Thread
from typing import Any, TypeVar

from pytest_promptopt.models.unpatched_asyncio import asyncio
from pytest_promptopt.unpatched import time

_T = TypeVar("_T")

#: Whether code runs for a call of ours, and not for a test: set in our threads and in what they start.
_ours: ContextVar[bool] = ContextVar("pytest_promptopt_ours", default=False)


def is_ours() -> bool:
    """Whether the calling code makes a model call for us, so that what it sends is no test's request."""
    return _ours.get()


class EventLoopThread:
    """Runs from the start until `stop`. Its methods may be called from any other thread.

    :param at_end: the last thing that is awaited, when all tasks are over.
    """

    def __init__(self, at_end: Callable[[], Awaitable[None]]) -> None:
        self._at_end = at_end
        self._tasks: set[asyncio.Task[None]] = set()
        #: What is to be started as soon as the loop has its turn. To wake it takes as long as a short test.
        self._waiting: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._guard = Lock()  # of what is waiting
        #: What ended the loop too early; empty while it goes on. Its tasks are cancelled then.
        self.problem = ""
        self._over = asyncio.Event()
        # Made by the caller, who so gets the error when the system has no more descriptors.
        self._loop = asyncio.new_event_loop()
        with suppress(TypeError):  # a loop that is not written in Python has a clock of its own
            vars(self._loop)["time"] = time.monotonic
        self._thread = Thread(target=self._run, name="pytest-promptopt models", daemon=True)
        self._thread.start()

    def start(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with self._guard:
            woken = bool(self._waiting)
            self._waiting.append(task)
        if not woken:
            try:
                self._loop.call_soon_threadsafe(self._create_waiting)
            except RuntimeError:  # the loop is closed, and so it is for the next
                with self._guard:
                    self._waiting.clear()
                raise

    def cancel(self) -> None:
        """Cancel all tasks."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._cancel)

    def stop(self, seconds: float) -> None:
        """Cancel all tasks and end the thread; what takes longer than `seconds` to end is left behind."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(seconds)

    def _run(self) -> None:
        _ours.set(True)
        # Whoever starts a task is mostly a test; the task is ours all the same.
        self._context = copy_context()
        self._loop.set_default_executor(ThreadPoolExecutor(initializer=lambda: _ours.set(True)))
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:  # `SystemExit` of a task that a model has started ends the loop
                self.problem = f"{type(error).__name__}: {error}"

    async def _serve(self) -> None:
        await self._over.wait()
        tasks = tuple(self._tasks)
        self._cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._at_end()

    def _create_waiting(self) -> None:
        with self._guard:
            waiting, self._waiting = self._waiting, []
        for task in waiting:
            created = self._loop.create_task(task(), context=self._context.copy())
            self._tasks.add(created)
            created.add_done_callback(self._tasks.discard)

    def _cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()


async def run_in_daemon_thread(function: Callable[..., _T], *arguments: Any) -> _T:
    """`asyncio.to_thread`, but Python's exit does not wait for the thread: importing an SDK takes seconds."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def run() -> None:
        _ours.set(True)
        result, problem = None, None
        try:
            result = function(*arguments)
        except BaseException as error:
            # A future takes no StopIteration; a SystemExit would end the loop instead of the call.
            passes = isinstance(error, Exception) and not isinstance(error, StopIteration)
            problem = error if passes else RuntimeError(repr(error))
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, problem)

    Thread(target=run, name="pytest-promptopt import", daemon=True).start()
    return await done


async def in_thread(function: Callable[[], _T]) -> _T:
    """The result of `function`: from a thread under trio; another event loop is blocked meanwhile."""
    trio: Any = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True)  # type: ignore[no-any-return]
    return function()
