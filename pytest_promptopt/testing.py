"""For tests of hooks, strategies and models of your own: a fake model, and a project to run pytest in.

The tests of this plugin use them too. Nothing here needs a key, a network or pytest itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.records import Answer, Request, Usage
from pytest_promptopt.records.content import ToolCall

#: A text, or the tools that are called.
Spoken = str | ToolCall | Sequence[ToolCall]

#: Gives the answer of a fake model to a request.
Said = Callable[[Request], Spoken]


class FakeModel:
    """A model whose answers you write; it remembers what it was asked. For one event loop at a time.

    >>> model = FakeModel(lambda request: "billing")
    >>> result = optimize("route.md", cases, model="fake/one", resolve_model=lambda name: model)

    :param answers: a function of the request, that returns a text, a `ToolCall` or a list of them; or these,
        one for each call in turn, and every call after the last of them raises `ModelError`. None: the
        answer is the last message of the request.
    :param faults: the first attempts raise these, one each, such as
        ``ModelError(ErrorKind.OVERLOADED, "busy")``.
    :param seconds: how long each answer takes; None answers without a pause.
    :param usage: tokens of each answer; None for a provider that does not tell them.
    :param cost: US dollars of each answer; None when unknown.
    :param log: a file to which each request is added as a line of JSON, for models in another process.
    """

    def __init__(
        self,
        answers: Said | Iterable[Spoken] | None = None,
        *,
        faults: Iterable[Exception] = (),
        seconds: float | None = None,
        usage: Usage | None = Usage(1, 1),  # noqa: B008  # frozen
        cost: float | None = 0.0,
        log: Path | None = None,
    ) -> None:
        self._answers = answers if callable(answers) or answers is None else iter(answers)
        self.faults = list(faults)
        self.seconds = seconds
        self.usage = usage
        self.cost = cost
        self._log = log
        #: Every request, in the order of the attempts.
        self.requests: list[Request] = []
        #: The last message of each of them.
        self.asked: list[str] = []
        #: Calls in flight now, and at most at once.
        self.now = self.most = 0
        #: How often it was closed.
        self.closed = 0
        #: The thread of the last call.
        self.thread: threading.Thread | None = None

    async def complete(self, request: Request) -> Answer:
        """The next answer. Raises the next of `faults`, and `ModelError` when no answer is left."""
        self.thread = threading.current_thread()
        self.requests.append(request)
        self.asked.append(request.messages[-1].content)
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(_plain(request)) + "\n")
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.seconds is not None:
                await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        if self.faults:
            raise self.faults.pop(0)
        said = self._said(request)
        calls = () if isinstance(said, str) else (said,) if isinstance(said, ToolCall) else tuple(said)
        text, reason = (said, "end_turn") if isinstance(said, str) else ("", "tool_use")
        seconds = self.seconds or 0.0
        return Answer(text, request.model, reason, self.usage, self.cost, seconds, tool_calls=calls)

    async def aclose(self) -> None:
        """Adds one to `closed`."""
        self.closed += 1

    def _said(self, request: Request) -> Spoken:
        if self._answers is None:
            return request.messages[-1].content
        if callable(self._answers):
            return self._answers(request)
        for text in self._answers:
            return text
        raise ModelError(ErrorKind.DEFECT, "the fake model has no answer left", model=request.model)


def _plain(request: Request) -> dict[str, Any]:
    return {
        "model": request.model,
        "messages": [[message.role, message.content] for message in request.messages],
        "max_tokens": request.max_tokens,
        "stop": list(request.stop),
        "parameters": dict(request.parameters),
        "schema": request.response_schema,
        **({"tools": [tool["name"] for tool in request.tools]} if request.tools else {}),
        "worker": os.environ.get("PYTEST_XDIST_WORKER", ""),
    }


#: The ``conftest.py`` of an example project: models called ``fake/...`` are fake ones.
CONFTEST = """
from pathlib import Path
from pytest_promptopt.testing import FakeModel

LOG = Path(__file__).with_name("calls.log")

{answer}

def pytest_promptopt_resolve_model(name):
    return FakeModel(answer, log=LOG) if name.startswith("fake/") else None
"""

ECHO = """
def answer(request):
    return request.messages[-1].content
"""


@dataclass(frozen=True)
class ProjectRun:
    """How a pytest of an example project ended.

    :param exit_code: 0 passed, 1 failed, 4 a usage error ...
    :param output: standard output and error.
    """

    exit_code: int
    output: str


class ProjectFolder:
    """The files of an example project.

    :param path: its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def ini(self, *lines: str) -> None:
        """Write ``pytest.ini``, such as ``promptopt_model = fake/echo``."""
        self.write("pytest.ini", "\n".join(("[pytest]", *lines)) + "\n")

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file; a text is dedented, and loses its first empty lines. Returns its path."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else dedent(content).lstrip("\n").encode())
        return path

    def tests(self, source: str, *, name: str = "test_it.py") -> None:
        """Write a module of tests that begins with ``import pytest``."""
        self.write(name, "import pytest\n" + dedent(source))

    def asked(self) -> list[dict[str, Any]]:
        """Every call that was logged into ``calls.log``, in the order in which they were made, over all runs.

        Each has ``model``, ``messages`` (pairs of role and content), ``max_tokens``, ``stop``,
        ``parameters``, ``schema`` and ``worker`` (of xdist; empty without).
        """
        log = self.path / "calls.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


class ExampleProject(ProjectFolder):
    """A project in a folder of its own: prompts, tests and a fake model, run by a real pytest.

    >>> project = ExampleProject(tmp_path)
    >>> project.write("say.md", "Say: {{ word }}")
    >>> project.tests('''
    ... @pytest.mark.prompt("say.md", model="fake/echo")
    ... def test_it(prompt):
    ...     assert prompt(word="hello") == "Say: hello"
    ... ''')
    >>> project.run("-q").exit_code
    0

    :param path: an empty folder, such as pytest's ``tmp_path``.
    :param answer: the source of ``def answer(request)``, which returns what models called ``fake/...`` say;
        the last message again when not given.
    """

    def __init__(self, path: Path, *, answer: str = ECHO) -> None:
        super().__init__(path)
        self.conftest(answer)
        self.ini()

    def conftest(self, answer: str = ECHO, more: str = "") -> None:
        """Write ``conftest.py``: the fake models, which log into ``calls.log``, and hooks in `more`."""
        self.write("conftest.py", CONFTEST.format(answer=dedent(answer).strip()) + dedent(more))

    def run(self, *arguments: str, plugins: Sequence[str] = (), timeout: float = 300.0) -> ProjectRun:
        """Run pytest in a process of its own, with no other plugin than this one and `plugins`.

        :param timeout: seconds; then `subprocess.TimeoutExpired` is raised.
        """
        named = [part for name in ("pytest_promptopt.plugin", *plugins) for part in ("-p", name)]
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_XDIST_WORKER"):
            environment.pop(name, None)
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *named, *arguments],
            cwd=self.path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return ProjectRun(ended.returncode, ended.stdout + ended.stderr)
