"""What the recipe needs of GitLab's API, on 127.0.0.1: notes, merge requests, and failures on demand."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.acceptance.served_standin import ServedStandin

TOKEN = "secret"
PROJECT = "/projects/42"
NOTES = f"{PROJECT}/merge_requests/7/notes"

#: The user that a project access token acts for.
BOT = 900

#: How GitLab words what it refuses: a sentence, a list, a mapping, as OAuth does, or in plain text.
REFUSALS: dict[int, Any] = {
    400: {"message": {"note": ["can't be blank"]}},
    401: {"message": "401 Unauthorized"},
    403: {"error": "insufficient_scope", "error_description": "The request requires higher privileges"},
    404: {"message": "404 Project Not Found"},
    409: {"message": ["Another open merge request already exists for this source branch: !5"]},
    422: {"message": "422 Unprocessable\x1b[31m Entity\n"},
    429: "Retry later\n",
}


class GitLab(ServedStandin):
    """Runs while it is entered.

    :ivar notes: those of merge request 7, in order.
    :ivar merge_requests: the open ones of the project.
    :ivar failing: statuses that the next requests of a method get: ``{"POST": [500, 403]}``.
    :ivar late: whether a failing request is carried out all the same, as when only the answer was lost.
    :ivar actions: lines that GitLab took for quick actions.
    """

    def __init__(self) -> None:
        super().__init__(_handler(self))
        self.notes: list[dict[str, Any]] = []
        self.merge_requests: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.failing: dict[str, list[int]] = {}
        self.late = False
        self.actions: list[str] = []

    @property
    def url(self) -> str:
        return f"{self.address}/api/v4"

    def has(self, *bodies: str, author: int = 1) -> None:
        """These notes are there already."""
        for body in bodies:
            self._add_note(body, author)

    def has_opened(self, branch: str, *, project: int = 42) -> None:
        """There is an open merge request of this branch."""
        self._open({"source_branch": branch, "target_branch": "main", "title": "old"}, project)

    def answer(self, method: str, target: str, body: bytes, token: str | None) -> tuple[int, Any, str]:
        """Status, JSON or text, and the header X-Next-Page."""
        path, query = urlsplit(target).path.removeprefix("/api/v4"), dict(parse_qsl(urlsplit(target).query))
        self.asked.append(f"{method} {path}")
        if token != TOKEN:
            return 401, REFUSALS[401], ""
        data = json.loads(body) if body else {}
        if self.failing.get(method):
            status = self.failing[method].pop(0)
            if self.late:
                self._carry_out(method, path, query, data)
            return status, REFUSALS.get(status, {"message": "500 Internal Server Error"}), ""
        return self._carry_out(method, path, query, data)

    def _carry_out(
        self, method: str, path: str, query: dict[str, str], data: dict[str, Any]
    ) -> tuple[int, Any, str]:
        self.actions += [
            line
            for text in (data.get("body"), data.get("description"))
            for line in (text or "").splitlines()
            if line.lstrip().startswith("/")
        ]
        match method, path:
            case "GET", "/user":
                return 200, {"id": BOT, "username": "project_42_bot"}, ""
            case "GET", _ if path == NOTES:
                size, page = int(query.get("per_page", 20)), int(query["page"])
                more = str(page + 1) if len(self.notes) > page * size else ""
                return 200, self.notes[(page - 1) * size : page * size], more
            case "POST", _ if path == NOTES:
                return 201, self._add_note(data["body"], BOT), ""
            case "PUT", _ if path.startswith(f"{NOTES}/"):
                (note,) = [each for each in self.notes if path == f"{NOTES}/{each['id']}"]
                note["body"] = data["body"]
                return 200, note, ""
            case "GET", _ if path == f"{PROJECT}/merge_requests":
                wanted = {name: query[name] for name in ("state", "source_branch", "target_branch")}
                return 200, [each for each in self.merge_requests if wanted.items() <= each.items()], ""
            case "POST", _ if path == f"{PROJECT}/merge_requests":
                own = [each for each in self.merge_requests if each["source_project_id"] == 42]
                if any(each["source_branch"] == data["source_branch"] for each in own):
                    return 409, REFUSALS[409], ""
                return 201, self._open(data, 42), ""
            case _:
                assert method == "PUT"
                (found,) = [
                    each for each in self.merge_requests if path == f"{PROJECT}/merge_requests/{each['iid']}"
                ]
                found.update(data)
                return 200, found, ""

    def _add_note(self, body: str, author: int) -> dict[str, Any]:
        note = {"id": 1000 + len(self.notes), "body": body, "system": False}
        self.notes.append(note | {"author": {"id": author} if author else None})
        return self.notes[-1]

    def _open(self, data: dict[str, Any], project: int) -> dict[str, Any]:
        iid = 30 + len(self.merge_requests)
        url = f"https://gitlab.example/shop/support/-/merge_requests/{iid}"
        made = {**data, "iid": iid, "state": "opened", "source_project_id": project, "web_url": url}
        self.merge_requests.append(made)
        return made


def _handler(gitlab: GitLab) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, told, page = gitlab.answer(self.command, self.path, body, self.headers["PRIVATE-TOKEN"])
            self.send_response(status)
            self.send_header("X-Next-Page", page)
            self.end_headers()
            self.wfile.write((told if isinstance(told, str) else json.dumps(told)).encode())

        do_GET = do_POST = do_PUT = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
