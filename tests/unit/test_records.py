"""What the records tell of themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_promptopt.records import (
    Answer,
    Case,
    CaseResult,
    Message,
    Outcome,
    Request,
    Split,
    Status,
    function_of,
    named_without_model,
)
from pytest_promptopt.records.content import ToolCall, ToolResult


@pytest.mark.parametrize(
    ("case", "function"),
    [
        ("tests/test_it.py::test_a", "tests/test_it.py::test_a"),
        ("tests/test_it.py::TestIt::test_a[x::y[1]]", "tests/test_it.py::TestIt::test_a"),
        ("tests[old]/test_it.py::test_a[1]", "tests[old]/test_it.py::test_a"),
    ],
)
def test_the_function_of_a_case(case: str, function: str) -> None:
    assert function_of(case) == function


@pytest.mark.parametrize(
    ("second", "names"),
    [(Status.PASSED, ["a[1]", "a[2]"]), (Status.ERRORED, ["a[1]", "a[2]"]), (Status.SKIPPED, ["a"])],
)
def test_an_id_without_the_model_is_that_of_one_case_that_ran(second: Status, names: list[str]) -> None:
    results = [
        CaseResult(
            Case(f"a[{number}]", ("p.md",), Split.TRAIN, models=("m",), pair="a"), (Outcome("", status, 0.0),)
        )
        for number, status in ((1, Status.PASSED), (2, second))
    ]
    assert [name for name, _ in named_without_model(results, "p.md")] == names


def test_the_key_of_a_request_of_texts_is_what_it_was() -> None:
    """Answers that were paid before there were tools and files are still found."""
    request = Request(
        "anthropic/claude-opus-5-5",
        (Message("system", "Be brief."), Message("user", "hi \u00fc")),
        max_tokens=77,
        stop=("END",),
        parameters={"temperature": 0.7},
        response_schema={"type": "object"},
        sample=2,
    )
    assert request.key == "8bd7f42df817f722915aadc1c4202d0ce235b3b38e4bbee96a6c2a468f9fb2e7"
    tools = ({"name": "look", "parameters": {"type": "object"}},)
    choices: tuple[dict[str, Any], ...] = (
        {},
        {"tools": tools},
        {"tools": tools, "tool_choice": {"mode": "auto"}},
    )
    assert len({replace(request, **choice).key for choice in choices}) == 3


def test_an_answer_that_was_stored_before_tools_is_read() -> None:
    old = {
        "text": "fine",
        "model": "a/b",
        "stop_reason": "end_turn",
        "usage": [1, 2, 0, 0],
        "cost": None,
        "latency": 0.5,
    }
    answer = Answer.from_json(old)
    assert (answer.tool_calls, answer.to_json()) == ((), old)
    called = replace(answer, text="", tool_calls=(ToolCall("look", {"city": "Oslo"}, "c", ""),))
    assert Answer.from_json(called.to_json()) == called
    assert Answer.from_json(called.to_json()).tool_calls[0].id == "c"


def test_calls_of_other_ids_that_belong_together_alike_are_one_question() -> None:
    def asked(one: str, two: str, result: str) -> str:
        calls = (ToolCall("look", {"n": 1}, one), ToolCall("look", {"n": 2}, two))
        turns = (Message("assistant", "", calls), Message("tool", "", (ToolResult(result, "fine"),)))
        return Request("a/b", turns).key

    assert asked("x", "y", "x") == asked("p", "q", "p")
    assert asked("x", "y", "x") != asked("x", "y", "y")
