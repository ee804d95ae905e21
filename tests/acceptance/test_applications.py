"""An application as it is: it keeps its prompt, and calls its SDK itself. Its test has one mark."""

from __future__ import annotations

import re

import pytest

from tests.acceptance.application_shop import SECRET, Shop
from tests.acceptance.desk import GOOD, TESTS, TRAIN, VALIDATION, WEAK
from tests.wire import Body, Reply, chat, refused

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

GEMINI = """
import json, os
from pathlib import Path
import httpx

PROMPT = Path("prompts/sort.md").read_text()


def sort(message):
    url = os.environ["WIRE"] + "/v1beta/models/gemini-3-pro:streamGenerateContent"
    asked = {"parts": [{"text": PROMPT.replace("{{ message }}", message)}], "role": "user"}
    body = {"contents": [asked], "generationConfig": {"maxOutputTokens": 50}}
    with httpx.stream("POST", url, params={"alt": "sse", "key": os.environ["SECRET"]}, json=body) as reply:
        events = [json.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: ")]
    return "".join(part["text"] for event in events for part in event["candidates"][0]["content"]["parts"])
"""

GEMINI_WHOLE = """
import os
from pathlib import Path
import requests

PROMPT = Path("prompts/sort.md").read_text()


def sort(message):
    url = os.environ["WIRE"] + "/v1beta/models/gemini-3-pro:generateContent"
    asked = {"parts": [{"text": PROMPT.replace("{{ message }}", message)}], "role": "user"}
    body = {"contents": [asked], "generationConfig": {"maxOutputTokens": 50}}
    reply = requests.post(url, json=body, headers={"x-goog-api-key": os.environ["SECRET"]}).json()
    return reply["candidates"][0]["content"]["parts"][0]["text"]
"""

CONSTANT = '''
import os
from textwrap import dedent

import anthropic

client = anthropic.Anthropic(base_url=os.environ["WIRE"], api_key=os.environ["SECRET"])


class Triage:
    #: The team words this.
    PROMPT = dedent("""
        Sort the message into one of these: card_arrival, exchange_rate, pin_blocked.

        {message}
        """).strip()


def sort(message):
    turn = {"role": "user", "content": Triage.PROMPT.format(message=message)}
    return client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=[turn]).content[0].text
'''

