"""Whose call it is, where several runs of cases go on at once: those that run in threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_promptopt.replay.run import Run

#: The run that the current thread belongs to; None in the main thread, and in threads that it starts.
_own: ContextVar[Run[Any] | None] = ContextVar("pytest_promptopt_run", default=None)

#: Its `for_loop`: whether what an executor's thread raises goes to an event loop outside the main thread. By
#: thread, since `asyncio.to_thread` brings a context of its own.
_executing = threading.local()

_watched = False
#: Each session's way to its run in the main thread; the last one counts.
_current: list[Callable[[], Run[Any] | None]] = []


def own_run() -> Run[Any] | None:
    """The run whose thread this is, or whose threads have started it."""
    return _own.get()


def works_for_loop_aside() -> bool:
    """Whether an event loop outside the main thread waits for what goes on here.

    Such a loop serves a test client, often for many tests, and a `BaseException` may end it for all of them.
    """
    thread = threading.current_thread()
    if thread is threading.main_thread():
        return False
    if getattr(_executing, "for_loop", False) or any(
        each.__module__.startswith("anyio.") for each in type(thread).__mro__
    ):
        return True
    from pytest_promptopt.models.unpatched_asyncio import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def follow_executors(current: Callable[[], Run[Any] | None]) -> None:
    """What a case hands to an executor belongs to its run, also when that ends before; until `unfollow`.

    Else a thread that nobody waits for would ask on behalf of the next case, or of nobody.
    """
    _watch_threads()
    _current.append(current)


def unfollow_executors(current: Callable[[], Run[Any] | None]) -> None:
    if current in _current:
        _current.remove(current)


def run_in_thread(run: Run[Any], function: Callable[[], object]) -> Future[None]:
    """Call `function` in a thread of its own; all that it starts belongs to `run`."""
    _watch_threads()
    done: Future[None] = Future()
    done.set_running_or_notify_cancel()

    def call() -> None:
        _own.set(run)
        try:
            function()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=call, name=f"pytest-promptopt {run.case.case.id}", daemon=True).start()
    return done


def _watch_threads() -> None:
    """Have threads belong to the run of whoever starts them, and what executors do to that of who asks."""
    global _watched
    if _watched:
        return
    _watched = True
    start: Any = threading.Thread.start
    submit: Any = ThreadPoolExecutor.submit

    @wraps(start)
    def started(self: threading.Thread) -> None:
        if _own.get() is not None:
            context, inner = copy_context(), self.run
            self.run = lambda: context.run(inner)  # type: ignore[method-assign]
        start(self)

    @wraps(submit)
    def submitted(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **named: Any) -> Any:
        if _own.get() is not None:
            return submit(self, copy_context().run, fn, *args, **named)
        run = _current[-1]() if _current else None
        return submit(self, fn if run is None else _belonging(run, fn), *args, **named)

    thread: Any = threading.Thread
    thread.start = started
    executor: Any = ThreadPoolExecutor
    executor.submit = submitted


def _belonging(run: Run[Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, all whose calls belong to `run`; else it sees what its thread always shows."""

    for_loop = works_for_loop_aside()

    def called(*args: Any, **named: Any) -> Any:
        before, _executing.for_loop = _own.set(run), for_loop
        try:
            return function(*args, **named)
        finally:
            _own.reset(before)
            _executing.for_loop = False

    return called
