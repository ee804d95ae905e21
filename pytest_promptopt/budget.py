"""What the run may spend: every attempt is reserved before it is sent and settled when it is over."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.records import Answer, Request, Role, Spend, Usage

#: Length of an answer where the request names none. Sent with every call, so that a reservation is a bound.
DEFAULT_MAX_TOKENS = 8192

#: What a provider adds to the text it is given: the frame of a message, the instructions of a schema.
TOKENS_PER_MESSAGE = 16
TOKENS_PER_SCHEMA = 500


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens, in the four counters of `Usage`."""

    input: float
    output: float
    cache_read: float
    cache_write: float

    def of(self, usage: Usage) -> float:
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * self.cache_read
            + usage.cache_write_tokens * self.cache_write
        ) / 1e6

    def bound(self, request: Request) -> float:
        """The most that one attempt at `request` can cost."""
        answer = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
        return (input_bound(request) * max(self.input, self.cache_write) + answer * self.output) / 1e6


def input_bound(request: Request) -> int:
    """The most tokens that `request` can be counted as: a token is never shorter than a byte."""
    texts = [message.content for message in request.messages]
    overhead = TOKENS_PER_MESSAGE * (1 + len(texts))
    for extra in (request.response_schema, request.parameters):
        if extra:
            texts.append(json.dumps(extra))
            overhead += TOKENS_PER_SCHEMA
    return overhead + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


@dataclass(frozen=True)
class Reservation:
    """One attempt that may be sent. `cost` is its bound; None when the price is unknown."""

    role: Role
    cost: float | None


class Ledger:
    """Thread-safe account of all paid calls of a session, under optional ceilings.

    Every `reserve` is ended by exactly one of `settle`, `keep` and `refund`.

    :param max_calls: attempts that may be sent, all roles together; None for no limit.
    :param max_cost: US dollars; None for no limit. With a limit a call of unknown price is refused.
    """

    def __init__(self, *, max_calls: int | None = None, max_cost: float | None = None) -> None:
        self.max_calls = max_calls
        self.max_cost = max_cost
        self._lock = threading.Lock()
        self._spend: dict[Role, Spend] = {role: Spend() for role in Role}
        self._outstanding = 0.0
        self._set_aside = 0

    def reserve(self, request: Request, role: Role, price: Price | None) -> Reservation:
        """Charge one attempt before it is sent. Raises `ModelError` (BUDGET) past a ceiling."""
        cost = None if price is None else price.bound(request)
        with self._lock:
            self._check_calls(request)
            if self.max_cost is not None:
                self._check_cost(request, cost, self.max_cost)
            self._outstanding += cost or 0.0
            spend = self._spend[role]
            self._spend[role] = replace(spend, calls=spend.calls + 1)
        return Reservation(role, cost)

    def settle(self, reservation: Reservation, answer: Answer) -> None:
        """The attempt was answered: charge its cost, or the reservation when that is unknown."""
        cost = answer.cost
        if cost is None and self.max_cost is not None:
            cost = reservation.cost
        self._close(reservation, cost, answer.usage)

    def keep(self, reservation: Reservation) -> None:
        """Nobody knows whether the attempt was billed (cancelled, timed out, cut off): it stays charged."""
        self._close(reservation, reservation.cost, None)

    def refund(self, reservation: Reservation) -> None:
        """The provider turned the attempt down: it counts as a call, and costs nothing."""
        self._close(reservation, 0.0, None)

    def could_fit(self, request: Request, price: Price | None) -> bool:
        """Whether `reserve` may succeed later, when attempts now in flight turn out cheaper than reserved."""
        if price is None or self.max_cost is None:
            return False
        with self._lock:
            calls_left = self._calls_left()
            if calls_left is not None and calls_left < 1:
                return False
            return self._outstanding > 0 and self._cost() + price.bound(request) <= self.max_cost

    def set_aside(self, calls: int) -> None:
        """Keep `calls` free for the held-out scoring; 0 gives them back."""
        with self._lock:
            self._set_aside = calls

    @property
    def spend(self) -> Spend:
        """What all roles together have spent; attempts in flight count as calls, and cost nothing yet."""
        with self._lock:
            return _total(self._spend.values())

    def spend_of(self, role: Role) -> Spend:
        with self._lock:
            return self._spend[role]

    @property
    def calls_left(self) -> int | None:
        """Attempts that may still be sent, without those set aside; None without a limit."""
        with self._lock:
            return self._calls_left()

    def _calls_left(self) -> int | None:
        if self.max_calls is None:
            return None
        return max(0, self.max_calls - self._set_aside - sum(spend.calls for spend in self._spend.values()))

    def _cost(self) -> float:
        return sum(spend.cost for spend in self._spend.values())

    def _check_calls(self, request: Request) -> None:
        if self._calls_left() != 0:
            return
        kept = f", {self._set_aside} of them set aside for scoring the result" if self._set_aside else ""
        raise ModelError(
            ErrorKind.BUDGET,
            f"the ceiling of {self.max_calls} calls is reached{kept} (--promptopt-max-calls)",
            model=request.model,
        )

    def _check_cost(self, request: Request, cost: float | None, ceiling: float) -> None:
        if cost is None:
            raise ModelError(
                ErrorKind.BUDGET,
                f"the price of {request.model} is unknown, so --promptopt-max-cost={ceiling:g} cannot hold; "
                "limit this run with --promptopt-max-calls instead",
                model=request.model,
            )
        left = ceiling - self._cost() - self._outstanding
        if cost > left:
            raise ModelError(
                ErrorKind.BUDGET,
                f"a call to {request.model} may cost up to ${cost:.4f}, and ${max(0.0, left):.4f} of "
                f"${ceiling:g} is left (--promptopt-max-cost)",
                model=request.model,
            )

    def _close(self, reservation: Reservation, cost: float | None, usage: Usage | None) -> None:
        with self._lock:
            self._outstanding = max(0.0, self._outstanding - (reservation.cost or 0.0))
            spend = self._spend[reservation.role]
            self._spend[reservation.role] = replace(
                spend,
                input_tokens=spend.input_tokens + _input_tokens(usage),
                output_tokens=spend.output_tokens + (usage.output_tokens if usage else 0),
                cost=spend.cost + (cost or 0.0),
                unpriced=spend.unpriced + (cost is None),
            )


def _input_tokens(usage: Usage | None) -> int:
    return usage.total - usage.output_tokens if usage else 0


def _total(parts: Iterable[Spend]) -> Spend:
    total = Spend()
    for part in parts:
        total = Spend(*(mine + theirs for mine, theirs in zip(astuple(total), astuple(part), strict=True)))
    return total
