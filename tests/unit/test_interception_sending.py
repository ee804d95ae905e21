"""An application's calls are sent as it would send them: its proxy, certificates, hooks and time limits."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.interception.application_model import ApplicationModel, Sender
from pytest_promptopt.interception.recognition import Api
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.models.registry import resolve_model
from pytest_promptopt.models.retry import RetryPolicy
from pytest_promptopt.models.retrying_sender import PendingRequest
from pytest_promptopt.records import Request, Role
from pytest_promptopt.wire_records import WireAnswer, WireRequest
from tests.replaying import Replaying, Stopped, made_elsewhere, replayed_calls, run, take_calls_out
from tests.socket_server import CERTIFICATE
from tests.wire import Reply, WireServer, message, refused
from tests.wire_proxy import Proxy

PASSWORD = "open-sesame-0123456789"


@dataclass(frozen=True)
class Network:
    """What an application says about its connections.

    :param trusting: whether it trusts the certificate of the server.
    """

    proxy: str = ""
    trusting: bool = False
    timeout: float = 600.0

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=CERTIFICATE if self.trusting else None)


def question(number: int = 0) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": f"say hi {number}"}]}


def text_in(reply: Any) -> str:
    found: str = reply["content"][0]["text"]
    return found


def with_httpx(url: str, network: Network, library: Any = httpx, **more: Any) -> str:
    given = {"proxy": network.proxy or None, "verify": network.context, "timeout": network.timeout}
    with library.Client(**given, **more) as client:
        return text_in(client.post(f"{url}/v1/messages", json=question()).json())


async def with_async_httpx(url: str, network: Network, library: Any = httpx, **more: Any) -> str:
    given = {"proxy": network.proxy or None, "verify": network.context, "timeout": network.timeout}
    async with library.AsyncClient(**given, **more) as client:
        return text_in((await client.post(f"{url}/v1/messages", json=question())).json())


def with_requests(url: str, network: Network) -> str:
    reply = requests.post(
        f"{url}/v1/messages",
        json=question(),
        proxies={"http": network.proxy, "https": network.proxy} if network.proxy else None,
        verify=str(CERTIFICATE) if network.trusting else True,
        timeout=network.timeout,
    )
    return text_in(reply.json())


class OwnAdapter(HTTPAdapter):
    """As applications write one: it brings certificates and retries of its own."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__(max_retries=urllib3.Retry(4, status_forcelist=[500], allowed_methods=None))

    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        super().init_poolmanager(*args, **named, ssl_context=self.context)

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        return super().proxy_manager_for(proxy, **named, ssl_context=self.context)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {**pool, "ssl_context": self.context}


def with_an_adapter(url: str, network: Network) -> str:
    with requests.Session() as session:
        session.mount(url, OwnAdapter(network.context))
        session.proxies = {"http": network.proxy, "https": network.proxy} if network.proxy else {}
        return text_in(session.post(f"{url}/v1/messages", json=question(), timeout=network.timeout).json())


def with_urllib3(url: str, network: Network) -> str:
    given: dict[str, Any] = {"ssl_context": network.context, "timeout": network.timeout}
    pool: Any = urllib3.PoolManager(**given)
    if network.proxy:
        headers = urllib3.make_headers(proxy_basic_auth=f"me:{PASSWORD}")
        pool = urllib3.ProxyManager(network.proxy, proxy_headers=headers, **given)
    with pool:
        return text_in(pool.request("POST", f"{url}/v1/messages", json=question()).json())


async def with_aiohttp(url: str, network: Network) -> str:
    asked: dict[str, Any] = {"json": question(), "proxy": network.proxy or None, "ssl": network.context}
    timeout = aiohttp.ClientTimeout(total=network.timeout)
    session = aiohttp.ClientSession(timeout=timeout)
    async with session, session.post(f"{url}/v1/messages", **asked) as reply:
        return text_in(await reply.json())


async def with_aiohttps_environment(url: str, network: Network) -> str:
    connector = aiohttp.TCPConnector(ssl=network.context)
    with pytest.MonkeyPatch.context() as environment:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            environment.setenv(name, network.proxy)
        session = aiohttp.ClientSession(connector=connector, trust_env=True)
        async with session, session.post(f"{url}/v1/messages", json=question()) as reply:
            return text_in(await reply.json())


Way = Callable[..., Any]
WAYS: dict[str, Way] = {
    "httpx": with_httpx,
    "httpx, async": with_async_httpx,
    "httpx2": partial(with_httpx, library=httpx2),
    "httpx2, async": partial(with_async_httpx, library=httpx2),
    "requests": with_requests,
    "an adapter of requests": with_an_adapter,
    "urllib3": with_urllib3,
    "aiohttp": with_aiohttp,
}


@pytest.fixture
def replaying() -> Iterator[Replaying]:
    with replayed_calls() as handler:
        yield handler


def fine(body: Any) -> str:
    return "fine, thanks"


