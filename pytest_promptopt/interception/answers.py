"""What a stored reply says: text, stop reason, tokens. Plain JSON and streams of events, all providers."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_promptopt.interception.recognition import Api
from pytest_promptopt.models.answer_validation import usage_of
from pytest_promptopt.records import StopReason, Usage
from pytest_promptopt.records.content import ToolCall, written_calls
from pytest_promptopt.wire_records import WireAnswer

#: Providers' words for why a model stopped; what is not here is kept as it is.
_STOPS = {
    "stop": StopReason.END,
    "STOP": StopReason.END,
    "completed": StopReason.END,
    "length": StopReason.MAX_TOKENS,
    "MAX_TOKENS": StopReason.MAX_TOKENS,
    "max_output_tokens": StopReason.MAX_TOKENS,
    "content_filter": StopReason.REFUSAL,
    "SAFETY": StopReason.REFUSAL,
    "PROHIBITED_CONTENT": StopReason.REFUSAL,
}


class NoAnswer(Exception):
    """The reply cannot be read as an answer.

    :param failed: the provider says itself that it failed, in the middle of an answer.
    """

    def __init__(self, message: str, *, failed: bool = False) -> None:
        super().__init__(message)
        self.failed = failed


@dataclass
class Said:
    """What an answer says."""

    text: str = ""
    stop_reason: str = ""
    usage: Usage | None = None
    thinking: str = ""
    tools: list[Any] = field(default_factory=list)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that it calls, in order."""
        return tuple(
            ToolCall.read(tool["name"], tool["input"] if "input" in tool else tool["arguments"])
            for tool in self.tools
        )

    @property
    def words(self) -> str:
        """Its text; of an answer that only calls tools, the calls as JSON."""
        return self.text or written_calls(self.tool_calls)


def read_answer(api: Api, reply: WireAnswer) -> Said:
    """Raises `NoAnswer`."""
    if "amazon.eventstream" in reply.header("content-type"):
        return Said(stop_reason="stream")  # of binary events, which are replayed and not read
    try:
        events = list(_events(reply))
        said: Said = _READERS[api](events)
    except NoAnswer:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, zlib.error) as error:
        raise NoAnswer(f"the reply is not what such a call is answered with ({error})") from None
    said.stop_reason = _STOPS.get(said.stop_reason, said.stop_reason)
    return said


def plain_body(reply: WireAnswer) -> bytes:
    """The body without its coding."""
    coding, body = reply.header("content-encoding").lower(), reply.body
    if coding in ("", "identity"):
        return body
    if coding == "gzip":
        return zlib.decompress(body, wbits=31)
    raise NoAnswer(f"the coding {coding!r} of the reply is not known")


