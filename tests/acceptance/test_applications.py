"""An application as it is: it keeps its prompt, and calls its SDK itself. Its test has one mark."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import dedent

import pytest

from tests.acceptance.doc_pages import ROOT
from tests.wire import Body, WireServer

PROMPT = "You sort tickets. Answer with one word: billing or delivery.\n\nTicket: {{ ticket }}\n"
SECRET = "sk-very-secret-key-0123456789"

ANTHROPIC = """
import os
from pathlib import Path
import anthropic

PROMPT = Path("prompts/route.md").read_text()
client = anthropic.Anthropic(base_url=os.environ["WIRE"], api_key=os.environ["SECRET"])


def route(ticket):
    messages = [{"role": "user", "content": PROMPT.replace("{{ ticket }}", ticket)}]
    return client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=messages).content[0].text
"""

OPENAI = """
import os
from pathlib import Path

PROMPT = Path("prompts/route.md").read_text()


def route(ticket):
    import openai  # only here: it is imported in the middle of a test

    with openai.OpenAI(base_url=os.environ["WIRE"] + "/v1", api_key=os.environ["SECRET"]) as client:
        messages = [{"role": "system", "content": PROMPT.replace("{{ ticket }}", ticket)}]
        reply = client.chat.completions.create(model="gpt-4o-mini", max_tokens=50, messages=messages)
        return reply.choices[0].message.content
"""

TESTS = """
import pytest
from application import route

@pytest.mark.prompt("prompts/route.md")
@pytest.mark.parametrize("number", range(12))
def test_route(number):
    assert route(f"Where is my refund {number}?") == "billing"
"""


def answer(body: Body) -> str:
    return "delivery" if "parcel" in json.dumps(body) else "billing"


@dataclass
class Shop:
    """A project with an application and a provider that it asks."""

    pytester: pytest.Pytester
    server: WireServer
    shown: str = ""
    _seen: int = field(default=0)

    def write(self, name: str, text: str) -> Shop:
        path = self.pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return self

    def read(self, name: str) -> str:
        return (self.pytester.path / name).read_text(encoding="utf-8")

    def run(self, *args: str) -> pytest.RunResult:
        self._seen, self.server.most_at_once = len(self.server.requests), 0
        result = self.pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:cacheprovider", *args)
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


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with WireServer(answer=answer, latency=0.1) as server:
        monkeypatch.setenv("WIRE", server.url)
        monkeypatch.setenv("SECRET", SECRET)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(pytester.path)]))
        found = Shop(pytester, server)
        found.write("pytest.ini", "[pytest]\n").write("prompts/route.md", PROMPT)
        yield found


@pytest.mark.parametrize("source", [ANTHROPIC, OPENAI], ids=["anthropic", "openai"])
class TestOneMark:
    def test_its_calls_are_in_flight_together_and_paid_once(self, shop: Shop, source: str) -> None:
        shop.write("application.py", source).write("test_it.py", TESTS)
        shop.run().assert_outcomes(passed=12)
        assert len(shop.requests) == 12
        assert shop.server.most_at_once > 6
        assert SECRET.encode() not in shop.stored
        shop.run().assert_outcomes(passed=12)
        assert shop.requests == []

    def test_a_ceiling_holds_to_the_call(self, shop: Shop, source: str) -> None:
        shop.write("application.py", source).write("test_it.py", TESTS)
        shop.run("--promptopt-max-calls=5").assert_outcomes(passed=5, errors=7)
        assert len(shop.requests) == 5
        assert "the ceiling of 5 calls is reached (--promptopt-max-calls)" in shop.shown
        assert SECRET not in shop.shown


def test_off_is_as_it_was(shop: Shop) -> None:
    shop.write("pytest.ini", "[pytest]\npromptopt_intercept = off\n")
    shop.write("application.py", ANTHROPIC).write("test_it.py", TESTS)
    shop.run("--promptopt-max-calls=5").assert_outcomes(passed=12)
    assert len(shop.requests) == 12
    assert shop.server.most_at_once == 1


def test_a_test_without_the_mark_asks_as_ever(shop: Shop) -> None:
    shop.write("application.py", ANTHROPIC)
    shop.write("test_it.py", TESTS + "\ndef test_plain():\n    assert route('refund') == 'billing'\n")
    shop.run().assert_outcomes(passed=13)
    shop.run().assert_outcomes(passed=13)
    assert len(shop.requests) == 1
