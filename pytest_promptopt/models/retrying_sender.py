"""Sends one request until it has an answer or a final error: slots, budget, deadline, retries."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from json import dumps
from pathlib import Path

from pytest_promptopt.budget.ledger import Ledger, Price, Reservation
from pytest_promptopt.errors import CONSEQUENCES, ErrorKind, ModelError, PromptoptError
from pytest_promptopt.models import Model
from pytest_promptopt.models.adaptive_timeout import AdaptiveTimeout, no_reply
from pytest_promptopt.models.answer_limits import (
    Bounded,
    cut_short,
    explain_length_error,
    limit_answer,
    longest_answer,
    too_long,
)
from pytest_promptopt.models.answer_validation import error_words, validated_answer, validated_error
from pytest_promptopt.models.concurrency_limiter import ConcurrencyLimiter, Slot
from pytest_promptopt.models.embedding import embedded
from pytest_promptopt.models.event_loop_thread import run_in_daemon_thread
from pytest_promptopt.models.retry import RetryPolicy
from pytest_promptopt.models.secret_redaction import remember_secrets
from pytest_promptopt.models.unpatched_asyncio import asyncio
from pytest_promptopt.records import Answer, Request, Role, Spend, StopReason
from pytest_promptopt.user_frames import raised_inside

#: After these stop reasons an empty answer is complete; after a tool call it is not.
_NORMAL_ENDS = (StopReason.END, StopReason.STOP_SEQUENCE)

#: How often a call that does not fit yet looks whether another process has settled one.
POLL = 0.25


@dataclass
class PendingRequest:
    """One request on its way. `attempts` counts what was really sent, also when it is cancelled.

    :param spend: what these attempts were charged.
    """

    request: Request
    role: Role
    attempts: int = 0
    spend: Spend = field(default_factory=Spend)

    @property
    def kind(self) -> tuple[str, Role, int | None]:
        """Requests of one kind take about as long."""
        return _server_of(self.request), self.role, self.request.max_tokens


class RetryingSender:
    """Asks models, one client each, and belongs to one event loop.

    :param price: the price that bounds a request's cost, None when unknown; called in a thread at first.
    :param longest: the most tokens that an answer has without a limit; None when unknown.
    :param application: answers requests that the code under test makes by itself.
    :param rootdir: of the project, whose frame is told of what a model raises.
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
        application: Model | None = None,
        rootdir: Path | None = None,
    ) -> None:
        self._resolve = resolve
        self._application = application
        self._rootdir = (rootdir or Path()).resolve()
        self._price = price
        self._longest = longest
        self._ledger = ledger
        self._concurrency = concurrency
        self._retry = retry
        self._models: dict[str, Model] = {}
        self._given_up: list[Model] = []
        self._limiters: dict[str, ConcurrencyLimiter] = {}
        self._timeouts = AdaptiveTimeout()
        self._money_moved = asyncio.Event()
        self._importing = asyncio.Lock()
        self._hopeless: dict[str, ModelError] = {}

    def hopeless(self, request: Request) -> ModelError | None:
        """Why `request` need not be sent: after this error no call to its model can succeed."""
        if not self._hopeless:
            return None
        found = self._hopeless.get(_server_of(request)) or self._hopeless.get(_settings(request))
        # Whoever cannot be asked anything can make no embeddings either.
        return found or (self._hopeless.get(request.model) if request.embeds else None)

    def lost(self) -> bool:
        """Whether there is a model that is asked no more."""
        return bool(self._hopeless)

    def forgive(self) -> None:
        """Try again with every model; one that was lost is made anew."""
        for name in list(self._hopeless):
            del self._hopeless[name]
            if name in self._models:
                self._given_up.append(self._models.pop(name))

    async def send(self, pending: PendingRequest) -> Answer:
        """Attempt until there is an answer. Raises `ModelError` when there will be none."""
        answer = await self._send(pending)
        if not answer.words and answer.stop_reason in _NORMAL_ENDS:
            # An empty answer may be an accident once; the second one is taken as the answer.
            with suppress(ModelError):
                answer = await self._send(pending)
        return answer

    async def _send(self, pending: PendingRequest) -> Answer:
        _check_sendable(pending.request)
        model = self._model_of(pending.request)
        price = await self._price_of(pending.request)
        bounds = self._bounds_of(pending.request)
        limiter = self._limiters.setdefault(
            _server_of(pending.request), ConcurrencyLimiter(self._concurrency, self._retry)
        )
        left = min(self._retry.deadline, self._ledger.seconds_left)
        loop = asyncio.get_running_loop()
        hangs = 0
        for attempt in range(1, self._retry.attempts + 1):
            patience = min(self._retry.retry_after_cap, self._ledger.seconds_left)
            turn = await limiter.enter(attempt, patience=patience)
            try:
                reservation = await self._reserve(pending, bounds, price)
                started = loop.time()
                answer = await self._attempt(
                    model,
                    pending,
                    bounds,
                    reservation,
                    left,
                    hangs=None if attempt == self._retry.attempts else hangs,
                )
                limiter.answered()
                return answer
            except ModelError as error:
                failure, wait = self._after(pending, error, attempt, limiter, turn)
            finally:
                limiter.leave()
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
        try:
            connect = getattr(self._model(name), "connect", None)
            if connect is not None:
                await connect()
        except asyncio.CancelledError:
            raise
        except BaseException:  # a SystemExit would end the loop that serves all models
            return

    async def aclose(self) -> None:
        """Close every model, whatever becomes of the others."""
        models, self._models = [*self._models.values(), *self._given_up], {}
        if self._application is not None:
            models.append(self._application)
        await asyncio.gather(*map(_close, models))

    def _model_of(self, request: Request) -> Model:
        if request.wire is None:
            return self._model(request.model)
        assert self._application is not None
        return self._application

    def _model(self, name: str) -> Model:
        if name not in self._models:
            try:
                self._models[name] = self._resolve(name)
            except BaseException as error:  # of the user's own hook, or of what it imports
                said = str(error) if isinstance(error, PromptoptError) else f"{name}: {error_words(error)}"
                failure = ModelError(ErrorKind.SETUP, said, model=name)
                if isinstance(error, ModelError):
                    failure = validated_error(error, name)
                raise self._hopeless.setdefault(name, failure) from None
        return self._models[name]

    def _give_up(self, request: Request, error: ModelError) -> None:
        """Remember an error that every further request of its kind would end with."""
        same = _settings(request) if error.kind is ErrorKind.PARAMETER else _server_of(request)
        self._hopeless.setdefault(same, error)

    async def _price_of(self, request: Request) -> Price | None:
        async with self._importing:
            if _server_of(request) not in self._limiters:  # the first time may import an SDK
                return await run_in_daemon_thread(self._price, request)
        return self._price(request)

    def _bounds_of(self, request: Request) -> Bounded:
        """After its price, which has imported what knows about its model."""
        if self._ledger.max_tokens is None and self._ledger.max_cost is None:
            return Bounded(request, request)
        return limit_answer(request, self._longest)

    async def _reserve(self, pending: PendingRequest, bounds: Bounded, price: Price | None) -> Reservation:
        loop = asyncio.get_running_loop()
        waiting_for, end = frozenset[int](), 0.0
        while True:
            if hopeless := self.hopeless(pending.request):
                raise hopeless
            try:
                return self._ledger.reserve_attempt(bounds.reserved, pending.role, price)
            except ModelError as error:
                # Reservations are bounds: what is in flight mostly turns out cheaper.
                in_flight = self._ledger.in_the_way(bounds.reserved, price)
                if in_flight != waiting_for:
                    waiting_for, end = in_flight, loop.time() + self._retry.deadline
                if not in_flight or loop.time() > end:  # no attempt takes longer
                    raise too_long(error, pending.request, bounds) from None
            self._money_moved.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._money_moved.wait(), POLL)

    async def _attempt(
        self,
        model: Model,
        pending: PendingRequest,
        bounds: Bounded,
        reservation: Reservation,
        seconds: float,
        *,
        hangs: int | None,
    ) -> Answer:
        pending.attempts += 1
        remember_secrets(os.environ)
        name, loop = pending.request.model, asyncio.get_running_loop()
        started = loop.time()
        end: Callable[[Reservation], Spend] = self._ledger.settle_at_bound
        seconds = min(seconds, self._ledger.seconds_left)
        waited = asyncio.Event()
        loop.call_soon(waited.set)
        try:
            async with self._timeouts.attempt(pending.kind, seconds, hangs=hangs):
                sent = bounds.sent
                answer: object = await (embedded(model, sent) if sent.embeds else model.complete(sent))
            answer = validated_answer(answer, pending.request, loop.time() - started)
            end = partial(self._ledger.settle, answer=answer)
            if bounds.added is not None and answer.stop_reason == StopReason.MAX_TOKENS:
                raise cut_short(name, bounds.added)
            return answer
        except asyncio.CancelledError:
            raise
        except ModelError as raised:
            error = validated_error(raised, name)  # of a model of the user's own, perhaps
            if not CONSEQUENCES[error.kind].charged:
                end = self._ledger.refund
            raise (error if bounds.added is None else explain_length_error(error, bounds.added)) from None
        except TimeoutError:
            if self._ledger.seconds_left <= 0:
                raise self._ledger.out_of_time(pending.request) from None
            said = no_reply(name, loop.time() - started)
            raise ModelError(ErrorKind.TIMEOUT, said, model=name) from None
        except BaseException as defect:  # a defect of a model must not end the loop that serves all others
            if not waited.is_set():  # for nothing, so nothing was sent
                end = self._ledger.refund
            place = raised_inside(defect, self._rootdir)
            where = f" at {place}" if place else ""
            said = f"{name}: the call failed in an unexpected way{where} ({error_words(defect)})"
            raise ModelError(ErrorKind.DEFECT, said, model=name) from None
        finally:
            pending.spend += end(reservation)
            self._money_moved.set()

    def _after(
        self,
        pending: PendingRequest,
        error: ModelError,
        attempt: int,
        limiter: ConcurrencyLimiter,
        turn: Slot,
    ) -> tuple[ModelError, float | None]:
        """The error that a failure means, and the seconds until the next attempt; None when there is none."""
        wait = self._retry.delay(attempt) if error.retry_after is None else error.retry_after
        paused = False
        if CONSEQUENCES[error.kind].retry:
            try:
                paused = limiter.failed(turn, error, wait)
            except ModelError as broken:
                error = broken
        # What an application sends by itself is JSON of which nobody knows which part is a parameter.
        own = pending.request.wire is None
        if own and error.kind is ErrorKind.BAD_REQUEST and _names_parameter(error, pending.request):
            error = ModelError(ErrorKind.PARAMETER, str(error), model=error.model, status=error.status)
        if error.stops_run:
            self._give_up(pending.request, error)
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


def _server_of(request: Request) -> str:
    """Who answers: a model, for a request of the application's own at the address that it was sent to.

    A model that makes no embeddings may answer all the same.
    """
    if request.embeds:
        return f"{request.model} (embeddings)"
    return request.model if request.wire is None else f"{request.model} at {request.wire.url}"


def _settings(request: Request) -> str:
    """What a model was asked with, apart from the words."""
    return f"{_server_of(request)} {dumps(request.parameters, sort_keys=True)}"


def _names_parameter(error: ModelError, request: Request) -> bool:
    """Whether a provider refuses a parameter, as it then does in every request that has it."""
    return any(
        re.search(rf"\b{re.escape(name)}\b", str(error)) for name in request.parameters if len(name) > 1
    )


async def _close(model: Model) -> None:
    with suppress(BaseException):
        await model.aclose()
