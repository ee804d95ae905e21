"""Each client library: its call is taken out of the code that makes it, made elsewhere, and replayed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import aiohttp
import httpcore
import httpx
import pytest
import requests
import urllib3

from tests.replaying import Replaying, replayed_calls, run, take_calls_out
from tests.wire import WireServer

if TYPE_CHECKING:
    import anthropic
    import openai

QUESTION: list[Any] = [{"role": "user", "content": 'say "hi" é\nplease'}]
CHAT: dict[str, Any] = {"model": "m", "messages": QUESTION}
CLAUDE: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": QUESTION}


@pytest.fixture(autouse=True, scope="module")
def sdks() -> None:
    """Not at the top: thousands of modules would be loaded in every process that collects the tests."""
    globals().update((name, import_module(name)) for name in ("anthropic", "openai"))


@pytest.fixture
def replaying() -> Iterator[Replaying]:
    with replayed_calls() as handler:
        yield handler


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer(answer=lambda body: "fine, thanks") as running:
        yield running


def claude(url: str) -> str:
    with anthropic.Anthropic(base_url=url, api_key="k") as client:
        return text_of(client.messages.create(**CLAUDE))


def claude_stream(url: str) -> str:
    with anthropic.Anthropic(base_url=url, api_key="k") as client, client.messages.stream(**CLAUDE) as stream:
        return "|".join(stream.text_stream)


async def claude_async(url: str) -> str:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="k") as client:
        return text_of(await client.messages.create(**CLAUDE))


async def claude_on_aiohttp(url: str) -> str:
    http = anthropic.DefaultAioHttpClient()
    async with anthropic.AsyncAnthropic(base_url=url, api_key="k", http_client=http) as client:
        return text_of(await client.messages.create(**CLAUDE))


async def claude_async_stream(url: str) -> str:
    client = anthropic.AsyncAnthropic(base_url=url, api_key="k")
    async with client, client.messages.stream(**CLAUDE) as stream:
        return "|".join([text async for text in stream.text_stream])


def chat(url: str) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return text_of(client.chat.completions.create(**CHAT))


def chat_stream(url: str) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        stream = client.chat.completions.create(**CHAT, stream=True)
        return "|".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def chat_httpx(url: str) -> str:
    older: Any = httpx.Client()
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", http_client=older) as client:
        return text_of(client.chat.completions.create(**CHAT))


async def chat_async(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return text_of(await client.chat.completions.create(**CHAT))


def responses(url: str) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return client.responses.create(model="m", input="hi, please").output_text


def with_requests(url: str) -> str:
    with requests.Session() as session:
        return text_in(session.post(f"{url}/v1/messages", json=CLAUDE).json())


def requests_stream(url: str) -> str:
    reply = requests.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True}, stream=True)
    return "|".join(map(text_of_event, reply.iter_lines()))


def with_urllib3(url: str) -> str:
    with urllib3.PoolManager() as pool:
        return text_in(pool.request("POST", f"{url}/v1/messages", json=CLAUDE).json())


def with_httpcore(url: str) -> str:
    body = json.dumps(CLAUDE).encode()
    with httpcore.ConnectionPool() as pool:
        return text_in(json.loads(pool.request("POST", f"{url}/v1/messages", content=body).content))


async def with_aiohttp(url: str) -> str:
    session = aiohttp.ClientSession()
    async with session, session.post(f"{url}/v1/messages", json=CLAUDE) as reply:
        return text_in(await reply.json())


async def aiohttp_stream(url: str) -> str:
    session, body = aiohttp.ClientSession(), {**CHAT, "stream": True}
    async with session, session.post(f"{url}/v1/chat/completions", json=body) as reply:
        return "|".join([text_of_event(line.strip()) async for line in reply.content])


def text_of(reply: Any) -> str:
    found: str = reply.choices[0].message.content if hasattr(reply, "choices") else reply.content[0].text
    return found


def text_in(reply: Any) -> str:
    found: str = reply["content"][0]["text"]
    return found


def text_of_event(line: bytes) -> str:
    event: Any = json.loads(line[6:]) if line.startswith(b"data: {") else {"choices": []}
    return "".join(choice["delta"].get("content", "") for choice in event["choices"])


Code = Callable[[str], Any]
WHOLE: list[Code] = [claude, claude_async, claude_on_aiohttp, chat, chat_async, chat_httpx, responses]
WHOLE += [with_requests, with_urllib3, with_httpcore, with_aiohttp]
STREAMS: list[Code] = [claude_stream, claude_async_stream, chat_stream, requests_stream, aiohttp_stream]


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("code", [*WHOLE, *STREAMS], ids=lambda code: code.__name__)
def test_a_call_is_made_elsewhere_and_replayed(
    replaying: Replaying, server: WireServer, code: Code, zipped: bool
) -> None:
    server.gzip = zipped
    text = take_calls_out(replaying, lambda: run(code, server.url))
    assert text.replace("|", "") == "fine, thanks"
    assert ("|" in text) == (code in STREAMS)
    [received] = server.requests
    assert "at once" in json.dumps(received.body)  # another body than the code under test has sent
    authorization = {"x-api-key", "authorization"} & received.headers.keys()
    assert bool(authorization) == ("claude" in code.__name__ or "chat" in code.__name__ or code is responses)


@pytest.mark.parametrize("code", [claude, chat_async, with_requests, with_aiohttp], ids=lambda c: c.__name__)
def test_with_a_closed_gate_nothing_is_different(server: WireServer, code: Code) -> None:
    assert run(code, server.url) == "fine, thanks"
