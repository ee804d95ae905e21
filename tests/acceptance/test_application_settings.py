"""What decides about an application's calls: hosts, fields, headers, limits, its proxy, how long it waits."""

from __future__ import annotations

from itertools import count

import pytest

from tests.acceptance.application_shop import Shop
from tests.wire import Body, Reply, message
from tests.wire_proxy import Proxy

CASES = """
import pytest
from application import sort

@pytest.mark.prompt("prompts/sort.md")
@pytest.mark.parametrize("number", range({cases}))
def test_sort(number):
    assert "card_arrival" in sort(f"my card number {{number}} has not arrived")
"""

CLAUDE = """
import os, uuid
from pathlib import Path
import anthropic

PROMPT = Path("prompts/sort.md").read_text()
client = anthropic.Anthropic(base_url=os.environ["WIRE"], api_key=os.environ["SECRET"])


def sort(message):
    messages = [{"role": "user", "content": PROMPT.replace("{{ message }}", message)}]
    headers = {"anthropic-beta": os.environ.get("BETA", "none"), "x-trace": uuid.uuid4().hex}
    reply = client.messages.create(
        model="claude-haiku-4-5", max_tokens=50, messages=messages, extra_headers=headers
    )
    return reply.content[0].text
"""

OWN = """
import os, uuid
from pathlib import Path
import requests

PROMPT = Path("prompts/sort.md").read_text()


def sort(message):
    body = {"input": PROMPT.replace("{{ message }}", message)}
    reply = requests.post(os.environ["WIRE"] + "/answers", json=body).json()
    return reply["choices"][0]["message"]["content"]
"""

UNLIMITED = """
import os, uuid
from pathlib import Path
import openai

PROMPT = Path("prompts/sort.md").read_text()
client = openai.OpenAI(base_url=os.environ["WIRE"] + "/v1", api_key=os.environ["SECRET"])


def sort(message):
    messages = [{"role": "user", "content": PROMPT.replace("{{ message }}", message)}]
    reply = client.chat.completions.create(model=os.environ["MODEL"], messages=messages)
    return reply.choices[0].message.content
"""

#: A hook that makes something of results: it must see only one run of each test.
WATCHING = """
def pytest_runtest_makereport(item, call):
    pass
"""


@pytest.fixture
def twelve(shop: Shop) -> Shop:
    return shop.write("test_it.py", CASES.format(cases=12))


class TestHosts:
    def test_one_that_is_added_is_asked_together_and_once(self, twelve: Shop) -> None:
        twelve.write("application.py", OWN)
        twelve.run().assert_outcomes(passed=12)
        assert twelve.server.most_at_once == 1, "nobody knows that this is a model"
        twelve.ini("promptopt_intercept = +127.0.0.1")
        twelve.server.latency = 1.0
        twelve.run("--promptopt-max-calls=12").assert_outcomes(passed=12)
        assert len(twelve.requests) == 12
        assert twelve.server.most_at_once > 5
        assert "no calls of their prompt" not in twelve.shown
        twelve.run().assert_outcomes(passed=12)
        assert twelve.requests == []

    def test_one_that_is_left_out_is_asked_as_ever(self, twelve: Shop) -> None:
        twelve.ini("promptopt_intercept = -127.0.0.1").write("application.py", CLAUDE)
        twelve.run("--promptopt-max-calls=5").assert_outcomes(passed=12)
        assert len(twelve.requests) >= 12, "more where other plugins watch: the first case is tried before"
        assert twelve.server.most_at_once == 1
        assert b"card_arrival" not in twelve.stored

    def test_one_that_is_left_out_is_asked_once_more_at_most_where_other_plugins_watch(
        self, shop: Shop
    ) -> None:
        shop.ini("promptopt_intercept = -127.0.0.1").write("application.py", CLAUDE)
        shop.write("conftest.py", WATCHING)
        for number in range(6):
            shop.write(f"test_{number}.py", CASES.format(cases=1))
        shop.run().assert_outcomes(passed=6)
        assert len(shop.requests) <= 6 + 1, "when the first case has shown nothing, no other one is tried"


