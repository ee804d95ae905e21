"""Model calls as attributes of spans."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.records import Answer, Call, Request, Usage
from pytest_promptopt.spans import names

#: What may be shown of a text: None where no contents are.
Shown = Callable[[str], str] | None

_PLAIN = (str, bool, int, float)


def operation_of(request: Request) -> str:
    return "embeddings" if request.embeds else "chat"


def of_paid(paid: PaidCall, shown: Shown) -> dict[str, Any]:
    """Of a call that was made and paid for."""
    request, answer = paid.request, paid.answer
    found: dict[str, Any] = {
        names.OPERATION: operation_of(request),
        names.PROVIDER: names.provider_of(request.model),
        names.REQUEST_MODEL: request.model,
        names.MAX_TOKENS: request.max_tokens,
        names.STOP_SEQUENCES: list(request.stop) or None,
        names.ROLE: paid.role.value,
        names.SOURCE: "model",
        names.ATTEMPTS: paid.attempts,
        names.SAMPLE: request.sample or None,
        names.COST: paid.spend.cost if not paid.spend.unpriced else None,
        names.ERROR_TYPE: None if paid.error is None else paid.error.kind.value,
    }
    for name, attribute in names.PARAMETERS.items():
        value = request.parameters.get(name)
        found[attribute] = value if isinstance(value, _PLAIN) else None
    if answer is not None:
        found |= _of_answer(answer)
    if shown is not None:
        found[names.INPUT_MESSAGES] = _input_messages(request, shown)
        if answer is not None:
            found[names.OUTPUT_MESSAGES] = _output_messages(answer.words, answer.stop_reason, shown)
    return given(found)


def of_known(call: Call, model: str, shown: Shown) -> dict[str, Any]:
    """Of an answer that was there already: no tokens, since none were used."""
    found: dict[str, Any] = {
        names.OPERATION: "embeddings" if call.embeds else "chat",
        names.PROVIDER: names.provider_of(model) if model else "unknown",
        names.REQUEST_MODEL: model or None,
        names.FINISH_REASONS: [call.stop_reason] if call.stop_reason else None,
        names.SOURCE: "cache" if call.cached else "session",
    }
    if shown is not None:
        found[names.OUTPUT_MESSAGES] = _output_messages(call.words, call.stop_reason, shown)
    return given(found)


def given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that have no value."""
    return {name: value for name, value in attributes.items() if value not in (None, "")}


def _of_answer(answer: Answer) -> dict[str, Any]:
    usage = answer.usage or Usage(0, 0)
    told = answer.usage is not None
    return {
        names.RESPONSE_MODEL: answer.model,
        names.FINISH_REASONS: [answer.stop_reason] if answer.stop_reason else None,
        # By the conventions the tokens of caches are a part of these.
        names.INPUT_TOKENS: usage.total - usage.output_tokens if told else None,
        names.OUTPUT_TOKENS: usage.output_tokens if told else None,
        names.CACHE_READ_TOKENS: usage.cache_read_tokens or None,
        names.CACHE_WRITE_TOKENS: usage.cache_write_tokens or None,
    }


def _input_messages(request: Request, shown: Callable[[str], str]) -> str:
    messages = [
        {"role": turn.role, "parts": [{"type": "text", "content": shown(turn.content)}]}
        for turn in request.messages
    ]
    return json.dumps(messages, ensure_ascii=False)


def _output_messages(text: str, stop_reason: str, shown: Callable[[str], str]) -> str:
    parts = [{"type": "text", "content": shown(text)}]
    said = {"role": "assistant", "parts": parts, "finish_reason": stop_reason}
    return json.dumps([said], ensure_ascii=False)
