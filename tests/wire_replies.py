"""What providers answer on wires that our own models do not speak: streams, responses, Gemini, embeddings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Body = dict[str, Any]


def is_stream(path: str, body: Mapping[str, Any]) -> bool:
    return bool(body.get("stream")) or "alt=sse" in path


def reply(path: str, text: str) -> Body | None:
    """A regular answer on one of these wires; None for the other ones."""
    if path.endswith("/responses"):
        return responses(text)
    if ":generateContent" in path:
        return gemini(text)
    if path.endswith("/converse"):
        said = {"message": {"role": "assistant", "content": [{"text": text}]}}
        usage = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
        return {"output": said, "stopReason": "end_turn", "usage": usage}
    return None


def embeddings(body: Mapping[str, Any], vector: Callable[[str], Sequence[float]]) -> Body:
    """A vector for each text of the request, three tokens each."""
    given = body["input"]
    texts = given if isinstance(given, list) else [given]
    data = [
        {"object": "embedding", "index": index, "embedding": list(vector(text))}
        for index, text in enumerate(texts)
    ]
    tokens = 3 * len(texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": body["model"], "data": data, "usage": usage}


def responses(text: str) -> Body:
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-5",
        "status": "completed",
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }


def gemini(text: str) -> Body:
    content = {"role": "model", "parts": [{"text": text}]}
    usage = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 4,
        "thoughtsTokenCount": 1,
        "totalTokenCount": 15,
    }
    return {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage}


def stream(path: str, text: str) -> bytes:
    """A regular answer as events, a few characters at a time."""
    pieces = [text[start : start + 3] for start in range(0, len(text), 3)]
    if path.endswith("/messages"):
        return _named(_claude_events(pieces))
    if path.endswith("/responses"):
        return _named([{"type": "response.completed", "sequence_number": 1, "response": responses(text)}])
    if "GenerateContent" in path:
        return _plain([gemini(piece) for piece in pieces])
    return _plain(_chat_events(pieces)) + b"data: [DONE]\n\n"


def _claude_events(pieces: list[str]) -> list[Body]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": []}
    usage = {"input_tokens": 10, "output_tokens": 1}
    start = {**head, "stop_reason": None, "stop_sequence": None, "usage": usage}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        for piece in pieces
    ]
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        {"type": "message_start", "message": start},
        block,
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]


def _chat_events(pieces: list[str]) -> list[Body]:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
    deltas: list[Body] = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)]
    chunks: list[Body] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    end = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return [*chunks, end, {**head, "choices": [], "usage": usage}]


def _plain(events: list[Body]) -> bytes:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()


def _named(events: list[Body]) -> bytes:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
