"""How fast one model is asked: fewer at once while it refuses many, a rest after failures in a row."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

from pytest_promptopt.errors import CONSEQUENCES, ErrorKind, ModelError
from pytest_promptopt.models.retry import RetryPolicy
from pytest_promptopt.models.unpatched_asyncio import asyncio

#: What one attempt weighs in the share of refused ones: it tells of the last twenty or so.
WEIGHT = 0.05

#: A larger share of refusals means that fewer must be in flight; retries cope with a smaller one, and it may
#: have nothing to do with their number.
TOLERATED = 0.25

#: With a share below this the number in flight grows fast.
RARE = 0.02


@dataclass(frozen=True)
class Slot:
    """The right to make one attempt. `since` is the loop's time when it was given."""

    since: float


class ConcurrencyLimiter:
    """Turns for the attempts at one model; who was turned away most often goes first. Of one event loop.

    When it refuses many attempts (429, 529) half as many may be in flight at once. Answers raise that again:
    by one for as many of them as may be in flight, by one for each once refusals are rare. So a small account
    settles at the rate it has, and a few refusals that mean nothing slow nobody.

    When it fails so often in a row that it must be down, it is asked nothing for a while, then once.

    :param limit: the most attempts in flight.
    """

    def __init__(self, limit: int, policy: RetryPolicy) -> None:
        self._most = limit
        self._policy = policy
        self._limit = float(limit)  # at least 1
        self._refused = 0.0  # the share of refusals among recent attempts
        self._failures = 0  # since the last answer
        self._rests = 0  # since the last answer
        self._in_flight = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = itertools.count()
        self._resume_at = 0.0
        self._cause: ModelError | None = None

    @property
    def limit(self) -> int:
        """How many may be in flight now."""
        return int(self._limit)

    async def enter(self, attempt: int, *, patience: float) -> Slot:
        """Wait for a turn for the `attempt`-th attempt at a request.

        Raises the cause of a pause of which more than `patience` seconds are left.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._turn(attempt, loop.create_future())
            left = self._resume_at - loop.time()
            if left <= 0:
                return Slot(loop.time())
            self.leave()  # the pause may have left room for fewer
            if left > patience and self._cause is not None:
                raise self._cause
            await asyncio.sleep(left)

    def leave(self) -> None:
        """End a turn that `enter` gave."""
        self._in_flight -= 1
        self._grant()

    def answered(self) -> None:
        """An attempt was answered."""
        self._failures = self._rests = 0
        self._refused *= 1 - WEIGHT
        self._limit = min(self._most, self._limit + (1 if self._refused < RARE else 1 / self._limit))

    def failed(self, turn: Slot, error: ModelError, wait: float) -> bool:
        """An attempt failed and may be made again after `wait` seconds; whether everybody has to wait.

        What began before the end of the last pause adds nothing. Raises `ModelError` (UNAVAILABLE) when the
        model was left alone often enough.
        """
        news = turn.since >= self._resume_at
        slowed = CONSEQUENCES[error.kind].slows and self._slow(error, wait, news)
        self._failures += news
        if news and self._failures >= max(self._policy.breaker, self._most):
            self._rest(error)
            return True
        return slowed

    def _slow(self, error: ModelError, wait: float, news: bool) -> bool:
        self._refused += WEIGHT * (1 - self._refused)
        many = self._refused > TOLERATED
        if many:
            self._limit = max(1.0, min(self._limit, self._in_flight) / (2 if news else 1))
        if many or error.retry_after is not None:
            self._pause(wait, error)
            return True
        return False

    def _rest(self, error: ModelError) -> None:
        rests = self._policy.rests
        if self._rests == len(rests):
            seconds = ", ".join(f"{rest:g}" for rest in rests)
            said = (
                f"no answer to the last {self._failures} attempts, with rests of {seconds} s; last: {error}"
            )
            raise ModelError(ErrorKind.UNAVAILABLE, f"{error.model}: {said}", model=error.model)
        self._pause(rests[self._rests], error)
        self._rests += 1
        self._limit = 1.0

    def _pause(self, seconds: float, cause: ModelError) -> None:
        """Nobody enters for `seconds`."""
        end = asyncio.get_running_loop().time() + seconds
        if end > self._resume_at:
            self._resume_at, self._cause = end, cause

    async def _turn(self, attempt: int, turn: asyncio.Future[None]) -> None:
        heapq.heappush(self._waiting, (-attempt, next(self._arrivals), turn))
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # it was granted to somebody who no longer wants it
            raise

    def _grant(self) -> None:
        while self._waiting and self._in_flight < self.limit:
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)
