"""DSPy's own client: its calls are taken out of a program, made elsewhere, and replayed; needs DSPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.replaying import Replaying, replayed_calls, run, take_calls_out
from tests.wire import WireServer

dspy = pytest.importorskip("dspy")


@pytest.fixture
def replaying() -> Iterator[Replaying]:
    with replayed_calls() as handler:
        yield handler


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer(answer=lambda body: "[[ ## b ## ]]\nfine\n\n[[ ## completed ## ]]") as running:
        yield running


def program(url: str) -> Any:
    module = dspy.Predict(dspy.Signature("a -> b", "Make b of a, please."))
    module.set_lm(dspy.LM("openai/m", api_base=f"{url}/v1", api_key="k", num_retries=0))
    return module


def plain(url: str) -> str:
    return str(program(url)(a="x").b)


async def in_a_loop(url: str) -> str:
    return str((await program(url).acall(a="x")).b)


def through_litellm(url: str) -> str:
    module = program(url)
    module.set_lm(dspy.LM("openai/m", api_base=f"{url}/v1", api_key="k", num_retries=0, engine="litellm"))
    return str(module(a="x").b)


@pytest.mark.parametrize("code", [plain, in_a_loop, through_litellm], ids=lambda code: code.__name__)
def test_a_call_of_a_predictor_is_made_elsewhere_and_replayed(
    replaying: Replaying, server: WireServer, code: Any
) -> None:
    assert take_calls_out(replaying, lambda: run(code, server.url)) == "fine"
    [received] = server.requests
    assert "Make b of a, at once." in received.body["messages"][0]["content"]
    assert received.headers["authorization"] == "Bearer k"


def test_with_a_closed_gate_nothing_is_different(server: WireServer) -> None:
    assert run(plain, server.url) == "fine"
