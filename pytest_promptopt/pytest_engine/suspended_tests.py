"""How a test is suspended: what its run ends with, and what async code around it makes of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import wraps
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, isasyncgenfunction
from typing import Any

import pytest

from pytest_promptopt.pytest_engine.internals import Skipped, record_fixture_failure
from pytest_promptopt.replay.run import Run
from pytest_promptopt.replay.suspension import Suspended


class SuspendedTest(Suspended, Skipped):
    """A skip, so that no plugin takes it for a failure (a rerun, a debugger, a traceback) in a run that will
    be dropped.
    """


def is_async(function: object) -> bool:
    """Whether it has to be awaited, or gives its values to ``async for``."""
    flags: int = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return bool(flags & (CO_COROUTINE | CO_ASYNC_GENERATOR))


def ends_plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """A coroutine function that ends as `function` does, but for a group of nothing but suspensions.

    A task group makes one of what ends its tasks, and whoever runs the test takes it for an interruption.
    """

    @wraps(function)
    async def plain(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with _plain_end():
            return await function(*args, **kwargs)

    @wraps(function)
    async def plain_generator(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with _plain_end():
            async with aclosing(function(*args, **kwargs)) as values:
                async for value in values:
                    yield value

    if hasattr(function, "ends_plainly"):
        return function
    chosen: Any = plain_generator if isasyncgenfunction(function) else plain
    chosen.ends_plainly = True
    return chosen  # type: ignore[no-any-return]


@contextmanager
def shown_suspension(
    run: Run[Any] | None, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Iterator[None]:
    """Around the set-up of a fixture: what hides a suspension (a group, a cancellation) ends as one."""
    try:
        yield
    except (Suspended, Exception, KeyboardInterrupt):
        raise
    except BaseException:
        if run is None or not run.missing:
            raise
        suspended = run.suspension("waiting for a model's answer")
        record_fixture_failure(fixturedef, request, suspended)
        raise suspended from None


@contextmanager
def _plain_end() -> Iterator[None]:
    suspended: BaseException
    try:
        yield
        return
    except BaseExceptionGroup as group:
        of_ours, others = group.split(Suspended)
        if of_ours is None or others is not None:
            raise
        suspended = of_ours
    while isinstance(suspended, BaseExceptionGroup):
        suspended = suspended.exceptions[0]
    raise suspended
