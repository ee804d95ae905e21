"""How fast one model is asked: a shared pause after a 429, and fewer calls in flight until it recovers."""

from __future__ import annotations

import asyncio
from collections import deque

from pytest_promptopt.errors import ModelError


class Pace:
    """Turns for the attempts at one model, in order of arrival. Belongs to one event loop.

    A rate limit halves how many may be in flight at once, each answer raises it again a little, so that a
    small account settles at the rate it has instead of spending all its attempts on refusals.

    :param limit: the most attempts in flight.
    """

    def __init__(self, limit: int) -> None:
        self._most = limit
        self._limit = float(limit)  # at least 1
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._resume_at = 0.0
        self._cause: ModelError | None = None

    async def enter(self, *, patience: float) -> None:
        """Wait for a turn. Raises the cause of a pause of which more than `patience` seconds are left."""
        loop = asyncio.get_running_loop()
        await self._turn(loop.create_future())
        try:
            while (left := self._resume_at - loop.time()) > 0:
                if left > patience and self._cause is not None:
                    raise self._cause
                await asyncio.sleep(left)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """End a turn that `enter` gave."""
        self._in_flight -= 1
        self._grant()

    def recover(self) -> None:
        """An answer came: one more in flight after as many answers as may be in flight now."""
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def pause(self, seconds: float, cause: ModelError) -> None:
        """Nobody enters for `seconds`. A refusal during a pause belongs to it and slows nothing further."""
        now = asyncio.get_running_loop().time()
        if now >= self._resume_at:
            self._limit = max(1.0, min(self._limit, self._in_flight) / 2)
        if now + seconds > self._resume_at:
            self._resume_at, self._cause = now + seconds, cause

    async def _turn(self, turn: asyncio.Future[None]) -> None:
        self._waiting.append(turn)
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # it was granted to somebody who no longer wants it
            raise

    def _grant(self) -> None:
        while self._waiting and self._in_flight < int(self._limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)
