"""A small server stands in for the provider, so that the example needs no key and no network."""

from __future__ import annotations

import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(message):
    """A very small model: the queue most of whose words, as the prompt lists them, stand in the ticket."""
    prompt, _, ticket = message.lower().rpartition("ticket:")
    queues = re.search(r"one of: (.+)\.", prompt)[1].split(", ")
    listed = dict(re.findall(r"^- (\w+): (.+)$", prompt, re.MULTILINE))
    words = {queue: listed.get(queue, queue).split(", ") for queue in queues}
    return max(queues, key=lambda queue: sum(word in ticket for word in words[queue]))


class Provider(BaseHTTPRequestHandler):
    """Speaks as Anthropic does."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        reply = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": asked["model"],
            "content": [{"type": "text", "text": answer(asked["messages"][-1]["content"])}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 50, "output_tokens": 5},
        }
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Says nothing."""


def pytest_configure():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["ANTHROPIC_BASE_URL"] = f"http://127.0.0.1:{server.server_port}"
    os.environ["ANTHROPIC_API_KEY"] = "none is needed"
