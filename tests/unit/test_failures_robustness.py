"""Whatever a suite fails with: feedback is made, adds up, and is the same every time."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.failures import describe
from pytest_promptopt.records import Call, Case, CaseResult, Failure, Outcome, Split, Status

# Pieces that the rules look for, so that generated texts reach them.
pieces = st.sampled_from(
    [
        "billing",
        "refunds",
        "Billing.",
        "```json\n",
        "```",
        '{"a": 1}',
        "{",
        "'",
        '"',
        "[1,",
        "sorry",
        "I can't help",
        "12",
    ]
)
texts = st.lists(pieces | st.text(st.characters(), max_size=12), max_size=6).map("".join)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=8,
)
operators = st.sampled_from([None, "==", "==", "!=", "in", "not in", "<", ">=", "is", "is not", "~"])
constraints = (
    st.none() | texts | st.sampled_from(["'a' in answer", "answer in ['a', 'b']", "12 < 3", "'a' not in 'b'"])
)
messages = texts | st.sampled_from(
    [
        "",
        "assert False\n +  where False = f('x')",
        "'a' != 'b'",
        "'a' not found in 'b'",
        "Expecting value: char 0",
    ]
)
kinds = st.sampled_from(
    ["AssertionError", "", "KeyError", "json.JSONDecodeError", "ValueError", "ValidationError"]
)
failures = st.builds(Failure, kinds, messages, st.just("t.py:1"), operators, values, values, constraints)
stops = st.sampled_from(["end_turn", "max_tokens", "refusal", "odd"])
calls = st.builds(
    lambda prompt, name, value, text, stop: Call(
        prompt, {name: value}, "k", text, stop, None, None, 0.0, False
    ),
    st.sampled_from(["a.md", "b.md"]),
    st.sampled_from(["ticket", "text"]),
    texts,
    texts,
    stops,
)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    status = draw(st.sampled_from(Status))
    failure = draw(st.none() | failures) if status is Status.FAILED else None
    return Outcome("case", status, 0.0, failure=failure, calls=tuple(draw(st.lists(calls, max_size=3))))


@st.composite
def suites(draw: st.DrawFn) -> list[CaseResult]:
    samples = draw(st.lists(st.lists(outcomes(), min_size=1, max_size=3), max_size=6))
    return [
        CaseResult(Case(f"t.py::test[{number}]", ("a.md",), Split.TRAIN), tuple(runs))
        for number, runs in enumerate(samples)
    ]


@settings(deadline=None)
@given(
    suites(),
    st.sampled_from([None, "a.md", "c.md"]),
    st.sampled_from(["", "Answer billing or refunds only."]) | texts,
)
def test_any_suite(suite: list[CaseResult], prompt: str | None, prose: str) -> None:
    feedback = describe(suite, prompt=prompt, prose=prose)
    failing = [result.case.id for result in suite if result.failing]
    assert [case.case for case in feedback.failed] == failing
    assert feedback.failing == sum(category.count for category in feedback.categories) == len(failing)
    assert sorted(case for category in feedback.categories for case in category.cases) == sorted(failing)
    assert feedback.failing <= feedback.total <= len(suite) - feedback.errored
    assert describe(suite, prompt=prompt, prose=prose) == feedback
    counts = [category.count for category in feedback.categories]
    assert counts == sorted(counts, reverse=True)
    for category in feedback.categories:
        assert category.observed.startswith(f"{category.count} of {feedback.failing} failing cases")
        assert category.cause.strip()
        assert category.fix.strip()
        assert set(category.examples) <= set(category.cases)
        assert 1 <= len(category.examples) <= 3
        assert sum(row[2] for row in category.confusion) <= category.count
        f"{category}".encode()
    f"{feedback.failed}".encode()


@settings(deadline=None)
@given(
    suites(), st.sampled_from(["format violation", "boundary confusion", "too terse", "wrong value", "mine"])
)
def test_a_hook_may_call_anything_by_any_name(suite: list[CaseResult], name: str) -> None:
    feedback = describe(suite, custom=lambda case: name)
    assert {category.name for category in feedback.categories} <= {name}


class Hostile:
    """A user's object that refuses everything."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no ==")

    __hash__ = None  # type: ignore[assignment]


def failing_suite(size: int, expected: Any, actual: Any, ticket: str, answer: str) -> list[CaseResult]:
    results = []
    for number in range(size):
        case = Case(f"t.py::test[{number}]", ("a.md",), Split.TRAIN)
        call = Call("a.md", {"ticket": ticket}, "k", answer, "end_turn", None, None, 0.0, False)
        failure = Failure("AssertionError", "assert", "t.py:1", "==", expected, actual)
        results.append(
            CaseResult(case, (Outcome(case.id, Status.FAILED, 0.0, failure=failure, calls=(call,)),))
        )
    return results


def test_hostile_objects_do_not_stop_the_feedback() -> None:
    for expected, actual in [
        (Hostile(), "x"),
        ({"a": Hostile()}, {"a": 1}),
        ([Hostile()], [Hostile()]),
        ("x", Hostile()),
    ]:
        assert describe(failing_suite(1, expected, actual, "t", "x")).failing == 1


def test_a_thousand_label_failures_take_no_time() -> None:
    suite = failing_suite(500, "billing", "refunds", "my card was charged twice", "refunds")
    suite += failing_suite(500, "refunds", "billing", "my money back please", "billing")
    start = time.process_time()
    feedback = describe(suite, prompt="a.md", prose="- billing: money\n- refunds: money back")
    assert time.process_time() - start < 1.0
    assert feedback.categories[0].confusion == (("billing", "refunds", 500), ("refunds", "billing", 500))


def test_huge_answers_are_bounded() -> None:
    long = " ".join(f"word{number}" for number in range(12_000))
    suite = failing_suite(20, long, long[:60_000] + " changed " + long[60_000:], "ticket " * 15_000, long)
    start = time.process_time()
    feedback = describe(suite)
    assert time.process_time() - start < 2.0
    assert len(str(feedback)) < 20 * 20_000


def test_thousands_of_structures_differ() -> None:
    expected = {"name": "Ann", "amount": 1200, "items": [{"id": n, "price": n} for n in range(5)]}
    actual = {"name": "Ann", "amount": 12, "items": [{"id": n, "price": -n} for n in range(5)]}
    feedback = describe(failing_suite(300, expected, actual, "t", "x"))
    assert '"items[].price" (300)' in feedback.categories[0].observed
