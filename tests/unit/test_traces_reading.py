"""Exports of tracing tools: what was asked and answered is read from each of their forms."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.traces import json_stream
from pytest_promptopt.traces.chat_values import answer_of, chat_of
from pytest_promptopt.traces.export_reading import read_exports
from pytest_promptopt.traces.recorded_call import Export
from tests import recorded
from tests.recorded import asked

TICKET, ANSWER = "Where is my parcel?", "delivery"


def read(folder: Path, *values: Any, name: str = "export.jsonl") -> Export:
    return read_exports([(recorded.write_lines(folder / name, values), name)])


def console(attributes: dict[str, Any]) -> dict[str, Any]:
    """As OpenTelemetry's console exporter for Python writes it."""
    context = {"trace_id": "0x" + "1" * 32, "span_id": "0x" + "2" * 16, "trace_state": "[]"}
    return {"name": "chat", "context": context, "kind": "SpanKind.CLIENT", "attributes": attributes}


FORMS: dict[str, Callable[[], Any]] = {
    "GenAI conventions": lambda: recorded.otlp([recorded.conventions(TICKET, ANSWER)]),
    "OpenLLMetry": lambda: recorded.otlp([recorded.openllmetry(TICKET, ANSWER)]),
    "OpenInference as OTLP": lambda: recorded.otlp([recorded.openinference(TICKET, ANSWER)]),
    "Phoenix": lambda: recorded.phoenix_span(recorded.openinference(TICKET, ANSWER), 1),
    "Phoenix's pages": lambda: {
        "data": [recorded.phoenix_span(recorded.openinference(TICKET, ANSWER), 1)],
        "next_cursor": None,
    },
    "Phoenix's data frame": lambda: {
        "context.span_id": "2" * 16,
        "context.trace_id": "1" * 32,
        "span_kind": "LLM",
        "attributes.llm.model_name": "gpt-5-mini",
        "attributes.llm.input_messages": [{"message.role": "user", "message.content": asked(TICKET)}],
        "attributes.llm.output_messages": [{"message.role": "assistant", "message.content": ANSWER}],
        "attributes.llm.prompts": None,
    },
    "nested attributes": lambda: {
        "name": "ChatCompletion",
        "context": {"trace_id": "1" * 32, "span_id": "2" * 16},
        "attributes": {
            "openinference": {"span": {"kind": "LLM"}},
            "llm": {
                "model_name": "gpt-5-mini",
                "input_messages": [{"message": {"role": "user", "content": asked(TICKET)}}],
                "output_messages": [{"message": {"role": "assistant", "content": ANSWER}}],
            },
        },
    },
    "OpenInference with parts": lambda: recorded.otlp(
        [
            {
                "openinference.span.kind": "LLM",
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.contents.0.message_content.type": "text",
                "llm.input_messages.0.message.contents.0.message_content.text": asked(TICKET),
                "output.value": ANSWER,
            }
        ]
    ),
    "console of Python": lambda: console(recorded.conventions(TICKET, ANSWER)),
    "Vercel AI SDK": lambda: {
        "name": "ai.generateText.doGenerate",
        "spanContext": {"traceId": "1" * 32, "spanId": "2" * 16},
        "attributes": {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.model.id": "gpt-5-mini",
            "ai.prompt.messages": json.dumps(
                [{"role": "user", "content": [{"type": "text", "text": asked(TICKET)}]}]
            ),
            "ai.response.text": ANSWER,
        },
    },
    "Tempo": lambda: {"batches": recorded.otlp([recorded.conventions(TICKET, ANSWER)])["resourceSpans"]},
    "contents as events": lambda: recorded.otlp(
        [
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "gpt-5-mini",
                "events": {
                    "gen_ai.user.message": {"content": asked(TICKET)},
                    "gen_ai.choice": {"index": 0, "message": {"role": "assistant", "content": ANSWER}},
                },
            }
        ]
    ),
    "Langfuse": lambda: recorded.observation(TICKET, ANSWER, 1),
    "Langfuse's trace": lambda: {
        "trace": {
            "id": "trace-1",
            "timestamp": "2026-11-03T13:30:50.306Z",
            "name": "job",
            "input": None,
            "scores": [],
            "observations": [
                recorded.observation(TICKET, ANSWER, 1),
                {"id": "obs-2", "traceId": "trace-1", "type": "SPAN", "name": "llm_node", "input": None},
            ],
        }
    },
    "Langfuse's blobs": lambda: recorded.exported_row(TICKET, ANSWER, 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_call_is_read_from_each_form(tmp_path: Path, form: str) -> None:
    (call,) = read(tmp_path, FORMS[form]()).calls
    assert [(turn.role, turn.content) for turn in call.messages] == [("user", asked(TICKET))]
    assert call.answer == ANSWER
    assert call.trace
    assert call.span
    assert not call.incomplete


def test_log_records_belong_to_their_spans(tmp_path: Path) -> None:
    span = recorded.otlp([{"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5-mini"}])
    details = {
        name: value
        for name, value in recorded.conventions(TICKET, ANSWER).items()
        if name.endswith("messages")
    }
    record = {
        "traceId": f"{1:032x}",
        "spanId": f"{1:08x}{0:08x}",
        "eventName": "gen_ai.client.inference.operation.details",
        "attributes": recorded.key_values(details),
    }
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    (call,) = read(tmp_path, span, logs).calls
    assert (call.messages[0].content, call.answer, call.model) == (asked(TICKET), ANSWER, "gpt-5-mini")


def test_what_is_no_call_of_a_model_is_counted(tmp_path: Path) -> None:
    agent = {**recorded.conventions(TICKET, ANSWER), "gen_ai.operation.name": "invoke_agent"}
    found = read(
        tmp_path,
        recorded.otlp([agent, {"http.request.method": "POST"}, recorded.conventions(TICKET, ANSWER)]),
        {"resourceMetrics": []},
    )
    assert (len(found.calls), found.others) == (1, 2)


class TestFiles:
    VALUES = (recorded.observation("one", "a", 1), recorded.observation("two", "b", 2))

    def answers(self, path: Path) -> list[str | None]:
        return [call.answer for call in read_exports([(path, path.name)]).calls]

    @pytest.mark.parametrize("indent", [None, 2])
    def test_a_list(self, tmp_path: Path, indent: int | None) -> None:
        path = tmp_path / "export.json"
        path.write_text(json.dumps(self.VALUES, indent=indent))
        assert self.answers(path) == ["a", "b"]

    def test_documents_one_after_the_other(self, tmp_path: Path) -> None:
        path = tmp_path / "export.json"
        path.write_text("\n".join(json.dumps(value, indent=4) for value in self.VALUES))
        assert self.answers(path) == ["a", "b"]

    def test_packed_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "export.jsonl.gz"
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, self.VALUES)).encode()))
        assert self.answers(path) == ["a", "b"]

    def test_a_table_with_contents_as_json(self, tmp_path: Path) -> None:
        path = tmp_path / "export.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, list(self.VALUES[0]))
            table.writeheader()
            for value in self.VALUES:
                cells = {
                    key: json.dumps(each) if isinstance(each, (dict, list)) else each
                    for key, each in value.items()
                }
                table.writerow(cells)
        assert self.answers(path) == ["a", "b"]