APPLICATIONS = {
    "anthropic": ANTHROPIC,
    "openai": OPENAI,
    "async": ASYNC,
    "litellm": LITELLM,
    "requests": REQUESTS,
    "gemini": GEMINI,
    "gemini, not streamed": GEMINI_WHOLE,
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


#: One for each way over the network; openai and the stream of gemini go that of anthropic.
@pytest.mark.parametrize("name", sorted(APPLICATIONS.keys() - {"openai", "gemini"}))
def test_its_calls_are_limited_in_flight_together_and_paid_once(shop: Shop, name: str) -> None:
    shop.write("application.py", APPLICATIONS[name]).write("test_it.py", PLAIN)
    shop.run("--promptopt-max-calls=2", "--tb=short").assert_outcomes(passed=2, errors=10)
    assert len(shop.requests) == 2
    assert "the ceiling of 2 calls is reached (--promptopt-max-calls)" in shop.shown
    # No frames of the SDK between the call and what became of it.
    assert not re.search(r"site-packages/\S+:\d+: in ", shop.shown)
    assert SECRET not in shop.shown
    shop.server.latency = 1.5  # longer than a test takes to its call, on a busy machine too
    shop.run().assert_outcomes(passed=12)
    assert len(shop.requests) == 10
    assert shop.server.most_at_once > 5
    assert SECRET.encode() not in shop.stored
    shop.run().assert_outcomes(passed=12)
    assert shop.requests == []


@pytest.mark.parametrize("name", ["anthropic", "openai", "litellm", "gemini"])
def test_a_red_prompt_turns_green_and_nothing_else_changes(shop: Shop, name: str) -> None:
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


def test_a_constant_of_the_application_is_rewritten_where_it_stands(shop: Shop) -> None:
    tests = SORTING.format(train=TRAIN, validation=VALIDATION, heldout=VALIDATION[:1])
    shop.write("application.py", CONSTANT)
    shop.write("test_it.py", tests.replace("prompts/sort.md", "application.py::Triage.PROMPT"))
    before = shop.read("application.py")
    result = shop.run("--optimize", "--tb=no")
    assert result.ret == 0
    result.assert_outcomes(passed=7)
    after = shop.read("application.py")
    start, end = (before.index(text) for text in ("exchange_rate, pin_blocked.", '""").strip()'))
    assert after.startswith(before[:start])
    assert after.endswith(before[end:])
    assert len(after) > len(before)
    shop.run().assert_outcomes(passed=7)  # another process imports the new text
    assert shop.requests == []


class TestSeveralProcesses:
    def test_workers_share_cache_and_ceiling(self, shop: Shop) -> None:
        shop.write("application.py", ANTHROPIC).write("test_it.py", PLAIN)
        shop.run("-n2", "--promptopt-max-calls=12").assert_outcomes(passed=12)
        assert len(shop.requests) == 12

    def test_workers_optimize_with_one_account(self, shop: Shop) -> None:
        tests = SORTING.format(train=TRAIN, validation=VALIDATION, heldout=VALIDATION[:1])
        shop.write("application.py", ANTHROPIC).write("test_it.py", tests)
        result = shop.run("--optimize", "-n2", "--tb=no", "--promptopt-report=report.json")
        assert result.ret == 0
        assert shop.read("prompts/sort.md") == GOOD
        spend = shop.report()["run"]["spend"]
        assert spend["target"]["calls"] == len(shop.requests)

    def test_a_run_that_ended_early_goes_on_without_paying_twice(self, shop: Shop) -> None:
        tests = SORTING.format(train=TRAIN, validation=VALIDATION, heldout=VALIDATION[:1])
        shop.write("application.py", OPENAI).write("test_it.py", tests)
        shop.run("--optimize", "--tb=no", "--promptopt-cache=off", "--promptopt-max-calls=14")
        assert 0 < len(shop.requests) <= 14
        shop.run(
            "--optimize-resume", "--tb=no", "--promptopt-max-calls=100", "--promptopt-report=report.json"
        )
        assert shop.read("prompts/sort.md") == GOOD
        spend = shop.report()["run"]["spend"]
        assert spend["target"]["calls"] == len(shop.server.requests), "of both processes"
        assert SECRET.encode() not in shop.stored


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
    assert "12 cases made model calls that are no calls of their prompt" in shop.shown
    shop.run("--optimize", "--tb=no")
    assert "no candidate can reach the code under test" in shop.shown


def test_a_case_that_makes_no_call_that_is_seen_is_told_of(shop: Shop) -> None:
    shop.write(
        "test_it.py", "import pytest\n@pytest.mark.prompt('prompts/sort.md')\ndef test_server():\n    pass\n"
    )
    shop.run().assert_outcomes(passed=1)
    assert "calls of another process, as a server's, cannot be intercepted" in shop.shown


MOCKED = """
import httpx2, json, pytest
import application
from application import sort

pytestmark = pytest.mark.prompt("prompts/sort.md")
REPLY = {
    "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "mocked"}],
    "usage": {"input_tokens": 1, "output_tokens": 1},
}

def plain(message):
    messages = [{"role": "user", "content": application.PROMPT}]
    return application.client.messages.create(model="m", max_tokens=5, messages=messages).content[0].text

def test_transport(monkeypatch):
    http = httpx2.Client(transport=httpx2.MockTransport(lambda request: httpx2.Response(200, json=REPLY)))
    client = application.anthropic.Anthropic(api_key="k", http_client=http)
    monkeypatch.setattr(application, "client", client)
    assert plain("x") == "mocked"

def test_sdk(monkeypatch):
    message = application.anthropic.types.Message.model_validate(REPLY)
    monkeypatch.setattr(application.client.messages, "create", lambda **given: message)
    assert plain("x") == "mocked"

def test_real():
    assert sort("my pin is blocked")

def test_respx():
    respx, httpx = pytest.importorskip("respx"), pytest.importorskip("httpx")
    with respx.mock:
        respx.post("http://models.test/v1/messages").respond(json=REPLY)
        reply = httpx.post("http://models.test/v1/messages", json={"model": "m", "messages": []})
    assert reply.json()["content"][0]["text"] == "mocked"

def test_responses():
    responses, requests = pytest.importorskip("responses"), pytest.importorskip("requests")
    with responses.RequestsMock() as mock:
        mock.post("http://models.test/v1/messages", json=REPLY)
        reply = requests.post("http://models.test/v1/messages", json={"model": "m", "messages": []})
    assert reply.json()["content"][0]["text"] == "mocked"
"""


def test_a_tests_own_mock_goes_first(shop: Shop) -> None:
    shop.write("application.py", ANTHROPIC).write("test_it.py", MOCKED)
    assert shop.run("--promptopt-max-calls=1").ret == 0
    assert len(shop.requests) == 1


WAYS = """
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor
import anthropic, os, pytest
from application import sort

pytestmark = pytest.mark.prompt("prompts/sort.md")
CARD = "card_arrival"
aclient = anthropic.AsyncAnthropic(base_url=os.environ["WIRE"], api_key=os.environ["SECRET"])
runs = []


async def ask(message):
    from application import PROMPT
    messages = [{"role": "user", "content": PROMPT.replace("{{ message }}", message)}]
    reply = await aclient.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=messages)
    return reply.content[0].text


def test_gather():
    runs.append("gather")
    async def all():
        return await asyncio.gather(*(ask(f"gather {n}: my card has not arrived") for n in range(5)))
    assert all_cards(asyncio.run(all()))


def test_task_group():
    async def all():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(f"group {n}: my card has not arrived")) for n in range(3)]
        return [task.result() for task in tasks]
    assert all_cards(asyncio.run(all()))


def test_threads():
    with ThreadPoolExecutor(4) as pool:
        assert all_cards(pool.map(sort, [f"pool {n}: my card has not arrived" for n in range(6)]))


def test_plain_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(sort("thread: my card has not arrived")))
    thread.start()
    thread.join()
    assert all_cards(found)


def test_code_that_swallows_everything():
    for attempt in range(3):
        try:
            answer = sort("swallow: my card has not arrived")
            break
        except BaseException:
            answer = "fallback"
    assert all_cards([answer])


def test_the_same_again():
    answers = [sort("same: my card has not arrived") for _ in range(3)]
    assert all_cards(answers)


def test_one_call_after_another():
    assert all_cards([sort("first: my card has not arrived " + sort("zero: my card has not arrived"))])


@pytest.fixture
def answered():
    async def both():
        async with asyncio.TaskGroup() as group:
            return await group.create_task(ask("fixture: my card has not arrived"))
    return asyncio.run(both())


def test_fixture(answered):
    assert all_cards([answered])


@pytest.fixture(scope="module")
def shared():
    return sort("shared: my card has not arrived")


def test_shared_fixture(shared):
    assert all_cards([shared])


def test_unittest_style():
    assert runs.count("gather") <= 3


def all_cards(answers):
    answers = list(answers)
    return bool(answers) and all(CARD in answer for answer in answers)
"""


def test_however_a_test_asks_it_gets_its_answers_and_each_is_paid_once(shop: Shop) -> None:
    shop.write("application.py", ANTHROPIC).write("test_it.py", WAYS)
    result = shop.run("-p", "no:asyncio", "-W", "error", "--promptopt-max-calls=23")
    result.assert_outcomes(passed=10)
    assert "Exception in thread" not in shop.shown
    assert "never retrieved" not in shop.shown
    assert len(shop.requests) == 5 + 3 + 6 + 1 + 1 + 3 + 2 + 1 + 1


FAILING = """
import anthropic, pytest
from application import client, sort

pytestmark = pytest.mark.prompt("prompts/sort.md")

@pytest.mark.parametrize("number", range(3))
def test_limited(number):
    assert sort(f"my card {number} has not arrived")
"""


class TestWhenAProviderRefuses:
    def test_a_busy_one_is_asked_again_and_its_errors_are_not_stored(self, shop: Shop) -> None:
        shop.write("application.py", ANTHROPIC).write("test_it.py", FAILING)
        shop.server.script(refused(429, retry_after="0"), refused(500), refused(529))
        shop.run().assert_outcomes(passed=3)
        assert len(shop.requests) == 6

    def test_a_wrong_key_is_tried_once_and_the_sdk_says_what_it_always_says(self, shop: Shop) -> None:
        shop.write("application.py", ANTHROPIC).write("test_it.py", FAILING)
        shop.server.script(*[refused(401, "bad key") for _ in range(9)])
        shop.run("--tb=short", "--promptopt-concurrency=1").assert_outcomes(errors=3)
        assert "anthropic.AuthenticationError" in shop.shown
        assert len(shop.requests) == 1


ONCE = """
import pathlib, pytest
from application import sort

@pytest.mark.prompt("prompts/sort.md", replay=False)
@pytest.mark.parametrize("number", range(12))
def test_once(number):
    with open("effects.log", "a") as log:
        log.write(f"{number}\\n")
    answers = [sort(f"my card {number} has not arrived"), sort(f"and my card {number}?")]
    assert "card_arrival" in answers[0]
    assert answers[0] == "nothing", number % 2
"""


def test_without_replay_each_case_runs_once_and_its_calls_are_in_flight_with_others(shop: Shop) -> None:
    shop.write("application.py", ANTHROPIC).write("test_it.py", ONCE)
    shop.server.latency = 1.0
    shop.run("--promptopt-max-calls=24").assert_outcomes(failed=12)
    assert len(shop.requests) == 24
    assert shop.server.most_at_once > 5
    assert sorted(map(int, shop.read("effects.log").split())) == list(range(12))
    assert 'expected "nothing", got "I would route this to: card_arrival."' in shop.shown
    assert "12 of 12 failing cases" in shop.shown, "each thread has told what it compared"
    (shop.pytester.path / "effects.log").unlink()
    shop.run().assert_outcomes(failed=12)
    assert shop.requests == []


BEDROCK = """
import os
from pathlib import Path
import boto3

PROMPT = Path("prompts/sort.md").read_text()
os.environ.update(AWS_ACCESS_KEY_ID="AKIAXXXXXXXXXXXXXXXX", AWS_SECRET_ACCESS_KEY=os.environ["SECRET"])
client = boto3.client("bedrock-runtime", region_name="eu-west-1", endpoint_url=os.environ["WIRE"])


def sort(message):
    content = [{"text": PROMPT.replace("{{ message }}", message)}]
    reply = client.converse(
        modelId="anthropic.claude-3-haiku-20240307-v1:0", inferenceConfig={"maxTokens": 50},
        messages=[{"role": "user", "content": content}],
    )
    return reply["output"]["message"]["content"][0]["text"]
"""


def test_signed_requests_are_counted_and_stored_and_take_no_candidate(shop: Shop) -> None:
    pytest.importorskip("boto3")
    shop.write("application.py", BEDROCK).write("test_it.py", PLAIN)
    shop.run("--promptopt-max-calls=3", "--tb=no").assert_outcomes(passed=3, errors=9)
    assert len(shop.requests) == 3
    assert shop.server.most_at_once == 1
    shop.run().assert_outcomes(passed=12)
    assert len(shop.requests) == 9
    tests = SORTING.format(train=TRAIN, validation=[], heldout=[])
    shop.write("test_it.py", tests).run("--optimize", "--tb=no")
    assert "no candidate can be put into them" in shop.shown
    assert shop.read("prompts/sort.md") == WEAK


AGENT = """
import os
from pathlib import Path
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=os.environ["WIRE"] + "/v1", api_key=os.environ["SECRET"])
model = OpenAIChatModel("gpt-4o-mini", provider=provider)
agent = Agent(model, system_prompt=Path("prompts/sort.md").read_text())
looked_up = []


@agent.tool_plain
def look_up(customer: str) -> str:
    looked_up.append(customer)
    return f"{customer} has a new card"


def sort(message):
    return agent.run_sync(message).output
"""

AGENT_TESTS = """
import pytest
from application import sort

@pytest.mark.prompt("prompts/sort.md")
@pytest.mark.parametrize("number", range(6))
def test_agent(number):
    assert "card_arrival" in sort(f"customer {number}: my card has not arrived")
"""


def test_an_agent_with_a_tool(shop: Shop) -> None:
    pytest.importorskip("pydantic_ai")

    def first_a_tool(body: Body) -> Reply | None:
        if any(message["role"] == "tool" for message in body["messages"]):
            return None
        call = {"name": "look_up", "arguments": '{"customer": "Ann"}'}
        tools = [{"id": "call_1", "type": "function", "function": call}]
        return Reply(body=chat(None, tool_calls=tools, finish_reason="tool_calls"))

    shop.server.weather = first_a_tool
    shop.write("prompts/sort.md", "Sort the message into one of these: card_arrival, exchange_rate.\n")
    shop.write("application.py", AGENT).write("test_it.py", AGENT_TESTS)
    shop.run("--promptopt-max-calls=12").assert_outcomes(passed=6)
    assert len(shop.requests) == 12
    assert "no calls of their prompt" not in shop.shown
    shop.run().assert_outcomes(passed=6)
    assert shop.requests == []


SERVED = """
import asyncio, anyio, openai, os, pytest
from anyio.from_thread import start_blocking_portal
from application import PROMPT, sort

pytestmark = pytest.mark.prompt("prompts/sort.md")


async def asort(message):
    url = os.environ["WIRE"] + "/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=os.environ["SECRET"]) as client:
        messages = [{"role": "system", "content": PROMPT.replace("{{ message }}", message)}]
        reply = await client.chat.completions.create(model="gpt-4o-mini", max_tokens=50, messages=messages)
        return reply.choices[0].message.content


@pytest.fixture(scope="module")
def served():
    with start_blocking_portal() as portal:
        yield portal


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("way", [(asort,), (anyio.to_thread.run_sync, sort), (asyncio.to_thread, sort)])
def test_served(served, request, way, number):
    message = f"{request.node.name}: my card has not arrived"
    assert "card_arrival" in served.call(*way, message)
"""


def test_a_test_client_that_serves_a_whole_module_outlives_calls_that_wait(shop: Shop) -> None:
    shop.write("application.py", OPENAI).write("test_it.py", SERVED)
    shop.run().assert_outcomes(passed=9)
    assert len(shop.requests) == 9


POOLED = """
from concurrent.futures import ThreadPoolExecutor
import time
import pytest
from application import sort

pytestmark = pytest.mark.prompt("prompts/sort.md")
pool = ThreadPoolExecutor(2)  # of the application: no test waits for its threads


def slowly(message):
    time.sleep(0.05)
    return sort(message)


@pytest.mark.parametrize("case", range(3))
def test_pooled(case):
    answers = list(pool.map(slowly, [f"{case}.{n}: my card has not arrived" for n in range(8)]))
    assert all("card_arrival" in answer for answer in answers)
"""


def test_threads_that_outlive_a_run_ask_for_no_other_one(shop: Shop) -> None:
    shop.write("application.py", OPENAI).write("test_it.py", POOLED)
    shop.run("--promptopt-cache=off").assert_outcomes(passed=3)
    assert len(shop.requests) == 24
