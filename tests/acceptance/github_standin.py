"""What comments need of GitHub's API, on 127.0.0.1: pages, a largest size, and failures on demand."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.acceptance.served_standin import ServedStandin

REPOSITORY = "/repos/shop/support"
BOT = "github-actions[bot]"

#: GitHub's own, also for an issue; and how many comments a page has when nobody asks for more.
MAX_COMMENT = 65_536
PER_PAGE = 30


class GitHub(ServedStandin):
    """Runs while it is entered.

    :ivar comments: those of pull request 7, in order.
    :ivar failing: statuses that the next requests of a method get: ``{"POST": [500, 403]}``.
    :ivar late: whether a failing request is carried out all the same, as when only the answer was lost.
    :ivar largest_page: more comments come on one page never.
    """

    def __init__(self) -> None:
        super().__init__(_handler(self))
        self.comments: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.failing: dict[str, list[int]] = {}
        self.late = False
        self.largest_page = 100

    @property
    def url(self) -> str:
        return self.address

    def has(self, *bodies: str, author: str = BOT) -> None:
        """These comments are there already."""
        for body in bodies:
            self._add(body, author)

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any, str]:
        """Status, JSON and the header Link."""
        self.asked.append(f"{method} {target}")
        if self.failing.get(method):
            status = self.failing[method].pop(0)
            if self.late:
                self._carry_out(method, target, body)
            told = {403: "Resource not accessible by integration", 422: "Validation Failed"}.get(
                status, "Oops"
            )
            return status, {"message": told, "errors": [{"code": "custom", "message": "100% wrong\n"}]}, ""
        return self._carry_out(method, target, body)

    def _carry_out(self, method: str, target: str, body: bytes) -> tuple[int, Any, str]:
        split = urlsplit(target)
        if method == "GET" and split.path == f"{REPOSITORY}/issues/7/comments":
            return self._page({name: int(value[0]) for name, value in parse_qs(split.query).items()})
        text = json.loads(body)["body"]
        if len(text) > MAX_COMMENT:
            return 422, {"message": "body is too long (maximum is 65536 characters)"}, ""
        if method == "POST" and split.path == f"{REPOSITORY}/issues/7/comments":
            return 201, self._add(text, BOT), ""
        assert method == "PATCH"
        (found,) = [
            each for each in self.comments if split.path == f"{REPOSITORY}/issues/comments/{each['id']}"
        ]
        found["body"] = text
        return 200, found, ""

    def _page(self, query: dict[str, int]) -> tuple[int, Any, str]:
        size = min(query.get("per_page", PER_PAGE), self.largest_page)
        page = query.get("page", 1)
        more = len(self.comments) > page * size
        link = f'<{self.url}/repositories/1/issues/7/comments?page={page + 1}>; rel="next"' * more
        return 200, self.comments[(page - 1) * size : page * size], link

    def _add(self, body: str, author: str) -> dict[str, Any]:
        number = 1000 + len(self.comments)
        url = f"https://github.example/shop/support/pull/7#issuecomment-{number}"
        made = {"id": number, "body": body, "user": {"login": author} if author else None, "html_url": url}
        self.comments.append(made)
        return made


def _handler(github: GitHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            github.tokens.add(self.headers["Authorization"])
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, told, link = github.answer(self.command, self.path, body)
            self.send_response(status)
            if link:
                self.send_header("Link", link)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        do_GET = do_POST = do_PATCH = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
