"""A completion is a string wherever a string may go."""

from __future__ import annotations

import copy
import csv
import functools
import io
import json
import pickle
import sqlite3
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from pytest_promptopt.completion import Completion
from pytest_promptopt.records import Answer, Usage

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
