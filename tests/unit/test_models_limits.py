"""How long an answer may be when the user does not say: no limit is invented where none is needed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_promptopt.budget.ledger import DEFAULT_MAX_TOKENS, Ledger
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.answer_limits import (
    CLAUDE_MAX_TOKENS,
    claude_limit,
    explain_length_error,
    limit_answer,
    longest_answer,
)
from pytest_promptopt.models.retry import RetryPolicy
from pytest_promptopt.models.retrying_sender import PendingRequest, RetryingSender
from pytest_promptopt.records import Answer, Message, Request, Role, Usage

ASKED = Request("house/talker", (Message("user", "go on"),))


class Talker:
    """Ends where it is told to, and notes what it was told."""

    def __init__(self, stop_reason: str = "end_turn") -> None:
        self.asked: list[Request] = []
        self._stop_reason = stop_reason

    async def complete(self, request: Request) -> Answer:
        self.asked.append(request)
        return Answer("and on", request.model, self._stop_reason, Usage(10, 20), 0.001, 0.0)

    async def aclose(self) -> None: ...


def send(ledger: Ledger, model: Any, *, request: Request = ASKED, longest: int | None = None) -> Answer:
    sender = RetryingSender(
        resolve=lambda name: model,
        price=lambda request: None,
        longest=lambda request: longest,
        ledger=ledger,
        concurrency=1,
        retry=RetryPolicy(),
    )
    return asyncio.run(sender.send(PendingRequest(request, Role.TARGET)))


def test_without_a_ceiling_on_tokens_or_cost_nothing_is_added() -> None:
    for ledger in (Ledger(), Ledger(max_calls=3, max_time=60)):
        model = Talker(stop_reason="max_tokens")
        assert send(ledger, model).text == "and on"
        assert model.asked == [ASKED]


def test_a_known_length_is_reserved_and_not_sent() -> None:
    model = Talker()
    send(Ledger(max_tokens=10_000), model, longest=4_000)
    assert model.asked == [ASKED]
    with pytest.raises(ModelError, match=r"max_tokens is not set, so its answer may have 40,000 tokens: set"):
        send(Ledger(max_tokens=10_000), model, longest=40_000)
    assert len(model.asked) == 1


def test_an_unknown_length_is_limited_and_the_message_names_the_limit() -> None:
    model = Talker(stop_reason="max_tokens")
    ledger = Ledger(max_tokens=20_000)
    with pytest.raises(ModelError, match=r"cut off after 8,192 tokens.*set max_tokens=") as cut:
        send(ledger, model)
    assert cut.value.kind is ErrorKind.CUT_SHORT
    assert [request.max_tokens for request in model.asked] == [DEFAULT_MAX_TOKENS]
    assert ledger.spend.output_tokens == 20  # answered, so charged as answered


def test_an_answer_cut_at_the_users_own_limit_is_an_answer() -> None:
    request = Request(ASKED.model, ASKED.messages, max_tokens=20)
    answer = send(Ledger(max_tokens=20_000), Talker(stop_reason="max_tokens"), request=request)
    assert answer.stop_reason == "max_tokens"


def test_the_key_of_a_request_knows_no_ceiling() -> None:
    assert limit_answer(ASKED, lambda request: 5).sent.key == ASKED.key


@pytest.mark.parametrize(
    ("model", "parameters", "limit"),
    [
        ("claude-opus-5-5", {}, CLAUDE_MAX_TOKENS),
        ("claude-of-next-year", {}, CLAUDE_MAX_TOKENS),
        ("claude-3-haiku-20240307", {}, 4_096),
        ("claude-3-5-sonnet-20241022", {}, 8_192),
        ("claude-opus-4-1-20250805", {}, 32_000),
        ("claude-opus-4-5", {"thinking": {"type": "enabled", "budget_tokens": 9_000}}, 41_000),
        ("claude-opus-4-5", {"thinking": {"type": "adaptive"}}, CLAUDE_MAX_TOKENS),
    ],
)
def test_claude_gets_the_limit_that_its_wire_demands(
    model: str, parameters: dict[str, Any], limit: int
) -> None:
    request = Request(f"anthropic/{model}", (), parameters=parameters)
    assert claude_limit(model, request)[0] == limit
    assert longest_answer(request) == limit


def test_no_listed_claude_gives_less_than_what_is_sent() -> None:
    litellm = pytest.importorskip("pytest_promptopt.models.litellm_sdk").import_litellm()
    for model, listed in litellm.model_cost.items():
        if listed.get("litellm_provider") == "anthropic" and listed.get("max_output_tokens"):
            limit, is_most = claude_limit(model, Request(f"anthropic/{model}", ()))
            assert limit <= listed["max_output_tokens"], model
            assert not is_most or limit == listed["max_output_tokens"], model


@pytest.mark.parametrize(
    ("model", "limit"), [("openai/gpt-4-turbo", 4_096), ("openai/no-such-model", None), ("demo", None)]
)
def test_what_litellm_lists(model: str, limit: int | None) -> None:
    pytest.importorskip("litellm")
    assert longest_answer(Request(model, ())) == limit


@pytest.mark.parametrize(
    "said",
    [
        "max_tokens is too large: 8192. This model supports at most 4096 completion tokens",
        "This model's maximum context length is 8192 tokens. However, you requested 8201 tokens",
    ],
)
def test_a_refused_limit_is_explained_when_nobody_set_it(said: str) -> None:
    error = explain_length_error(ModelError(ErrorKind.BAD_REQUEST, said, model="m/x", status=400), 8192)
    assert str(error).startswith(said)
    assert "max_tokens was not set, so 8192 was sent: set max_tokens=" in str(error)
    other = ModelError(ErrorKind.BAD_REQUEST, "temperature is not supported")
    assert explain_length_error(other, 8192) is other
