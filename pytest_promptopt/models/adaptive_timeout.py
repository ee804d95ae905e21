"""How long one attempt may take: far longer than the answers before it took, or it is hanging."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pytest_promptopt.models.unpatched_asyncio import asyncio

#: Answers that must have come before anything is known about another one.
ENOUGH = 20

#: An answer is given so many times the usual longest time: the mean and four mean deviations, as in TCP.
FACTOR = 2.0

#: Seconds that every answer is given: even of quick ones some wait that long at a busy provider.
LEAST = 5.0

#: What one answer weighs in the mean, and in the mean deviation.
WEIGHT_MEAN, WEIGHT_DEVIATION = 1 / 8, 1 / 4

#: After each hang the request is given so many times longer, should it just be slow.
GROWTH = 1.5


def no_reply(model: str, seconds: float) -> str:
    """What is said of an attempt that was given up after so long."""
    return f"{model}: no reply within {seconds:.3g} s"


@dataclass(eq=False)
class _Attempt:
    """:param factor: how much longer than usual it may take; infinite for the last one."""

    began: float
    end: float
    factor: float
    scope: asyncio.Timeout

    def apply(self, limit: float) -> None:
        """Give it `limit` seconds in all, times its factor."""
        if not self.scope.expired():
            self.scope.reschedule(min(self.end, self.began + limit * self.factor))


@dataclass
class _Times:
    """What is known of one kind of requests; seconds.

    :param warm: when its first answer came. What began before also waited for an import or a connection.
    :param limit: what running attempts were last told.
    """

    warm: float = math.inf
    seen: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    limit: float = math.inf
    running: set[_Attempt] = field(default_factory=set)

    def learn(self, seconds: float) -> None:
        """An answer came after `seconds`."""
        self.seen += 1
        if self.seen == 1:
            self.mean, self.deviation = seconds, seconds / 2
        else:
            self.deviation += WEIGHT_DEVIATION * (abs(seconds - self.mean) - self.deviation)
            self.mean += WEIGHT_MEAN * (seconds - self.mean)
        limit = max(LEAST, FACTOR * (self.mean + 4 * self.deviation)) if self.seen >= ENOUGH else math.inf
        # Not for every answer: there may be many attempts running.
        if not 0.8 * self.limit < limit < 1.25 * self.limit:
            self.limit = limit
            for attempt in self.running:
                attempt.apply(limit)


class AdaptiveTimeout:
    """Limits attempts by what it learns of those before; unlike requests are told apart by a key."""

    def __init__(self) -> None:
        self._times: defaultdict[Hashable, _Times] = defaultdict(_Times)

    @asynccontextmanager
    async def attempt(self, key: Hashable, seconds: float, *, hangs: int | None) -> AsyncIterator[None]:
        """Raises `TimeoutError` in the body after `seconds`, or once it is hanging.

        What it learns while an attempt is under way holds for that one too.

        :param hangs: attempts at this request that were given up; None for the last, which gets all the time.
        """
        times, loop = self._times[key], asyncio.get_running_loop()
        began = loop.time()
        factor = math.inf if hangs is None else GROWTH**hangs
        async with asyncio.timeout(None) as scope:
            attempt = _Attempt(began, began + seconds, factor, scope)
            attempt.apply(times.limit)
            times.running.add(attempt)
            try:
                yield
            finally:
                times.running.discard(attempt)
        times.warm = min(times.warm, loop.time())
        if began >= times.warm:
            times.learn(loop.time() - began)
