"""Both SDKs against a real HTTP server: what is sent, and what becomes of good, bad and missing answers."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.answer_limits import CLAUDE_MAX_TOKENS
from pytest_promptopt.models.registry import resolve_model
from pytest_promptopt.records import Answer, Message, Request, StopReason, Usage
from tests.wire import KEY, Reply, WireServer, chat, connect_sdks, message, refused

CLAUDE = "anthropic/claude-opus-5-5"
GPT = "openai/gpt-4o-mini"
BOTH = pytest.mark.parametrize("model", [CLAUDE, GPT])


@pytest.fixture(scope="module")
def sdks() -> None:
    """Imported outside the deadlines of the tests: on a busy machine it takes many seconds."""
    import anthropic  # noqa: F401

    from pytest_promptopt.models.litellm_sdk import import_litellm

    import_litellm()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, sdks: None) -> Iterator[WireServer]:
    with WireServer(answer=lambda body: str(body["messages"][-1]["content"]).upper()) as server:
        connect_sdks(server, monkeypatch)
        yield server


def ask(model: str, content: str = "hello", **fields: Any) -> Answer:
    """One attempt, on a loop and a client of its own."""

    async def complete() -> Answer:
        client = resolve_model(model)
        try:
            async with asyncio.timeout(30):
                return await client.complete(Request(model, (Message("user", content),), **fields))
        finally:
            await client.aclose()

    return asyncio.run(complete())


def failure(model: str, **fields: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(model, **fields)
    assert KEY not in str(caught.value)
    assert caught.value.model == model
    return caught.value


@BOTH
def test_an_answer_knows_its_text_usage_price_and_stop_reason(wire: WireServer, model: str) -> None:
    answer = ask(model)
    assert (answer.text, answer.model, answer.stop_reason) == ("HELLO", model, StopReason.END)
    assert answer.usage == Usage(input_tokens=10, output_tokens=5)
    prices = {CLAUDE: 10 * 4e-6 + 5 * 20e-6, GPT: 10 * 0.15e-6 + 5 * 0.6e-6}
    assert answer.cost == pytest.approx(prices[model])
    assert 0 < answer.latency < 30
    assert len(wire.requests) == 1


def test_anthropic_is_sent_system_stop_schema_and_unnamed_parameters(wire: WireServer) -> None:
    schema = {"type": "object", "properties": {"queue": {"type": "string"}}}
    closed = {**schema, "additionalProperties": False}
    model = resolve_model(CLAUDE)
    request = Request(
        CLAUDE,
        (
            Message("system", "Be brief."),
            Message("user", "hi"),
            Message("assistant", "yes?"),
            Message("user", "go"),
        ),
        max_tokens=77,
        stop=("END",),
        parameters={"temperature": 0.7, "thinking": {"type": "disabled"}},
        response_schema=schema,
    )

    async def complete() -> None:
        await model.complete(request)
        await model.aclose()

    asyncio.run(complete())
    [received] = wire.requests
    assert received.path == "/v1/messages"
    assert received.headers["authorization"] == f"Bearer {KEY}" or received.headers["x-api-key"] == KEY
    assert received.body == {
        "model": "claude-opus-5-5",
        "max_tokens": 77,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "yes?"},
            {"role": "user", "content": "go"},
        ],
        "stop_sequences": ["END"],
        "temperature": 0.7,
        "thinking": {"type": "disabled"},
        "output_config": {"format": {"type": "json_schema", "schema": closed}},
    }


def test_openai_is_sent_stop_schema_and_parameters(wire: WireServer) -> None:
    schema = {"type": "object", "properties": {"queue": {"type": "string"}}, "required": ["queue"]}
    ask(GPT, stop=("END",), parameters={"temperature": 0.7}, response_schema=schema)
    [received] = wire.requests
    assert received.path == "/v1/chat/completions"
    sent = received.body
    assert sent["messages"] == [{"role": "user", "content": "hello"}]
    assert (sent["model"], sent["temperature"], sent["stop"]) == ("gpt-4o-mini", 0.7, ["END"])
    assert "max_tokens" not in sent
    wanted = sent["response_format"]["json_schema"]
    assert (wanted["schema"], wanted["strict"]) == ({**schema, "additionalProperties": False}, True)


def test_openai_is_asked_for_an_open_schema_without_a_promise(wire: WireServer) -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    ask(GPT, response_schema=schema)
    wanted = wire.requests[0].body["response_format"]["json_schema"]
    assert (wanted["schema"], wanted["strict"]) == (schema, False)


def test_claude_is_not_asked_for_an_open_schema(wire: WireServer) -> None:
    """Its wire has no other mode than the strict one, and refuses free keys."""
    error = failure(CLAUDE, response_schema={"type": "object", "additionalProperties": {"type": "integer"}})
    assert error.kind is ErrorKind.BAD_REQUEST
    assert "response_schema= cannot be promised by Claude models: the schema is an object with" in str(error)
    assert wire.requests == []


def test_claude_is_sent_the_limit_that_its_wire_demands(wire: WireServer) -> None:
    ask(CLAUDE)
    assert wire.requests[0].body["max_tokens"] == CLAUDE_MAX_TOKENS
    wire.script(Reply(body=message("part", stop_reason="max_tokens")))
    error = failure(CLAUDE)
    assert (error.kind, len(wire.requests)) == (ErrorKind.CUT_SHORT, 2)
    assert "cut off after 32,000 tokens" in str(error)
    wire.script(refused(400, "max_tokens: 32000 > 4096"))
    assert "max_tokens was not set, so 32000 was sent" in str(failure(CLAUDE))
    wire.script(refused(400, "max_tokens: 32000 > 4096"))
    assert "was not set" not in str(failure(CLAUDE, max_tokens=32_000))


@BOTH
def test_the_schema_of_a_pydantic_model_is_taken(wire: WireServer, model: str) -> None:
    from pydantic import BaseModel

    class Line(BaseModel):
        text: str

    class Invoice(BaseModel):
        amount: int
        note: str | None = None
        lines: list[Line]

    assert ask(model, response_schema=Invoice.model_json_schema()).text == "HELLO"


@BOTH
def test_a_length_is_sent_once_however_it_is_spelled(wire: WireServer, model: str) -> None:
    ask(model, max_tokens=9, parameters={"max_completion_tokens": 9})
    sent = wire.requests[0].body
    name = "max_tokens" if model == CLAUDE else "max_completion_tokens"
    assert {key: value for key, value in sent.items() if value == 9} == {name: 9}


@BOTH
def test_max_tokens_is_an_answer(wire: WireServer, model: str) -> None:
    wire.script(
        Reply(
            body=message("part", stop_reason="max_tokens")
            if model == CLAUDE
            else chat("part", finish_reason="length")
        )
    )
    answer = ask(model, max_tokens=5)
    assert (answer.text, answer.stop_reason) == ("part", StopReason.MAX_TOKENS)


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        (CLAUDE, message(None, stop_reason="refusal"), ""),
        (GPT, chat(None, refusal="I will not."), "I will not."),
        (GPT, chat(None, finish_reason="content_filter"), ""),
    ],
)
def test_a_refusal_is_an_answer(wire: WireServer, model: str, body: object, text: str) -> None:
    wire.script(Reply(body=body))
    answer = ask(model)
    assert (answer.text, answer.stop_reason) == (text, StopReason.REFUSAL)


def test_thinking_is_not_part_of_the_text(wire: WireServer) -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "A"},
        {"type": "text", "text": "B"},
    ]
    wire.script(Reply(body=message(content=blocks)))
    answer = ask(CLAUDE)
    assert (answer.text, answer.thinking) == ("AB", "hm")


@pytest.mark.parametrize(
    ("body", "text", "thinking"),
    [
        (chat("<think>\nmaybe delivery\n</think>\n\nbilling"), "billing", "maybe delivery"),
        (chat("maybe delivery\n</think>\n\nbilling"), "billing", "maybe delivery"),
        (chat("billing", reasoning_content="maybe delivery"), "billing", "maybe delivery"),
        (chat("<think>\nmaybe deli", finish_reason="length"), "", "maybe deli"),
    ],
)
def test_what_an_open_model_thinks_aloud_is_no_part_of_its_text(
    wire: WireServer, body: object, text: str, thinking: str
) -> None:
    wire.script(Reply(body=body))
    answer = ask(GPT)
    assert (answer.text, answer.thinking.strip()) == (text, thinking)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            [{"type": "text", "text": "bill"}, {}, {"type": "text", "text": "ing"}],
            "billing",
        ),
        ([{"type": "thinking", "thinking": "hm"}], ""),
        ([], ""),
    ],
)
def test_a_text_in_parts_is_one_text(parts: object, text: str) -> None:
    """As some servers of open models send it; taken for no answer, it would be asked and paid for again."""
    from pytest_promptopt.models.litellm_sdk import LitellmModel

    message = SimpleNamespace(content=parts, provider_specific_fields=None)
    reply = SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason="stop")])
    assert LitellmModel("other/model")._answer(Request("other/model", ()), reply, 0.1).text == text


def test_thinking_that_only_the_sum_of_tokens_holds_is_counted(wire: WireServer) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 515}
    wire.script(Reply(body=chat("billing", usage=usage)))
    assert ask(GPT).usage == Usage(10, 505)


@pytest.mark.parametrize("total", [None, 0, 12, "many", -1])
def test_a_sum_of_tokens_that_says_nothing_changes_nothing(total: object) -> None:
    from pytest_promptopt.models.litellm_sdk import _usage

    said = SimpleNamespace(prompt_tokens=10, completion_tokens=5, total_tokens=total)
    assert _usage(said) == Usage(10, 5)


def test_an_unknown_stop_reason_is_kept(wire: WireServer) -> None:
    wire.script(Reply(body=message("x", stop_reason="model_context_window_exceeded")))
    assert ask(CLAUDE).stop_reason == "model_context_window_exceeded"


@pytest.mark.parametrize(
    ("model", "body", "usage"),
    [
        (
            CLAUDE,
            message(
                usage={
                    "input_tokens": 1000,
                    "output_tokens": 500,
                    "cache_creation_input_tokens": 200,
                    "cache_read_input_tokens": 3000,
                }
            ),
            Usage(1000, 500, 3000, 200),
        ),
        (
            GPT,
            chat(
                usage={
                    "prompt_tokens": 4000,
                    "completion_tokens": 500,
                    "total_tokens": 4500,
                    "prompt_tokens_details": {"cached_tokens": 3000},
                }
            ),
            Usage(1000, 500, 3000, 0),
        ),
    ],
)
def test_both_wires_give_the_same_four_counters(
    wire: WireServer, model: str, body: object, usage: Usage
) -> None:
    wire.script(Reply(body=body))
    assert ask(model).usage == usage


@pytest.mark.parametrize(("model", "body"), [(CLAUDE, message(usage=None)), (GPT, chat(usage=None))])
def test_missing_usage_is_unknown_and_not_zero(wire: WireServer, model: str, body: object) -> None:
    wire.script(Reply(body=body))
    answer = ask(model)
    assert answer.usage is None
    assert answer.cost is None


@pytest.mark.parametrize("model", ["anthropic/claude-unheard-of-9", "openai/unheard-of-9"])
def test_an_unknown_model_has_no_price(wire: WireServer, model: str) -> None:
    wire.script(
        Reply(body=message() if model.startswith("anthropic") else chat() | {"model": "unheard-of-9"})
    )
    answer = ask(model)
    assert answer.usage == Usage(10, 5)
    assert answer.cost is None


def test_a_cost_of_nothing_is_an_unknown_price() -> None:
    """What litellm says of a model that it does not list, whose answers are not free."""
    from pytest_promptopt.models.litellm_sdk import LitellmModel

    message = SimpleNamespace(content="hi", provider_specific_fields=None)
    reply = SimpleNamespace(
        choices=[SimpleNamespace(message=message, finish_reason="stop")],
        usage=SimpleNamespace(prompt_tokens=10, completion_tokens=5),
        _hidden_params={"response_cost": 0.0},
    )
    answer = LitellmModel("other/model")._answer(Request("other/model", ()), reply, 0.1)
    assert answer.usage == Usage(10, 5)
    assert answer.cost is None


@BOTH
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ErrorKind.BAD_REQUEST),
        (401, ErrorKind.AUTHENTICATION),
        (403, ErrorKind.PERMISSION),
        (404, ErrorKind.NOT_FOUND),
        (429, ErrorKind.RATE_LIMIT),
        (500, ErrorKind.SERVER),
        (529, ErrorKind.OVERLOADED),
    ],
)
def test_each_status_has_its_kind(wire: WireServer, model: str, status: int, kind: ErrorKind) -> None:
    wire.script(refused(status, f"wrong key {KEY}"))
    error = failure(model)
    assert (error.kind, error.status) == (kind, status)
    assert "wrong key [redacted]" in str(error)
    assert len(wire.requests) == 1  # retries are not the SDK's


def test_status_402_and_413_of_anthropic(wire: WireServer) -> None:
    wire.script(refused(402), refused(413))
    assert failure(CLAUDE).kind is ErrorKind.PAYMENT
    assert failure(CLAUDE).kind is ErrorKind.TOO_LARGE


def test_an_empty_account_is_no_rate_limit(wire: WireServer) -> None:
    body = {
        "error": {
            "message": "You exceeded your quota",
            "type": "insufficient_quota",
            "code": "insufficient_quota",
        }
    }
    wire.script(Reply(429, body))
    assert failure(GPT).kind is ErrorKind.PAYMENT


@BOTH
def test_a_bad_parameter_is_named(wire: WireServer, model: str) -> None:
    wire.script(refused(400, "temperature: Extra inputs are not permitted"))
    assert "temperature: Extra inputs are not permitted" in str(failure(model))


@BOTH
def test_retry_after_is_read(wire: WireServer, model: str) -> None:
    wire.script(refused(429, retry_after="7"))
    assert failure(model).retry_after == 7


@BOTH
def test_a_reset_connection(wire: WireServer, model: str) -> None:
    wire.script(Reply(fault="reset"))
    assert failure(model).kind is ErrorKind.CONNECTION


@BOTH
def test_a_reply_that_breaks_off(wire: WireServer, model: str) -> None:
    wire.script(Reply(fault="cut"))
    assert failure(model).kind is ErrorKind.CONNECTION


@BOTH
@pytest.mark.parametrize("body", ['{"id": "msg_1", "type": "mess', "<html>busy</html>", {}, []])
def test_a_body_that_is_no_answer(wire: WireServer, model: str, body: object) -> None:
    wire.script(Reply(body=body))
    assert failure(model).kind in (ErrorKind.MALFORMED, ErrorKind.CONNECTION)


@pytest.mark.parametrize(
    "body",
    [
        "<html>busy</html>",
        {},
        [],
        message(stop_reason=None),
        message(content=[{"type": "text", "text": None}]),
    ],
)
def test_anthropic_names_a_malformed_body(wire: WireServer, body: object) -> None:
    wire.script(Reply(body=body))
    assert failure(CLAUDE).kind is ErrorKind.MALFORMED


@pytest.mark.parametrize(
    ("model", "body"), [(CLAUDE, message(None)), (CLAUDE, message("")), (GPT, chat(None)), (GPT, chat(""))]
)
def test_an_answer_of_nothing_is_an_answer(wire: WireServer, model: str, body: object) -> None:
    wire.script(Reply(body=body))
    answer = ask(model)
    assert (answer.text, answer.stop_reason) == ("", StopReason.END)


@pytest.mark.parametrize(
    ("model", "body", "reason"),
    [
        (CLAUDE, message(None, stop_reason="tool_use"), "tool_use"),
        (GPT, chat(None, finish_reason="tool_calls"), "tool_calls"),
    ],
)
def test_a_call_of_a_tool_is_an_answer(wire: WireServer, model: str, body: object, reason: str) -> None:
    wire.script(Reply(body=body))
    answer = ask(model)
    assert (answer.text, answer.stop_reason) == ("", reason)


def test_a_client_that_cannot_be_made_is_an_error_of_the_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a user has no home: the SDK looks for its profiles there."""

    def homeless() -> bool:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pytest_promptopt.models.anthropic_sdk.has_credentials", homeless)
    error = failure(CLAUDE)
    assert error.kind is ErrorKind.SETUP
    assert "Could not determine home directory" in str(error)


