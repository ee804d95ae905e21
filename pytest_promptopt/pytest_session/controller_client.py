"""A worker's model client: it asks the controller, which makes the calls of all workers and pays for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from typing import Any

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models import Model
from pytest_promptopt.models.call_records import CallResult
from pytest_promptopt.models.client import SLICE, ModelClient
from pytest_promptopt.models.retrying_sender import PendingRequest
from pytest_promptopt.models.unpatched_asyncio import asyncio
from pytest_promptopt.pytest_session.worker_messages import result_from_json
from pytest_promptopt.pytest_session.xdist_channel import Connection
from pytest_promptopt.records import Request
from pytest_promptopt.unpatched import time


class ControllerClient(ModelClient):
    """The same answers, errors and `cached` as if the calls were made in this process.

    So a call outlives the worker that needs it, equal calls of several workers are one, and limits and
    journal are those of the controller. Only what the code under test sends by itself is sent from here, with
    the same limits and the same journal. What is known here is kept: a case that runs again asks nobody.
    """

    def __init__(self, connection: Connection, *, concurrency: int) -> None:
        super().__init__(resolve=_nobody, cache=None, ledger=Ledger(), concurrency=concurrency)
        self._connection = connection
        self._numbers = count()
        self._questions: dict[int, Future[dict[str, Any]]] = {}
        self._questions_lock = threading.Lock()
        self._alone = False
        #: Seconds that were spent waiting for calls.
        self.waited = 0.0
        #: Makes the calls that only this worker can: those of the code under test.
        self.application: Callable[[], ModelClient] | None = None

    def heard(self, number: int, reply: dict[str, Any]) -> None:
        """The controller has answered; in any thread."""
        with self._questions_lock:
            question = self._questions.pop(number, None)
        if question is not None:
            question.set_result(reply)

    def lost(self) -> None:
        """The controller is gone; in any thread."""
        with self._questions_lock:
            self._alone = True
            numbers = list(self._questions)
        for number in numbers:
            self.heard(number, {})

    def look_up(self, request: Request) -> CallResult | None:
        """What this worker or the controller knows; raises `OSError` when it cannot be looked up."""
        found = super().look_up(request)
        if found is not None or request.key in self._flights:
            return found
        question = self._question("known", request=request.to_json())
        while True:
            with suppress(TimeoutError):  # Ctrl-C gets in
                reply = question.result(SLICE)
                break
        if problem := reply.get("problem"):
            raise OSError(problem)
        found = self._read(reply) if reply.get("result") is not None or not reply else None
        if found is not None and found.answer is not None:
            with self._changed:
                self._memory.setdefault(request.key, found)
        return found

    def connect(self, model: str) -> None:
        """The controller does."""

    def wait(self, timeout: float | None = None) -> frozenset[str]:
        began = time.monotonic()
        try:
            return super().wait(timeout)
        finally:
            self.waited += time.monotonic() - began

    def hopeless(self, request: Request) -> ModelError | None:
        if request.wire is None or self.application is None:
            return super().hopeless(request)
        return self.application().hopeless(request)

    async def _obtain(self, trip: PendingRequest) -> CallResult:
        if trip.request.wire is not None and self.application is not None:
            client = self.application()
            client.forget_refusals()  # what is asked again here may be asked again
            client.forget_errors({trip.request.key})
            return await asyncio.wrap_future(client.submit(trip.request, trip.role))
        question = self._question("ask", request=trip.request.to_json(), role=trip.role)
        return self._read(await asyncio.wrap_future(question))

    def _question(self, kind: str, **data: Any) -> Future[dict[str, Any]]:
        question: Future[dict[str, Any]] = Future()
        question.set_running_or_notify_cancel()
        with self._questions_lock:
            number = next(self._numbers)
            self._questions[number] = question
        if self._alone or not self._connection.send(kind, number=number, **data):
            self.heard(number, {})
        return question

    def _read(self, reply: dict[str, Any]) -> CallResult:
        if not reply:
            gone = ModelError(ErrorKind.CANCELLED, "the session is over")
            return CallResult(None, gone, cached=False)
        return result_from_json(reply["result"])


def _nobody(name: str) -> Model:
    raise AssertionError(f"{name} is asked by the controller")
