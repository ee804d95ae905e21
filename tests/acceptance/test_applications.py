"""An application as it is: it keeps its prompt, and calls its SDK itself. Its test has one mark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.application_shop import SECRET, Shop
from tests.acceptance.desk import GOOD, TESTS, TRAIN, VALIDATION, WEAK
from tests.acceptance.doc_pages import ROOT

ANTHROPIC = """
import os
from pathlib import Path
import anthropic

PROMPT = Path("prompts/sort.md").read_text()
client = anthropic.Anthropic(base_url=os.environ["WIRE"], api_key=os.environ["SECRET"])


def sort(message):
    text = PROMPT.replace("{{ message }}", message)
    messages = [{"role": "user", "content": text}]
    with client.messages.stream(model="claude-haiku-4-5", max_tokens=50, messages=messages) as stream:
        return "".join(stream.text_stream)
"""

OPENAI = """
import os
from pathlib import Path

PROMPT = Path("prompts/sort.md").read_text()


def sort(message):
    import openai  # only here: it is imported in the middle of a test

    with openai.OpenAI(base_url=os.environ["WIRE"] + "/v1", api_key=os.environ["SECRET"]) as client:
        messages = [{"role": "system", "content": PROMPT.replace("{{ message }}", message)}]
        reply = client.chat.completions.create(model="gpt-4o-mini", max_tokens=50, messages=messages)
        return reply.choices[0].message.content
"""

ASYNC = """
import asyncio, os
from pathlib import Path
import openai

PROMPT = Path("prompts/sort.md").read_text()


async def asort(message):
    url = os.environ["WIRE"] + "/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=os.environ["SECRET"]) as client:
        reply = await client.responses.create(
            model="gpt-5", input=PROMPT.replace("{{ message }}", message), max_output_tokens=50,
        )
        return reply.output_text


def sort(message):
    return asyncio.run(asort(message))
"""

LITELLM = """
import asyncio, os
from pathlib import Path
import litellm

PROMPT = Path("prompts/sort.md").read_text()


def sort(message):  # async: through aiohttp
    messages = [{"role": "user", "content": PROMPT.replace("{{ message }}", message)}]
    reply = asyncio.run(
        litellm.acompletion(
            model="anthropic/claude-haiku-4-5", api_base=os.environ["WIRE"], api_key=os.environ["SECRET"],
            max_tokens=50, messages=messages,
        )
    )
    return reply.choices[0].message.content
"""

REQUESTS = """
import os
from pathlib import Path
import requests

PROMPT = Path("prompts/sort.md").read_text()


def sort(message):
    messages = [{"role": "user", "content": PROMPT.replace("{{ message }}", message)}]
    reply = requests.post(
        os.environ["WIRE"] + "/v1/chat/completions",
        json={"model": "llama3", "max_tokens": 50, "messages": messages},
        headers={"Authorization": "Bearer " + os.environ["SECRET"]},
    )
    return reply.json()["choices"][0]["message"]["content"]
"""

APPLICATIONS = {
    "anthropic": ANTHROPIC,
    "openai": OPENAI,
    "async": ASYNC,
    "litellm": LITELLM,
    "requests": REQUESTS,
}

PLAIN = """
import pytest
from application import sort

@pytest.mark.prompt("prompts/sort.md")
@pytest.mark.parametrize("number", range(12))
def test_sort(number):
    assert "card_arrival" in sort(f"my card number {number} has not arrived")
"""

SORTING = "import pytest\nfrom application import sort\n" + TESTS.replace("prompt, ", "").replace(
    "prompt(message=message)", "sort(message)"
)


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with Shop.open(pytester, monkeypatch, ROOT) as found:
        yield found.write("prompts/sort.md", WEAK)


@pytest.mark.parametrize("name", APPLICATIONS)
class TestOneMark:
    def test_its_calls_are_in_flight_together_and_paid_once(self, shop: Shop, name: str) -> None:
        shop.write("application.py", APPLICATIONS[name]).write("test_it.py", PLAIN)
        shop.run("--promptopt-max-calls=12").assert_outcomes(passed=12)
        assert len(shop.requests) == 12
        assert shop.server.most_at_once > 6
        assert SECRET.encode() not in shop.stored
        shop.run().assert_outcomes(passed=12)
        assert shop.requests == []

    def test_a_ceiling_holds_to_the_call(self, shop: Shop, name: str) -> None:
        shop.write("application.py", APPLICATIONS[name]).write("test_it.py", PLAIN)
        shop.run("--promptopt-max-calls=5", "--tb=short").assert_outcomes(passed=5, errors=7)
        assert len(shop.requests) == 5
        assert "the ceiling of 5 calls is reached (--promptopt-max-calls)" in shop.shown
        assert SECRET not in shop.shown

    def test_a_red_prompt_turns_green_and_nothing_else_changes(self, shop: Shop, name: str) -> None:
        tests = SORTING.format(train=TRAIN, validation=VALIDATION, heldout=VALIDATION[:1])
        shop.write("application.py", APPLICATIONS[name]).write("test_it.py", tests)
        result = shop.run("--optimize", "--tb=no", "--promptopt-report=report.json")
        assert result.ret == 0
        assert shop.read("prompts/sort.md") == GOOD
        assert shop.read("application.py") == APPLICATIONS[name].lstrip("\n")
        # The application has read the file before it was rewritten; it asks with the new text nevertheless.
        result.assert_outcomes(passed=7)
        shop.run().assert_outcomes(passed=7)
        assert shop.requests == []


def test_off_is_as_it_was(shop: Shop) -> None:
    shop.ini("promptopt_intercept = off")
    shop.write("application.py", ANTHROPIC).write("test_it.py", PLAIN)
    shop.run("--promptopt-max-calls=5").assert_outcomes(passed=12)
    assert len(shop.requests) == 12
    assert shop.server.most_at_once == 1


def test_a_test_without_the_mark_asks_as_ever(shop: Shop) -> None:
    shop.write("application.py", ANTHROPIC)
    shop.write("test_it.py", PLAIN + "\ndef test_plain():\n    assert 'pin' in sort('my pin')\n")
    shop.run().assert_outcomes(passed=13)
    shop.run().assert_outcomes(passed=13)
    assert len(shop.requests) == 1


def test_a_prompt_that_is_in_no_request_is_told_with_the_closest_passage(shop: Shop) -> None:
    shop.write("application.py", ANTHROPIC.replace("PROMPT.replace", "PROMPT.upper().replace"))
    shop.write("test_it.py", PLAIN)
    shop.run("--tb=no")
    assert "12 cases made model calls without any text of their prompt" in shop.shown
    shop.run("--optimize", "--tb=no")
    assert "no candidate can reach the code under test" in shop.shown


def test_a_case_that_makes_no_call_that_is_seen_is_told_of(shop: Shop) -> None:
    shop.write(
        "test_it.py", "import pytest\n@pytest.mark.prompt('prompts/sort.md')\ndef test_server():\n    pass\n"
    )
    shop.run().assert_outcomes(passed=1)
    assert "calls of another process, as a server's, cannot be intercepted" in shop.shown
