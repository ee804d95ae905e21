"""The controller's side of its workers' model calls."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from pytest_promptopt.models.call_records import CallResult, PaidCall
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.pytest_session.worker_messages import paid_from_json, result_to_json
from pytest_promptopt.pytest_session.xdist_channel import Connection
from pytest_promptopt.records import Request, Role


class AnswerService:
    """Answers workers from the thread that hears them; waits for no call.

    :param on_paid: told of calls that a worker had to make itself.
    """

    def __init__(self, client: ModelClient, on_paid: Callable[[PaidCall], None]) -> None:
        self._client = client
        self._on_paid = on_paid
        #: What could not be noted of a worker's own calls.
        self.problem: Exception | None = None

    def handle(self, connection: Connection, kind: str, data: dict[str, Any]) -> bool:
        """Answer a message, if it is about a call."""
        if kind == "paid":
            paid = paid_from_json(data)
            self._client.take_over(paid)  # the next worker that needs it shall not pay once more
            try:
                self._on_paid(paid)
            except Exception as error:
                self.problem = error
        elif kind == "known":
            self._tell_known(connection, data["number"], Request.from_json(data["request"]))
        elif kind == "ask":
            flight = self._client.submit(Request.from_json(data["request"]), Role(data["role"]))
            flight.add_done_callback(partial(self._tell, connection, data["number"]))
        else:
            return False
        return True

    def _tell_known(self, connection: Connection, number: int, request: Request) -> None:
        try:
            known = self._client.look_up(request)
        except OSError as error:
            connection.send("reply", number=number, reply={"problem": str(error)})
            return
        hopeless = None if known is not None else self._client.hopeless(request)
        if hopeless is not None:
            known = CallResult(None, hopeless, cached=False)
        result = None if known is None else result_to_json(known)
        connection.send("reply", number=number, reply={"result": result, "problem": ""})

    def _tell(self, connection: Connection, number: int, flight: Future[CallResult]) -> None:
        connection.send("reply", number=number, reply={"result": result_to_json(flight.result())})
