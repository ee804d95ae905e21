"""httpcore and httpcore2: below httpx, httpx2 and the SDKs that use them (anthropic, openai)."""

from __future__ import annotations

import copy
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import wraps
from typing import Any

from pytest_promptopt.interception.gate import Sent, handler_of
from pytest_promptopt.interception.headers import for_sending, kept_headers
from pytest_promptopt.interception.twins import Twins
from pytest_promptopt.wire_records import WireAnswer

#: What an application has added to a request for itself, and does not expect in another thread.
_NOT_SENT = ("trace",)


def patch(library: Any) -> None:
    """Have the pools of `library` (httpcore or httpcore2) ask the gate first."""
    _patch_sync(library)
    _patch_async(library)


def _patch_sync(library: Any) -> None:
    pool_class = library.ConnectionPool
    original = pool_class.handle_request
    twins = Twins(close=lambda twin: twin.close(), make=_twin)

    @wraps(original)
    def handle_request(self: Any, request: Any) -> Any:
        __tracebackhide__ = True
        handler = handler_of(request.method.decode("latin-1"), _url(request))
        if handler is None:
            return original(self, request)
        sent = _sent(request, b"".join(request.stream))
        request.stream = _Chunks((sent.body,))

        def send(body: bytes) -> WireAnswer:
            response = original(twins.of(self), _repeated(library, request, sent, body))
            try:
                return _answer(response, tuple(response.stream))
            finally:
                response.close()

        answer = handler.ask(sent, send)
        return original(self, request) if answer is None else _response(library, answer)

    pool_class.handle_request = handle_request


def _patch_async(library: Any) -> None:
    pool_class = library.AsyncConnectionPool
    original = pool_class.handle_async_request
    twins = Twins(close=lambda twin: twin.aclose(), make=_twin)

    @wraps(original)
    async def handle_async_request(self: Any, request: Any) -> Any:
        __tracebackhide__ = True
        handler = handler_of(request.method.decode("latin-1"), _url(request))
        if handler is None:
            return await original(self, request)
        sent = _sent(request, b"".join([chunk async for chunk in request.stream]))
        request.stream = _Chunks((sent.body,))

        async def send(body: bytes) -> WireAnswer:
            response = await original(twins.of(self), _repeated(library, request, sent, body))
            try:
                return _answer(response, tuple([chunk async for chunk in response.stream]))
            finally:
                await response.aclose()

        answer = await handler.aask(sent, send)
        return await original(self, request) if answer is None else _response(library, answer)

    pool_class.handle_async_request = handle_async_request


def _twin(pool: Any) -> Any:
    """A copy of a pool without what belongs to this one, and to one event loop.

    How many calls are made at once is decided elsewhere: waiting for others would count as time of the call.
    """
    twin = copy.copy(pool)
    twin._max_connections = sys.maxsize
    twin._connections = []
    twin._requests = []
    twin._optional_thread_lock = type(twin._optional_thread_lock)()
    backend: Any = getattr(twin, "_network_backend", None)
    if type(backend).__name__ == "AutoBackend":  # it keeps to the first kind of event loop that it meets
        twin._network_backend = type(backend)()
    return twin


def _url(request: Any) -> str:
    url = request.url
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme.decode()}://{url.host.decode()}{port}{url.target.decode('latin-1')}"


def _sent(request: Any, body: bytes) -> Sent:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    return Sent(request.method.decode("latin-1"), _url(request), headers, body)


def _repeated(library: Any, request: Any, sent: Sent, body: bytes) -> Any:
    extensions = {name: value for name, value in request.extensions.items() if name not in _NOT_SENT}
    headers = for_sending(sent.headers, body)
    return library.Request(request.method, request.url, headers=headers, content=body, extensions=extensions)


def _answer(response: Any, chunks: tuple[bytes, ...]) -> WireAnswer:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers]
    return WireAnswer(response.status, kept_headers(headers), chunks)


def _response(library: Any, answer: WireAnswer) -> Any:
    return library.Response(
        answer.status,
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers],
        content=_Chunks(answer.chunks),
        extensions={"http_version": b"HTTP/1.1", "reason_phrase": b""},
    )


class _Chunks:
    """The parts of a body, for both kinds of clients."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk

    def close(self) -> None:
        """Nothing is open."""

    async def aclose(self) -> None:
        """Nothing is open."""