each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "way", [*WAYS.values(), with_aiohttps_environment], ids=[*WAYS, "aiohttp, from the environment"]
)
def test_through_its_proxy(replaying: Replaying, way: Way, tls: bool) -> None:
    with Proxy(PASSWORD) as proxy, WireServer(answer=fine, tls=tls) as server:
        code = partial(way, network=Network(proxy.address, trusting=tls))
        assert take_calls_out(replaying, lambda: run(code, server.url)) == "fine, thanks"
        assert [line.split()[0] for line in proxy.passed] == ["CONNECT" if tls else "POST"]
        assert len(server.requests) == 1
        assert proxy.refused == 0
    seen = [sent for sent in replaying.sent if PASSWORD in str(sent) or "Basic" in str(sent)]
    assert seen == [], "who stores the request does not see the credentials of the proxy"


@each_way
def test_with_its_certificates(replaying: Replaying, way: Way) -> None:
    with WireServer(answer=fine, tls=True) as server:
        trusting = partial(way, network=Network(trusting=True))
        assert take_calls_out(replaying, lambda: run(trusting, server.url)) == "fine, thanks"
        replaying.known.clear()
        with pytest.raises(Stopped):
            run(partial(way, network=Network()), server.url)
        raised = made_elsewhere(replaying)
        assert "certificate" in str(raised).lower()
        assert len(server.requests) == 1


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_with_its_hooks(replaying: Replaying, library: Any) -> None:
    seen: list[int] = []

    def before(request: Any) -> None:
        request.headers["x-tenant"] = "blue"

    def after(response: Any) -> None:
        seen.append(response.status_code)

    with WireServer(answer=fine) as server:
        hooks = {"request": [before], "response": [after]}
        code = partial(with_httpx, network=Network(), library=library, event_hooks=hooks)
        assert take_calls_out(replaying, lambda: run(code, server.url)) == "fine, thanks"
        assert [received.headers["x-tenant"] for received in server.requests] == ["blue"]
    assert seen == [200], "of the reply as it is replayed"


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_with_its_async_hooks(replaying: Replaying, library: Any) -> None:
    seen: list[int] = []

    async def before(request: Any) -> None:
        request.headers["x-tenant"] = "blue"

    async def after(response: Any) -> None:
        await response.aread()
        seen.append(response.status_code)

    with WireServer(answer=fine) as server:
        hooks = {"request": [before], "response": [after]}
        code = partial(with_async_httpx, network=Network(), library=library, event_hooks=hooks)
        assert take_calls_out(replaying, lambda: run(code, server.url)) == "fine, thanks"
        assert [received.headers["x-tenant"] for received in server.requests] == ["blue"]
    assert seen == [200]


@contextmanager
def asking(replaying: Replaying, **changes: Any) -> Iterator[tuple[ModelClient, list[Request]]]:
    """The calls that are waited for, as requests, and who makes them."""
    application = ApplicationModel()
    asked = []
    for body, send in replaying.waiting.items():
        wire = WireRequest("POST", "http://models.test/v1/messages", json.loads(body))
        asked.append(Request("anthropic/m", (), max_tokens=9, wire=wire))
        application.remember(asked[-1], Sender(Api.MESSAGES, body, send))
    client = ModelClient(
        **{
            "resolve": resolve_model,
            "cache": None,
            "ledger": Ledger(),
            "concurrency": 5,
            "price": lambda request: None,
            "application": application,
            **changes,
        }
    )
    try:
        yield client, asked
    finally:
        client.close()


def failure(replaying: Replaying, **changes: Any) -> ModelError:
    """What the one call that is waited for ends with."""
    with asking(replaying, **changes) as (client, [request]), pytest.raises(ModelError) as caught:
        client.ask(request, Role.TARGET)
    return caught.value


@each_way
def test_a_server_that_hangs_is_given_up_at_our_deadline(replaying: Replaying, way: Way) -> None:
    """The application waits ten minutes for each reply, as SDKs do."""
    with WireServer(answer=fine, weather=lambda body: Reply(fault="hang")) as server:
        with pytest.raises(Stopped):
            run(partial(way, network=Network()), server.url)
        began = time.monotonic()
        error = failure(replaying, retry=RetryPolicy(deadline=0.5))
        assert time.monotonic() - began < 3
    assert error.kind is ErrorKind.TIMEOUT
    assert re.fullmatch(r"anthropic/m: no reply within 0\.5\d* s", str(error)), "as of the fixture's calls"


@each_way
def test_its_own_limit_holds_where_it_is_shorter_and_our_policy_asks_again(
    replaying: Replaying, way: Way
) -> None:
    ledger = Ledger()
    with WireServer(answer=fine, weather=lambda body: Reply(fault="hang")) as server:
        with pytest.raises(Stopped):
            run(partial(way, network=Network(timeout=0.3)), server.url)
        error = failure(replaying, retry=RetryPolicy(attempts=2, base=0.01), ledger=ledger)
        assert len(server.requests) == ledger.spend.calls == 2
    assert error.kind is ErrorKind.TIMEOUT
    assert re.search(r"no reply within 0\.\d+ s, the limit of the application's own client$", str(error))
    assert isinstance(error.raised, Exception), "its client raises it again"


