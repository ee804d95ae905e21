"""A check on tool calls that fails is told as such: which tool, which argument, how many, in which order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.failures import Category, FailedCase, describe
from pytest_promptopt.records import Answer, Call, Case, CaseResult, Failure, Outcome, Split, Status, Usage
from pytest_promptopt.records.content import ToolCall

PROMPT = "prompts/agent.md"
TOOLS = ("weather(city: string, unit?: string)", "book(city: string)", "cancel(id: string)")

OSLO, ROME = ToolCall("weather", {"city": "Oslo"}, "1"), ToolCall("weather", {"city": "Rome"}, "2")
BOOK = ToolCall("book", {"city": "Oslo"}, "3")


def failed(
    failure: Failure, made: Sequence[ToolCall], text: str = "", tools: Sequence[str] = TOOLS
) -> CaseResult:
    answer = Answer(text, "fake/a", "tool_use", Usage(1, 1), None, 0.1, tool_calls=tuple(made))
    call = Call.of(answer, PROMPT, {"question": "Oslo?"}, "key", cached=False, tools=tuple(tools))
    case = Case("tests/test_agent.py::test_it[a]", (PROMPT,), Split.TRAIN)
    return CaseResult(case, (Outcome(case.id, Status.FAILED, 0.0, failure=failure, calls=(call,)),))


def told(failure: Failure, *made: ToolCall, **about: Any) -> tuple[Category, FailedCase]:
    feedback = describe([failed(failure, made, **about)], prompt=PROMPT, prose="Help the user.")
    return feedback.categories[0], feedback.failed[0]


def equal(expected: Any, actual: Any, check: str = "") -> Failure:
    message = "assert ... == ..."
    return Failure("AssertionError", message, "tests/test_agent.py:9", "==", expected, actual, check=check)


def constrained(operator: str | None, words: str, actual: Any = None) -> Failure:
    message = f"assert {words}"
    return Failure("AssertionError", message, "tests/test_agent.py:9", operator, None, actual, words)


def raised(kind: str, message: str, check: str) -> Failure:
    return Failure(kind, message, "tests/test_agent.py:9", check=check)


def plain(*calls: ToolCall) -> list[dict[str, Any]]:
    return [call.plain() for call in calls]


CUT = '{"city": "Os'
FIRST = "assert answer.tool_calls[0]"
FAULTS: list[tuple[str, Failure, tuple[ToolCall, ...], tuple[str, ...]]] = [
    (
        "another tool",
        equal("book", "weather", f"{FIRST}.name == 'book'"),
        (OSLO,),
        ("called weather, and not book",),
    ),
    (
        "another tool by another name",
        equal("book", "weather", "assert call.name == tool"),
        (OSLO,),
        ("called weather, and not book",),
    ),
    (
        "out of order",
        equal("book", "weather", f"{FIRST}.name == 'book'"),
        (OSLO, BOOK),
        ("called weather where book had to come first",),
    ),
    (
        "another value",
        equal({"city": "Paris"}, {"city": "Oslo"}, f"{FIRST}.arguments == wanted"),
        (OSLO,),
        ('the argument city of weather: expected "Paris" but got "Oslo"',),
    ),
    (
        "a missing argument",
        equal({"city": "Oslo", "unit": "C"}, {"city": "Oslo"}, ""),
        (OSLO,),
        ('the argument unit of weather is missing; expected "C"',),
    ),
    (
        "an argument too many",
        equal({}, {"city": "Oslo"}, ""),
        (OSLO,),
        ("the argument city of weather was not wanted",),
    ),
    (
        "one argument",
        equal("Paris", "Oslo", f"{FIRST}.arguments['city'] == 'Paris'"),
        (OSLO,),
        ('the argument city of weather: expected "Paris" but got "Oslo"',),
    ),
    (
        "one argument of a set",
        constrained("in", "answer.tool_calls[0].arguments['city'] in ['Paris', 'Lyon']", "Oslo"),
        (OSLO,),
        ("the argument city of weather: expected one of ['Paris', 'Lyon'] but got \"Oslo\"",),
    ),
    ("a whole list", equal(plain(BOOK), plain(OSLO), ""), (OSLO,), ("called weather, and not book",)),
    (
        "a list that is longer",
        equal(plain(OSLO), plain(OSLO, BOOK), ""),
        (OSLO, BOOK),
        ("the call of book is one too many",),
    ),
    (
        "a list that is shorter",
        equal(plain(OSLO, BOOK), plain(OSLO), ""),
        (OSLO,),
        ("the call of book is missing",),
    ),
    (
        "a list in another order",
        equal(plain(BOOK, OSLO), plain(OSLO, BOOK), ""),
        (OSLO, BOOK),
        ("called weather where book had to come first",),
    ),
    (
        "a list of the same tool",
        equal(plain(OSLO, OSLO), plain(OSLO, ROME), ""),
        (OSLO, ROME),
        ('the argument city of weather: expected "Oslo" but got "Rome"',),
    ),
    (
        "names in a list",
        equal(["book", "weather"], ["weather"], "assert [c.name for c in answer.tool_calls] == wanted"),
        (OSLO,),
        ("the call of book is missing",),
    ),
    (
        "pairs in a list",
        equal([["book", {"city": "Oslo"}]], [["weather", {"city": "Oslo"}]], ""),
        (OSLO,),
        ("called weather, and not book",),
    ),
    (
        "an empty list",
        equal(plain(OSLO), [], "assert answer.tool_calls == wanted"),
        (),
        ("no tool was called",),
    ),
    (
        "no list wanted",
        equal([], plain(OSLO), "assert answer.tool_calls == []"),
        (OSLO,),
        ("the call of weather is one too many",),
    ),
    (
        "a count",
        constrained("matches", "len(answer.tool_calls) == 1", 2),
        (OSLO, ROME),
        ("2 calls where 1 was wanted: weather, weather",),
    ),
    (
        "a count of none",
        constrained("matches", "len(answer.tool_calls) == 1", 0),
        (),
        ("no tool was called",),
    ),
    (
        "an index",
        raised("IndexError", "list index out of range", f"{FIRST}.name == 'book'"),
        (),
        ("no tool was called",),
    ),
    (
        "a key",
        raised("KeyError", "'unit'", f"{FIRST}.arguments['unit'] == 'C'"),
        (OSLO,),
        ("the argument unit of weather is missing",),
    ),
    (
        "unpacked",
        raised(
            "ValueError", "not enough values to unpack (expected 1, got 0)", "(call,) = answer.tool_calls"
        ),
        (),
        ("no tool was called",),
    ),
    (
        "unpacked too many",
        raised("ValueError", "too many values to unpack (expected 1)", "(call,) = answer.tool_calls"),
        (OSLO, ROME),
        ("2 calls where 1 was wanted: weather, weather",),
    ),
    ("any call", constrained(None, "answer.tool_calls"), (), ("no tool was called",)),
    (
        "no call",
        constrained(None, "not answer.tool_calls"),
        (OSLO,),
        ("called weather instead of answering",),
    ),
    (
        "a text",
        equal("It is cold.", "", "assert answer == 'It is cold.'"),
        (OSLO,),
        ("called weather instead of answering",),
    ),
    (
        "a text in it",
        constrained("in", "'cold' in answer", ""),
        (OSLO,),
        ("called weather instead of answering",),
    ),
    (
        "a key in arguments",
        constrained("in", "'unit' in answer.tool_calls[0].arguments", {"city": "Oslo"}),
        (OSLO,),
        ("the argument unit of weather is missing",),
    ),
    (
        "no json",
        equal({"city": "Oslo"}, {}, ""),
        (ToolCall("weather", {}, "1", CUT),),
        (f"the arguments of weather are no JSON object: {json.dumps(CUT)}",),
    ),
    (
        "a key that is asked for",
        equal(2, None, f"{FIRST}.arguments.get('nights') == 2"),
        (OSLO,),
        ("the argument nights of weather is missing; expected 2",),
    ),
    (
        "a name that must not be",
        constrained("!=", "answer != 'weather'", "weather"),
        (OSLO,),
        ("the call of weather is one too many",),
    ),
    (
        "a bound",
        constrained(">=", "answer.tool_calls[0].arguments['city'] >= 'P'", "Oslo"),
        (OSLO,),
        (
            'the argument city of weather is "Oslo"; must hold: '
            "answer.tool_calls[0].arguments['city'] >= 'P'",
        ),
    ),
    (
        "a method",
        constrained(None, "answer.tool_calls[0].arguments['city'].isupper()"),
        (OSLO,),
        (
            'the argument city of weather is "Oslo"; must hold: '
            "answer.tool_calls[0].arguments['city'].isupper()",
        ),
    ),
    (
        "any of the calls",
        constrained(None, "any((c.name == 'book' for c in answer.tool_calls))"),
        (OSLO,),
        ("the call of book is missing",),
    ),
    (
        "the next of them",
        raised("StopIteration", "", "call = next(c for c in answer.tool_calls if c.name == 'book')"),
        (OSLO,),
        ("the call of book is missing",),
    ),
    (
        "JSON",
        raised("ValueError", "the completion is not JSON (Expecting value)", "answer.json()"),
        (OSLO,),
        ("called weather instead of answering",),
    ),
]


@pytest.mark.parametrize(
    ("failure", "made", "faults"), [each[1:] for each in FAULTS], ids=[each[0] for each in FAULTS]
)
def test_each_fault_is_named(failure: Failure, made: tuple[ToolCall, ...], faults: tuple[str, ...]) -> None:
    category, case = told(failure, *made)
    assert (category.name, case.faults) == ("wrong tool call", faults)
    assert case.explained
    assert category.observed.startswith("all 1 failing case: ") or "1" in category.observed


@pytest.mark.parametrize(
    ("failure", "made", "text"),
    [
        (equal("billing", "refunds", "assert answer == 'billing'"), (), "refunds"),
        (equal("billing", "refunds", "assert answer == 'billing'"), (OSLO,), "refunds"),
        (
            equal({"city": "Oslo"}, {"city": "Rome"}, "assert answer.json() == wanted"),
            (BOOK,),
            '{"city": "Rome"}',
        ),
        (constrained("in", "'refund' in answer", "no"), (OSLO,), "no"),
        (constrained("<", "len(answer) < 20", 31), (OSLO,), "x" * 31),
        (raised("KeyError", "'queue'", "assert answer.json()['queue'] == 'a'"), (), "{}"),
    ],
)
def test_a_check_of_the_text_is_none_of_calls(
    failure: Failure, made: tuple[ToolCall, ...], text: str
) -> None:
    assert told(failure, *made, text=text)[0].name != "wrong tool call"


def test_a_case_without_tools_has_no_wrong_call() -> None:
    failure = raised("IndexError", "list index out of range", "answer.split()[3] == 'a'")
    assert told(failure, text="", tools=())[0].name != "wrong tool call"


def test_the_explanation_says_what_a_prompt_has_to_say() -> None:
    results = [
        failed(equal("book", "weather", f"{FIRST}.name == 'book'"), (OSLO,)),
        failed(equal("book", "weather", f"{FIRST}.name == 'book'"), (OSLO,)),
        failed(equal({"city": "Oslo"}, {"city": "oslo"}, ""), (ToolCall("weather", {"city": "oslo"}),)),
    ]
    [category] = describe(results, prompt=PROMPT, prose="Help the user.").categories
    assert "weather called for book (2)" in category.observed
    assert "another value for the argument city of weather (1)" in category.observed
    assert "e.g. called weather, and not book" in category.observed
    assert category.cause.startswith("the prompt says nothing about")
    assert category.fix == "say when book is called, and when weather"


def test_the_answer_of_a_failing_case_shows_its_calls() -> None:
    _, case = told(equal("book", "weather", f"{FIRST}.name == 'book'"), OSLO, text="One moment.")
    assert 'weather", "arguments": {"city": "Oslo"}' in case.answer
    assert case.answer.startswith("One moment.")


def test_the_faults_of_many_tools_are_told_by_their_kind() -> None:
    """No two of them are of the same argument, and still they have something in common."""
    results = [
        failed(
            equal({"count": 3}, {"count": "3"}, ""),
            (ToolCall(f"tool_{number}", {"count": "3"}),),
            tools=(f"tool_{number}(count: integer)",),
        )
        for number in range(6)
    ]
    [category] = describe(results, prompt=PROMPT, prose="Help the user.").categories
    assert "another value for an argument (6)" in category.observed
    assert 'expected 3 but got "3"' in category.observed
    assert category.fix == "give the rules by which arguments are filled: type, form and source"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["weather", "book", "Oslo", "", "["]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "arguments", "city", "unit"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_CALLS = st.builds(
    ToolCall,
    st.sampled_from(["weather", "book", ""]),
    st.dictionaries(st.sampled_from(["city", "unit"]), _VALUES, max_size=2),
    st.just("x"),
    st.sampled_from(["", "", "", "{"]),
)
_OPERATORS = st.sampled_from(["==", "!=", "in", "not in", "<", ">=", "matches", "or", "is", None])
_WORDS = st.sampled_from(
    ["", "answer.tool_calls", "call.arguments['city'] in ['a']", "'x' in call.arguments", "len(calls) == 2"]
)


@given(
    made=st.lists(_CALLS, max_size=3),
    operator=_OPERATORS,
    expected=_VALUES,
    actual=_VALUES,
    words=_WORDS,
    kind=st.sampled_from(["AssertionError", "KeyError", "IndexError", "ValueError", "StopIteration"]),
    text=st.sampled_from(["", "It is cold."]),
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_compared_something_is_told(
    made: list[ToolCall], operator: Any, expected: Any, actual: Any, words: str, kind: str, text: str
) -> None:
    failure = Failure(kind, words, "tests/test_agent.py:9", operator, expected, actual, words or None, words)
    category, case = told(failure, *made, text=text)
    assert category.observed
    assert case.category == category.name
    assert (category.name == "wrong tool call") == bool(case.faults)
