"""What a model is asked and what it answers: frozen records, JSON-like inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from json import dumps
from typing import Any

from pytest_promptopt.records.content import (
    File,
    Part,
    Thought,
    ToolCall,
    files_of,
    part_from_json,
    part_key,
    part_to_json,
    written_calls,
)
from pytest_promptopt.wire_records import WireAnswer, WireRequest

#: The version of stored answers, part of every cache key: add one when an old answer would mean something
#: else. The journal and the fingerprint of a run have versions of their own, so a change of them throws no
#: answer away.
ANSWER_SCHEMA = 1

#: What providers call the length of an answer besides ``max_tokens``: one setting, `Request.max_tokens`.
LENGTH_NAMES = frozenset(
    {
        "max_completion_tokens",
        "max_output_tokens",
        "max_new_tokens",
        "max_tokens_to_sample",
        "maxOutputTokens",
        "num_predict",
        "n_predict",
    }
)

#: One that some models of a provider take and others refuse, so it is sent as it was given.
SPELLED = "max_completion_tokens"


class StopReason(StrEnum):
    """Why a model stopped, in one vocabulary; a reason not listed here is kept as the provider's own word."""

    END = "end_turn"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    REFUSAL = "refusal"


@dataclass(frozen=True)
class Message:
    """One turn of a chat; `role` is ``system``, ``user``, ``assistant`` or ``tool`` (results of calls).

    :param content: its text; of a turn with `parts` what a person reads of them, never the bytes of a file.
    :param parts: what is sent in the place of `content`; empty for a turn that is a text.
    """

    role: str
    content: str
    parts: tuple[Part, ...] = ()

    def to_json(self) -> list[Any]:
        """Role, content and, where there are any, the parts as plain data."""
        parts = [[part_to_json(part) for part in self.parts]] if self.parts else []
        return [self.role, self.content, *parts]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Message:
        """The turn that `to_json` has written."""
        role, content, *parts = data
        return cls(role, content, tuple(map(part_from_json, parts[0])) if parts else ())


@dataclass(frozen=True)
class Request:
    """Everything that decides a model's answer.

    :param model: ``provider/model`` or ``demo``, as resolved.
    :param parameters: further provider parameters (temperature, top_p, ...), passed through.
    :param sample: which of several independent answers to the same question this is; from 0.
    :param wire: what the code under test sends by itself; the other fields then say what that means.
    :param tools: functions that the model may call, each with ``name``, ``description``, ``parameters`` (a
        JSON schema) and ``strict``.
    :param tool_choice: ``mode`` (``auto``, ``required``, ``none``, ``tool``), ``name`` of the one tool, and
        ``parallel``; None for the provider's choice.
    :param embeds: whether the embedding of its one message is wanted, and no answer.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    response_schema: Mapping[str, Any] | None = None
    sample: int = 0
    wire: WireRequest | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Mapping[str, Any] | None = None
    embeds: bool = False

    @cached_property
    def key(self) -> str:
        """sha256 over all that decides the answer and `ANSWER_SCHEMA`: equal keys, equal question."""
        parts = [
            ANSWER_SCHEMA,
            self.model,
            self._turns(),
            self.max_tokens,
            list(self.stop),
            self.parameters,
            self.response_schema,
            self.sample,
        ]
        if self.tools or self.tool_choice:  # the key of a request without any stays what it was
            parts.append({"tools": list(self.tools), "tool_choice": self.tool_choice})
        if self.embeds:
            parts.append({"embeds": True})
        if self.wire is not None:
            parts = [ANSWER_SCHEMA, self.wire.to_json(), self.sample]
        text = dumps(parts, sort_keys=True, separators=(",", ":"), default=_unserializable)
        return sha256(text.encode()).hexdigest()

    @property
    def files(self) -> tuple[File, ...]:
        """All images and documents that go along, also those in results of tools."""
        return tuple(file for turn in self.messages for part in turn.parts for file in files_of(part))

    def _turns(self) -> list[list[Any]]:
        """What of the messages decides the answer: of a file what its bytes are, not where they stand."""
        ids = dict[str, str]()
        return [
            [turn.role, [part_key(part, ids) for part in turn.parts] if turn.parts else turn.content]
            for turn in self.messages
        ]

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data; the messages as lists of role, content and parts."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "messages": [message.to_json() for message in self.messages],
            "tools": [dict(tool) for tool in self.tools],
            "stop": list(self.stop),
            "parameters": dict(self.parameters),
            "wire": None if self.wire is None else self.wire.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Request:
        """The same request, of the same key, from what `to_json` has written."""
        wire = None if data.get("wire") is None else WireRequest.from_json(data["wire"])
        read = {
            "messages": tuple(map(Message.from_json, data["messages"])),
            "stop": tuple(data["stop"]),
            "tools": tuple(data.get("tools", ())),
            "wire": wire,
        }
        return cls(**{**data, **read})


def _unserializable(value: object) -> object:
    raise TypeError(f"a model parameter must be JSON-like, got {type(value).__name__}: {value!r}")


@dataclass(frozen=True)
class Usage:
    """Tokens of one call in counters that do not overlap: `input_tokens` excludes cache reads and writes."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(frozen=True)
class Answer:
    """A model's answer as it was paid for.

    :param stop_reason: a `StopReason` value or the provider's own word.
    :param usage: None when the provider did not say.
    :param cost: US dollars; None when the price is unknown (never 0 for that).
    :param latency: seconds of the successful attempt.
    :param thinking: what the model thought aloud before its answer; no part of the text.
    :param wire: what the server sent, for a request of the application's own.
    :param tool_calls: the tools that it calls, in order; its text may then be empty.
    :param thoughts: its thinking as the provider wants it back with the results of these calls.
    """

    text: str
    model: str
    stop_reason: str
    usage: Usage | None
    cost: float | None
    latency: float
    thinking: str = ""
    wire: WireAnswer | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    thoughts: tuple[Thought, ...] = ()

    @property
    def words(self) -> str:
        """Its text; of an answer that only calls tools, the calls as JSON."""
        return self.text or written_calls(self.tool_calls)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data; `usage` as its four counters in their order."""
        return {
            "text": self.text,
            "model": self.model,
            "stop_reason": self.stop_reason,
            "usage": self.usage and list(astuple(self.usage)),
            "cost": self.cost,
            "latency": self.latency,
            **({"thinking": self.thinking} if self.thinking else {}),
            **({} if self.wire is None else {"wire": self.wire.to_json()}),
            **({"tool_calls": [vars(call) for call in self.tool_calls]} if self.tool_calls else {}),
            **({"thoughts": [vars(thought) for thought in self.thoughts]} if self.thoughts else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Answer:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` did not write."""
        usage = data["usage"]
        if not isinstance(data["text"], str) or not isinstance(data["stop_reason"], str):
            raise TypeError("text and stop_reason must be strings")
        return cls(
            text=data["text"],
            model=str(data["model"]),
            stop_reason=data["stop_reason"],
            usage=None if usage is None else Usage(*(int(n) for n in usage)),
            cost=None if data["cost"] is None else float(data["cost"]),
            latency=float(data["latency"]),
            thinking=str(data.get("thinking", "")),
            wire=WireAnswer.from_json(data["wire"]) if "wire" in data else None,
            tool_calls=tuple(ToolCall(**call) for call in data.get("tool_calls", ())),
            thoughts=tuple(Thought(**thought) for thought in data.get("thoughts", ())),
        )
