"""A server on 127.0.0.1 between a program and a model: it counts what passes, and can answer from memory."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: Seconds that a model may take for one answer; a writer may be a person.
PATIENCE = 900.0

#: A status that no client tries again, for a model that nobody plays.
NOBODY = 400

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Tally:
    """Answers that were given, and their tokens as the model counts them, of requests and answers."""

    calls: int = 0
    tokens: int = 0


class Relay:
    """Passes requests on to `upstream`; speaks whatever wire that one speaks.

    :param upstream: an address like ``http://127.0.0.1:8088``; empty for a model that nobody plays: every
        request that is not in `replies` is refused.
    :param replies: a folder of answers by request: a request that was asked before gets the same answer, for
        nothing. The second time that a run asks the same it gets the second answer, and so on.
    """

    def __init__(self, upstream: str, replies: Path | None = None) -> None:
        self._upstream = upstream.rstrip("/")
        self._replies = replies
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._tally = Tally()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve while the block runs; its address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    @property
    def tally(self) -> Tally:
        with self._lock:
            return self._tally

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; one that is good is counted, and kept where there is a folder."""
        stored = self._place(body)
        if stored is not None and stored.exists():
            status, said = 200, stored.read_bytes()
        else:
            status, said = self._passed_on(path, headers, body)
        if status != 200:
            self.undelivered(body)
            return status, said
        if stored is not None:
            stored.write_bytes(said)
        with self._lock:
            self._tally = Tally(self._tally.calls + 1, self._tally.tokens + tokens_of(json.loads(said)))
        return status, said

    def undelivered(self, body: bytes) -> None:
        """The client did not get an answer: when it asks again, that is the same question."""
        with self._lock:
            self._asked[key_of(json.loads(body))] -= 1

    def _place(self, body: bytes) -> Path | None:
        key = key_of(json.loads(body))
        with self._lock:
            self._asked[key] += 1
            number = self._asked[key]
        if self._replies is None:
            return None
        self._replies.mkdir(parents=True, exist_ok=True)
        return self._replies / f"{key}-{number}.json"

    def _passed_on(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if not self._upstream:
            why = {"type": "invalid_request_error", "message": "nobody answers here", "code": None}
            return NOBODY, json.dumps({"type": "error", "error": why}).encode()
        dropped = ("host", "content-length", "connection", "accept-encoding")
        kept = {name: value for name, value in headers.items() if name.lower() not in dropped}
        request = urllib.request.Request(self._upstream + path, body, kept)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()
        except OSError as error:
            return 502, json.dumps({"error": {"message": str(error)}}).encode()


def _handler(relay: Relay) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, said = relay.answer(self.path, dict(self.headers), body)
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)
            except OSError:
                if status == 200:
                    relay.undelivered(body)
                with suppress(OSError):
                    self.close_connection = True

    return Handler


def key_of(body: Body) -> str:
    """sha256 over roles and texts of a request, the same on both wires."""
    turns = [["system", text_of(body["system"])]] if body.get("system") else []
    turns += [[turn["role"], text_of(turn["content"])] for turn in body["messages"]]
    return sha256(json.dumps(turns).encode()).hexdigest()


def text_of(content: Any) -> str:
    """The text of a turn, which may be in parts."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def tokens_of(answer: Body) -> int:
    """Tokens of request and answer on either wire."""
    usage = answer.get("usage") or {}
    counted = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
    return sum(int(usage.get(name) or 0) for name in counted)
