"""A small project in pytester's folder: prompts, tests, and a model of its own that logs its calls."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

# pytester forgets what a session in this process has imported; half of a library left behind would not work.
for _module in ("jinja2.sandbox", "yaml", "deepdiff", "filelock", "rich"):
    importlib.import_module(_module)
for _module in (
    "pytest_session.optimization_run",
    "pytest_session.case_runner",
    "pytest_session.summary",
    "models.demo",
    "reports.json_report",
):
    importlib.import_module(f"pytest_promptopt.{_module}")

#: The house model says what follows the last colon of what it is asked; it refuses "boom".
#: `house/slow` takes its time. A test that needs other answers appends a `said` of its own.
CONFTEST = """
import asyncio, json, os
from pathlib import Path
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.records import Answer, Usage

LOG = Path(__file__).with_name("calls.log")

class House:
    async def complete(self, request):
        call = {
            "model": request.model,
            "messages": [[message.role, message.content] for message in request.messages],
            "max_tokens": request.max_tokens,
            "stop": list(request.stop),
            "parameters": dict(request.parameters),
            "schema": request.response_schema,
            "worker": os.environ.get("PYTEST_XDIST_WORKER", ""),
        }
        with LOG.open("a", encoding="utf-8") as log:
            log.write(json.dumps(call) + chr(10))
        if request.model == "house/slow":
            await asyncio.sleep(0.05)
        return Answer(said(request), request.model, "end_turn", Usage(10, 1), 0.001, 0.0)

    async def aclose(self):
        pass

def said(request):
    text = request.messages[-1].content.rpartition(": ")[2]
    if text == "boom":
        raise ModelError(ErrorKind.BAD_REQUEST, "the house model refuses boom", model=request.model)
    return text

def pytest_promptopt_resolve_model(name):
    return House() if name.startswith("house/") else None
"""


class Project:
    """Has ``prompts/repeat.md`` and asks ``house/repeat`` unless a test says otherwise."""

    def __init__(self, pytester: pytest.Pytester, *ini: str, path: Path | None = None) -> None:
        """:param path: rootdir; None for pytester's folder."""
        self.pytester = pytester
        self.path = path or pytester.path
        self.write("conftest.py", CONFTEST)
        self.write("prompts/repeat.md", "Repeat: {{ word }}\n")
        self.ini("promptopt_model = house/repeat", *ini)

    def ini(self, *lines: str) -> None:
        self.write("pytest.ini", "\n".join(("[pytest]", *lines)))

    def write(self, name: str, content: str | bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else dedent(content).lstrip("\n").encode())

    def tests(self, source: str, *, name: str = "test_it.py") -> None:
        self.write(name, "import pytest\n" + dedent(source))

    def run(self, *args: str, workers: int = 0) -> pytest.RunResult:
        spread = ("-n", str(workers)) if workers else ()
        return self.pytester.runpytest_inprocess("-p", "no:asyncio", *spread, *args)

    def asked(self) -> list[dict[str, Any]]:
        """Every call of the house model, in the order in which they were made."""
        log = self.path / "calls.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
