"""Prompt cases beside other code: mocks, frozen clocks, fake disks, async plugins, plugins that watch."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Example

#: As `house/echo`, but through a function that tests can exchange.
CLIENT = """
def say(word):
    return word
"""
MODEL = """
import asyncio, client
from pytest_promptopt.records import Answer

class Client:
    async def complete(self, request):
        note(f"asked {request.messages[-1].content}")
        await asyncio.sleep(0.01 if "first" in request.messages[-1].content else 0.2)
        said = client.say(request.messages[-1].content.rpartition(": ")[2])
        return Answer(said, request.model, "end_turn", None, None, 0.0)

    async def aclose(self): ...

from house import note

def pytest_promptopt_resolve_model(name):
    return Client() if name == "own/client" else None
"""


@pytest.fixture
def client(example: Example) -> Example:
    return example.files({"client.py": CLIENT, "conftest.py": MODEL}).model("own/client")


MOCKS = {
    "monkeypatch": "monkeypatch.setattr(client, 'say', lambda word: 'MOCKED')",
    "by path": "monkeypatch.setattr('client.say', lambda word: 'MOCKED')",
    "mock": "request.getfixturevalue('stack').enter_context(mock.patch('client.say', return_value='MOCKED'))",
    "by hand": "client.say, before = (lambda word: 'MOCKED'), client.say; request.addfinalizer("
    "lambda: setattr(client, 'say', before))",
}
ORDINARY = """
import contextlib, time
from unittest import mock
import client

pytestmark = []
case = pytest.mark.prompt("say.md")

@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack

@case
def test_first(prompt):
    assert prompt(q="first") == "first"

def test_ordinary(monkeypatch, request):
    {mock}
    time.sleep(0.4)
    assert client.say("x") == "MOCKED"

@case
@pytest.mark.parametrize("word", ["a", "b"])
def test_after(prompt, word):
    assert prompt(q=word) == word
"""


@pytest.mark.parametrize("way", MOCKS)
def test_no_call_is_under_way_while_a_test_runs_that_is_not_ours(client: Example, way: str) -> None:
    client.tests(ORDINARY.format(mock=MOCKS[way]))
    assert client.run().outcomes == {"passed": 4}
    again = client.run("-k", "not ordinary")
    assert again.outcomes["passed"] == 3, "nothing that a mock said is stored"
    assert again.notes == ()


@pytest.mark.parametrize("way", ["monkeypatch", "by path", "mock"])
def test_a_mock_of_a_case_covers_its_own_calls_and_nobody_elses(client: Example, way: str) -> None:
    client.tests(
        f"""
        import contextlib
        from unittest import mock
        import client

        @pytest.fixture
        def stack():
            with contextlib.ExitStack() as stack:
                yield stack

        @pytest.mark.parametrize("word", ["a", "b"])
        def test_before(prompt, word):
            assert prompt(q=word) == word

        @pytest.fixture
        def offline(monkeypatch, request):
            {MOCKS[way]}

        @pytest.mark.parametrize("word", ["a", "b", "c"])
        def test_mine(prompt, offline, word):
            assert prompt(q=word) == "MOCKED"

        @pytest.mark.parametrize("word", ["b", "c", "d"])
        def test_after(prompt, word):
            assert prompt(q=word) == word
        """
    )
    for _ in range(2):
        run = client.run()
        assert run.outcomes == {"passed": 8}
        assert (
            "3 cases put something else in the place of what their model's calls need (client.say"
            in run.output
        )


def test_what_no_call_needs_may_be_exchanged_at_no_cost(client: Example) -> None:
    client.files({"app.py": "LIMIT = 1\n"}).tests(
        """
        import app

        @pytest.mark.parametrize("word", "abcdefgh")
        def test_it(prompt, monkeypatch, word):
            monkeypatch.setattr(app, "LIMIT", 2)
            assert prompt(q=word) == word
        """
    )
    run = client.run("--durations=0")
    assert run.outcomes == {"passed": 8}
    assert "in the place" not in run.output
    assert client.run().notes == (), "the answers are stored"