BAD: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ("hello\n", "export:1: it is not JSON: Expecting value at column 1"),
    "a torn line": ('{"data": []}\n{"data": [', "export:2: it is not JSON: "),
    "the end is missing": ('[\n{"id": 1},\n', "export:3: it is not JSON: "),
    "a bad line in the middle": ('{"data": []}\n{"data" []}\n{"data": []}\n', "export:2: it is not JSON: "),
    "an unknown form": (
        '{"data": []}\n{"a": 1, "b": 2}\n',
        "export:2: it is of no known export: its keys are",
    ),
    "a number": ("5\n", "export:1: it is no export of traces: got 5; accepted are OTLP"),
    "empty": ("\n", "export:1: there is nothing in it"),
    "deep": ("[" * 100_000, "export:1: "),
    "no UTF-8": (b'{"data": []}\n"\xff"\n', "export:2: it is not UTF-8"),
    "a broken archive": (b"\x1f\x8b\x08\x00", "export: it cannot be unpacked"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_told_at_its_line(tmp_path: Path, case: str) -> None:
    content, told = BAD[case]
    path = tmp_path / "export.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError) as caught:
        read_exports([(path, "export")])
    assert str(caught.value).startswith(told)


def test_a_row_with_too_few_cells_is_told_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text('id,traceId,type\n"a\nb",2,SPAN\n3,4\n')
    with pytest.raises(SettingsError, match=r"^export:4: the row cannot be read: it has 2 cells, and the"):
        read_exports([(path, "export")])


def test_a_document_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_DOCUMENT", 2**20)
    path = tmp_path / "export.json"
    path.write_text("[\n" + '{"data": []},\n' * 100_000 + "{}]")
    with pytest.raises(
        SettingsError, match=r"^export:1: it is larger than 1 MiB and not in lines; export it"
    ):
        read_exports([(path, "export")])


class TestAnswers:
    @pytest.mark.parametrize(
        ("value", "answer"),
        [
            ("delivery", "delivery"),
            ('{"city": "Paris"}', '{"city": "Paris"}'),
            ({"city": "Paris"}, '{"city": "Paris"}'),
            ({"content": "yes", "confidence": 1}, '{"content": "yes", "confidence": 1}'),
            ([{"text": "a", "label": "x"}], '[{"text": "a", "label": "x"}]'),
            ({"role": "assistant", "content": "yes"}, "yes"),
            ([{"type": "text", "text": "ye"}, {"type": "text", "text": "s"}], "yes"),
            ({"choices": [{"message": {"role": "assistant", "content": "yes"}}]}, "yes"),
            ({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]}, "yes"),
            ({"candidates": [{"content": {"role": "model", "parts": [{"text": "yes"}]}}]}, "yes"),
            ({"generations": [[{"text": "yes", "message": {"lc": 1}}]]}, "yes"),
            ({"output": [{"type": "message", "content": [{"type": "output_text", "text": "yes"}]}]}, "yes"),
            ({"text": "yes", "finish_reason": "stop"}, "yes"),
            ({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, None),
            (None, None),
            ("", None),
        ],
    )  # fmt: skip
    def test_of_each_form(self, value: Any, answer: str | None) -> None:
        assert answer_of(value) == answer


class TestChats:
    @pytest.mark.parametrize(
        "value",
        [
            {"system": "Be kind.", "messages": [{"role": "user", "content": "Hi"}]},
            {"instructions": "Be kind.", "input": "Hi"},
            {"systemInstruction": {"parts": [{"text": "Be kind."}]},
             "contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
            [{"role": "developer", "content": "Be kind."},
             {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
            [[{"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "SystemMessage"],
               "kwargs": {"content": "Be kind."}},
              {"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "HumanMessage"],
               "kwargs": {"content": "Hi", "additional_kwargs": {}}}]],
            [{"type": "system", "content": "Be kind."}, {"type": "human", "content": "Hi"}],
        ],
    )  # fmt: skip
    def test_of_each_form(self, value: Any) -> None:
        chat = chat_of(json.dumps(value))
        assert chat is not None
        assert [(each.role, each.content) for each in chat.messages] == [
            ("system", "Be kind."),
            ("user", "Hi"),
        ]

    @pytest.mark.parametrize(
        ("part", "why"),
        [
            ({"type": "image_url", "image_url": {"url": "x"}}, "it holds an image or another file"),
            ({"type": "tool_call", "name": "f", "arguments": {}}, "it holds calls of tools"),
        ],
    )
    def test_what_is_no_text_is_told(self, part: dict[str, Any], why: str) -> None:
        chat = chat_of([{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}])
        assert chat is not None
        assert (len(chat.messages), chat.incomplete) == (1, why)


KEYS = """
    id traceId type input output messages role content parts text resourceSpans scopeSpans spans attributes
    key value stringValue name observations data scores context result choices message subject annotator_kind
    gen_ai.input.messages gen_ai.prompt.0.content events kwargs
"""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=6)
    ),
    max_leaves=30,
)


def mistake_or_texts(path: Path) -> str:
    """What is wrong with a file; empty where nothing is, and all that is asked is text."""
    try:
        found = read_exports([(path, path.name)])
    except SettingsError as error:
        return str(error)
    assert all(isinstance(turn.content, str) for call in found.calls for turn in call.messages)
    return ""


@given(VALUES)
def test_no_json_is_anything_but_calls_or_a_told_mistake(tmp_path_factory: Any, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value))
    told = mistake_or_texts(path)
    assert not told or told.startswith("any.json:1: ")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    told = mistake_or_texts(path)
    assert not told or told.startswith("any.jsonl:")


@given(VALUES, VALUES)
def test_any_chat_and_answer_is_read_or_left(asked: Any, answered: Any) -> None:
    chat = chat_of(asked)
    assert chat is None or all(isinstance(each.content, str) for each in chat.messages)
    assert isinstance(answer_of(answered), str | None)
