"""lm15: DSPy's own client, which it brings along, and the package of that name. It uses plain sockets.

This is no public part of DSPy. Where a later one lacks it, its calls go their usual way, and the session says
that no call was seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import wraps
from typing import Any

from pytest_promptopt.interception.gate import Sent, handler_of
from pytest_promptopt.interception.headers import for_sending, kept_headers
from pytest_promptopt.interception.twins import Twins
from pytest_promptopt.wire_records import WireAnswer

#: DSPy asks again after an error, whatever it is told. What was repeated often enough is known by then, so it
#: need not wait for it.
_AT_ONCE = ("retry-after", "0")


def patch_sync(module: Any) -> None:
    """Have `lm15.transports._sync` ask the gate first."""
    transport: Any = getattr(module, "StdlibTransport", None)
    original: Any = getattr(transport, "stream", None)
    if original is None:
        return
    twins = Twins(close=lambda twin: twin.close(), make=lambda each: each.copy())

    @wraps(original)
    def stream(self: Any, request: Any) -> Any:
        __tracebackhide__ = True
        handler = handler_of(request.method, request.url)
        if handler is None:
            return original(self, request)

        def send(body: bytes) -> WireAnswer:
            with original(twins.of(self), _repeated(request, body)) as response:
                return _answer(response, tuple(response))

        answer = handler.ask(_sent(request), send)
        if answer is None:
            return original(self, request)
        return _response(module.TransportResponse, answer, iter(answer.chunks), lambda consumed: None)

    transport.stream = stream


def patch_async(module: Any) -> None:
    """The same with `lm15.transports._async`."""
    transport: Any = getattr(module, "StdlibAsyncTransport", None)
    original: Any = getattr(transport, "_do_stream", None)
    if original is None:
        return
    twins = Twins(close=lambda twin: twin.aclose(), make=lambda each: each.copy())

    @wraps(original)
    async def do_stream(self: Any, request: Any) -> Any:
        __tracebackhide__ = True
        handler = handler_of(request.method, request.url)
        if handler is None:
            return await original(self, request)

        async def send(body: bytes) -> WireAnswer:
            async with await original(twins.of(self), _repeated(request, body)) as response:
                return _answer(response, tuple([chunk async for chunk in response]))

        answer = await handler.aask(_sent(request), send)
        if answer is None:
            return await original(self, request)
        return _response(module.AsyncTransportResponse, answer, _chunks(answer), _nothing_to_release)

    transport._do_stream = do_stream


def _sent(request: Any) -> Sent:
    return Sent(request.method, request.url, list(request.headers), request.body)


def _repeated(request: Any, body: bytes) -> Any:
    return replace(request, headers=for_sending(request.headers, body), body=body)


def _answer(response: Any, chunks: tuple[bytes, ...]) -> WireAnswer:
    return WireAnswer(response.status, kept_headers(response.headers), chunks)


def _response(kind: Any, answer: WireAnswer, chunks: Any, release: Any) -> Any:
    own = [(name, value) for name, value in answer.headers if name.lower() != "retry-after"]
    return kind(
        status=answer.status,
        reason="",
        headers=own if answer.status < 400 else [*own, _AT_ONCE],
        http_version="HTTP/1.1",
        chunks=chunks,
        release=release,
    )


async def _chunks(answer: WireAnswer) -> AsyncIterator[bytes]:
    for chunk in answer.chunks:
        yield chunk


async def _nothing_to_release(consumed: bool) -> None:
    """There is no connection."""
