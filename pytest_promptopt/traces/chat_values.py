"""What was asked and answered, from the many forms in which tools record a chat.

Known are those of the GenAI conventions (`parts`), OpenAI (chat completions and responses), Anthropic,
Gemini, LangChain and the Vercel AI SDK, as JSON or as a text that is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.records import Message

#: Roles as other tools write them; those of prompt files stay.
_ROLES = {
    "human": "user", "humanmessage": "user", "humanmessagechunk": "user",
    "ai": "assistant", "aimessage": "assistant", "aimessagechunk": "assistant", "model": "assistant",
    "systemmessage": "system", "developer": "system",
    "toolmessage": "tool", "function": "tool",
}  # fmt: skip
_KNOWN = ("system", "user", "assistant", "tool")

#: Types of parts that hold a text of the conversation itself.
_TEXTS = ("text", "input_text", "output_text")
#: Types of parts that the next request need not have: what a model thought aloud.
_THOUGHTS = ("reasoning", "thinking", "redacted_thinking")
#: Keys of a conversation in a request's body, and of what goes before it.
_TURNS = ("messages", "contents", "input")
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")


@dataclass(frozen=True)
class Chat:
    """:param incomplete: why the texts are not all that was sent, in a sentence; empty where they are."""

    messages: tuple[Message, ...]
    incomplete: str = ""

    def __add__(self, other: Chat) -> Chat:
        return Chat(self.messages + other.messages, self.incomplete or other.incomplete)


def parsed(value: Any) -> Any:
    """What a text is that holds a JSON object or list; any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def chat_of(value: Any) -> Chat | None:
    """The conversation that a model was given; None where the value is none."""
    given = parsed(value)
    if isinstance(given, str):
        return Chat((Message("user", given),)) if given.strip() else None
    if isinstance(given, Mapping):
        return _of_body(given)
    if not isinstance(given, list) or not given:
        return None
    if len(given) == 1 and isinstance(given[0], list):  # LangChain asks for several chats at once
        return chat_of(given[0])
    if not all(isinstance(turn, Mapping) for turn in given):
        return None
    turns = [_turn(turn) for turn in given]
    return None if None in turns else sum((turn for turn in turns if turn is not None), Chat(()))


def instructions_of(value: Any) -> Chat:
    """System instructions that were recorded apart: a text, or a list of parts."""
    given = parsed(value)
    if given in (None, "", []):
        return Chat(())
    return _content("system", given.get("parts", given.get("content")) if isinstance(given, dict) else given)


def _of_body(body: Mapping[str, Any]) -> Chat | None:
    """A request's body, or one message."""
    if (turn := _turn(body)) is not None:
        return turn
    before = sum((instructions_of(body[key]) for key in _SYSTEM if key in body), Chat(()))
    for key in _TURNS:
        if body.get(key) and (chat := chat_of(body[key])) is not None:
            return before + chat
    prompts = body.get("prompts", body.get("prompt"))
    if isinstance(prompts, list) and len(prompts) == 1:
        prompts = prompts[0]
    return before + Chat((Message("user", prompts),)) if isinstance(prompts, str) and prompts else None


def _turn(turn: Mapping[str, Any]) -> Chat | None:
    """One message; None where the mapping is none."""
    if isinstance(turn.get("message"), Mapping) and "role" not in turn:  # of OpenInference
        return _turn(turn["message"])
    if isinstance(turn.get("kwargs"), Mapping) and isinstance(turn.get("id"), list) and turn["id"]:
        return _turn({"role": turn["id"][-1], **turn["kwargs"]})  # LangChain's own serialization
    if isinstance(turn.get("data"), Mapping) and "type" in turn:
        return _turn({"role": turn["type"], **turn["data"]})
    if turn.get("type") in ("function_call", "function_call_output"):  # OpenAI's responses
        return Chat((), "it holds calls of tools")
    role = turn.get("role", turn.get("message.role", turn.get("type")))
    if not isinstance(role, str):
        return None
    known = _ROLES.get(role.lower(), role.lower())
    keys = ("content", "parts", "message.content", "contents", "message.contents")
    content = next((turn[key] for key in keys if turn.get(key) not in (None, "", [])), None)
    if known not in _KNOWN or not (content is not None or "role" in turn or "message.role" in turn):
        return None
    found = _content(known, content)
    if known == "tool" or any(turn.get(key) for key in ("tool_calls", "message.tool_calls", "function_call")):
        return Chat(found.messages, "it holds calls of tools")
    return found


