"""aiohttp: below litellm's async calls, and below those of google-genai where it is installed."""

from __future__ import annotations

import asyncio
import sys
from functools import wraps
from typing import Any

from pytest_promptopt.interception.gate import Sent, handler_of
from pytest_promptopt.interception.headers import for_sending, kept_headers
from pytest_promptopt.interception.twins import Twins
from pytest_promptopt.wire_records import WireAnswer


def patch(module: Any) -> None:
    """Have the connectors of `aiohttp.connector` ask the gate first."""
    connector_class = module.BaseConnector
    original = connector_class.connect
    twins = Twins(close=lambda twin: twin.close(), make=_twin)

    @wraps(original)
    async def connect(self: Any, req: Any, traces: Any, timeout: Any) -> Any:
        __tracebackhide__ = True
        handler = handler_of(req.method, str(req.url))
        body = None if handler is None or _kind(self) is None else await _body(req)
        if handler is None or body is None:
            return await original(self, req, traces, timeout)
        sent = Sent(req.method, str(req.url), [(str(n), str(v)) for n, v in req.headers.items()], body)

        async def send(content: bytes) -> WireAnswer:
            return await _performed(twins.of(self), req, sent, content, timeout)

        answer = await handler.aask(sent, send)
        if answer is None:
            return await original(self, req, traces, timeout)
        return _connection(self, req, answer)

    connector_class.connect = connect


def _kind(connector: Any) -> Any:
    """The class of a connector that can be made anew; None for one with a way of its own (SOCKS)."""
    aiohttp: Any = sys.modules["aiohttp"]
    return type(connector) if type(connector) in (aiohttp.TCPConnector, aiohttp.UnixConnector) else None


def _twin(connector: Any) -> Any:
    """A connector for the running loop, with the same network and certificates, and no limit of its own."""
    kind = _kind(connector)
    if kind.__name__ == "UnixConnector":
        return kind(connector.path, limit=0)
    own = {} if getattr(connector, "_resolver_owner", True) else {"resolver": connector._resolver}
    names = ("socket_factory", "happy_eyeballs_delay", "interleave")
    given = {name: getattr(connector, f"_{name}") for name in names if hasattr(connector, f"_{name}")}
    twin = kind(ssl=connector._ssl, family=connector._family, limit=0, **own, **given)
    twin._local_addr_infos = connector._local_addr_infos
    return twin


async def _body(req: Any) -> bytes | None:
    """The body of a request; None for one that can be read only once."""
    aiohttp: Any = sys.modules["aiohttp"]
    if not isinstance(req.body, aiohttp.payload.BytesPayload):
        return req.body if isinstance(req.body, bytes) else None
    read = getattr(req.body, "as_bytes", None)
    found: bytes = req.body._value if read is None else await read()
    return found


async def _performed(connector: Any, req: Any, sent: Sent, body: bytes, timeout: Any) -> WireAnswer:
    aiohttp: Any = sys.modules["aiohttp"]
    headers = [(name, value) for name, value in for_sending(sent.headers, body) if name.lower() != "host"]
    session = aiohttp.ClientSession(
        connector=connector,
        connector_owner=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Content-Type", "Accept"),
    )
    async with session:
        request = session.request(
            req.method,
            req.url,
            data=body,
            headers=headers,
            allow_redirects=False,
            proxy=_proxy(req),
            proxy_headers=getattr(req, "proxy_headers", None),
            ssl=getattr(req, "ssl", getattr(req, "_ssl", True)),
            server_hostname=getattr(req, "server_hostname", None),
            timeout=timeout,
        )
        async with request as response:
            chunks = [chunk async for chunk in response.content.iter_any()]
            return WireAnswer(response.status, kept_headers(list(response.headers.items())), tuple(chunks))


def _proxy(req: Any) -> Any:
    """The address of the proxy with the credentials that the application has given apart from it."""
    own = getattr(req, "proxy_auth", None)
    return req.proxy if own is None else req.proxy.with_user(own.login).with_password(own.password)


def _connection(connector: Any, req: Any, answer: WireAnswer) -> Any:
    """A connection from which the client reads `answer`, whatever it writes to it."""
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

    loop = asyncio.get_running_loop()
    protocol = ResponseHandler(loop)
    protocol.connection_made(_Replay(protocol, loop))
    protocol.data_received(_raw(answer))
    connector._acquired.add(protocol)
    return Connection(connector, req.connection_key, protocol, loop)


def _raw(answer: WireAnswer) -> bytes:
    head = [f"HTTP/1.1 {answer.status} -", *(f"{name}: {value}" for name, value in answer.headers)]
    lines = "\r\n".join([*head, "Transfer-Encoding: chunked", "Connection: close", "", ""])
    parts = (b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in answer.chunks if chunk)
    return lines.encode("latin-1") + b"".join(parts) + b"0\r\n\r\n"


class _Replay(asyncio.Transport):
    """Takes what is written, and sends it nowhere."""

    def __init__(self, protocol: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._protocol = protocol
        self._loop = loop
        self._closed = False

    def write(self, data: Any) -> None:
        """Nobody is there."""

    def writelines(self, list_of_data: Any) -> None:
        """Nobody is there."""

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:  # whoever closes the connector waits until it is told
            self._closed = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def pause_reading(self) -> None:
        """All has been read."""

    def resume_reading(self) -> None:
        """All has been read."""

    def get_write_buffer_size(self) -> int:
        return 0
