"""OTLP as JSON: from resource spans and resource logs to plain spans and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.traces.span_attributes import BODY, Event

#: Keys of the lists, in the forms of the protocol's versions and of Tempo.
_RESOURCES = ("resourceSpans", "resource_spans", "batches")
_LOGS = ("resourceLogs", "resource_logs")
_SCOPES = (
    "scopeSpans", "scope_spans", "instrumentationLibrarySpans", "scopeLogs", "scope_logs",
)  # fmt: skip


@dataclass(frozen=True)
class PlainSpan:
    """A span with its attributes as plain values.

    :param events: what happened in it.
    """

    id: str
    trace: str
    attributes: Mapping[str, Any]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class PlainLog:
    """A log record that is an event of a span."""

    span: str
    trace: str
    event: Event


def is_otlp(value: Mapping[str, Any]) -> bool:
    """Whether a value is an export request, as the collector's file exporter writes it a line."""
    inner = value.get("trace", value)
    keys = (*_RESOURCES, *_LOGS, "resourceMetrics", "resource_metrics")
    return isinstance(inner, Mapping) and any(isinstance(inner.get(key), list) for key in keys)


def spans_in(value: Mapping[str, Any]) -> Iterator[PlainSpan]:
    """The spans of an export request."""
    for span in _records(value, _RESOURCES, ("spans",)):
        events = [
            (str(event.get("name", "")), attributes_of(event.get("attributes")))
            for event in _mappings(span.get("events"))
        ]
        yield PlainSpan(
            id_of(span.get("spanId", span.get("span_id"))),
            id_of(span.get("traceId", span.get("trace_id"))),
            attributes_of(span.get("attributes")),
            tuple(events),
        )


def logs_in(value: Mapping[str, Any]) -> Iterator[PlainLog]:
    """The log records of an export request."""
    for record in _records(value, _LOGS, ("logRecords", "log_records")):
        attributes = attributes_of(record.get("attributes"))
        name = record.get("eventName") or record.get("event_name") or attributes.get("event.name") or ""
        body = record.get("body")
        if isinstance(body, Mapping):
            attributes = {**attributes, BODY: plain(body)}
        yield PlainLog(
            id_of(record.get("spanId", record.get("span_id"))),
            id_of(record.get("traceId", record.get("trace_id"))),
            (str(name), attributes),
        )


def id_of(value: object) -> str:
    """An id of a span or a trace, in one form for all tools: hexadecimal digits without ``0x``."""
    return value.lower().removeprefix("0x") if isinstance(value, str) else ""


def attributes_of(value: Any) -> dict[str, Any]:
    """Attributes as plain values, from OTLP's list of keys and values, or from a mapping."""
    if isinstance(value, Mapping):
        return {str(key): each for key, each in value.items()}
    return {
        each["key"]: plain(each.get("value")) for each in _mappings(value) if isinstance(each.get("key"), str)
    }


def plain(value: Any) -> Any:
    """OTLP's AnyValue as the value that it wraps."""
    if not isinstance(value, Mapping):
        return value
    for kind, inner in value.items():
        name = kind.replace("_", "").lower()
        if name in ("stringvalue", "boolvalue", "bytesvalue", "doublevalue"):
            return inner
        if name == "intvalue":
            return int(inner) if isinstance(inner, str) and inner.lstrip("-").isdecimal() else inner
        if name == "arrayvalue":
            return [plain(each) for each in (inner or {}).get("values") or ()]
        if name == "kvlistvalue":
            return attributes_of((inner or {}).get("values"))
    return None


def _records(
    value: Mapping[str, Any], outer: tuple[str, ...], inner: tuple[str, ...]
) -> Iterator[Mapping[str, Any]]:
    around = value.get("trace", value)
    for resource in _under(around, outer):
        for scope in _under(resource, _SCOPES):
            yield from _under(scope, inner)


def _under(value: Any, keys: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    for key in keys:
        yield from _mappings(value.get(key))


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, Mapping))
