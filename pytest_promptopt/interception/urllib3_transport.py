"""urllib3: below requests, and below botocore."""

from __future__ import annotations

import copy
import io
import sys
from functools import wraps
from typing import Any

from pytest_promptopt.interception.gate import Sent, handler_of
from pytest_promptopt.interception.headers import for_sending, kept_headers
from pytest_promptopt.interception.twins import Twins
from pytest_promptopt.wire_records import WireAnswer

#: Bytes of a reply that are read at a time.
_PART = 65_536


def patch(module: Any) -> None:
    """Have the pools of `urllib3.connectionpool` ask the gate first."""
    pool_class = module.HTTPConnectionPool
    original = pool_class.urlopen
    twins = Twins(close=lambda twin: twin.close(), make=_twin)

    @wraps(original)
    def urlopen(
        self: Any, method: str, url: str, body: Any = None, headers: Any = None, *rest: Any, **named: Any
    ) -> Any:
        __tracebackhide__ = True
        full = _full(self, url)
        handler = handler_of(method, full)
        # vcrpy exchanges the class of connections, which is below: it is the test's own, and goes first.
        played = getattr(self.ConnectionCls, "__module__", "").startswith("vcr.")
        if handler is None or played or rest or not isinstance(body, bytes | str):
            return original(self, method, url, body, headers, *rest, **named)
        own = headers if headers is not None else self.headers
        given = [(str(name), _text(value)) for name, value in dict(own or {}).items()]
        sent = Sent(method, full, given, body.encode() if isinstance(body, str) else body)

        def send(content: bytes) -> WireAnswer:
            raw = {**named, "preload_content": False, "decode_content": False, "redirect": False}
            raw["retries"] = _once(self, named.get("retries"))
            raw.pop("chunked", None)
            twin = twins.of(self)
            response = original(twin, method, url, content, dict(for_sending(given, content)), **raw)
            try:
                chunks = tuple(response.stream(_PART, decode_content=False))
                replied = [(name, value) for name, value in response.headers.items()]
                return WireAnswer(response.status, kept_headers(replied), chunks)
            finally:
                response.release_conn()

        answer = handler.ask(sent, send)
        if answer is None:
            return original(self, method, url, body, headers, **named)
        return _response(answer, method, url, named)

    pool_class.urlopen = urlopen


def _twin(pool: Any) -> Any:
    """A copy of a pool with connections of its own, as many as it takes."""
    twin = copy.copy(pool)
    twin.block = False
    twin.pool = pool.QueueCls(0)
    return twin


def _once(pool: Any, retries: Any) -> Any:
    """The application's way to ask again, without that: how often a call is made is decided elsewhere."""
    urllib3: Any = sys.modules["urllib3"]
    own = urllib3.Retry.from_int(retries, redirect=False, default=pool.retries)
    return own.new(total=False if own.total is False else 0, status_forcelist=())


def _response(answer: WireAnswer, method: str, url: str, named: Any) -> Any:
    urllib3: Any = sys.modules["urllib3"]
    return urllib3.HTTPResponse(
        body=io.BytesIO(answer.body),
        headers=urllib3.HTTPHeaderDict(answer.headers),
        status=answer.status,
        version=11,
        version_string="HTTP/1.1",
        reason="",
        preload_content=named.get("preload_content", True),
        decode_content=named.get("decode_content", True),
        request_url=url,
        request_method=method,
    )


def _full(pool: Any, url: str) -> str:
    if "://" in url:  # through a proxy
        return url
    port = f":{pool.port}" if pool.port else ""
    return f"{pool.scheme}://{pool.host}{port}{url}"


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
