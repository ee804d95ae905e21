"""Requests of applications: which are model calls, what of them counts, what their answers say."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.errors import RenderError
from pytest_promptopt.interception.answers import NoAnswer, read_answer
from pytest_promptopt.interception.bodies import text_slots, with_texts
from pytest_promptopt.interception.gate import Sent
from pytest_promptopt.interception.prompt_in_request import find_prompts, with_candidates
from pytest_promptopt.interception.recognition import Api, ModelCall, recognise
from pytest_promptopt.interception.wanted import Wanted, public_url, settings_hash
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Answer, Request, StopReason, Usage
from pytest_promptopt.records.content import ToolCall
from pytest_promptopt.replay.repeats import Repeats
from pytest_promptopt.settings import Intercept
from pytest_promptopt.wire_records import WireAnswer, WireRequest
from tests import wire, wire_replies

HI: list[Any] = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": HI}
OPENAI = "https://api.openai.com/v1"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models"


class TestWhichRequestsAreModelCalls:
    @pytest.mark.parametrize(
        ("url", "body", "expected"),
        [
            (
                "https://api.anthropic.com/v1/messages",
                {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": HI},
                ModelCall(Api.MESSAGES, "anthropic/claude-haiku-4-5", 5),
            ),
            (f"{OPENAI}/chat/completions", CHAT, ModelCall(Api.CHAT, "openai/gpt-4o", None)),
            (
                f"{OPENAI}/chat/completions",
                {**CHAT, "max_completion_tokens": 7},
                ModelCall(Api.CHAT, "openai/gpt-4o", 7),
            ),
            (
                "http://localhost:11434/v1/chat/completions",
                {"model": "llama3", "messages": HI},
                ModelCall(Api.CHAT, "openai/llama3", None),
            ),
            (
                "https://api.groq.com/openai/v1/chat/completions",
                {"model": "llama3", "messages": HI},
                ModelCall(Api.CHAT, "groq/llama3", None),
            ),
            (
                "https://x.openai.azure.com/openai/deployments/mine/chat/completions?api-version=1",
                {"messages": HI},
                ModelCall(Api.CHAT, "openai/mine", None),
            ),
            (
                f"{OPENAI}/responses",
                {"model": "gpt-5", "input": "hi", "max_output_tokens": 9},
                ModelCall(Api.RESPONSES, "openai/gpt-5", 9),
            ),
            (f"{OPENAI}/responses", {"model": "gpt-5", "input": "hi", "background": True}, None),
            (
                f"{GEMINI}/gemini-3-pro:streamGenerateContent?alt=sse&key=AIzaSecret",
                {"contents": [], "generationConfig": {"maxOutputTokens": 8}},
                ModelCall(Api.GENERATE, "gemini/gemini-3-pro", 8),
            ),
            (
                "https://eu-aiplatform.googleapis.com/v1/publishers/anthropic/models/claude-opus-5@1:rawPredict",
                {"max_tokens": 5, "messages": HI},
                ModelCall(Api.MESSAGES, "anthropic/claude-opus-5", 5),
            ),
            (
                f"{OPENAI}/embeddings",
                {"model": "text-embedding-3-small", "input": "hi"},
                ModelCall(Api.OTHER, "openai/text-embedding-3-small", 0),
            ),
            (
                "https://bedrock-runtime.eu-west-1.amazonaws.com/model/anthropic.claude-3%3A0/converse",
                {"messages": [], "inferenceConfig": {"maxTokens": 5}},
                ModelCall(Api.BEDROCK, "bedrock/anthropic.claude-3:0", 5),
            ),
            ("https://api.anthropic.com/v1/messages/count_tokens", {"model": "m", "messages": HI}, None),
            ("https://shop.example/messages", {"text": "a chat of people"}, None),
            ("https://shop.example/orders", CHAT, None),
            (f"{OPENAI}/chat/completions", [1], None),
        ],
    )
    def test_by_path_and_body(self, url: str, body: Any, expected: ModelCall | None) -> None:
        assert recognise(url, body) == expected
        assert expected is None or Wanted(Intercept()).sees("POST", url)

    def test_hosts_are_added_and_left_out(self) -> None:
        wanted = Wanted(Intercept(also=("models.example",), without=("api.openai.com",)))
        assert wanted.sees("POST", "https://models.example/ask")
        call = wanted.call_of("https://models.example/ask", {"question": "hi"})
        assert call == ModelCall(Api.OTHER, "models.example/ask", 0)
        assert not wanted.sees("POST", f"{OPENAI}/chat/completions")
        assert not wanted.sees("GET", "https://models.example/ask")
        assert not Wanted(Intercept(on=False)).sees("POST", f"{OPENAI}/chat/completions")


class TestWhatOfThemCounts:
    def test_no_credential_is_in_the_address(self) -> None:
        url = "https://me:pass@host.example/v1/models/m:generateContent?key=AIza1&alt=sse&access_token=t#part"
        assert public_url(url) == "https://host.example/v1/models/m:generateContent?alt=sse"
        signed = "https://h.example/m?X-Amz-Signature=a&X-Amz-Credential=b&apikey=c&max_tokens=5&monkey=d"
        assert public_url(signed) == "https://h.example/m?max_tokens=5&monkey=d"

    def test_names_of_callers_are_left_out(self) -> None:
        body = {**CHAT, "user": "u-1", "metadata": {"id": 1}, "request_id": "r", "temperature": 0}
        counted = Wanted(Intercept(), ("request_id",)).counted_body(body)
        assert counted == {**CHAT, "temperature": 0}

    def test_headers_that_decide_enter_as_a_hash_and_others_do_not(self) -> None:
        def settings(**headers: str) -> str:
            pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
            return settings_hash(Sent("POST", OPENAI, pairs, b""))

        plain = settings(Authorization="Bearer secret", User_Agent="a")
        assert plain == settings(Authorization="Bearer other") == ""
        beta = settings(Anthropic_Beta="context-1m")
        assert beta != ""
        assert "context" not in beta
        assert beta != settings(Anthropic_Beta="context-2m")

    def test_the_key_is_that_of_the_wire(self) -> None:
        sent = WireRequest("POST", OPENAI, CHAT)
        one = Request("openai/gpt-4o", (), wire=sent)
        assert replace(one, max_tokens=5).key == one.key, "it is in the body, if anywhere"
        others = [replace(sent, number=1), replace(sent, settings="x"), replace(sent, url=f"{OPENAI}/2")]
        keys = {one.key, replace(one, sample=1).key, *(replace(one, wire=each).key for each in others)}
        assert len(keys) == 5
        assert Request.from_json(json.loads(json.dumps(one.to_json()))).key == one.key

    def test_an_answer_survives_the_disk(self) -> None:
        reply = WireAnswer(200, (("content-type", "text/event-stream"),), (b"data: 1\n\n", b"\xff\x00"))
        answer = Answer("hi", "openai/gpt-4o", "end_turn", Usage(1, 2), 0.5, 0.1, wire=reply)
        assert Answer.from_json(json.loads(json.dumps(answer.to_json()))) == answer


class TestEqualRequests:
    def test_asked_again_before_the_answer_it_is_the_same(self) -> None:
        repeats = Repeats()
        assert [repeats.number("a"), repeats.number("a")] == [0, 0]  # an SDK's own retry
        repeats.answered("a")
        assert repeats.number("a") == 1
        assert repeats.number("b") == 0


def reply(body: object, *, kind: str = "application/json", **headers: str) -> WireAnswer:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return WireAnswer(200, (("Content-Type", kind), *more), (payload,))


PATHS = {
    Api.MESSAGES: "/v1/messages",
    Api.CHAT: "/v1/chat/completions",
    Api.RESPONSES: "/v1/responses",
    Api.GENERATE: "/models/m:streamGenerateContent",
}


class TestWhatAnswersSay:
    @pytest.mark.parametrize(
        ("api", "body", "usage"),
        [
            (Api.MESSAGES, wire.message("fine"), Usage(10, 5)),
            (Api.CHAT, wire.chat("fine"), Usage(10, 5)),
            (Api.RESPONSES, wire_replies.responses("fine"), Usage(6, 5, 4)),
            (Api.GENERATE, wire_replies.gemini("fine"), Usage(10, 5)),
            (
                Api.BEDROCK,
                {
                    "output": {"message": {"role": "assistant", "content": [{"text": "fine"}]}},
                    "stopReason": "end_turn",
                    "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15},
                },
                Usage(10, 5),
            ),
        ],
    )
    def test_as_one_object(self, api: Api, body: Any, usage: Usage) -> None:
        said = read_answer(api, reply(body))
        assert (said.words, said.stop_reason, said.usage) == ("fine", StopReason.END, usage)
        zipped = read_answer(api, reply(gzip.compress(json.dumps(body).encode()), content_encoding="gzip"))
        assert zipped == said

    @pytest.mark.parametrize("api", PATHS)
    def test_as_a_stream(self, api: Api) -> None:
        said = read_answer(
            api,
            reply(wire_replies.stream(PATHS[api], "fine, thanks"), kind="text/event-stream; charset=utf-8"),
        )
        assert (said.words, said.stop_reason) == ("fine, thanks", StopReason.END)
        assert said.usage is not None
        assert said.usage.output_tokens == 5

    def test_a_call_of_a_tool_is_an_answer(self) -> None:
        block = {"type": "tool_use", "id": "t", "name": "look", "input": {"city": "Oslo"}}
        claude = read_answer(Api.MESSAGES, reply(wire.message(None, content=[block], stop_reason="tool_use")))
        told = [{"name": "look", "arguments": {"city": "Oslo"}}]
        assert (json.loads(claude.words), claude.stop_reason) == (told, "tool_use")
        call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"city": "Oslo"}'}}
        chat = read_answer(Api.CHAT, reply(wire.chat(None, tool_calls=[call], finish_reason="tool_calls")))
        assert json.loads(chat.words) == told
        assert claude.tool_calls == chat.tool_calls == (ToolCall("look", {"city": "Oslo"}),)

    def test_a_cut_answer_says_so(self) -> None:
        said = read_answer(Api.CHAT, reply(wire.chat("fi", finish_reason="length")))
        assert said.stop_reason == StopReason.MAX_TOKENS

    @pytest.mark.parametrize(
        ("api", "answer", "failed"),
        [
            (Api.CHAT, reply(b"{"), False),
            (Api.CHAT, reply({"object": "list"}), False),
            (Api.MESSAGES, reply({"type": "message"}), False),
            (Api.MESSAGES, reply(b"data: {}", content_encoding="br"), False),
            (
                Api.MESSAGES,
                reply(b'data: {"type": "error", "error": {"type": "overloaded"}}', kind="text/event-stream"),
                True,
            ),
            (Api.MESSAGES, reply(b'data: {"type": "ping"}', kind="text/event-stream"), True),
            (Api.RESPONSES, reply({"status": "failed", "output": [], "error": {"code": "x"}}), True),
        ],
    )
    def test_what_is_no_answer_is_an_error(self, api: Api, answer: WireAnswer, failed: bool) -> None:
        with pytest.raises(NoAnswer) as caught:
            read_answer(api, answer)
        assert caught.value.failed == failed


BODIES: dict[str, Any] = {
    "claude": {"system": [{"type": "text", "text": "{}"}], "messages": HI},
    "claude-user": {
        "system": "s",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "{}"}]}],
    },
    "chat": {"messages": [{"role": "system", "content": "{}"}, *HI], "user": "{}"},
    "responses": {"instructions": "{}", "input": "hi"},
    "responses-input": {"input": [{"role": "developer", "content": "{}"}]},
    "gemini": {"systemInstruction": {"parts": [{"text": "{}"}]}, "contents": [{"parts": [{"text": "hi"}]}]},
}


def filled(body: Any, text: str) -> Any:
    return json.loads(json.dumps(body).replace('"{}"', json.dumps(text)))


class TestPromptsInRequests:
    @pytest.fixture
    def prompt(self, tmp_path: Path) -> PromptFile:
        path = tmp_path / "sort.md"
        path.write_text('Sort the "message" for {{ shop }}:\n\n{{ message }}\n', encoding="utf-8")
        return PromptFile.load(path, rootdir=tmp_path)

    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
    def test_a_prompt_is_found_and_exchanged_wherever_it_stands(self, prompt: PromptFile, body: Any) -> None:
        asked = filled(body, 'Sort the "message" for Ünder:\n\nno "parcel" yet\n')
        slots = text_slots(asked)
        found = find_prompts([[prompt]], slots)
        [match] = found.matches
        assert match.variables == {"shop": "Ünder", "message": 'no "parcel" yet'}
        candidate = prompt.with_prose("For {{ shop }}, sort this.\n\n{{ message }}")
        changed = with_candidates(asked, slots, [(match, candidate)])
        texts = [slot.text for slot in text_slots(changed)]
        assert 'For Ünder, sort this.\n\nno "parcel" yet\n' in texts
        assert len(texts) == len(slots)
        if "user" in body:
            assert changed["user"] == asked["user"], "an id that looks like it is none of the texts"

    def test_examples_become_turns_of_their_own(self, prompt: PromptFile) -> None:
        asked = {"messages": [{"role": "user", "content": 'Sort the "message" for A:\n\nnews\n'}]}
        slots = text_slots(asked)
        [match] = find_prompts([[prompt]], slots).matches
        prose = "user:\nold\n\nassistant:\nyes\n\nuser:\nSort {{ message }} for {{ shop }}"
        changed = with_candidates(asked, slots, [(match, prompt.with_prose(prose))])
        assert [turn["role"] for turn in changed["messages"]] == ["user", "assistant", "user"]
        assert [turn["content"] for turn in changed["messages"]][:2] == ["old", "yes"]
        assert "Sort news for A" in changed["messages"][2]["content"]
        instructions = {"instructions": asked["messages"][0]["content"], "input": "hi"}
        slots = text_slots(instructions)
        [match] = find_prompts([[prompt]], slots).matches
        with pytest.raises(RenderError, match="chat turns"):
            with_candidates(instructions, slots, [(match, prompt.with_prose(prose))])

    def test_two_prompts_of_one_request_are_both_found(self, prompt: PromptFile, tmp_path: Path) -> None:
        (tmp_path / "tone.md").write_text("You are always as polite as you can be.", encoding="utf-8")
        tone = PromptFile.load(tmp_path / "tone.md", rootdir=tmp_path)
        asked = {
            "system": "You are always as polite as you can be.",
            "messages": [{"role": "user", "content": 'Sort the "message" for A:\n\nnews\n'}],
        }
        slots = text_slots(asked)
        found = find_prompts([[prompt], [tone]], slots)
        assert {match.prompt.name for match in found.matches} == {"sort.md", "tone.md"}
        wanted = {
            "sort.md": prompt.with_prose("{{ shop }} {{ message }}!"),
            "tone.md": tone.with_prose("Be rude."),
        }
        changed = with_candidates(asked, slots, [(m, wanted[m.prompt.name]) for m in found.matches])
        assert changed["system"] == "Be rude."
        assert changed["messages"][0]["content"].startswith("A news!")

    def test_a_request_without_a_prompt_says_what_is_closest(self, prompt: PromptFile) -> None:
        found = find_prompts(
            [[prompt]], text_slots({"messages": [{"role": "user", "content": "Sort the mail"}]})
        )
        assert found.matches == ()
        assert found.none is not None
        assert "sort.md" in found.none.reason

    def test_what_a_tool_says_is_nobodys_turn(self) -> None:
        result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "12 C"}]}
        [slot] = text_slots({"messages": [{"role": "user", "content": [result]}]})
        assert slot.role == "tool"
        assert with_texts({"a": [1]}, {}) == {"a": [1]}
