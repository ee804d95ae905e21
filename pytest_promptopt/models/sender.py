"""One request until it has an answer or a final error: turns, budget, deadline, retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from pytest_promptopt.budget import Ledger, Price, Reservation
from pytest_promptopt.errors import CONSEQUENCES, ErrorKind, ModelError, SettingsError
from pytest_promptopt.models import Model
from pytest_promptopt.models.limits import Bounded, bounded, cut_short, explained, longest_answer, too_long
from pytest_promptopt.models.pace import Pace, Turn
from pytest_promptopt.models.patience import Patience
from pytest_promptopt.models.redact import redact
from pytest_promptopt.models.retry import RetryPolicy
from pytest_promptopt.records import Answer, Request, Role, Spend, StopReason

#: How often a call that does not fit yet looks whether another process has settled one.
POLL = 0.25


@dataclass
class Trip:
    """One request on its way. `attempts` counts what was really sent, also when the trip is cancelled.

    :param spend: what these attempts were charged.
    """

    request: Request
    role: Role
    attempts: int = 0
    spend: Spend = field(default_factory=Spend)

    @property
    def kind(self) -> tuple[str, Role, int | None]:
        """Requests of one kind take about as long."""
        return self.request.model, self.role, self.request.max_tokens


class Sender:
    """Asks models, one client each, and belongs to one event loop.

    :param price: the price that bounds a request's cost, None when unknown; called in a thread at first.
    :param longest: the most tokens that an answer has without a limit; None when unknown.
    """

    def __init__(
        self,
        *,
        resolve: Callable[[str], Model],
        price: Callable[[Request], Price | None],
        ledger: Ledger,
        concurrency: int,
        retry: RetryPolicy,
        longest: Callable[[Request], int | None] = longest_answer,
    ) -> None:
        self._resolve = resolve
        self._price = price
        self._longest = longest
        self._ledger = ledger
        self._concurrency = concurrency
        self._retry = retry
        self._models: dict[str, Model] = {}
        self._paces: dict[str, Pace] = {}
        self._patience = Patience()
        self._money_moved = asyncio.Event()
        #: By model: the error after which no call to it can succeed.
        self.fatal: dict[str, ModelError] = {}

    async def send(self, trip: Trip) -> Answer:
        """Attempt until there is an answer. Raises `ModelError` when there will be none."""
        _check_sendable(trip.request)
        model = self._model(trip.request.model)
        price = await self._price_of(trip.request)
        bounds = self._bounds_of(trip.request)
        pace = self._paces.setdefault(trip.request.model, Pace(self._concurrency, self._retry))
        left = min(self._retry.deadline, self._ledger.seconds_left)
        loop = asyncio.get_running_loop()
        hangs = 0
        for attempt in range(1, self._retry.attempts + 1):
            patience = min(self._retry.retry_after_cap, self._ledger.seconds_left)
            turn = await pace.enter(attempt, patience=patience)
            try:
                reservation = await self._reserve(trip, bounds, price)
                started = loop.time()
                answer = await self._attempt(
                    model,
                    trip,
                    bounds,
                    reservation,
                    left,
                    hangs=None if attempt == self._retry.attempts else hangs,
                )
                pace.answered()
                return answer
            except ModelError as error:
                failure, wait = self._after(error, attempt, pace, turn)
                if failure.stops_run:
                    self.fatal.setdefault(trip.request.model, failure)
            finally:
                pace.leave()
            if wait is None:
                break
            hangs += failure.kind is ErrorKind.TIMEOUT
            left -= loop.time() - started
            if not CONSEQUENCES[failure.kind].slows:
                left -= wait
            if left <= 0:
                break
            await asyncio.sleep(wait)
        raise failure

    async def connect(self, name: str) -> None:
        """Let a model import and connect what it needs; what goes wrong shows in its calls."""
        with suppress(Exception):
            connect = getattr(self._model(name), "connect", None)
            if connect is not None:
                await connect()

    async def aclose(self) -> None:
        """Close every model, whatever becomes of the others."""
        models, self._models = list(self._models.values()), {}
        await asyncio.gather(*(model.aclose() for model in models), return_exceptions=True)

    def _model(self, name: str) -> Model:
        if name not in self._models:
            try:
                self._models[name] = self._resolve(name)
            except SettingsError as error:
                raise ModelError(ErrorKind.BAD_REQUEST, str(error), model=name) from None
        return self._models[name]

    async def _price_of(self, request: Request) -> Price | None:
        if request.model not in self._paces:  # the first time may import an SDK
            return await asyncio.to_thread(self._price, request)
        return self._price(request)

    def _bounds_of(self, request: Request) -> Bounded:
        """After its price, which has imported what knows about its model."""
        if self._ledger.max_tokens is None and self._ledger.max_cost is None:
            return Bounded(request, request)
        return bounded(request, self._longest)

    async def _reserve(self, trip: Trip, bounds: Bounded, price: Price | None) -> Reservation:
        while True:
            if trip.request.model in self.fatal:
                raise self.fatal[trip.request.model]
            try:
                return self._ledger.reserve(bounds.reserved, trip.role, price)
            except ModelError as error:
                # Reservations are bounds: what is in flight mostly turns out cheaper.
                if not self._ledger.could_fit(bounds.reserved, price):
                    raise too_long(error, trip.request, bounds) from None
            self._money_moved.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._money_moved.wait(), POLL)

    async def _attempt(
        self,
        model: Model,
        trip: Trip,
        bounds: Bounded,
        reservation: Reservation,
        seconds: float,
        *,
        hangs: int | None,
    ) -> Answer:
        trip.attempts += 1
        name, loop = trip.request.model, asyncio.get_running_loop()
        started = loop.time()
        end: Callable[[Reservation], Spend] = self._ledger.keep
        seconds = min(seconds, self._ledger.seconds_left)
        try:
            async with self._patience.attempt(trip.kind, seconds, hangs=hangs):
                answer = await model.complete(bounds.sent)
            end = partial(self._ledger.settle, answer=answer)
            if bounds.added is not None and answer.stop_reason == StopReason.MAX_TOKENS:
                raise cut_short(name, bounds.added)
            return answer
        except ModelError as error:
            if not CONSEQUENCES[error.kind].charged:
                end = self._ledger.refund
            raise (error if bounds.added is None else explained(error, bounds.added)) from None
        except TimeoutError:
            if self._ledger.seconds_left <= 0:
                raise self._ledger.out_of_time(trip.request) from None
            said = f"{name}: no reply within {loop.time() - started:.2g} s"
            raise ModelError(ErrorKind.TIMEOUT, said, model=name) from None
        except Exception as error:  # a defect of a model must not end the loop that serves all others
            raise _defect(name, error) from None
        finally:
            trip.spend += end(reservation)
            self._money_moved.set()

    def _after(
        self, error: ModelError, attempt: int, pace: Pace, turn: Turn
    ) -> tuple[ModelError, float | None]:
        """What the failure comes to, and seconds to wait before the next attempt; None when there is none."""
        wait = self._retry.delay(attempt) if error.retry_after is None else error.retry_after
        paused = False
        if CONSEQUENCES[error.kind].retry:
            try:
                paused = pace.failed(turn, error, wait)
            except ModelError as broken:
                error = broken
        if not CONSEQUENCES[error.kind].retry:
            return error, None
        return error, 0.0 if paused else wait


def _check_sendable(request: Request) -> None:
    """Raises `ModelError` for half a character, which JSON can hold and no provider takes."""
    for message in request.messages:
        try:
            message.content.encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(error.object[error.start]):04X}"
            said = f"{request.model}: the {message.role} message holds {half}, half of a character"
            raise ModelError(ErrorKind.BAD_REQUEST, said, model=request.model) from None


def _defect(name: str, error: Exception) -> ModelError:
    said = redact(f"{type(error).__name__}: {error}")
    return ModelError(
        ErrorKind.MALFORMED, f"{name}: the call failed in an unexpected way ({said})", model=name
    )
