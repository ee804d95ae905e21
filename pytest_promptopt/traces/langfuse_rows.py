"""Langfuse's observations and scores, as its page, its API and its blob storage export write them.

Keys are ``traceId`` or ``trace_id``; inputs and outputs are JSON, or texts that hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_promptopt.traces.chat_values import answer_of, chat_of
from pytest_promptopt.traces.otlp_values import id_of
from pytest_promptopt.traces.recorded_call import Feedback, RecordedCall
from pytest_promptopt.traces.reviews import named_for_people, number_of

TYPES = (
    "GENERATION", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING",
    "GUARDRAIL",
)  # fmt: skip


def value_under(row: Mapping[str, Any], key: str) -> Any:
    """The value under a key in camel case, or in the snake case of the blob storage export."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
    return row.get(key, row.get(snake))


def is_observation(row: Mapping[str, Any]) -> bool:
    return "id" in row and value_under(row, "traceId") is not None and row.get("type") in TYPES


def is_score(row: Mapping[str, Any]) -> bool:
    """Whether it is a score; those in the tables of observations do not say who gave them."""
    return (
        "name" in row
        and "value" in row
        and (value_under(row, "dataType") is not None or row.get("source") in ("ANNOTATION", "API", "EVAL"))
    )


def is_trace(row: Mapping[str, Any]) -> bool:
    """Whether it is a whole trace, with its observations."""
    return isinstance(row.get("observations"), list)


def call_of(row: Mapping[str, Any], where: str) -> RecordedCall | None:
    """The call that an observation is; None for one of another kind."""
    if row.get("type") != "GENERATION":
        return None
    chat = chat_of(row.get("input"))
    model = value_under(row, "model") or value_under(row, "providedModelName") or ""
    return RecordedCall(
        () if chat is None else chat.messages,
        answer_of(row.get("output")),
        id_of(row["id"]),
        id_of(value_under(row, "traceId")),
        str(model),
        "" if chat is None else chat.incomplete,
        where,
    )


def _subject(row: Mapping[str, Any], kind: str) -> object:
    """What a score is about, as the third version of the API says it."""
    subject = row.get("subject")
    return subject.get("id") if isinstance(subject, Mapping) and subject.get("kind") == kind else None


def feedback_of(row: Mapping[str, Any]) -> Feedback:
    """A score. One of the source ``API`` is a person's where its name says so: programs use it as well."""
    source, kind = row.get("source"), str(value_under(row, "dataType") or "").upper()
    name = str(row.get("name"))
    span = value_under(row, "observationId") or _subject(row, "observation")
    trace = value_under(row, "traceId") or _subject(row, "trace")
    text = value_under(row, "stringValue") or None
    value = row.get("value")
    if kind == "CORRECTION":
        correction = next((each for each in (text, value) if isinstance(each, str) and each.strip()), None)
        return Feedback(name, source != "EVAL", id_of(span), id_of(trace), correction=correction)
    if text is None and isinstance(value, str) and number_of(value) is None:
        text = value
    return Feedback(
        name,
        source == "ANNOTATION" or (source == "API" and named_for_people(name)),
        id_of(span),
        id_of(trace),
        None if kind in ("CATEGORICAL", "TEXT") else number_of(value),
        "" if text is None else str(text),
        kind == "BOOLEAN",
        explanation=str(row.get("comment") or ""),
    )