class TestWhatMakesAnotherQuestion:
    def test_a_header_that_decides_does_and_others_do_not(
        self, twelve: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        twelve.write("application.py", CLAUDE)
        sent = []
        for beta in ("context-1m", "context-2m", "context-1m"):
            monkeypatch.setenv("BETA", beta)
            twelve.run().assert_outcomes(passed=12)
            sent.append(len(twelve.requests))
        assert sent == [12, 12, 0]
        assert b"context-1m" not in twelve.stored

    def test_a_field_that_tells_calls_apart_does_unless_it_is_named(self, twelve: Shop) -> None:
        fields = '"request_id": uuid.uuid4().hex, "user": uuid.uuid4().hex'
        own = OWN.replace('body = {"input"', f'body = {{{fields}, "model": "m", "input"')
        own = own.replace("/answers", "/v1/responses")
        own = own.replace('["choices"][0]["message"]["content"]', '["output"][0]["content"][0]["text"]')
        twelve.write("application.py", own).write("conftest.py", WATCHING)
        twelve.run("--tb=short").assert_outcomes(errors=12)
        assert len(twelve.requests) <= 12 * 3, "each case is stopped after three rounds"
        assert "asks something else in every run" in twelve.shown
        twelve.ini("promptopt_ignore_fields = request_id")
        twelve.run().assert_outcomes(passed=12)
        assert ["request_id" in body for body in twelve.requests] == [True] * 12, "it is sent all the same"
        twelve.run().assert_outcomes(passed=12)
        assert twelve.requests == []

    def test_the_same_question_again_in_one_run_does(self, shop: Shop) -> None:
        numbers = count()
        shop.server.weather = lambda body: Reply(body=message(f"answer {next(numbers)}"))
        shop.write("application.py", CLAUDE)
        shop.write(
            "test_it.py",
            """
            import pytest
            from application import sort

            @pytest.mark.prompt("prompts/sort.md")
            def test_votes():
                assert len({sort("my card") for _ in range(3)}) == 3
            """,
        )
        shop.run().assert_outcomes(passed=1)
        assert len(shop.requests) == 3
        shop.run().assert_outcomes(passed=1)
        assert shop.requests == []


class TestACallWithoutALimit:
    def test_is_refused_where_nobody_knows_how_long_it_gets(
        self, twelve: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MODEL", "our-own-model")
        twelve.write("application.py", UNLIMITED)
        twelve.run("--promptopt-max-tokens=100000", "--tb=short").assert_outcomes(errors=12)
        assert twelve.requests == []
        assert "set max_tokens (or max_completion_tokens, max_output_tokens) where the app" in twelve.shown
        twelve.run("--promptopt-max-calls=12").assert_outcomes(passed=12)

    def test_is_reserved_at_the_most_that_its_model_can_give(
        self, twelve: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("litellm")  # has the list of what models can give
        monkeypatch.setenv("MODEL", "gpt-4o-mini")
        twelve.write("application.py", UNLIMITED)
        twelve.run("--promptopt-max-tokens=10000", "--tb=short").assert_outcomes(errors=12)
        assert twelve.requests == []
        assert "its answer may have 16,384 tokens: set max_tokens where the application makes" in twelve.shown
        twelve.run("--promptopt-max-tokens=20000").assert_outcomes(passed=12)
        assert twelve.server.most_at_once == 1, "two of them may be too long together"


def test_a_proxy_is_gone_through_and_its_credentials_are_stored_nowhere(
    twelve: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "open-sesame-0123456789"
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    twelve.write("application.py", CLAUDE)
    with Proxy(password) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.address.replace(password, f"not-{password}"))
        twelve.run("--tb=short").assert_outcomes(errors=12)
        assert "HTTP 407" in twelve.shown
        assert proxy.passed == []
        assert password not in twelve.shown
        monkeypatch.setenv("HTTP_PROXY", proxy.address)
        twelve.run().assert_outcomes(passed=12)
        assert proxy.passed != []
    assert len(twelve.requests) == 12
    assert password not in twelve.shown
    assert password.encode() not in twelve.stored


def test_an_answer_that_takes_far_longer_than_those_before_it_is_asked_for_again(shop: Shop) -> None:
    """The SDK waits ten minutes for it."""
    hanging = {"29"}

    def once(body: Body) -> Reply | None:
        number = str(body["messages"][0]["content"]).rpartition("number ")[2].split()[0]
        if number in hanging:
            hanging.discard(number)
            return Reply(fault="hang")
        return None

    shop.server.weather = once
    shop.write("application.py", CLAUDE).write("test_it.py", CASES.format(cases=30))
    shop.run("--promptopt-concurrency=5", "--promptopt-max-calls=31").assert_outcomes(passed=30)
    assert len(shop.requests) == 31
