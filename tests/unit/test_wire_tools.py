"""Tools, files and turns with results as both SDKs send them, to a server that keeps providers' rules."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from pytest_promptopt.attachments import Document, Image
from pytest_promptopt.completion import Completion
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.chat_forms import openai_messages
from pytest_promptopt.models.registry import resolve_model
from pytest_promptopt.models.tool_definitions import tool_choice_of, tools_of
from pytest_promptopt.prompts.chat_turns import chat_messages
from pytest_promptopt.records import Answer, Message, Request
from pytest_promptopt.records.content import Thought, ToolCall, ToolResult
from pytest_promptopt.replay.call_content import CallContent
from tests.wire import Body, Reply, WireServer, chat, connect_sdks, message, tool_reply

CLAUDE = "anthropic/claude-opus-5-5"
GPT = "openai/gpt-4o-mini"
BOTH = pytest.mark.parametrize("model", [CLAUDE, GPT])
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
PDF = b"%PDF-1.7\n" + bytes(200)


def weather(city: str, unit: Literal["C", "F"] = "C") -> str:
    """The weather of a city.

    :param city: its name
    """
    return city + unit


class Order(BaseModel):
    """Order something."""

    what: str


@pytest.fixture(scope="module")
def sdks() -> None:
    """Imported outside the deadlines of the tests: on a busy machine it takes many seconds."""
    import anthropic  # noqa: F401

    from pytest_promptopt.models.litellm_sdk import import_litellm

    import_litellm()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, sdks: None) -> Iterator[WireServer]:
    with WireServer() as server:
        connect_sdks(server, monkeypatch)
        yield server


def complete(request: Request) -> Answer:
    async def ask() -> Answer:
        client = resolve_model(request.model)
        try:
            async with asyncio.timeout(30):
                return await client.complete(request)
        finally:
            await client.aclose()

    return asyncio.run(ask())


def ask(model: str, *turns: Any, **fields: Any) -> Answer:
    turns = turns or ({"role": "user", "content": "hello"},)
    return complete(Request(model, chat_messages(list(turns), "a.md"), **fields))


@BOTH
def test_the_calls_of_an_answer_are_read(wire: WireServer, model: str) -> None:
    path = "/messages" if model == CLAUDE else "/chat"
    called = [ToolCall("weather", {"city": "Oslo"}), ToolCall("order", {})]
    wire.script(Reply(body=tool_reply(path, called)))
    answer = ask(model, tools=tools_of([weather, Order]))
    assert answer.text == ""
    assert answer.tool_calls == (ToolCall("weather", {"city": "Oslo"}), ToolCall("order"))
    assert [call.id for call in answer.tool_calls] == ["call_1", "call_2"]


def test_arguments_that_are_no_json_are_an_answer(wire: WireServer) -> None:
    function = {"name": "weather", "arguments": '{"city": "Os'}
    call = {"id": "c", "type": "function", "function": function}
    wire.script(Reply(body=chat(None, finish_reason="tool_calls", tool_calls=[call])))
    [found] = ask(GPT, tools=tools_of([weather])).tool_calls
    assert (found.name, found.arguments, found.unreadable) == ("weather", {}, '{"city": "Os')


def test_tools_are_sent_in_each_provider_s_form(wire: WireServer) -> None:
    tools = tools_of([weather, Order])
    choice = tool_choice_of(weather, tools)
    ask(CLAUDE, tools=tools, tool_choice=choice)
    ask(GPT, tools=tools, tool_choice=choice)
    claude, gpt = (received.body for received in wire.requests)
    properties = {
        "city": {"type": "string", "description": "its name"},
        "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
    }
    schema = {"type": "object", "properties": properties, "required": ["city"]}
    assert claude["tools"][0] == {
        "name": "weather",
        "description": "The weather of a city.",
        "input_schema": schema,
    }
    assert gpt["tools"][0] == {
        "type": "function",
        "function": {"name": "weather", "description": "The weather of a city.", "parameters": schema},
    }
    assert claude["tool_choice"] == {"type": "tool", "name": "weather"}
    assert gpt["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("choice", "claude", "gpt"),
    [
        ("auto", {"type": "auto"}, "auto"),
        ("required", {"type": "any"}, "required"),
        ({"type": "any"}, {"type": "any"}, "required"),
        ("none", {"type": "none"}, "none"),
    ],
)
def test_a_choice_means_the_same_to_both(wire: WireServer, choice: Any, claude: Any, gpt: Any) -> None:
    tools = tools_of([weather])
    for model in (CLAUDE, GPT):
        ask(model, tools=tools, tool_choice=tool_choice_of(choice, tools))
    assert [received.body["tool_choice"] for received in wire.requests] == [claude, gpt]


@BOTH
def test_a_strict_tool_is_sent_as_strict_modes_take_it(wire: WireServer, model: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
    given = {"type": "function", "function": {"name": "count", "parameters": schema, "strict": True}}
    ask(model, tools=tools_of([given]))
    [tool] = wire.requests[0].body["tools"]
    sent = tool if model == CLAUDE else tool["function"]
    assert sent["strict"] is True


@BOTH
def test_a_tool_that_cannot_be_strict_is_named(wire: WireServer, model: str) -> None:
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    given = {"type": "function", "function": {"name": "note", "parameters": schema, "strict": True}}
    with pytest.raises(ModelError, match="the tool note cannot be strict: the schema is an object with free"):
        ask(model, tools=tools_of([given]))
    assert wire.requests == []


@BOTH
def test_a_conversation_with_results_goes_on(wire: WireServer, model: str) -> None:
    """Also where the answer's own parts, a result with an error and OpenAI's form stand in one of them."""
    calls = (ToolCall("weather", {"city": "Oslo"}, "a"), ToolCall("weather", {"city": "Rome"}, "b"))
    answer = Completion(Answer("", model, "tool_use", None, None, 0.0, tool_calls=calls))
    ask(
        model,
        {"role": "user", "content": "Oslo and Rome?"},
        {"role": "assistant", "content": answer.content},
        {"role": "tool", "tool_call_id": "a", "content": "2 C"},
        {"role": "tool", "content": [ToolResult("b", "no such city", is_error=True)]},
        {"role": "user", "content": "And now?"},
        tools=tools_of([weather]),
    )
    turns = wire.requests[0].body["messages"]
    if model == CLAUDE:
        assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
        assert turns[1]["content"][0] == {
            "type": "tool_use",
            "id": "a",
            "name": "weather",
            "input": {"city": "Oslo"},
        }
        assert [block["type"] for block in turns[2]["content"]] == ["tool_result", "tool_result", "text"]
        assert turns[2]["content"][1]["is_error"] is True
    else:
        assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool", "user"]
        assert turns[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}


@BOTH
@pytest.mark.parametrize("form", ["claude", "openai"])
def test_both_forms_of_a_history_reach_both(wire: WireServer, model: str, form: str) -> None:
    if form == "claude":
        called: Body = {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Oslo"}},
            ],
        }
        content = [{"type": "text", "text": "2 C"}]
        result: Body = {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "a", "content": content}],
        }
    else:
        function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
        called = {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"id": "a", "type": "function", "function": function}],
        }
        result = {"role": "tool", "tool_call_id": "a", "content": "2 C"}
    ask(model, {"role": "user", "content": "Oslo?"}, called, result, tools=tools_of([weather]))
    assert "2 C" in str(wire.requests[0].body["messages"][-1])


@BOTH
def test_an_image_in_a_result_stands_after_all_results(wire: WireServer, model: str) -> None:
    calls = [ToolCall("shoot", {"page": 1}, "a"), ToolCall("shoot", {"page": 2}, "b")]
    ask(
        model,
        {"role": "assistant", "content": calls},
        {"role": "tool", "tool_call_id": "a", "content": ["Page 1:", Image(PNG, name="one.png")]},
        {"role": "tool", "tool_call_id": "b", "content": "no such page"},
        tools=tools_of([weather]),
    )
    turns = wire.requests[0].body["messages"]
    sent = base64.b64encode(PNG).decode()
    assert str(turns).count(sent) == 1
    if model == GPT:
        assert [turn["role"] for turn in turns] == ["assistant", "tool", "tool", "user"]
        assert turns[1]["content"] == "Page 1:\n[one.png (image/png, 208 bytes)]"


def test_signed_thoughts_go_back_with_the_results(wire: WireServer) -> None:
    thought = {"type": "thinking", "thinking": "Oslo, then.", "signature": "sig"}
    call = {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Oslo"}}
    wire.script(Reply(body=message(None, content=[thought, call], stop_reason="tool_use")))
    tools = tools_of([weather])
    answer = Completion(ask(CLAUDE, tools=tools))
    assert (answer.thinking, answer.content[0]) == ("Oslo, then.", Thought("Oslo, then.", "sig"))
    turns = (
        {"role": "user", "content": "Oslo?"},
        {"role": "assistant", "content": answer},
        {"role": "tool", "content": [ToolResult(answer.tool_calls[0], "2 C")]},
    )
    ask(CLAUDE, *turns, tools=tools)
    assert wire.requests[-1].body["messages"][1]["content"] == [thought, call]
    ask(GPT, *turns, tools=tools)  # which takes no thoughts of others


BY_PATH: dict[str, list[Any]] = {
    "images": ["receipt.png"],
    "documents": ["terms.pdf", Document("notes.md")],
}
BY_BYTES: dict[str, list[Any]] = {
    "images": [Image(PNG, name="receipt.png")],
    "documents": [Document(PDF, name="terms.pdf"), Document(b"Paid on Monday.", name="notes.md")],
}


@BOTH
@pytest.mark.parametrize("given", [BY_PATH, BY_BYTES], ids=["path", "bytes"])
def test_an_image_and_a_document_reach_the_model(
    wire: WireServer, model: str, given: dict[str, list[Any]], tmp_path: Path
) -> None:
    (tmp_path / "receipt.png").write_bytes(PNG)
    (tmp_path / "terms.pdf").write_bytes(PDF)
    (tmp_path / "notes.md").write_text("Paid on Monday.")
    content = CallContent.read(given, [tmp_path])
    request = content.request(Request(model, content.messages([Message("user", "Paid?")])))
    complete(request)
    parts = wire.requests[0].body["messages"][0]["content"]
    image, document = (base64.b64encode(data).decode() for data in (PNG, PDF))
    if model == CLAUDE:
        assert [part["type"] for part in parts] == ["document", "document", "image", "text"]
        assert parts[0]["source"] == {"type": "base64", "media_type": "application/pdf", "data": document}
        assert (parts[0]["title"], parts[1]["source"]["data"]) == ("terms.pdf", "Paid on Monday.")
        assert parts[2]["source"] == {"type": "base64", "media_type": "image/png", "data": image}
    else:
        assert [part["type"] for part in parts] == ["file", "text", "image_url", "text"]
        assert parts[0]["file"]["file_data"] == f"data:application/pdf;base64,{document}"
        assert parts[1]["text"] == "notes.md:\nPaid on Monday."
        assert parts[2]["image_url"] == {"url": f"data:image/png;base64,{image}"}
    assert request.messages[0].content.splitlines() == [
        "[document terms.pdf (application/pdf, 209 bytes)]",
        "[document notes.md (text/plain, 15 bytes)]",
        "[image receipt.png (image/png, 208 bytes)]",
        "Paid?",
    ]


@BOTH
def test_bare_bytes_need_no_name(wire: WireServer, model: str) -> None:
    content = CallContent.read({"images": [PNG], "documents": [PDF]}, [])
    complete(content.request(Request(model, content.messages([Message("user", "Paid?")]))))
    sent = str(wire.requests[0].body["messages"])
    assert all(base64.b64encode(data).decode() in sent for data in (PNG, PDF))


@BOTH
@pytest.mark.parametrize(
    "part",
    [
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()},
        },
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()},
        },
        Image(PNG),
    ],
    ids=["openai", "claude", "ours"],
)
def test_every_form_of_an_image_is_one_request(wire: WireServer, model: str, part: object) -> None:
    turns = chat_messages([{"role": "user", "content": [part, "What is it?"]}], "a.md")
    request = Request(model, turns)
    complete(request)
    ours = chat_messages([{"role": "user", "content": [Image(PNG), "What is it?"]}], "a.md")
    assert request.key == Request(model, ours).key
    assert base64.b64encode(PNG).decode() in str(wire.requests[0].body)


def test_a_file_that_changed_meanwhile_is_not_sent(wire: WireServer, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    content = CallContent.read({"images": [path]}, [])
    request = Request(CLAUDE, content.messages([Message("user", "?")]))
    path.write_bytes(PNG + b"more")
    with pytest.raises(
        ModelError, match=r"a\.png cannot be sent: .* has changed since this run read it"
    ) as caught:
        complete(request)
    assert (caught.value.kind, wire.requests) == (ErrorKind.BAD_REQUEST, [])


def test_a_request_of_another_process_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    content = CallContent.read(
        {"images": ["a.png", PNG + b"2"], "tools": [weather], "tool_choice": "required"}, [tmp_path]
    )
    turns = [
        Message("user", "?"),
        *chat_messages(
            [
                {"role": "assistant", "content": [ToolCall("weather", {"city": "Oslo"}, "a")]},
                {"role": "tool", "tool_call_id": "a", "content": [Image(PNG)]},
                {"role": "user", "content": "Go on."},
            ],
            "a.md",
        ),
    ]
    request = content.request(Request(CLAUDE, content.messages(turns)))
    told = request.to_json()
    again = Request.from_json(told)
    assert (again.key, again) == (request.key, request)
    assert again.files[2].data == PNG + b"2"
    assert replace(request, tools=()).key != request.key


def test_only_a_claude_model_behind_another_provider_gets_its_thoughts_back() -> None:
    turn = Message("assistant", "", (Thought("Oslo, then.", "sig"), ToolCall("weather", {}, "t")))
    [sent] = openai_messages(Request("bedrock/anthropic.claude-opus-5-5", (turn,)))
    assert sent["thinking_blocks"] == [{"type": "thinking", "thinking": "Oslo, then.", "signature": "sig"}]
    assert "thinking_blocks" not in openai_messages(Request(GPT, (turn,)))[0]