def _content(role: str, content: Any) -> Chat:
    """The texts of a message, each for itself, as they are compared with prompts."""
    if isinstance(content, str):
        return Chat((Message(role, content),))
    if content is None:
        return Chat(())
    parts = content if isinstance(content, list) else [content]
    texts: list[Message] = []
    lacking = ""
    for part in parts:
        text, other = _part(part)
        texts += [Message(role, text)] if text is not None else []
        lacking = lacking or other
    return Chat(tuple(texts), lacking)


def _part(part: Any) -> tuple[str | None, str]:
    """The text of a part, and what it is otherwise, in a sentence."""
    if isinstance(part, str):
        return part, ""
    if not isinstance(part, Mapping):
        return None, "it holds parts of an unknown form"
    inner = part.get("message_content")
    if isinstance(inner, Mapping):  # of OpenInference
        return _part(inner)
    kind = part.get("type", part.get("message_content.type"))
    text = next(
        (part[key] for key in ("text", "content", "message_content.text") if isinstance(part.get(key), str)),
        None,
    )
    if kind in _THOUGHTS:
        return None, ""
    if text is not None and (kind is None or kind in _TEXTS):
        return text, ""
    if isinstance(kind, str) and ("tool" in kind or "function" in kind):
        return None, "it holds calls of tools"
    return None, "it holds an image or another file"


# ---------------------------------------------------------------------------------------------------- answers

#: Keys of a reply whose value is a list of answers, of which the first counts.
_CHOICES = ("choices", "candidates", "generations", "completions")
#: What may stand beside a bare text, or a bare content, in a reply; with other keys it is JSON that the model
#: was asked for.
_BESIDE_TEXT = {"text", "finish_reason", "message", "generation_info", "index", "logprobs", "generationInfo"}
_BESIDE_CONTENT = {"content", "finish_reason", "stop_reason", "stop_sequence", "usage", "model", "id", "name"}


def answer_of(value: Any) -> str | None:
    """The text of a recorded answer; None where there is none.

    What is no form of a reply is the answer itself: a text, or JSON that the model was asked for.
    """
    given = parsed(value)
    if given in (None, "", [], {}):
        return None
    texts = _reply(given)
    if texts is not None:
        return "".join(texts) or None
    return value if isinstance(value, str) else json.dumps(given, ensure_ascii=False)


def _reply(given: Any) -> list[str] | None:
    """The texts of a reply; None where it has no known form."""
    if isinstance(given, list):
        return _of_list(given)
    if not isinstance(given, Mapping):
        return None
    for key in _CHOICES:
        if isinstance(given.get(key), list) and (found := _reply(given[key][:1])) is not None:
            return found
    if isinstance(given.get("output"), list) and (found := _reply(given["output"])) is not None:
        return found
    for key in ("message", "content"):  # a choice, a generation; a candidate of Gemini
        inner = given.get(key) if "role" not in given else None
        if isinstance(inner, Mapping) and (found := _reply(inner)) is not None:
            return found
    if (chat := _turn(given)) is not None:
        return [each.content for each in chat.messages]
    return _of_part(given)


def _of_list(given: list[Any]) -> list[str] | None:
    if len(given) == 1 and isinstance(given[0], list):
        return _of_list(given[0])
    found = [_reply(each) if isinstance(each, Mapping) else None for each in given]
    if not given or None in found:
        return None
    texts = [each for each in found if each]
    if all("role" in each for each in given):  # several answers to one request
        return texts[0] if texts else []
    return [text for each in texts for text in each]


def _of_part(given: Mapping[str, Any]) -> list[str] | None:
    kind, text, content = given.get("type"), given.get("text"), given.get("content")
    if kind in _THOUGHTS or (isinstance(kind, str) and kind in ("tool_use", "tool_call", "function_call")):
        return []
    if isinstance(text, str) and (kind in _TEXTS or given.keys() <= _BESIDE_TEXT):
        return [text]
    if isinstance(content, (str, list)) and given.keys() <= _BESIDE_CONTENT | {"type", "role"}:
        chat = _content("assistant", content)
        return [each.content for each in chat.messages]
    return None
