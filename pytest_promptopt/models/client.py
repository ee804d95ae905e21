"""Model calls for synchronous code: submit many, wait for some; each equal request is paid once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from pytest_promptopt.budget.ledger import Ledger, Price
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models import Model
from pytest_promptopt.models.answer_limits import longest_answer
from pytest_promptopt.models.call_records import CallResult, PaidCall, RecordedCall
from pytest_promptopt.models.event_loop_thread import EventLoopThread, in_thread
from pytest_promptopt.models.file_descriptors import reserve_descriptors
from pytest_promptopt.models.prices import price_of
from pytest_promptopt.models.retry import RetryPolicy
from pytest_promptopt.models.retrying_sender import PendingRequest, RetryingSender
from pytest_promptopt.models.secret_redaction import redact_secrets
from pytest_promptopt.models.unpatched_asyncio import asyncio
from pytest_promptopt.records import Answer, Request, Role
from pytest_promptopt.response_cache import ResponseCache
from pytest_promptopt.unpatched import os, time

#: How often a flight looks whether another process has paid for the same answer.
POLL = 0.05

#: A lock that waits without a timeout cannot be interrupted on every system: Ctrl-C gets in this often.
SLICE = 0.25

#: Seconds that closing may take.
CLOSING = 2.0

#: Seconds that calls under way may take when no further one is wanted: longer than nearly all of them.
ENDING = 60.0


class ModelClient:
    """All model calls of one process; equal requests are asked once, also across processes sharing `cache`.

    A flight is one request on its way, for all who ask for it: from `submit` to its answer or its error.
    Every method may be called from any thread but its own. The cache stays open after `close`.

    :param cache: None for a session that neither reads nor writes the disk.
    :param concurrency: requests in flight at once, all models together.
    :param refresh: do not take answers that were on disk before this session.
    :param on_cached_answer: told of each answer that another session or process has paid, in any thread,
        before anybody sees it. What it raises is raised as of `on_paid`.
    :param on_paid: told of each settled flight that sent a request, in the loop thread, before anybody sees
        the answer. What it raises is raised again by every later `wait`, `ask` and `aask`.
    :param price: the price that bounds a request's cost; None when it is unknown.
    :param longest: the most tokens of an answer to a request without a limit; None when it is unknown.
    :param application: answers requests that the code under test makes by itself.
    :param rootdir: of the project, whose frame is told of what a model raises.
    """

    def __init__(
        self,
        *,
        resolve: Callable[[str], Model],
        cache: ResponseCache | None,
        ledger: Ledger,
        concurrency: int,
        refresh: bool = False,
        on_paid: Callable[[PaidCall], None] | None = None,
        on_cached_answer: Callable[[Request, Answer], None] | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008  # frozen
        price: Callable[[Request], Price | None] = price_of,
        longest: Callable[[Request], int | None] = longest_answer,
        application: Model | None = None,
        rootdir: Path | None = None,
    ) -> None:
        self._cache = cache
        self._refresh = refresh
        self._on_paid = on_paid
        self._on_cached_answer = on_cached_answer
        self._sender = RetryingSender(
            resolve=resolve,
            price=price,
            longest=longest,
            ledger=ledger,
            concurrency=concurrency,
            retry=retry,
            application=application,
            rootdir=rootdir,
        )
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._process = os.getpid()
        self._changed = threading.Condition()  # guards all that follows
        self._memory: dict[str, CallResult] = {}
        self._remembered: dict[str, RecordedCall] = {}
        #: How many of the remembered ends were asked for, and the calls that they were charged as.
        self.replayed = self.replayed_calls = 0
        self._flights: dict[str, Future[CallResult]] = {}
        #: When each call in flight was sent, by key; those that still queue for a slot are not among them.
        self._sent: dict[str, float] = {}
        #: Called again and again by whoever waits here, in its thread, and must be quick.
        self.while_waiting: Callable[[], object] = lambda: None
        self._settled: set[str] = set()
        self._defect: Exception | None = None
        self._closed = False
        self._ending = False
        self._background: EventLoopThread | None = None

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    @property
    def under_way(self) -> tuple[int, float]:
        """How many calls are sent and not answered, and for how many seconds the first of them is."""
        with self._changed:
            sent = list(self._sent.values())
        return len(sent), time.monotonic() - min(sent) if sent else 0.0

    @property
    def answers(self) -> tuple[int, int]:
        """How many answers are known here, and how many of them the cache had."""
        with self._changed:
            known = [each.cached for each in self._memory.values() if each.answer is not None]
        return len(known), sum(known)

    def hopeless(self, request: Request) -> ModelError | None:
        """The error after which no call like `request` can succeed; it ends with it without a call."""
        return self._sender.hopeless(request)

    def remember(self, found: Mapping[str, RecordedCall]) -> None:
        """Take over what requests (by key) ended with in an earlier process; goes before the cache."""
        self._remembered.update(found)

    def take_over(self, paid: PaidCall) -> None:
        """Know an answer that another process has paid for this run."""
        if paid.answer is not None:
            with self._changed:
                self._memory.setdefault(paid.request.key, CallResult(paid.answer, None, cached=False))

    def look_up(self, request: Request) -> CallResult | None:
        """What memory or disk knows; None when the request has to be submitted. Never touches the network."""
        if os.getpid() != self._process:
            return CallResult(None, _forked(request), cached=False)
        key = request.key
        found = self._recall(key)
        if found is not None or self._cache is None or self._refresh or key in self._flights:
            return found
        stored = self._cache.get(key)
        if stored is None:
            return None
        self._take(request, stored)
        return self._memory.setdefault(key, CallResult(stored, None, cached=True))

    def has_answer(self, key: str) -> bool:
        """Whether memory or disk has the answer to the request with this key."""
        with self._changed:
            if key in self._remembered or key in self._memory:
                return True
        return self._cache is not None and not self._refresh and self._cache.get(key) is not None

    def connect(self, model: str) -> None:
        """Have a model and the cache ready for the first call, waited for, while nothing else goes on."""
        connected = threading.Event()
        with self._changed:
            if self._closed or self._lost or os.getpid() != self._process:
                return  # its calls will say so
            if self._background is None:
                self._begin()
            assert self._background is not None
            self._background.start(partial(self._connect, model, connected))
        while not (connected.wait(SLICE) or self._lost):
            pass

    def submit(self, request: Request, role: Role) -> Future[CallResult]:
        """Start a flight, unless the answer is known or under way. Does not wait for the network."""
        key = request.key
        with self._changed:
            flight = self._flights.get(key)
            if flight is not None:
                return flight
            flight = Future()
            flight.set_running_or_notify_cancel()  # one coroutine that gives up must not cancel it for all
            known = self._recall(key)
            if known is not None:
                flight.set_result(known)
                return flight
            refusal = _cancelled("the session is over") if self._closed else self._lost
            refusal = refusal or self.hopeless(request)
            if refusal is None:
                if self._background is None:
                    self._begin()
                assert self._background is not None
                self._background.start(partial(self._fly, PendingRequest(request, role)))
            self._flights[key] = flight
        if refusal is not None:
            self._land(key, CallResult(None, refusal, cached=False))
        return flight

    def wait(self, timeout: float | None = None) -> frozenset[str]:
        """Keys of all flights that settled since the last `wait`, at least one.

        Empty when nothing is in flight or `timeout` seconds are over. Ctrl-C interrupts it.
        """
        end = None if timeout is None else time.monotonic() + timeout
        self.while_waiting()
        while self._waits_on(end):
            self.while_waiting()
        with self._changed:
            settled, self._settled = frozenset(self._settled), set()
        self._raise_defect()
        return settled

    def _waits_on(self, end: float | None) -> bool:
        """Wait a little for a flight to settle; False when there is nothing to wait for any more."""
        with self._changed:
            if not self._flights or self._settled or self._defect is not None:
                return False
            left = SLICE if end is None else min(SLICE, end - time.monotonic())
            if left <= 0:
                return False
            self._changed.wait(left)
            self._land_lost()
        return True

    def ask(self, request: Request, role: Role) -> Answer:
        """The answer, waited for. Raises `ModelError` when there is none."""
        known = self.look_up(request)
        if known is None:
            flight = self.submit(request, role)
            while not flight.done():
                self.while_waiting()
                with self._changed:
                    if not flight.done():
                        self._changed.wait(SLICE)
                    self._land_lost()
            known = flight.result()
        return self._answer(known)

    async def aask(self, request: Request, role: Role) -> Answer:
        """`ask` for a coroutine on an event loop of its own, asyncio's or another library's."""
        known = self.look_up(request)
        if known is None:
            if not _on_asyncio():
                return await in_thread(partial(self.ask, request, role))
            flight = asyncio.wrap_future(self.submit(request, role))
            while not flight.done():
                await asyncio.wait({flight}, timeout=SLICE)
                self.while_waiting()
                self._land_lost()
            known = flight.result()
        return self._answer(known)

    def cancel(self) -> None:
        """End all flights now; each settles with the error CANCELLED."""
        background = self._background
        if background is not None:
            background.cancel()
            end = time.monotonic() + CLOSING / 2
            with self._changed:
                while self._flights and time.monotonic() < end:
                    self._changed.wait(SLICE)

    def forget_refusals(self) -> None:
        """Let requests be asked again that a ceiling or `cancel` had ended without an answer."""
        with self._changed:
            for key, known in list(self._memory.items()):
                if known.error is not None and known.error.kind in (ErrorKind.BUDGET, ErrorKind.CANCELLED):
                    del self._memory[key]

    def forget_defect(self) -> None:
        """Let calls be made again after something of ours had failed, which has been told by now."""
        self._defect = None

    def forget_lost_models(self) -> None:
        """Let models be asked again that were lost, with all that their calls ended with."""
        with self._changed:
            for key, known in list(self._memory.items()):
                if known.error is not None and known.error.stops_run:
                    del self._memory[key]
        self._sender.forgive()

    @property
    def lost_models(self) -> bool:
        """Whether there is a model that no call is made to any more."""
        return self._sender.lost()

    def forget_errors(self, keys: Iterable[str]) -> None:
        """Let these be asked again if they ended in an error, which may be due to what a test had changed."""
        with self._changed:
            for key in keys:
                known = self._memory.get(key)
                if known is not None and known.error is not None and known.error.kind is not ErrorKind.BUDGET:
                    del self._memory[key]
        self._sender.forgive()

    def end(self) -> None:
        """Begin no further call and wait for those under way, for a while: they are paid for.

        Another process may need their answers, and would pay for them once more.
        """
        self._ending = True
        end = time.monotonic() + ENDING
        with self._changed:
            while self._flights and self._defect is None and time.monotonic() < end:
                self._changed.wait(SLICE)
                self._land_lost()

    def close(self) -> None:
        """Cancel what is in flight, close the models, end the thread; later requests end at once."""
        with self._changed:
            self._closed = True
            background, self._background = self._background, None
        if background is not None:
            background.stop(CLOSING)
        for key in list(self._flights):  # of a thread that did not end in time
            self._land(key, CallResult(None, _cancelled("the session is over"), cached=False))

    def _begin(self) -> None:
        """Before the first call; whoever needs a descriptor later may find that connections took them all."""
        if self._cache is not None:
            self._cache.prepare()
        self._slots = asyncio.Semaphore(reserve_descriptors(self._concurrency))
        self._background = EventLoopThread(self._sender.aclose)

    def _take(self, request: Request, answer: Answer) -> None:
        """An answer that was not paid for here is about to be used."""
        if self._on_cached_answer is not None:
            try:
                self._on_cached_answer(request, answer)
            except Exception as error:
                self._defect = error

    def _recall(self, key: str) -> CallResult | None:
        with self._changed:
            if key in self._remembered:
                found = self._remembered.pop(key)
                self.replayed += 1
                self.replayed_calls += found.calls
                answer, error = (found.end, None) if isinstance(found.end, Answer) else (None, found.end)
                self._memory[key] = CallResult(answer, error, cached=found.calls == 0)
            return self._memory.get(key)

    async def _connect(self, model: str, connected: threading.Event) -> None:
        try:
            await self._sender.connect(model)
        finally:
            connected.set()

    async def _fly(self, pending: PendingRequest) -> None:
        try:
            async with self._slots:
                with self._changed:
                    self._sent[pending.request.key] = time.monotonic()
                known = await self._obtain(pending)
        except ModelError as error:
            known = CallResult(None, error, cached=False)
        except asyncio.CancelledError:
            known = CallResult(None, self._lost or _cancelled("cancelled"), cached=False)
        except BaseException as error:  # a defect of ours: `wait` and `ask` raise it, nobody waits for ever
            self._defect = error if isinstance(error, Exception) else RuntimeError(repr(error))
            known = CallResult(
                None, _cancelled(f"cancelled by {type(error).__name__}: {error}"), cached=False
            )
        if known.cached and known.answer is not None:
            self._take(pending.request, known.answer)
        if pending.attempts and self._on_paid is not None:
            end = (known.answer, known.error, pending.attempts, pending.spend)
            try:
                self._on_paid(PaidCall(pending.request, pending.role, *end))
            except Exception as error:
                self._defect = error
        self._land(pending.request.key, known)

    async def _obtain(self, pending: PendingRequest) -> CallResult:
        cache, key = self._cache, pending.request.key
        if cache is None:
            return CallResult(await self._sender.send(pending), None, cached=False)
        waited = False
        while not self._ending:
            with cache.flight(key) as mine:
                stored = cache.get(key) if waited or not self._refresh else None
                if stored is not None:
                    return CallResult(stored, None, cached=True)
                if mine:
                    answer = await self._sender.send(pending)
                    cache.put(key, answer)
                    return CallResult(answer, None, cached=False)
            waited = True
            await asyncio.sleep(POLL)
        raise _cancelled("the session is over")

    @property
    def _lost(self) -> ModelError | None:
        """Why no call can be made any more, since the loop that makes them has ended."""
        problem = self._background.problem if self._background is not None else ""
        if not problem:  # asked for with every call, and to redact is not cheap
            return None
        said = f"a model has ended the event loop of all calls ({redact_secrets(problem)})"
        return ModelError(ErrorKind.DEFECT, said)

    def _land_lost(self) -> None:
        """End what is still in flight in a loop that has ended; everybody would wait for it for ever."""
        if lost := self._lost:
            for key in list(self._flights):
                self._land(key, CallResult(None, lost, cached=False))

    def _land(self, key: str, known: CallResult) -> None:
        with self._changed:
            flight = self._flights.pop(key, None)
            if flight is None:
                return
            self._sent.pop(key, None)
            self._memory[key] = known
            self._settled.add(key)
            flight.set_result(known)
            self._changed.notify_all()

    def _answer(self, known: CallResult) -> Answer:
        self._raise_defect()
        if known.answer is None:
            assert known.error is not None
            raise known.error.with_traceback(None)
        return known.answer

    def _raise_defect(self) -> None:
        if self._defect is not None:
            raise self._defect


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _forked(request: Request) -> ModelError:
    said = "a process that was forked from a test cannot ask a model; ask before the fork, or in a thread"
    return ModelError(ErrorKind.DEFECT, f"{request.model}: {said}", model=request.model)


def _cancelled(message: str) -> ModelError:
    return ModelError(ErrorKind.CANCELLED, message)
