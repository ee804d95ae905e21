"""How fast a model is asked: down and up with refusals, a rest after failures in a row, hangs given up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models import adaptive_timeout
from pytest_promptopt.models.adaptive_timeout import ENOUGH, AdaptiveTimeout
from pytest_promptopt.models.concurrency_limiter import ConcurrencyLimiter
from pytest_promptopt.models.retry import RetryPolicy

POLICY = RetryPolicy(breaker=5, rests=(0.01, 0.02))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


def error(kind: ErrorKind = ErrorKind.RATE_LIMIT, retry_after: float | None = None) -> ModelError:
    return ModelError(kind, f"m/x: {kind}", model="m/x", retry_after=retry_after)


async def attempt(pace: ConcurrencyLimiter, fault: ModelError | None = None, *, wait: float = 0.0) -> bool:
    """One attempt from its turn to its end; whether everybody pauses then."""
    turn = await pace.enter(1, patience=60)
    try:
        if fault is None:
            pace.answered()
            return False
        return pace.failed(turn, fault, wait)
    finally:
        pace.leave()


def test_a_model_that_refuses_everything_is_asked_less_and_after_answers_as_much_as_before() -> None:
    async def test() -> None:
        pace = ConcurrencyLimiter(40, RetryPolicy(breaker=100))
        for _ in range(8):
            await attempt(pace, error())
        assert pace.limit == 1
        answers = 0
        while pace.limit < 40:
            await attempt(pace)
            answers += 1
        assert 40 <= answers < 400

    run(test())


def test_a_few_refusals_slow_nobody() -> None:
    async def test() -> None:
        pace = ConcurrencyLimiter(40, POLICY)
        for number in range(400):
            paused = await attempt(pace, error() if number % 10 == 0 else None, wait=60)
            assert not paused
        assert pace.limit == 40

    run(test())


def test_one_refusal_that_names_a_time_makes_everybody_wait_for_it() -> None:
    async def test() -> None:
        pace, loop = ConcurrencyLimiter(40, POLICY), asyncio.get_running_loop()
        started = loop.time()
        assert await attempt(pace, error(retry_after=0.05), wait=0.05)
        await asyncio.gather(*(attempt(pace) for _ in range(10)))
        assert loop.time() >= started + 0.05
        assert pace.limit == 40

    run(test())


def test_who_was_turned_away_most_goes_first() -> None:
    async def test() -> None:
        pace, order = ConcurrencyLimiter(1, POLICY), list[int]()

        async def ask(attempts: int) -> None:
            await pace.enter(attempts, patience=1)
            order.append(attempts)
            await asyncio.sleep(0)
            pace.leave()

        await asyncio.gather(*(ask(number) for number in (1, 1, 2, 1, 3)))
        assert order == [1, 3, 2, 1, 1]

    run(test())


@pytest.mark.parametrize("kind", [ErrorKind.OVERLOADED, ErrorKind.SERVER, ErrorKind.CONNECTION])
def test_failures_in_a_row_are_followed_by_rests_with_one_attempt_after_each_and_then_the_end(
    kind: ErrorKind,
) -> None:
    async def test() -> None:
        pace = ConcurrencyLimiter(2, POLICY)
        paused = [await attempt(pace, error(kind)) for _ in range(6)]
        assert paused[4:] == [True, True], "after the fifth, and after the one that shows it is still down"
        assert pace.limit == 1
        with pytest.raises(
            ModelError, match=r"no answer to the last 7 attempts, with rests of 0\.01, 0\.02 s"
        ):
            await attempt(pace, error(kind))

    run(test())


def test_an_answer_after_a_rest_ends_it() -> None:
    async def test() -> None:
        pace = ConcurrencyLimiter(2, POLICY)
        for _ in range(20):
            for _ in range(5):
                await attempt(pace, error(ErrorKind.SERVER))
            await attempt(pace)
        assert pace.limit == 2

    run(test())


def test_what_was_in_flight_when_the_rest_began_does_not_end_the_run() -> None:
    """A network that is gone for a moment fails all that is under way at once, however much that is."""

    async def test() -> None:
        pace = ConcurrencyLimiter(50, POLICY)
        for _ in range(10):
            await attempt(pace, error(ErrorKind.CONNECTION))
        turns = [await pace.enter(1, patience=1) for _ in range(50)]
        for turn in turns:
            pace.failed(turn, error(ErrorKind.CONNECTION), 0.0)
            pace.leave()
        await attempt(pace)

    run(test())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive_timeout, "LEAST", 0.05)


async def takes(
    learner: AdaptiveTimeout, seconds: float, *, key: str = "label", limit: float = 60, **more: Any
) -> None:
    async with learner.attempt(key, limit, **{"hangs": 0, **more}):
        await asyncio.sleep(seconds)


@pytest.mark.usefixtures("quick")
def test_an_attempt_that_takes_far_longer_than_all_before_is_given_up() -> None:
    async def test() -> None:
        learner = AdaptiveTimeout()
        for _ in range(ENOUGH + 2):
            await takes(learner, 0)
        with pytest.raises(TimeoutError):
            await takes(learner, 60)
        await takes(learner, 0.1, hangs=20)
        await takes(learner, 0.1, hangs=None)
        await takes(learner, 0.1, key="essay")

    run(test())


@pytest.mark.usefixtures("quick")
def test_what_is_learned_holds_for_attempts_under_way() -> None:
    async def test() -> None:
        learner = AdaptiveTimeout()
        hanging = asyncio.create_task(takes(learner, 60))
        await asyncio.sleep(0)
        for _ in range(ENOUGH + 2):
            await takes(learner, 0)
        with pytest.raises(TimeoutError):
            await hanging

    run(test())


@pytest.mark.usefixtures("quick")
def test_answers_that_take_unlike_long_make_patient() -> None:
    async def test() -> None:
        learner = AdaptiveTimeout()
        for number in range(ENOUGH + 2):
            await takes(learner, 0.1 * (number % 2))
        await takes(learner, 0.2)

    run(test())


def test_nothing_takes_longer_than_its_deadline() -> None:
    async def test() -> None:
        for hangs in (0, None):
            with pytest.raises(TimeoutError):
                await takes(AdaptiveTimeout(), 60, limit=0.01, hangs=hangs)

    run(test())
