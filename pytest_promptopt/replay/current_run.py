"""Whose call it is, where several runs of cases go on at once: those that run in threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_promptopt.replay.prompt_calls import Run

#: The run that the current thread belongs to; None in the main thread, and in what it starts.
_own: ContextVar[Run[Any] | None] = ContextVar("pytest_promptopt_run", default=None)

_watched = False


def own_run() -> Run[Any] | None:
    """The run whose thread this is, or whose threads have started it."""
    return _own.get()


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
        if _own.get() is None:
            return submit(self, fn, *args, **named)
        return submit(self, copy_context().run, fn, *args, **named)

    thread: Any = threading.Thread
    thread.start = started
    executor: Any = ThreadPoolExecutor
    executor.submit = submitted
