"""Where transports ask whether somebody handles a request. Closed, they do what they always did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_promptopt.models.event_loop_thread import is_ours
from pytest_promptopt.wire_records import WireAnswer

Send = Callable[[bytes], WireAnswer]
AsyncSend = Callable[[bytes], Awaitable[WireAnswer]]


@dataclass(frozen=True)
class Sent:
    """A request as the application's client hands it to its transport."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header, named in lower case; empty when there is none."""
        return next((value for each, value in self.headers if each.lower() == name), "")

    @property
    def signed(self) -> bool:
        """Whether it is signed with all its content (AWS): it is sent as it is, and within minutes."""
        return self.header("authorization").startswith("AWS4-")


class Handler(Protocol):
    """Answers requests of the code under test."""

    def has_case(self) -> bool:
        """Whether a case is going on, which the requests of this moment are made for."""

    def sees(self, method: str, url: str) -> bool:
        """Whether a request may be one that is handled; if not, its body is not even read."""

    def ask(self, sent: Sent, send: Send) -> WireAnswer | None:
        """The answer; None for a request that goes its usual way.

        :param send: sends it with the given body, from any thread, be it long after this call.
        """

    async def aask(self, sent: Sent, send: AsyncSend) -> WireAnswer | None:
        """The same for an async client.

        :param send: awaited on a loop of ours.
        """


_handlers: list[Handler] = []


def handler_of(method: str, url: str) -> Handler | None:
    """Who handles such a request just now."""
    if not _handlers or is_ours() or not _handlers[-1].sees(method, url):
        return None
    return _handlers[-1]


def case_is_going_on() -> bool:
    """Whether what happens just now is a part of a case whose requests are handled."""
    return bool(_handlers) and not is_ours() and _handlers[-1].has_case()


def open_gate(handler: Handler) -> None:
    """Let `handler` see requests, until `close_gate`."""
    _handlers.append(handler)


def close_gate(handler: Handler) -> None:
    if handler in _handlers:
        _handlers.remove(handler)
