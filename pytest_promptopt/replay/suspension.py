"""What ends a run whose next answer is not known yet."""

from __future__ import annotations

from typing import Any

#: So many turns of the event loop a suspended `acall` gives its siblings in a `gather`, so that all ask.
SIBLING_TURNS = 3


class Suspended(BaseException):
    """Ends a run whose next answer is not known yet; ``except Exception`` lets it pass."""


async def let_siblings_ask() -> None:
    """Let other tasks of a run that is about to be dropped come to their own calls."""
    from pytest_promptopt.models.unpatched_asyncio import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another event loop than asyncio's
        return
    for task in asyncio.all_tasks():
        task.add_done_callback(_note_suspension)
    for _ in range(SIBLING_TURNS):
        await asyncio.sleep(0)


def _note_suspension(task: Any) -> None:
    """Nobody waits for all tasks of a run that is dropped, and asyncio would log an error of those left."""
    if not task.cancelled() and _is_suspension(getattr(task, "_exception", None)):
        task.exception()


def _is_suspension(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_suspension, error.exceptions))
    return isinstance(error, Suspended)
