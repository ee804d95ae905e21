"""`Shop`: a project with an application that calls an SDK by itself, and the provider that it asks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

import pytest

from pytest_promptopt.interception.bodies import text_slots
from pytest_promptopt.models.demo import DemoModel
from pytest_promptopt.records import Message, Request
from tests.wire import Body, WireServer

SECRET = "sk-very-secret-key-0123456789"


def demo_answer(body: Body) -> str:
    """What the model `demo` says to the texts of a request: it reads the prompt in them."""
    asked = Request("demo", tuple(Message(slot.role, slot.text) for slot in text_slots(body)))
    try:
        DemoModel().complete(asked).send(None)
    except StopIteration as ended:
        return str(ended.value.text)
    raise AssertionError("demo waits for nothing")


@dataclass
class Shop:
    """Its runs are processes of their own: an SDK cannot be imported twice."""

    pytester: pytest.Pytester
    server: WireServer
    shown: str = ""
    _seen: int = 0

    @classmethod
    @contextmanager
    def open(
        cls,
        pytester: pytest.Pytester,
        monkeypatch: pytest.MonkeyPatch,
        root: Any,
        answer: Callable[[Body], str] = demo_answer,
    ) -> Iterator[Shop]:
        with WireServer(answer=answer, latency=0.1) as server:
            monkeypatch.setenv("WIRE", server.url)
            monkeypatch.setenv("SECRET", SECRET)
            monkeypatch.setenv(
                "PYTHONPATH",
                os.pathsep.join(filter(None, (str(root), str(pytester.path), os.environ.get("PYTHONPATH")))),
            )
            monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            shop = cls(pytester, server)
            shop.ini()
            yield shop

    def write(self, name: str, text: str) -> Shop:
        path = self.pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return self

    def ini(self, *lines: str) -> Shop:
        return self.write("pytest.ini", "\n".join(["[pytest]", "promptopt_optimizer_model = demo", *lines]))

    def read(self, name: str) -> str:
        return (self.pytester.path / name).read_text(encoding="utf-8")

    def run(self, *args: str) -> pytest.RunResult:
        self._seen, self.server.most_at_once = len(self.server.requests), 0
        # Hypothesis is imported for its summary, which takes a second of each process.
        options = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
        result = self.pytester.runpytest_subprocess(*options, *args)
        self.shown = result.stdout.str() + result.stderr.str()
        return result

    @property
    def requests(self) -> list[Body]:
        """What the provider was asked in the last run."""
        return [received.body for received in self.server.requests[self._seen :]]

    @property
    def stored(self) -> bytes:
        """All that the plugin has left on disk."""
        kept = (path for path in (self.pytester.path / ".promptopt").rglob("*") if path.is_file())
        return b"".join(path.read_bytes() for path in kept)

    def report(self, name: str = "report.json") -> Any:
        return json.loads(self.read(name))