@each_way
def test_each_attempt_is_one_request_however_often_it_would_ask_again(replaying: Replaying, way: Way) -> None:
    ledger = Ledger()
    with WireServer(answer=fine, weather=lambda body: refused(500, "busy", retry_after="0")) as server:
        with pytest.raises(Stopped):
            run(partial(way, network=Network()), server.url)
        error = failure(replaying, retry=RetryPolicy(attempts=3, base=0.01), ledger=ledger)
        assert len(server.requests) == ledger.spend.calls == 3
    assert str(error) == "anthropic/m: HTTP 500: busy"


def few_httpx(url: str, library: Any) -> None:
    limits = library.Limits(max_connections=1)
    with library.Client(limits=limits, timeout=library.Timeout(10, pool=0.1)) as client:
        for number in range(4):
            with pytest.raises(Stopped):
                client.post(f"{url}/v1/messages", json=question(number))


def few_requests(url: str, *, block: bool) -> None:
    with requests.Session() as session:
        session.mount(url, HTTPAdapter(pool_maxsize=1, pool_block=block))
        for number in range(4):
            with pytest.raises(Stopped):
                session.post(f"{url}/v1/messages", json=question(number))


async def few_aiohttp(url: str) -> None:
    connector = aiohttp.TCPConnector(limit=1, limit_per_host=1)
    timeout = aiohttp.ClientTimeout(total=10, connect=0.1)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        for number in range(4):
            with pytest.raises(Stopped):
                await session.post(f"{url}/v1/messages", json=question(number))


FEW: dict[str, Any] = {
    "httpx": partial(few_httpx, library=httpx),
    "httpx2": partial(few_httpx, library=httpx2),
    "requests": partial(few_requests, block=False),
    "requests, blocking": partial(few_requests, block=True),
    "aiohttp": few_aiohttp,
}


@pytest.mark.parametrize("code", FEW.values(), ids=FEW)
def test_a_small_pool_makes_no_call_wait_for_another_one(
    replaying: Replaying, code: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does the time that it would wait count as the time of the call."""
    with WireServer(answer=fine, latency=0.5) as server:
        run(code, server.url)
        with asking(replaying, retry=RetryPolicy(attempts=1)) as (client, asked):
            flights = [client.submit(request, Role.TARGET) for request in asked]
            assert [flight.result(10).error for flight in flights] == [None] * 4
        assert server.most_at_once == 4
    assert caplog.record_tuples == [], "no library complains about its pool"


def no_more_than(count: int, server: WireServer) -> bool:
    """Whether so many connections are open, as soon as the server knows."""
    patience = time.monotonic() + 5
    while server.connected > count and time.monotonic() < patience:
        time.sleep(0.01)
    return server.connected <= count


@each_way
def test_its_connections_are_closed_in_the_end(replaying: Replaying, way: Way) -> None:
    """Else Python's exit finds them open, and aiohttp complains."""
    with WireServer(answer=fine) as server:
        with pytest.raises(Stopped):
            run(partial(way, network=Network()), server.url)
        with asking(replaying) as (client, [request]):
            client.ask(request, Role.TARGET)
            assert server.connected == 1
        assert no_more_than(0, server)


@pytest.mark.parametrize("code", FEW.values(), ids=FEW)
def test_two_sessions_at_once_have_connections_of_their_own_and_use_them_again(
    replaying: Replaying, code: Any
) -> None:
    with WireServer(answer=fine) as server:
        run(code, server.url)
        with asking(replaying) as (other, asked):
            with asking(replaying) as (one, _):
                for client, request in zip([one, other, one, other], asked, strict=True):
                    client.ask(request, Role.TARGET)
                assert server.connected == 2
            assert no_more_than(1, server)
            assert server.connected == 1, "that of the session that goes on"


def test_how_a_request_is_sent_is_known_after_one_of_several_sessions_has_ended() -> None:
    request = Request("anthropic/m", (), wire=WireRequest("POST", "http://models.test/v1/messages", {}))
    body = json.dumps(message("fine")).encode()
    application = ApplicationModel()
    reply = WireAnswer(200, (("content-type", "application/json"),), (body,))
    application.remember(request, Sender(Api.MESSAGES, b"{}", lambda sent: reply))

    async def close_and_ask() -> str:
        await application.aclose()
        return (await application.complete(request)).text

    assert asyncio.run(close_and_ask()) == "fine"


def test_one_model_at_two_addresses_is_not_equally_quick() -> None:
    def kind(url: str) -> object:
        wire = WireRequest("POST", url, {})
        return PendingRequest(Request("openai/m", (), wire=wire), Role.TARGET).kind

    assert kind("http://127.0.0.1:8000/v1") == kind("http://127.0.0.1:8000/v1")
    assert kind("http://127.0.0.1:8000/v1") != kind("https://models.test/v1")