def _events(reply: WireAnswer) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a reply: one, or those of a stream."""
    text = plain_body(reply).decode("utf-8")
    if "event-stream" not in reply.header("content-type"):
        found = json.loads(text)
        yield from found if isinstance(found, list) else [found]
        return
    for line in text.splitlines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if data and data != "[DONE]":
            event = json.loads(data)
            if isinstance(event, Mapping) and (event.get("type") == "error" or event.get("error")):
                raise NoAnswer(f"the provider failed: {json.dumps(event.get('error', event))}", failed=True)
            yield event


def _messages(events: Iterable[Mapping[str, Any]]) -> Said:
    said, usage, ended = Said(), dict[str, Any](), False
    arguments: dict[Any, str] = {}
    for event in events:
        kind = event.get("type")
        if kind == "message":
            return _message(event)
        if kind == "message_start":
            usage |= event["message"]["usage"]
        elif kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
            said.tools.append({"name": event["content_block"]["name"], "input": {}})
            arguments[event["index"]] = ""
        elif kind == "content_block_delta":
            delta = event["delta"]
            said.text += delta.get("text", "")
            said.thinking += delta.get("thinking", "")
            if "partial_json" in delta and event["index"] in arguments:
                arguments[event["index"]] += delta["partial_json"]
        elif kind == "message_delta":
            said.stop_reason = event["delta"].get("stop_reason") or said.stop_reason
            usage |= {name: n for name, n in (event.get("usage") or {}).items() if n is not None}
        ended = ended or kind == "message_stop"
    if not ended:
        raise NoAnswer("the stream ended in the middle of an answer", failed=True)
    for tool, text in zip(said.tools, arguments.values(), strict=True):
        tool["input"] = json.loads(text or "{}")
    said.usage = _claude_usage(usage)
    return said


def _message(message: Mapping[str, Any]) -> Said:
    blocks = message["content"]
    return Said(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        stop_reason=message["stop_reason"] or "",
        usage=_claude_usage(message["usage"]),
        thinking="\n".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        tools=[{"name": b["name"], "input": b["input"]} for b in blocks if b["type"] == "tool_use"],
    )


def _claude_usage(usage: Mapping[str, Any]) -> Usage | None:
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return usage_of(*(usage.get(name) for name in names))


def _chat(events: Iterable[Mapping[str, Any]]) -> Said:
    said, usage, choices = Said(), None, 0
    for event in events:
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            choices += 1
            if choice.get("index", 0) != 0:
                continue
            part = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
            said.text += _chat_text(part.get("content"))
            said.thinking += part.get("reasoning_content") or ""
            for call in part.get("tool_calls") or ():
                _add_tool(said.tools, call)
            if part.get("refusal"):
                said.text += part["refusal"]
                said.stop_reason = StopReason.REFUSAL
            said.stop_reason = said.stop_reason or choice.get("finish_reason") or ""
    if not choices:
        raise NoAnswer("the reply has no choices")
    said.usage = _openai_usage(usage, "prompt_tokens", "completion_tokens", "prompt_tokens_details")
    return said


def _add_tool(tools: list[Any], call: Mapping[str, Any]) -> None:
    """A call of a tool, or a further part of one in a stream."""
    function = call.get("function") or {}
    index = call.get("index", len(tools))
    while len(tools) <= index:
        tools.append({"name": "", "arguments": ""})
    tools[index]["name"] += function.get("name") or ""
    tools[index]["arguments"] += function.get("arguments") or ""


def _chat_text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content or ""


def _openai_usage(usage: Any, asked: str, answered: str, details: str) -> Usage | None:
    if not isinstance(usage, Mapping):
        return None
    cached = (usage.get(details) or {}).get("cached_tokens") or 0
    return usage_of((usage.get(asked) or 0) - cached, usage.get(answered) or 0, cached)


def _responses(events: Iterable[Mapping[str, Any]]) -> Said:
    for event in events:
        kind = event.get("type", "")
        if kind == "response.failed":
            raise NoAnswer(f"the provider failed: {json.dumps(event['response'].get('error'))}", failed=True)
        if kind in ("response.completed", "response.incomplete"):
            event = event["response"]
        if "output" not in event or "status" not in event:
            continue
        if event["status"] == "failed":
            raise NoAnswer(f"the provider failed: {json.dumps(event.get('error'))}", failed=True)
        items = event["output"]
        parts = [part for item in items if item.get("type") == "message" for part in item["content"]]
        why = (event.get("incomplete_details") or {}).get("reason")
        return Said(
            text="".join(part.get("text") or part.get("refusal") or "" for part in parts),
            stop_reason=why or event["status"],
            usage=_openai_usage(event.get("usage"), "input_tokens", "output_tokens", "input_tokens_details"),
            tools=[
                {"name": item["name"], "arguments": item["arguments"]}
                for item in items
                if item.get("type") == "function_call"
            ],
        )
    raise NoAnswer("the stream ended in the middle of an answer", failed=True)


def _generate(events: Iterable[Mapping[str, Any]]) -> Said:
    said, found, usage = Said(), False, dict[str, Any]()
    for event in events:
        usage |= event.get("usageMetadata") or {}
        if (event.get("promptFeedback") or {}).get("blockReason"):
            found, said.stop_reason = True, StopReason.REFUSAL
        for candidate in (event.get("candidates") or ())[:1]:
            found = True
            for part in (candidate.get("content") or {}).get("parts") or ():
                if part.get("thought"):
                    said.thinking += part.get("text") or ""
                elif "functionCall" in part:
                    call = part["functionCall"]
                    said.tools.append({"name": call.get("name"), "input": call.get("args")})
                else:
                    said.text += part.get("text") or ""
            said.stop_reason = candidate.get("finishReason") or said.stop_reason
    if not found:
        raise NoAnswer("the reply has no candidates")
    cached = usage.get("cachedContentTokenCount") or 0
    answered = (usage.get("candidatesTokenCount") or 0) + (usage.get("thoughtsTokenCount") or 0)
    if usage:
        said.usage = usage_of((usage.get("promptTokenCount") or 0) - cached, answered, cached)
    return said


def _bedrock(events: Iterable[Mapping[str, Any]]) -> Said:
    """Of the converse API; of the other one only what Claude says."""
    for event in events:
        if event.get("type") == "message":
            return _message(event)
        if "output" in event:
            blocks = event["output"]["message"]["content"]
            usage = event["usage"]
            names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
            return Said(
                text="".join(block["text"] for block in blocks if "text" in block),
                stop_reason=event["stopReason"],
                usage=usage_of(*(usage.get(name) for name in names)),
                tools=[
                    {"name": block["toolUse"]["name"], "input": block["toolUse"]["input"]}
                    for block in blocks
                    if "toolUse" in block
                ],
            )
    return Said(stop_reason="other")


def _other(events: Iterable[Mapping[str, Any]]) -> Said:
    """Of an answer that may be anything: its tokens, and the text of an old completion."""
    said = Said(stop_reason="other")
    for event in events:
        for choice in event.get("choices") or ():
            said.text += choice.get("text") or ""
        said.usage = said.usage or _openai_usage(event.get("usage"), "prompt_tokens", "completion_tokens", "")
    return said


_READERS = {
    Api.MESSAGES: _messages,
    Api.CHAT: _chat,
    Api.RESPONSES: _responses,
    Api.GENERATE: _generate,
    Api.BEDROCK: _bedrock,
    Api.OTHER: _other,
}
