"""What the commands of Claude Code and Codex print: the answer, why it ended, the tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json import dumps, loads
from typing import Any

from pytest_promptopt.errors import ErrorKind
from pytest_promptopt.models.answer_validation import usage_of
from pytest_promptopt.records import StopReason, Usage


@dataclass(frozen=True)
class CliReply:
    """The answer of a command."""

    text: str
    stop_reason: str
    usage: Usage | None


class NoReply(Exception):
    """A command has printed no answer.

    :param said: why, in its words; empty when it does not say.
    :param kind: None where the words must tell.
    """

    def __init__(self, said: str = "", kind: ErrorKind | None = None) -> None:
        super().__init__(said)
        self.said = said
        self.kind = kind


def read_claude(output: str) -> CliReply:
    """The object that ``claude -p --output-format json`` prints. Raises `NoReply`."""
    found = next((each for each in reversed(list(_objects(output))) if each.get("type") == "result"), None)
    if found is None:
        raise NoReply()
    said = found.get("result")
    if found.get("is_error") or found.get("subtype") not in ("success", None):
        told = found.get("errors") or said or found.get("subtype") or ""
        raise NoReply(told if isinstance(told, str) else dumps(told))
    structured = found.get("structured_output")
    text = dumps(structured, ensure_ascii=False) if structured is not None else said
    if not isinstance(text, str):
        raise NoReply("the result is no text", ErrorKind.MALFORMED)
    usage: Any = found.get("usage") if isinstance(found.get("usage"), Mapping) else {}
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    reason = found.get("stop_reason")
    return CliReply(
        text,
        reason if isinstance(reason, str) else StopReason.END,
        usage_of(*(usage.get(name) for name in names)),
    )


def read_codex(output: str) -> CliReply:
    """The events that ``codex exec --json`` prints. Raises `NoReply`."""
    text, usage, failed = None, None, ""
    for event in _objects(output):
        kind, item = event.get("type"), event.get("item")
        if kind == "item.completed" and isinstance(item, Mapping) and item.get("type") == "agent_message":
            text = item.get("text")
        elif kind == "turn.completed":
            usage = event.get("usage")
        elif kind in ("turn.failed", "error"):
            failed = _message(event.get("error", event)) or failed
    if not isinstance(text, str) or (failed and usage is None):
        raise NoReply(failed)
    counted: Any = usage if isinstance(usage, Mapping) else {}
    read, asked = counted.get("cached_input_tokens") or 0, counted.get("input_tokens")
    fresh = asked - read if isinstance(asked, int) and isinstance(read, int) else asked
    return CliReply(text, StopReason.END, usage_of(fresh, counted.get("output_tokens"), read))


def _message(error: Any) -> str:
    said = error.get("message") if isinstance(error, Mapping) else error
    return said if isinstance(said, str) else ""


def _objects(output: str) -> Iterator[Mapping[str, Any]]:
    """The JSON objects in what was printed: one on each line, or one list or object in all."""
    try:
        whole = loads(output)
    except (ValueError, RecursionError):
        whole = [_parsed(line) for line in output.splitlines() if line.strip().startswith("{")]
    for each in whole if isinstance(whole, list) else [whole]:
        if isinstance(each, Mapping):
            yield each


def _parsed(line: str) -> Any:
    try:
        return loads(line)
    except (ValueError, RecursionError):
        return None
