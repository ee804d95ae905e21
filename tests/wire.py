"""A provider on 127.0.0.1 that speaks both wires, keeps every request and can misbehave.

The wires are Anthropic Messages and OpenAI chat completions. It reads and writes sockets itself, so that
it can reset and cut connections as no HTTP library would.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """One request as it arrived; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Body


@dataclass(frozen=True)
class Reply:
    """What to do with one request.

    :param body: JSON when it is no string; None for the regular answer of the wire that was spoken.
    :param delay: seconds before the reply.
    :param fault: ``reset`` (RST instead of a reply), ``cut`` (closed in the middle of the body), ``drip`` (bytes
        one by one) or ``hang``.
    """

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    fault: str = ""


def refused(status: int, message: str = "as scripted", **headers: str) -> Reply:
    """An error in the words of both wires. Underscores in header names stand for hyphens."""
    error = {"type": "scripted_error", "message": message, "code": None, "param": None}
    return Reply(
        status,
        {"type": "error", "error": error},
        {name.replace("_", "-"): value for name, value in headers.items()},
    )


class Storm:
    """Weather in which a share of the requests comes to grief, each in one of seven ways."""

    def __init__(self, share: float, *, seed: int) -> None:
        self.share = share
        self.seen: Counter[str] = Counter()
        self._random = random.Random(seed)

    def __call__(self, body: Body) -> Reply | None:
        if self._random.random() >= self.share:
            return None
        name = self._random.choice(sorted(FAULTS))
        self.seen[name] += 1
        return FAULTS[name]


def message(text: str | None = "fine", *, stop_reason: str | None = "end_turn", **changes: Any) -> Body:
    """A successful reply of the Anthropic wire."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [] if text is None else [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
        **changes,
    }


def chat(text: str | None = "fine", *, finish_reason: str = "stop", **changes: Any) -> Body:
    """A successful reply of the OpenAI wire; `changes` to its message, except ``usage``."""
    usage = changes.pop("usage", {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
    content = {"role": "assistant", "content": text, **changes}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": content, "finish_reason": finish_reason}],
        "usage": usage,
    }


FAULTS = {
    "429": refused(429),
    "500": refused(500),
    "529": refused(529),
    "reset": Reply(fault="reset"),
    "cut": Reply(fault="cut"),
    "truncated": Reply(body='{"id": "msg_1", "type": "mess'),
    "hang": Reply(fault="hang"),
}


class WireServer:
    """Runs in a thread while it is entered.

    :param answer: from a request's body to the text of a regular answer.
    :param latency: seconds before every regular answer.
    :param weather: what to do with a request for which nothing is scripted; None for the regular answer.
    """

    def __init__(
        self,
        *,
        answer: Callable[[Body], str] = lambda body: "fine",
        latency: float = 0.0,
        weather: Callable[[Body], Reply | None] = lambda body: None,
    ) -> None:
        self.requests: list[Received] = []
        self.most_at_once = 0
        self.at_once = 0
        self._answer = answer
        self._latency = latency
        self._weather = weather
        self._script: deque[Reply] = deque()
        self._over = asyncio.Event()
        self._address: Future[tuple[asyncio.AbstractEventLoop, int]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="wire", daemon=True)

    def script(self, *replies: Reply) -> None:
        """The next replies; when they are used up, regular answers follow."""
        self._script.extend(replies)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._address.result()[1]}"

    def __enter__(self) -> WireServer:
        self._thread.start()
        self._address.result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._address.result()[0].call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                while await self._exchange(reader, writer):
                    pass
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # the client went away, or the test is over
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self._address.set_result((asyncio.get_running_loop(), server.sockets[0].getsockname()[1]))
        await self._over.wait()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its reply; False when the connection is used up."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
        received = Received(head[0].split(" ")[1], headers, body)
        self.requests.append(received)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            reply = self._script.popleft() if self._script else self._weather(body)
            reply = reply or Reply(delay=self._latency)
            await asyncio.sleep(3600 if reply.fault == "hang" else reply.delay)
        finally:
            self.at_once -= 1
        return await self._reply(writer, received, reply)

    async def _reply(self, writer: asyncio.StreamWriter, received: Received, reply: Reply) -> bool:
        if reply.fault == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        payload = self._payload(received, reply)
        html = isinstance(reply.body, str) and reply.body.startswith("<")
        headers = {
            "content-type": "text/html" if html else "application/json",
            "content-length": str(len(payload)),
            **reply.headers,
        }
        lines = [f"HTTP/1.1 {reply.status} As-Scripted", *(f"{n}: {v}" for n, v in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        if reply.fault == "drip":
            for position in range(len(payload)):
                writer.write(payload[position : position + 1])
                await writer.drain()
                await asyncio.sleep(0.2)
            return True
        writer.write(payload[: len(payload) // 2] if reply.fault == "cut" else payload)
        await writer.drain()
        return reply.fault != "cut"

    def _payload(self, received: Received, reply: Reply) -> bytes:
        body = reply.body
        if body is None:
            text = self._answer(received.body)
            body = message(text) if received.path.endswith("/messages") else chat(text)
        return (body if isinstance(body, str) else json.dumps(body)).encode()
