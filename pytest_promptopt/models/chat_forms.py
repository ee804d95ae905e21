"""Turns of a chat in the forms of providers: Anthropic's content blocks, OpenAI's content parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from json import dumps
from typing import Any

from pytest_promptopt.attachments import PLAIN, base64_of, file_bytes
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.records import Message, Request
from pytest_promptopt.records.content import File, Part, Text, Thought, ToolCall, ToolResult, files_of

Body = dict[str, Any]


def claude_messages(request: Request) -> list[Body]:
    """The turns but those of the system. Raises `ModelError` for a file that cannot be read."""
    turns: list[Body] = []
    for turn in request.messages:
        if turn.role == "system":
            continue
        role = "user" if turn.role == "tool" else turn.role
        content: Any = turn.content if not turn.parts else list(_each(request, turn.parts, _claude_part))
        before = turns[-1] if turns else None
        # All results of one turn's calls must stand in the turn after it.
        if turn.role == "tool" and before is not None and _holds_results(before):
            before["content"].extend(content)
        elif role == "user" and before is not None and _holds_results(before):
            more = content if isinstance(content, list) else [{"type": "text", "text": content}]
            before["content"].extend(more)
        elif content:
            turns.append({"role": role, "content": content})
    return turns


def openai_messages(request: Request) -> list[Body]:
    """All turns. Raises `ModelError` for a file that cannot be read."""
    turns: list[Body] = []
    waiting: list[Part] = []  # files in results: nothing may stand between the results of one turn's calls
    for turn in request.messages:
        if waiting and not _has_results(turn):
            turns.append(_user(request, waiting))
            waiting = []
        if not turn.parts:
            turns.append({"role": turn.role, "content": turn.content})
        elif turn.role == "assistant":
            turns.append(_assistant(turn, with_thoughts="claude" in request.model))
        else:
            results = [part for part in turn.parts if isinstance(part, ToolResult)]
            turns += [{"role": "tool", "tool_call_id": each.id, "content": each.text} for each in results]
            waiting += [file for each in results for file in files_of(each)]
            waiting += [part for part in turn.parts if not isinstance(part, ToolResult)]
    return [*turns, _user(request, waiting)] if waiting else turns


def _has_results(turn: Message) -> bool:
    return any(isinstance(part, ToolResult) for part in turn.parts)


def _user(request: Request, parts: Sequence[Part]) -> Body:
    return {"role": "user", "content": list(_each(request, parts, _openai_part))}


def _holds_results(turn: Body) -> bool:
    content = turn["content"]
    return isinstance(content, list) and any(part["type"] == "tool_result" for part in content)


def _each(request: Request, parts: Sequence[Part], written: Callable[[Part], Body | None]) -> Iterator[Body]:
    for part in parts:
        try:
            found = written(part)
        except (OSError, ValueError) as error:
            name = part.name if isinstance(part, File) else "a file"
            said = f"{request.model}: {name} cannot be sent: {error}"
            raise ModelError(ErrorKind.BAD_REQUEST, said, model=request.model) from None
        if found is not None:
            yield found


def _claude_part(part: Part) -> Body | None:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text} if part.text else None  # it refuses empty ones
    if isinstance(part, File):
        return _claude_file(part)
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": dict(part.arguments)}
    if isinstance(part, ToolResult):
        content = [written for each in part.parts if (written := _claude_part(each)) is not None]
        failed = {"is_error": True} if part.is_error else {}
        return {"type": "tool_result", "tool_use_id": part.id, "content": content, **failed}
    if part.redacted:
        return {"type": "redacted_thinking", "data": part.redacted}
    # What is not signed is of another model, and no part of what Claude has said.
    signed = {"type": "thinking", "thinking": part.text, "signature": part.signature}
    return signed if part.signature else None


def _claude_file(file: File) -> Body:
    titled = {"title": file.name} if file.kind == "document" else {}
    if file.url:
        return {"type": file.kind, "source": {"type": "url", "url": file.url}, **titled}
    if file.media_type == PLAIN:
        source = {"type": "text", "media_type": PLAIN, "data": file_bytes(file).decode("utf-8", "replace")}
        return {"type": "document", "source": source, **titled}
    source = {"type": "base64", "media_type": file.media_type, "data": base64_of(file)}
    return {"type": file.kind, "source": source, **titled}


def _assistant(turn: Message, *, with_thoughts: bool) -> Body:
    """:param with_thoughts: whether the model is one that takes its signed thoughts back."""
    text = "".join(part.text for part in turn.parts if isinstance(part, Text))
    calls = [
        {
            "id": part.id,
            "type": "function",
            "function": {
                "name": part.name,
                "arguments": part.unreadable or dumps(dict(part.arguments), ensure_ascii=False),
            },
        }
        for part in turn.parts
        if isinstance(part, ToolCall)
    ]
    signed = [part for part in turn.parts if isinstance(part, Thought) and (part.signature or part.redacted)]
    thoughts = [written for part in signed if (written := _claude_part(part)) is not None]
    return {
        "role": "assistant",
        "content": text or None,
        **({"tool_calls": calls} if calls else {}),
        **({"thinking_blocks": thoughts} if thoughts and with_thoughts else {}),
    }


def _openai_part(part: Part) -> Body | None:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if not isinstance(part, File):
        return None if isinstance(part, Thought) else {"type": "text", "text": str(part)}
    if part.kind == "image":
        closely = {"detail": part.detail} if part.detail else {}
        address = part.url or f"data:{part.media_type};base64,{base64_of(part)}"
        return {"type": "image_url", "image_url": {"url": address, **closely}}
    if part.media_type == PLAIN:  # only PDF is taken as a file
        text = file_bytes(part).decode("utf-8", "replace")
        return {"type": "text", "text": f"{part.name}:\n{text}"}
    data = part.url or f"data:{part.media_type};base64,{base64_of(part)}"
    return {"type": "file", "file": {"filename": part.name, "file_data": data}}
