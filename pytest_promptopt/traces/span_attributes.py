"""What the attributes of a span tell of a call.

Known are OpenTelemetry's GenAI conventions of all years, OpenInference, OpenLLMetry, the Vercel AI SDK and
Langfuse's own attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_promptopt.records import Message
from pytest_promptopt.traces.chat_values import Chat, answer_of, chat_of, instructions_of

#: Operations that ask a model for an answer; spans of agents and workflows hold the same messages again.
OPERATIONS = ("chat", "generate_content", "text_completion")

#: Attributes that hold a whole conversation as one value, the surest first.
_INPUTS = (
    "gen_ai.input.messages", "gen_ai.request.messages", "llm.input_messages", "gen_ai.prompt",
    "ai.prompt.messages", "ai.prompt", "langfuse.observation.input", "input.value", "input",
)  # fmt: skip
_OUTPUTS = (
    "gen_ai.output.messages", "gen_ai.response.messages", "llm.output_messages", "gen_ai.completion",
    "ai.response.text", "ai.response.object", "langfuse.observation.output", "output.value", "output",
)  # fmt: skip
#: Those that hold it flat, a number in each name: ``gen_ai.prompt.0.content``.
_FLAT_INPUTS = ("llm.input_messages", "gen_ai.prompt", "gen_ai.input.messages")
_FLAT_OUTPUTS = ("llm.output_messages", "gen_ai.completion", "gen_ai.output.messages")

_MODELS = (
    "gen_ai.request.model", "llm.model_name", "llm.request.model", "ai.model.id", "gen_ai.response.model",
)  # fmt: skip

#: Events of older conventions: one for each message, or one for all.
_MESSAGE_EVENTS = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
DETAILS = "gen_ai.client.inference.operation.details"
_INPUT_EVENTS = ("gen_ai.content.prompt", DETAILS)
_OUTPUT_EVENTS = ("gen_ai.content.completion", DETAILS)

#: The name and the attributes of an event; what a log record has as its body is under `BODY`.
Event = tuple[str, Mapping[str, Any]]
BODY = "(body)"


def is_call(attributes: Mapping[str, Any]) -> bool:
    """Whether a span is the call of a model that answers with a text."""
    operation = attributes.get("gen_ai.operation.name")
    if operation is not None:
        return operation in OPERATIONS
    kind = attributes.get("openinference.span.kind")
    if kind is not None:
        return str(kind).upper() == "LLM"
    kind = attributes.get("langfuse.observation.type")
    if kind is not None:
        return str(kind).lower() == "generation"
    for name in ("llm.request.type", "gen_ai.request.type"):
        if name in attributes:
            return attributes[name] in ("chat", "completion")
    if "traceloop.span.kind" in attributes:
        return False  # a workflow, a task, an agent or a tool
    if (step := attributes.get("ai.operationId")) is not None:
        return str(step).endswith((".doGenerate", ".doStream"))
    named = ("gen_ai.request.model", "gen_ai.system", "gen_ai.prompt", *_FLAT_INPUTS)
    return any(name in attributes or f"{name}.0.role" in attributes for name in named)


def model_of(attributes: Mapping[str, Any]) -> str:
    """The model as it was asked for; empty where nobody says."""
    return next((str(attributes[name]) for name in _MODELS if attributes.get(name)), "")


def asked_of(attributes: Mapping[str, Any], events: Iterable[Event] = ()) -> Chat:
    """What the model was asked; without messages where the contents were not recorded."""
    events = list(events)
    sources = [attributes, *(given for name, given in events if name in _INPUT_EVENTS)]
    for source in sources:
        chat = _whole(source, _INPUTS[:3]) or _flat(source, _FLAT_INPUTS) or _whole(source, _INPUTS[3:])
        if chat is not None and (chat.messages or chat.incomplete):
            before = instructions_of(source.get("gen_ai.system_instructions"))
            return before + chat
    turns = [
        _of_event(role, given) for name, given in events if (role := _MESSAGE_EVENTS.get(name)) is not None
    ]
    return sum(turns, Chat(()))


def answered_by(attributes: Mapping[str, Any], events: Iterable[Event] = ()) -> str | None:
    """What the model has answered; None where it was not recorded."""
    events = list(events)
    for source in (attributes, *(given for name, given in events if name in _OUTPUT_EVENTS)):
        values = [source[name] for name in _OUTPUTS[:3] if name in source]
        values += [flat for name in _FLAT_OUTPUTS if (flat := _numbered(source, name))][:1]
        values += [source[name] for name in _OUTPUTS[3:] if name in source]
        for value in values:
            if (answer := answer_of(value)) is not None:
                return answer
    for name, given in events:
        if name == "gen_ai.choice":
            return answer_of(given.get(BODY) or dict(given))
    return None


def _whole(source: Mapping[str, Any], names: Iterable[str]) -> Chat | None:
    for name in names:
        if name in source and (chat := chat_of(source[name])) is not None:
            return chat
    return None


def _flat(source: Mapping[str, Any], prefixes: Iterable[str]) -> Chat | None:
    for prefix in prefixes:
        turns = _numbered(source, prefix)
        if turns and (chat := chat_of(turns)) is not None:
            return chat
    return None


def _numbered(source: Mapping[str, Any], prefix: str) -> list[Any]:
    """The list that flat names stand for: ``PREFIX.0.message.content`` and so on."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d{1,6})\.(.+)", re.DOTALL)
    found: dict[int, dict[str, Any]] = {}
    for name, value in source.items():
        if (match := pattern.fullmatch(name)) is not None:
            found.setdefault(int(match[1]), {})[match[2]] = value
    return [_nested(found[number]) for number in sorted(found)]


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """One message from its flat names: ``message.contents.0.message_content.text`` and so on."""
    turn: dict[str, Any] = {}
    for name, value in flat.items():
        short = name.removeprefix("message.")
        if short.split(".")[0] in ("contents", "tool_calls", "content", "parts") and "." in short:
            turn.setdefault("(lists)", {})[short] = value
        else:
            turn[short] = value
    lists = turn.pop("(lists)", {})
    for key in ("contents", "content", "parts", "tool_calls"):
        if parts := _numbered({f"p.{name}": value for name, value in lists.items()}, f"p.{key}"):
            turn[key] = [
                {name.removeprefix("message_content."): value for name, value in part.items()}
                for part in parts
            ]
    return turn


def _of_event(role: str, given: Mapping[str, Any]) -> Chat:
    body = given.get(BODY)
    content = body.get("content") if isinstance(body, Mapping) else given.get("content", body)
    if content is None:
        return Chat(())
    chat = chat_of([{"role": role, "content": content}])
    return chat if chat is not None else Chat((Message(role, str(content)),))