@pytest.mark.parametrize("count", [-1, 10**30, "7", 1.5, True, [3]], ids=str)
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_counters_that_cannot_be_true_were_not_said(wire: WireServer, name: str, count: object) -> None:
    usage = {"input_tokens": 5, "output_tokens": 2, name: count}
    wire.script(Reply(body=message("fine", usage=usage)))
    answer = ask(CLAUDE)
    assert (answer.text, answer.usage, answer.cost) == ("fine", None, None)


@pytest.mark.parametrize("count", [-1, 10**30], ids=str)
def test_counters_of_the_other_wire_that_cannot_be_true_were_not_said(
    wire: WireServer, count: object
) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 7}
    wire.script(Reply(body=chat("fine", usage=usage)))
    answer = ask(GPT)
    assert (answer.text, answer.usage) == ("fine", None)


@BOTH
def test_a_lone_surrogate_arrives(wire: WireServer, model: str) -> None:
    wire.script(Reply(body=message("\ud800!") if model == CLAUDE else chat("\ud800!")))
    assert ask(model).text == "\ud800!"


def test_a_retired_model_works_when_warnings_are_errors(wire: WireServer) -> None:
    from anthropic.resources.messages import messages

    retired = min(vars(messages)["DEPRECATED_MODELS"])  # where that table lives differs between versions
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = ask(f"anthropic/{retired}")
    assert answer.text == "HELLO"
    assert [r.body["model"] for r in wire.requests] == [retired]


def test_importing_litellm_leaves_the_warning_filters_alone() -> None:
    import subprocess
    import sys

    script = (
        "import warnings; before = list(warnings.filters)\n"
        "from pytest_promptopt.models.litellm_sdk import import_litellm\n"
        "import_litellm()\n"
        "added = [f for f in warnings.filters if f not in before and f[2] is Warning]\n"
        "assert not added, added\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
