"""Exports of tracing tools in the forms that they really have, with calls of our own in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROMPT = """\
You route the tickets of a web shop.
Answer with one word: billing, delivery or account.

Ticket: {{ ticket }}
"""

#: A call: the ticket, and the answer.
Told = tuple[str, str]


def asked(ticket: str) -> str:
    """What the application sends for a ticket."""
    return PROMPT.replace("{{ ticket }}", ticket).strip()


def otlp(spans: Sequence[Mapping[str, Any]], number: int = 1) -> dict[str, Any]:
    """An export request, as the collector's file exporter writes it on a line.

    :param spans: the attributes of each; under ``events`` its events, by name.
    """
    written = []
    for place, attributes in enumerate(spans):
        events = [
            {"timeUnixNano": "1774443663901636200", "name": name, "attributes": key_values(given)}
            for name, given in attributes.get("events", {}).items()
        ]
        written.append(
            {
                "traceId": f"{number:032x}",
                "spanId": f"{number:08x}{place:08x}",
                "name": "chat",
                "kind": 3,
                "startTimeUnixNano": "1774443662856000000",
                "endTimeUnixNano": "1774443663901636200",
                "attributes": key_values({k: v for k, v in attributes.items() if k != "events"}),
                "events": events,
                "status": {"code": 1},
            }
        )
    scope = {"scope": {"name": "some.instrumentation", "version": "1.0"}, "spans": written}
    resource = {"attributes": key_values({"service.name": "shop"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def key_values(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP writes them."""
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


def any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": key_values(value)}}
    return {"stringValue": value}


def conventions(ticket: str, answer: str, **events: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a call by the GenAI conventions of now."""
    messages = [{"role": "user", "parts": [{"type": "text", "content": asked(ticket)}]}]
    said = {"role": "assistant", "parts": [{"type": "text", "content": answer}], "finish_reason": "stop"}
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.input.messages": json.dumps(messages),
        "gen_ai.output.messages": json.dumps([said]),
        "events": events,
    }


def openllmetry(ticket: str, answer: str) -> dict[str, Any]:
    """The attributes of a call as OpenLLMetry has long written them."""
    return {
        "gen_ai.system": "OpenAI",
        "llm.request.type": "chat",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": asked(ticket),
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": answer,
        "gen_ai.completion.0.finish_reason": "stop",
        "llm.usage.total_tokens": 33,
    }


def openinference(ticket: str, answer: str) -> dict[str, Any]:
    """The attributes of a call as OpenInference has them."""
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": asked(ticket)}]}
    reply = {"choices": [{"index": 0, "message": {"role": "assistant", "content": answer}}]}
    return {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-5-mini-2026-01-01",
        "input.value": json.dumps(body),
        "input.mime_type": "application/json",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": asked(ticket),
        "output.value": json.dumps(reply),
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": answer,
        "llm.token_count.prompt": 30,
    }


def phoenix_span(attributes: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A span as Phoenix's REST interface and its command line write it."""
    return {
        "id": f"U3Bhbjo{number}",
        "name": "ChatCompletion",
        "context": {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"},
        "span_kind": "LLM",
        "parent_id": None,
        "start_time": "2026-11-03T13:30:50.306000+00:00",
        "end_time": "2026-11-03T13:30:51.306000+00:00",
        "status_code": "OK",
        "status_message": "",
        "attributes": dict(attributes),
        "events": [],
    }


def annotation(number: int, label: str, kind: str = "HUMAN", **result: Any) -> dict[str, Any]:
    """An annotation of Phoenix, about `phoenix_span(..., number)`."""
    return {
        "id": "U3Bhbi",
        "span_id": f"{number:016x}",
        "name": "correctness",
        "annotator_kind": kind,
        "result": {"label": label, "score": None, "explanation": None, **result},
        "metadata": {},
        "source": "APP",
        "identifier": "",
    }


def observation(ticket: str, answer: str, number: int, **more: Any) -> dict[str, Any]:
    """An observation of Langfuse, as its interface and the button of its page write it."""
    return {
        "id": f"obs-{number}",
        "traceId": f"trace-{number}",
        "type": "GENERATION",
        "name": "route",
        "startTime": "2026-11-03T13:30:57.251Z",
        "endTime": "2026-11-03T13:30:58.513Z",
        "model": "gpt-5-mini",
        "modelParameters": {"temperature": 0},
        "input": [{"role": "user", "content": asked(ticket)}],
        "output": {"role": "assistant", "content": answer},
        "level": "DEFAULT",
        "parentObservationId": None,
        "usageDetails": {"input": 30, "output": 1},
        **more,
    }


def exported_row(ticket: str, answer: str, number: int) -> dict[str, Any]:
    """The same as Langfuse's export to a blob storage writes it: snake case, contents as texts."""
    return {
        "id": f"obs-{number}",
        "trace_id": f"trace-{number}",
        "type": "GENERATION",
        "name": "route",
        "start_time": "2026-11-03 13:30:57.251000",
        "provided_model_name": "gpt-5-mini",
        "input": json.dumps([{"role": "user", "content": asked(ticket)}]),
        "output": answer,
    }


def score(number: int, value: Any, **more: Any) -> dict[str, Any]:
    """A score of Langfuse about the trace of `observation(..., number)`."""
    return {
        "id": f"score-{number}",
        "traceId": f"trace-{number}",
        "observationId": None,
        "name": "user-feedback",
        "value": value,
        "stringValue": None,
        "dataType": "BOOLEAN",
        "source": "API",
        "comment": None,
        **more,
    }


def write_lines(path: Path, values: Sequence[Any]) -> Path:
    """JSON lines."""
    path.write_text("".join(json.dumps(each) + "\n" for each in values), encoding="utf-8")
    return path
