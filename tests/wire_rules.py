"""What both providers publish that they refuse: of lengths, schemas, tools, files and the order of turns."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

Body = Mapping[str, Any]

_NAMES = {"claude": re.compile(r"[a-zA-Z0-9_-]{1,128}"), "openai": re.compile(r"[a-zA-Z0-9_-]{1,64}")}
_MAGIC = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "image/gif": b"GIF8", "image/webp": b"RIFF"}


def objection(path: str, body: Body) -> str:
    """Why a request is refused; empty when there is nothing to refuse."""
    kept = (rules(body) for end, rules in _RULES.items() if path.endswith(end))
    return next(chain.from_iterable(kept), "")


def objects_in(schema: Any) -> list[dict[str, Any]]:
    """Every object of a JSON schema, however deep."""
    found = [schema] if isinstance(schema, dict) and schema.get("type") == "object" else []
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return found + [each for value in inner for each in objects_in(value)]


def _is_open(schema: Any) -> bool:
    return any(each.get("additionalProperties") is not False for each in objects_in(schema))


def _lacks_required(schema: Any) -> bool:
    return any(set(each.get("required", ())) != set(each["properties"]) for each in objects_in(schema))


def _claude(body: Body) -> Iterator[str]:
    if "max_tokens" not in body:
        yield "max_tokens: Field required"
    if _is_open(body.get("output_config", {}).get("format", {}).get("schema", {})):
        yield "output_config.format.schema: 'additionalProperties' must be false"
    names = [tool.get("name") for tool in body.get("tools", ())]
    for index, tool in enumerate(body.get("tools", ())):
        if extra := tool.keys() - {"name", "description", "input_schema", "strict", "type"}:
            yield f"tools.{index}.custom.{min(extra)}: Extra inputs are not permitted"
        if not _NAMES["claude"].fullmatch(tool["name"]):
            yield f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
        if tool.get("input_schema", {}).get("type") != "object":
            yield f"tools.{index}.custom.input_schema.type: Field required"
        if tool.get("strict") and _is_open(tool["input_schema"]):
            yield f"tools.{index}.custom: For 'object' type, 'additionalProperties' must be false"
    if len(set(names)) < len(names):
        yield "tools: Tool names must be unique."
    choice = body.get("tool_choice")
    if choice is not None and (not isinstance(choice, dict) or choice.get("type") not in _CHOICES):
        yield "tool_choice: Input tag must be one of 'auto', 'any', 'tool', 'none'"
    if choice and choice.get("type") == "tool" and choice.get("name") not in names:
        yield f"Tool '{choice.get('name')}' not found in provided tools"
    yield from _claude_turns(body.get("messages", ()))


_CHOICES = ("auto", "any", "tool", "none")


def _claude_turns(turns: Sequence[Body]) -> Iterator[str]:
    waiting: set[str] = set()
    for index, turn in enumerate(turns):
        if turn["role"] not in ("user", "assistant"):
            yield f"messages.{index}.role: Input should be 'user' or 'assistant'"
        blocks = turn["content"] if isinstance(turn["content"], list) else []
        results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if results - waiting:
            yield f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {min(results)}"
        if waiting - results:
            yield f"messages.{index}: `tool_use` ids were found without `tool_result` blocks: {min(waiting)}"
        waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
        for number, block in enumerate(blocks):
            if block["type"] == "text" and not block["text"]:
                yield f"messages.{index}.content.{number}: text content blocks must be non-empty"
            if block["type"] == "thinking" and not block.get("signature"):
                yield f"messages.{index}.content.{number}: thinking.signature: Field required"
            if block["type"] in ("image", "document"):
                yield from _claude_file(f"messages.{index}.content.{number}", block)
    if waiting:
        yield f"`tool_use` ids were found without `tool_result` blocks: {min(waiting)}"


def _claude_file(place: str, block: Body) -> Iterator[str]:
    source = block["source"]
    kinds = ("base64", "url") if block["type"] == "image" else ("base64", "url", "text")
    if source["type"] not in kinds:
        yield f"{place}.{block['type']}.source: Input tag must be one of {kinds}"
    if source["type"] == "base64":
        data = base64.b64decode(source["data"], validate=True)
        if block["type"] == "image" and not data.startswith(_MAGIC.get(source["media_type"], b"?")):
            yield f"{place}.image.source: the image does not match the media type {source['media_type']}"
        if block["type"] == "document" and source["media_type"] != "application/pdf":
            yield f"{place}.document.source.base64.media_type: Input should be 'application/pdf'"
        if block["type"] == "image" and len(source["data"]) > 5 * 1024**2:
            yield f"{place}.image.source.base64: image exceeds 5 MB maximum"


def _openai(body: Body) -> Iterator[str]:
    if {"max_tokens", "max_completion_tokens"} <= body.keys():
        yield "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
    wanted = body.get("response_format", {}).get("json_schema", {})
    if wanted.get("strict") and _is_open(wanted["schema"]):
        yield "Invalid schema for response_format: 'additionalProperties' is required to be false"
    if wanted.get("strict") and _lacks_required(wanted["schema"]):
        yield "Invalid schema for response_format: 'required' must include every key in properties"
    names = []
    for index, tool in enumerate(body.get("tools", ())):
        function = tool.get("function")
        if tool.get("type") != "function" or not isinstance(function, dict):
            yield f"Missing required parameter: 'tools[{index}].function'."
            return
        names.append(function["name"])
        schema = function.get("parameters", {"type": "object", "properties": {}})
        if not _NAMES["openai"].fullmatch(function["name"]):
            yield f"Invalid 'tools[{index}].function.name': string does not match pattern."
        if schema.get("type") != "object":
            yield f"Invalid schema for function '{function['name']}': schema must be of 'type: \"object\"'"
        if function.get("strict") and (_is_open(schema) or _lacks_required(schema)):
            yield f"Invalid schema for function '{function['name']}': strict needs closed objects"
    choice = body.get("tool_choice")
    if isinstance(choice, str) and choice not in ("auto", "required", "none"):
        yield "Invalid value for 'tool_choice'"
    if isinstance(choice, dict) and choice["function"]["name"] not in names:
        yield "Invalid value for 'tool_choice': the function is not among the tools"
    messages = body.get("messages")
    yield from _openai_turns(messages if isinstance(messages, list) else ())


def _openai_turns(turns: Sequence[Body]) -> Iterator[str]:
    waiting: set[str] = set()
    known = {"role", "content", "name", "tool_calls", "tool_call_id", "refusal"}
    for index, turn in enumerate(turns):
        if extra := turn.keys() - known:
            yield f"Unknown parameter: 'messages[{index}].{min(extra)}'."
        if turn["role"] == "tool":
            if turn.get("tool_call_id") not in waiting:
                yield "messages with role 'tool' must be a response to a message with 'tool_calls'."
            waiting.discard(turn.get("tool_call_id", ""))
            if not isinstance(turn["content"], str):
                yield f"Invalid type for 'messages[{index}].content': expected a string"
            continue
        if waiting:
            yield "An assistant message with 'tool_calls' must be followed by tool messages"
        calls = turn.get("tool_calls") or []
        waiting = {call["id"] for call in calls}
        if any(not isinstance(call["function"]["arguments"], str) for call in calls):
            yield f"Invalid type for 'messages[{index}].tool_calls[0].function.arguments': expected a string"
        if turn.get("content") is None and not calls:
            yield f"Invalid value for 'content': expected a string, got null. (messages[{index}])"
        for part in turn["content"] if isinstance(turn.get("content"), list) else ():
            yield from _openai_part(index, part)
    if waiting:
        yield "An assistant message with 'tool_calls' must be followed by tool messages"


def _openai_part(index: int, part: Body) -> Iterator[str]:
    if part["type"] not in ("text", "image_url", "file", "input_audio"):
        yield f"Invalid value: '{part['type']}'. Supported values are: 'text', 'image_url', 'file'."
    if part["type"] == "file":
        data = part["file"].get("file_data", "")
        if not data.startswith("data:application/pdf;base64,") or not part["file"].get("filename"):
            yield f"Invalid file in messages[{index}]: only PDF files with a filename are supported"
    if part["type"] == "image_url":
        url = part["image_url"]["url"]
        media = url[5:].partition(";")[0] if url.startswith("data:") else ""
        if media and not base64.b64decode(url.partition(",")[2]).startswith(_MAGIC.get(media, b"?")):
            yield "You uploaded an unsupported image."


#: By the end of the address: what another provider takes is not known here.
def _embeddings(body: Body) -> Iterator[str]:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    if not texts or "" in texts:
        yield "'$.input' is invalid. Please check the API reference."


_RULES: Mapping[str, Callable[[Body], Iterator[str]]] = {
    "/messages": _claude,
    "/chat/completions": _openai,
    "/embeddings": _embeddings,
}
