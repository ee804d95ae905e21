"""One request until it has an answer or a final error: turns, budget, deadline, retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from pytest_promptopt.budget import Ledger, Price, Reservation
from pytest_promptopt.errors import ErrorKind, ModelError, SettingsError
from pytest_promptopt.models import Model
from pytest_promptopt.models.pace import Pace
from pytest_promptopt.models.redact import redact
from pytest_promptopt.models.retry import CONSEQUENCES, RetryPolicy
from pytest_promptopt.records import Answer, Request, Role, Spend

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


class Sender:
    """Asks models, one client each, and belongs to one event loop.

    :param price: the price that bounds a request's cost, None when unknown; called in a thread at first.
    """

    def __init__(
        self,
        *,
        resolve: Callable[[str], Model],
        price: Callable[[Request], Price | None],
        ledger: Ledger,
        concurrency: int,
        retry: RetryPolicy,
    ) -> None:
        self._resolve = resolve
        self._price = price
        self._ledger = ledger
        self._concurrency = concurrency
        self._retry = retry
        self._models: dict[str, Model] = {}
        self._paces: dict[str, Pace] = {}
        self._money_moved = asyncio.Event()
        self.fatal: ModelError | None = None

    async def send(self, trip: Trip) -> Answer:
        """Attempt until there is an answer. Raises `ModelError` when there will be none."""
        model = self._model(trip.request.model)
        price = await self._price_of(trip.request)
        pace = self._paces.setdefault(trip.request.model, Pace(self._concurrency))
        left = min(self._retry.deadline, self._ledger.seconds_left)
        loop = asyncio.get_running_loop()
        for attempt in range(1, self._retry.attempts + 1):
            await pace.enter(patience=min(self._retry.retry_after_cap, self._ledger.seconds_left))
            try:
                reservation = await self._reserve(trip, price)
                started = loop.time()
                answer = await self._attempt(model, trip, reservation, left)
                pace.recover()
                return answer
            except ModelError as error:
                failure = error
                wait = self._after(error, attempt, pace)
            finally:
                pace.leave()
            if wait is None:
                break
            left -= loop.time() - started
            if not CONSEQUENCES[failure.kind].slows:  # who slows everybody waits for its turn instead
                left -= wait
                if left > 0:
                    await asyncio.sleep(wait)
            if left <= 0:
                break
        raise failure

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

    async def _reserve(self, trip: Trip, price: Price | None) -> Reservation:
        while True:
            if self.fatal is not None:
                raise self.fatal
            try:
                return self._ledger.reserve(trip.request, trip.role, price)
            except ModelError:
                # Reservations are bounds: what is in flight mostly turns out cheaper.
                if not self._ledger.could_fit(trip.request, price):
                    raise
            self._money_moved.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._money_moved.wait(), POLL)

    async def _attempt(self, model: Model, trip: Trip, reservation: Reservation, seconds: float) -> Answer:
        trip.attempts += 1
        end: Callable[[Reservation], Spend] = self._ledger.keep
        seconds = min(seconds, self._ledger.seconds_left)
        try:
            async with asyncio.timeout(seconds):
                answer = await model.complete(trip.request)
            end = partial(self._ledger.settle, answer=answer)
            return answer
        except ModelError as error:
            if not CONSEQUENCES[error.kind].charged:
                end = self._ledger.refund
            raise
        except TimeoutError:
            if self._ledger.seconds_left <= 0:
                raise self._ledger.out_of_time(trip.request) from None
            name = trip.request.model
            said = f"{name}: no reply within {seconds:.3g} s"
            raise ModelError(ErrorKind.TIMEOUT, said, model=name) from None
        except Exception as error:  # a defect of a model must not end the loop that serves all others
            raise _defect(trip.request.model, error) from None
        finally:
            trip.spend += end(reservation)
            self._money_moved.set()

    def _after(self, error: ModelError, attempt: int, pace: Pace) -> float | None:
        """Seconds to wait before the next attempt; None when there must be none."""
        if error.stops_run and self.fatal is None:
            self.fatal = error
        consequence = CONSEQUENCES[error.kind]
        wait = self._retry.delay(attempt) if error.retry_after is None else error.retry_after
        if consequence.slows:
            pace.pause(wait, error)
        if not consequence.retry or wait > self._retry.retry_after_cap:
            return None
        return wait


def _defect(name: str, error: Exception) -> ModelError:
    said = redact(f"{type(error).__name__}: {error}")
    return ModelError(
        ErrorKind.MALFORMED, f"{name}: the call failed in an unexpected way ({said})", model=name
    )
