"""Code whose model calls are taken out of it, made elsewhere, and replayed: by the transports alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Any

import pytest

from pytest_promptopt.interception import patching
from pytest_promptopt.interception.gate import AsyncSend, Send, Sent, close_gate, open_gate
from pytest_promptopt.interception.twins import close_twins
from pytest_promptopt.models.event_loop_thread import EventLoopThread
from pytest_promptopt.wire_records import WireAnswer


class Stopped(BaseException):
    """Ends the code under test at its call."""


class Replaying:
    """Stops code at an unknown call; makes the call later, in another thread, and then knows it."""

    def __init__(self) -> None:
        self.known: dict[bytes, WireAnswer] = {}
        self.waiting: dict[bytes, Send | AsyncSend] = {}
        self.sent: list[Sent] = []

    def has_case(self) -> bool:
        return True

    def sees(self, method: str, url: str) -> bool:
        return method == "POST"

    def ask(self, sent: Sent, send: Send) -> WireAnswer:
        return self._known(sent, send)

    async def aask(self, sent: Sent, send: AsyncSend) -> WireAnswer:
        return self._known(sent, send)

    def _known(self, sent: Sent, send: Send | AsyncSend) -> WireAnswer:
        self.sent.append(sent)
        if sent.body not in self.known:
            self.waiting[sent.body] = send
            raise Stopped
        return self.known[sent.body]

    async def make_calls(self) -> None:
        for body, send in self.waiting.items():
            answer = send(body.replace(b"please", b"at once"))
            self.known[body] = answer if isinstance(answer, WireAnswer) else await answer
        self.waiting.clear()


@contextmanager
def replayed_calls() -> Iterator[Replaying]:
    """All transports ask it."""
    handler = Replaying()
    patching.watch()
    open_gate(handler)
    yield handler
    close_gate(handler)
    patching.unwatch()


def run(code: Any, url: str) -> str:
    found: str = asyncio.run(code(url)) if iscoroutinefunction(code) else code(url)
    return found


def take_calls_out(replaying: Replaying, code: Callable[[], str]) -> str:
    """Run `code` up to its call, make the call elsewhere, and run it again."""
    with pytest.raises(Stopped):
        code()
    assert made_elsewhere(replaying) is None
    return code()


def made_elsewhere(replaying: Replaying) -> BaseException | None:
    """Make the calls that are waited for; what they have raised."""
    loop = EventLoopThread(close_twins)
    raised = asyncio.run(_made(loop, replaying.make_calls))
    loop.stop(5)
    return raised


async def _made(loop: EventLoopThread, calls: Callable[[], Awaitable[None]]) -> BaseException | None:
    here, ended = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    async def run() -> None:
        error: BaseException | None = None
        try:
            await calls()
        except BaseException as raised:
            error = raised
        here.call_soon_threadsafe(ended.set_result, error)

    loop.start(run)
    found: BaseException | None = await asyncio.wait_for(ended, 20)
    return found
