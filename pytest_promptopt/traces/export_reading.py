"""Exports of tracing tools: which tool has written a value, and the calls and the feedback in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.text import quote
from pytest_promptopt.traces import langfuse_rows
from pytest_promptopt.traces.json_stream import read_values
from pytest_promptopt.traces.otlp_values import (
    PlainLog,
    PlainSpan,
    attributes_of,
    id_of,
    is_otlp,
    logs_in,
    spans_in,
)
from pytest_promptopt.traces.recorded_call import Export, Feedback, RecordedCall
from pytest_promptopt.traces.reviews import named_for_people, number_of
from pytest_promptopt.traces.span_attributes import DETAILS, Event, answered_by, asked_of, is_call, model_of

ACCEPTED = (
    "accepted are OTLP as JSON (`resourceSpans`), spans with `attributes` as OpenTelemetry's exporters and "
    "Phoenix write them, and Langfuse's observations and scores"
)

_EVALUATION = "gen_ai.evaluation.result"
#: Keys of a page of an API, or of a file, whose value is a list of what we look for.
_PAGES = ("data", "spans", "observations", "scores", "corrections", "annotations", "traces")


def read_exports(files: Iterable[tuple[Path, str]]) -> Export:
    """All that the files hold, read as one. Raises `SettingsError` with ``file:line``.

    :param files: each with its name for messages.
    """
    reader = _Reader()
    for path, name in files:
        read = False
        for line, value in read_values(path, name):
            try:
                reader.take(value, f"{name}:{line}")
            except RecursionError:
                raise SettingsError(f"{name}:{line}: it is nested too deeply") from None
            read = True
        if not read:
            raise SettingsError(f"{name}:1: there is nothing in it; {ACCEPTED}")
    return reader.export()


class _Reader:
    def __init__(self) -> None:
        self._found = Export()
        self._logs: list[PlainLog] = []
        self._spans: list[tuple[PlainSpan, str]] = []

    def export(self) -> Export:
        """What was found, with the events of log records given to their spans."""
        events: dict[str, list[Event]] = {}
        for log in self._logs:
            if log.event[0] == _EVALUATION:
                self._found.feedback.append(_evaluation(log.event[1], log.span, log.trace))
            else:
                events.setdefault(log.span, []).append(log.event)
        for span, where in self._spans:
            own = (*span.events, *events.pop(span.id, ()))
            self._take_span(span, own, where)
        for log in self._logs:  # of spans that are not in the export
            if log.event[0] == DETAILS and log.span in events:
                own_events = tuple(events.pop(log.span))
                self._take_span(PlainSpan(log.span, log.trace, log.event[1]), own_events, "")
        return self._found

    def take(self, value: Any, where: str) -> None:
        """Take in one value of a file. Raises `SettingsError` when nobody has written such a one."""
        if isinstance(value, list):
            for each in value:
                self.take(each, where)
            return
        if not isinstance(value, Mapping):
            raise SettingsError(f"{where}: it is no export of traces: got {quote(value)}; {ACCEPTED}")
        if not self._took(value, where):
            keys = ", ".join(f"`{key}`" for key in list(value)[:6]) or "none"
            raise SettingsError(f"{where}: it is of no known export: its keys are {keys}; {ACCEPTED}")

    def _took(self, value: Mapping[str, Any], where: str) -> bool:
        if is_otlp(value):
            self._found.note_format("OTLP")
            for each in spans_in(value):
                self._hold(each, where)
            self._logs += logs_in(value)
        elif (span := _single_span(value)) is not None:
            self._found.note_format("spans")
            self._hold(span, where)
            given = value.get("annotations")
            for one in given if isinstance(given, list) else ():
                if isinstance(one, Mapping):
                    self._found.feedback.append(_annotation(one, span.id))
        elif "annotator_kind" in value or "annotatorKind" in value:
            self._found.feedback.append(_annotation(value, id_of(value.get("span_id", value.get("spanId")))))
        else:
            return self._took_langfuse(value, where)
        return True

    def _took_langfuse(self, value: Mapping[str, Any], where: str) -> bool:
        if langfuse_rows.is_observation(value):
            self._found.note_format("Langfuse")
            self._found.traces[id_of(value["id"])] = id_of(langfuse_rows.value_under(value, "traceId"))
            if (call := langfuse_rows.call_of(value, where)) is None:
                self._found.others += 1
            else:
                self._found.calls.append(call)
        elif langfuse_rows.is_score(value):
            self._found.feedback.append(langfuse_rows.feedback_of(value))
        elif isinstance(value.get("trace"), Mapping) and langfuse_rows.is_trace({**value, **value["trace"]}):
            self.take({**value, **value["trace"], "trace": None}, where)
        else:
            pages = [value[key] for key in _PAGES if isinstance(value.get(key), (list, dict))]
            for page in pages:
                named = [] if isinstance(page, dict) or "id" not in value else page
                # A list of traces names their observations by ids only.
                self.take([each for each in named if isinstance(each, dict)] if named else page, where)
            is_bare_trace = not pages and all(key in value for key in ("id", "timestamp", "input"))
            self._found.others += is_bare_trace
            return bool(pages) or is_bare_trace
        return True

    def _hold(self, span: PlainSpan, where: str) -> None:
        """Keep a call until all log records are there, which may hold its contents; count all else."""
        if is_call(span.attributes):
            self._spans.append((span, where))
        else:
            self._take_span(span, span.events, where)

    def _take_span(self, span: PlainSpan, events: tuple[Event, ...], where: str) -> None:
        for name, given in events:
            if name == _EVALUATION:
                self._found.feedback.append(_evaluation(given, span.id, span.trace))
        self._found.traces[span.id] = span.trace
        if not is_call(span.attributes):
            self._found.others += 1
            return
        chat = asked_of(span.attributes, events)
        self._found.calls.append(
            RecordedCall(
                chat.messages,
                answered_by(span.attributes, events),
                span.id,
                span.trace,
                model_of(span.attributes),
                chat.incomplete,
                where,
            )
        )


def _single_span(value: Mapping[str, Any]) -> PlainSpan | None:
    """A span as OpenTelemetry's console exporters and Phoenix write it, or a row of Phoenix's data frame."""
    flat = {
        key.removeprefix("attributes."): each for key, each in value.items() if key.startswith("attributes.")
    }
    if flat:
        flat.setdefault("openinference.span.kind", value.get("span_kind"))
        ids = [value.get(f"context.{name}", value.get(name)) for name in ("span_id", "trace_id")]
        return PlainSpan(id_of(ids[0]), id_of(ids[1]), _without_missing(flat), _events_of(value))
    names = ("name", "context", "spanContext", "span_id", "spanId")
    if not isinstance(value.get("attributes"), (Mapping, list)) or not any(name in value for name in names):
        return None
    context = next(
        (value[key] for key in ("context", "spanContext") if isinstance(value.get(key), Mapping)), value
    )
    span = context.get("span_id", context.get("spanId", value.get("id")))
    trace = context.get("trace_id", context.get("traceId", value.get("traceId")))
    attributes = attributes_of(value["attributes"])
    if value.get("span_kind"):
        attributes.setdefault("openinference.span.kind", value["span_kind"])
    return PlainSpan(id_of(span), id_of(trace), _flattened(attributes), _events_of(value))


def _events_of(value: Mapping[str, Any]) -> tuple[Event, ...]:
    events = value.get("events")
    return tuple(
        (str(each.get("name", "")), attributes_of(each.get("attributes")))
        for each in (events if isinstance(events, list) else ())
        if isinstance(each, Mapping)
    )


def _without_missing(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _flattened(attributes: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Attributes that Phoenix nests (``{"llm": {"model_name": ...}}``) with dots again; lists stay."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        whole = f"{before}{name}"
        if isinstance(value, Mapping) and before.count(".") < 4:
            found |= _flattened(value, f"{whole}.")
        elif value is not None:
            found[whole] = value
    return found


def _evaluation(given: Mapping[str, Any], span: str, trace: str) -> Feedback:
    """An evaluation by the conventions, which have no word for who gave it but its name."""
    name = str(given.get("gen_ai.evaluation.name", ""))
    return Feedback(
        name,
        named_for_people(name),
        span,
        trace,
        number_of(given.get("gen_ai.evaluation.score.value")),
        str(given.get("gen_ai.evaluation.score.label") or ""),
        explanation=str(given.get("gen_ai.evaluation.explanation") or ""),
    )


def _annotation(value: Mapping[str, Any], span: str) -> Feedback:
    """An annotation of Phoenix."""
    result = value["result"] if isinstance(value.get("result"), Mapping) else value
    kind = str(value.get("annotator_kind", value.get("annotatorKind", ""))).upper()
    return Feedback(
        str(value.get("name", "")),
        kind == "HUMAN",
        span,
        "",
        number_of(result.get("score")),
        str(result.get("label") or ""),
        explanation=str(result.get("explanation") or ""),
    )
