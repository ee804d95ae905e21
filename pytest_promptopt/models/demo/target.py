"""`demo` as a target: it answers by what the prompt says, and as loosely as the prompt allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_promptopt.models.demo.fields import Field, extract, fields_of
from pytest_promptopt.models.demo.reading import Reading, classify, read_instructions, split
from pytest_promptopt.models.demo.summary import asks_for_summary, summarize
from pytest_promptopt.records import Message
from pytest_promptopt.text import json_text, one_line

_LONGEST_ECHO = 160


def answer(messages: Sequence[Message], *, schema: Mapping[str, Any] | None = None) -> str:
    """The answer to a conversation.

    The last message holds the input; when an earlier one (a system message) lists labels or fields and the
    last does not, the last is the input as a whole.

    :param schema: a JSON schema of the answer: its properties are fields, and nothing but JSON is answered.
    """
    earlier = "\n\n".join(m.content for m in messages[:-1] if m.role != "assistant")
    last = messages[-1].content if messages else ""
    instructions, text = split(last)
    if earlier and read_instructions(earlier).entries and not read_instructions(instructions).entries:
        instructions, text = "", last
    asked = f"{earlier}\n\n{instructions}" if instructions else earlier
    reading = read_instructions(asked)
    if schema is not None:
        return json_text(extract(_schema_fields(schema, reading), text))
    if reading.wants_json:
        return _json(reading, text)
    if asks_for_summary(asked):
        # Not what earlier turns of the user say: those are solved examples, with texts of their own.
        rules = "\n\n".join([*(m.content for m in messages[:-1] if m.role == "system"), instructions])
        return summarize(rules, text, bare=reading.bare)
    if reading.labels and reading.default is not None:
        label = classify(reading.labels, text, default=reading.default)
        if (code := _code_lines(reading).get(label)) is not None:
            return code if reading.bare else f"Here is the code:\n\n```\n{code}\n```"
        return label if reading.bare else f"I would route this to: {label}."
    gist = one_line(text)[:_LONGEST_ECHO]
    return gist if reading.bare else f"This is about: {gist}"


def _json(reading: Reading, text: str) -> str:
    body = json_text(extract(fields_of(reading.entries), text))
    return body if reading.bare else f"Here is the JSON you asked for:\n\n```json\n{body}\n```"


def _code_lines(reading: Reading) -> Mapping[str, str]:
    """By label the code of its line, where each line has some: ``- total: `sum(values)` ``."""
    lines = {entry.name: entry.text for entry in reading.entries if entry.line is not None}
    if not all(text.endswith("`") for text in lines.values()):
        return {}
    return {name: text.strip("`") for name, text in lines.items()}  # the colon has taken the first backtick


def _schema_fields(schema: Mapping[str, Any], reading: Reading) -> tuple[Field, ...]:
    described = {field.name: field.rule for field in fields_of(reading.entries)}
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return fields_of(reading.entries)
    return tuple(
        Field(name, f"{described.get(name, '')}; {_type_rule(of)}".strip("; "))
        for name, of in properties.items()
    )


def _type_rule(of: object) -> str:
    rules = {"integer": "as an integer", "number": "as a plain number", "boolean": "true or false"}
    return rules.get(str(of.get("type")), "") if isinstance(of, Mapping) else ""
