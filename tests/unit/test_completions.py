"""A completion is a string wherever a string may go."""

from __future__ import annotations

import copy
import csv
import functools
import io
import json
import pickle
import sqlite3
from dataclasses import replace
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from pytest_promptopt.completion import Completion, told_answer
from pytest_promptopt.records import Answer, Usage
from pytest_promptopt.records.content import Text, Thought, ToolCall

ANSWER = Answer("billing", "openai/gpt-4o", "end_turn", Usage(3, 1), 0.5, 0.25, "maybe delivery")


def completion() -> Completion:
    return Completion(ANSWER, cached=True)


class OwnDumper(yaml.SafeDumper):
    """As plugins have it, with ways to write of its own."""


OwnDumper.add_representer(complex, lambda dumper, value: dumper.represent_str(str(value)))

DUMPERS: list[Any] = [yaml.SafeDumper, yaml.Dumper, OwnDumper]
DUMPERS += [yaml.CSafeDumper] if hasattr(yaml, "CSafeDumper") else []


@pytest.mark.parametrize("dumper", DUMPERS)
def test_yaml_writes_it_as_a_string(dumper: Any) -> None:
    data = {"answer": completion(), completion(): [completion()]}
    assert yaml.dump(data, Dumper=dumper) == "answer: billing\nbilling:\n- billing\n"


def test_a_dumper_made_later_writes_it_too() -> None:
    answer = completion()

    class Later(yaml.SafeDumper):
        pass

    Later.add_representer(complex, lambda dumper, value: dumper.represent_str(str(value)))
    assert yaml.dump([answer], Dumper=Later) == "- billing\n"


def test_without_yaml_it_imports_none() -> None:
    import subprocess
    import sys

    script = (
        "import sys; from pytest_promptopt.completion import Completion\n"
        "from pytest_promptopt.records import Answer\n"
        "Completion(Answer('x', 'demo', 'end_turn', None, None, 0.0)); assert 'yaml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("copied", [pickle.loads(pickle.dumps(completion())), copy.deepcopy(completion())])
def test_a_copy_knows_where_it_came_from(copied: Completion) -> None:
    assert copied == "billing"
    assert (copied.model, copied.thinking, copied.cost, copied.cached) == (
        ANSWER.model,
        "maybe delivery",
        0.5,
        True,
    )


def test_other_libraries_take_it_as_a_string() -> None:
    answer, file = completion(), io.StringIO()
    csv.writer(file).writerow([answer])
    [(stored,)] = sqlite3.connect(":memory:").execute("SELECT ?", (answer,))
    dispatched = functools.singledispatch(lambda value: "?")
    dispatched.register(str, lambda value: "string")
    assert (file.getvalue(), stored, json.dumps([answer])) == ("billing\r\n", "billing", '["billing"]')
    assert TypeAdapter(str).validate_python(answer, strict=True) == "billing"
    assert dispatched(answer) == "string"


def test_what_was_thought_is_stored_with_the_answer() -> None:
    assert Answer.from_json(json.loads(json.dumps(ANSWER.to_json()))) == ANSWER
    plain = Answer("a", "demo", "end_turn", None, None, 0.0)
    assert "thinking" not in plain.to_json()  # as stored by earlier versions
    assert Answer.from_json(plain.to_json()) == plain


def test_it_knows_the_calls_of_tools_and_all_parts() -> None:
    call = ToolCall("look", {"city": "Oslo"}, "c")
    thought = Thought("Oslo, then.", "signed")
    answer = Completion(replace(ANSWER, text="One moment.", tool_calls=(call,), thoughts=(thought,)))
    assert (answer.tool_calls, answer.content) == ([call], [thought, Text("One moment."), call])
    again = pickle.loads(pickle.dumps(answer))
    assert (again, again.tool_calls, again.content) == (answer, answer.tool_calls, answer.content)
    assert again.tool_calls[0].id == "c"
    assert told_answer(answer) == 'One moment.\n[{"name": "look", "arguments": {"city": "Oslo"}}]'


def test_without_calls_its_parts_are_thought_and_text() -> None:
    assert completion().tool_calls == []
    assert completion().content == [Thought("maybe delivery"), Text("billing")]
    assert told_answer(completion()) is not None
    assert told_answer("plain") == "plain"


def test_two_calls_are_equal_by_name_and_arguments() -> None:
    assert ToolCall("look", {"a": 1}, "x") == ToolCall("look", {"a": 1}, "y")
    assert ToolCall("look", {"a": 1}) != ToolCall("look", {"a": "1"})
    assert repr(ToolCall("look", {"a": 1}, "x")) == "ToolCall('look', {'a': 1})"


@pytest.mark.parametrize(
    ("arguments", "read", "unreadable"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ('{"a": 1}', {"a": 1}, ""),
        ("", {}, ""),
        (None, {}, ""),
        ('{"a": ', {}, '{"a": '),
        ("[1]", {}, "[1]"),
    ],
)
def test_arguments_are_an_object_or_told_as_they_are(
    arguments: object, read: object, unreadable: str
) -> None:
    call = ToolCall.read("look", arguments, None)
    assert (call.arguments, call.unreadable, call.id) == (read, unreadable, "")
