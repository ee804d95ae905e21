"""How long one attempt may take: far longer than the answers before it took, or it is hanging."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

#: Answers that must have come before anything is known about another one.
ENOUGH = 20

#: An answer that takes so many times as long as the slowest one before it will hardly come.
FACTOR = 8.0

#: Seconds that every answer is given: even of quick ones some wait that long at a busy provider.
LEAST = 5.0

#: Each further attempt at the same request is given so many times longer, should it just be slow.
GROWTH = 1.5


@dataclass(eq=False)
class _Attempt:
    """:param factor: how much longer than usual it may take; infinite for the last one."""

    began: float
    end: float
    factor: float
    scope: asyncio.Timeout


class Patience:
    """Limits attempts by what it learns of those before; unlike requests are told apart by a key."""

    def __init__(self) -> None:
        self._warm: dict[Hashable, float] = {}  # when the first answer came
        self._seen: Counter[Hashable] = Counter()
        self._slowest: defaultdict[Hashable, float] = defaultdict(float)
        self._running: defaultdict[Hashable, set[_Attempt]] = defaultdict(set)

    @asynccontextmanager
    async def attempt(self, key: Hashable, seconds: float, *, number: int, last: bool) -> AsyncIterator[None]:
        """Raises `TimeoutError` in the body after `seconds`, or once it is hanging and not the `last` one.

        What it learns while an attempt is under way holds for that one too.

        :param number: of the attempts at this request, from 1.
        """
        began = asyncio.get_running_loop().time()
        factor = math.inf if last else GROWTH ** (number - 1)
        async with asyncio.timeout(None) as scope:
            attempt = _Attempt(began, began + seconds, factor, scope)
            self._limit(key, attempt)
            self._running[key].add(attempt)
            try:
                yield
            finally:
                self._running[key].discard(attempt)
        self._learn(key, began, asyncio.get_running_loop().time())

    def _learn(self, key: Hashable, began: float, now: float) -> None:
        if began < self._warm.setdefault(key, now):
            return  # it also waited for an import or a connection
        self._seen[key] += 1
        slower = now - began > self._slowest[key]
        self._slowest[key] = max(self._slowest[key], now - began)
        if self._seen[key] == ENOUGH or (self._seen[key] > ENOUGH and slower):
            for attempt in self._running[key]:
                self._limit(key, attempt)

    def _limit(self, key: Hashable, attempt: _Attempt) -> None:
        usual = max(LEAST, FACTOR * self._slowest[key]) if self._seen[key] >= ENOUGH else math.inf
        if not attempt.scope.expired():
            attempt.scope.reschedule(min(attempt.end, attempt.began + usual * attempt.factor))
