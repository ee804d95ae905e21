"""What an HTTP status means, how often a request is tried, and how long to wait before the next attempt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from random import Random

from pytest_promptopt.errors import ErrorKind
from pytest_promptopt.unpatched import time

_STATUSES: Mapping[int, ErrorKind] = {
    401: ErrorKind.AUTHENTICATION,
    402: ErrorKind.PAYMENT,
    403: ErrorKind.PERMISSION,
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    409: ErrorKind.SERVER,
    413: ErrorKind.TOO_LARGE,
    429: ErrorKind.RATE_LIMIT,
    529: ErrorKind.OVERLOADED,
}


def kind_of_status(status: int) -> ErrorKind:
    """The kind of failure that an HTTP status other than 2xx means."""
    return _STATUSES.get(status, ErrorKind.SERVER if status >= 500 else ErrorKind.BAD_REQUEST)


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long one request is tried.

    :param attempts: attempts in all, the first included; so many that none of a thousand requests is lost
        while every fifth attempt fails.
    :param base: seconds; the wait before the n-th retry is random between 0 and ``base * 2**(n-1)``.
    :param cap: the longest such wait.
    :param retry_after_cap: a server that asks for a longer wait than this ends the request. Not under 180:
        windows of small accounts are about 171 s.
    :param deadline: seconds of all attempts and waits of one request together; waiting for a free slot or for
        the end of a rate limit does not count, importing the SDK does. The optimizer's long answers need
        minutes.
    :param breaker: attempts in a row, of all requests to one model, after which it is left alone; more where
        more are in flight, since what fails at once comes back before the first answer.
    :param rests: how often and for how many seconds; after each of them one attempt shows whether it is back.
        When none did, the run ends.
    :param random: uniform in [0, 1). Its own generator, because test suites seed the global one.
    """

    attempts: int = 7
    base: float = 0.5
    cap: float = 8.0
    retry_after_cap: float = 180.0
    deadline: float = 300.0
    breaker: int = 20
    rests: tuple[float, ...] = (15.0, 30.0, 60.0)
    random: Callable[[], float] = Random().random

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`-th failure (from 1) when the server did not name any."""
        return self.random() * min(self.cap, self.base * 2.0 ** (attempt - 1))


def retry_after(headers: Mapping[str, str], *, now: Callable[[], float] = time.time) -> float | None:
    """Seconds the server asks to wait, from ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date).

    None when there is no such header or it makes no sense: negative, not finite, past, not a number.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        if name in lower:
            seconds = _number(lower[name])
            seconds = _until(lower[name], now()) if seconds is None else seconds / scale
            if seconds is not None and math.isfinite(seconds) and seconds > 0:
                return seconds
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _until(text: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError, OSError):
        return None
