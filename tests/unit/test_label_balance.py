"""An answer that comes too often is seen, and a set of examples shows it less."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.optimizer.label_balance import Lean, find_lean, label_fields, label_parts, rebalanced
from pytest_promptopt.prompts.examples import Example
from pytest_promptopt.records import Call, Case, CaseResult, Outcome, Split, Status

PROMPT = "p.md"


def result(id: str, answer: str, *, prompt: str = PROMPT) -> CaseResult:
    call = Call(prompt, {}, id, answer, "end_turn", None, None, 0.1, False)
    outcome = Outcome(id, Status.PASSED, 1.0, calls=(call,))
    return CaseResult(Case(id, (prompt,), Split.TRAIN), (outcome,))


def lean(right: list[str], came: list[str], *, prompt: str = PROMPT) -> Lean | None:
    cases = [f"t{number}" for number in range(len(right))]
    results = [result(id, answer, prompt=prompt) for id, answer in zip(cases, came, strict=True)]
    return find_lean(dict(zip(cases, right, strict=True)), results, PROMPT)


def examples(*answers: str) -> list[Example]:
    return [Example({"text": f"{answer} {number}"}, answer) for number, answer in enumerate(answers)]


def answers(examples: tuple[Example, ...]) -> Counter[str]:
    return Counter(example.answer for example in examples)


# ----------------------------------------------------------------------------------- which answer comes often


def test_a_text_that_always_says_the_same_leans() -> None:
    assert lean(["yes", "no"] * 4, ["Yes."] * 8) == Lean("", "yes", 0.5, {"no": 4}, "yes")


def test_a_text_that_confuses_labels_both_ways_does_not_lean() -> None:
    assert lean(["yes", "no"] * 4, ["no", "yes"] * 4) is None


def test_one_case_too_many_may_be_chance() -> None:
    assert lean(["yes", "no"] * 4, ["yes", "yes", *["yes", "no"] * 3]) is None


def test_two_cases_too_many_with_nothing_lost_are_seen() -> None:
    assert lean(["yes", "no"] * 4, ["yes", "yes"] * 2 + ["yes", "no"] * 2) == Lean(
        "", "yes", 0.25, {"no": 2}, "yes"
    )


def test_answers_that_are_no_label_are_no_lean() -> None:
    assert lean(["yes", "no"] * 4, ["It depends on what you mean by that, my friend."] * 8) is None


def test_answers_of_another_prompt_of_a_pipeline_do_not_count() -> None:
    assert lean(["yes", "no"] * 4, ["yes"] * 8, prompt="other.md") is None


def test_cases_whose_right_answer_is_not_known_do_not_count() -> None:
    assert find_lean({"a": "yes", "b": "no"}, [result("c", "yes")] * 9, PROMPT) is None


def test_what_should_have_come_instead_is_told() -> None:
    right = ["card"] * 2 + ["rate"] * 4 + ["pin"] * 2 + ["top-up"] * 2
    came = ["card"] * 6 + ["card", "pin"] + ["top_up"] * 2
    assert lean(right, came) == Lean("", "card", 0.5, {"rate": 4, "pin": 1}, "card")


def test_one_key_of_json_answers_may_lean() -> None:
    right = [json.dumps({"amount": n, "currency": ["USD", "EUR"][n % 2]}) for n in range(8)]
    came = [json.dumps({"amount": n, "currency": "USD"}) for n in range(8)]
    found = lean(right, came)
    assert found == Lean("currency", "usd", 0.5, {"eur": 4}, "USD")
    assert found.told == '"currency": "USD"'


def test_free_text_has_no_labels() -> None:
    right = [f"The answer to question {number} is long and of its own kind." for number in range(8)]
    assert label_fields(right) == ()
    assert lean(right, ["yes"] * 8) is None


def test_the_more_labels_there_are_the_clearer_it_must_be() -> None:
    """Of many labels one always comes a little too often."""
    two, ten = ["a", "b"] * 10, [*"abcdefghij"] * 2
    assert lean(two, ["a"] * 6 + two[6:]) is not None, "three too many, and none too few"
    came = [*"aaaa", *ten[4:]]
    assert lean(ten, came) is None
    assert lean(ten, ["a"] * 10 + ten[10:]) is not None


def test_numbers_keep_their_sign() -> None:
    right = [json.dumps({"score": [-1, 1][n % 2]}) for n in range(8)]
    found = lean(right, [json.dumps({"score": -1})] * 8)
    assert found == Lean("score", "-1", 0.5, {"1": 4}, "-1")


def test_a_key_that_one_of_many_answers_lacks_may_lean() -> None:
    right = [json.dumps({"currency": ["USD", "EUR"][n % 2]}) for n in range(19)] + ["{}"]
    assert lean(right, [json.dumps({"currency": "USD"})] * 20) is not None


@pytest.mark.parametrize("answer", ["{", '{"a": [', "[1]", "{1: 2}", "", '{"a": {"b": 1}}'])
def test_what_is_no_json_object_has_no_parts_by_key(answer: str) -> None:
    assert set(label_parts(answer)) <= {""}


# ------------------------------------------------------------------------------------------------ another set


def test_half_of_what_comes_too_often_is_exchanged() -> None:
    found = rebalanced(
        examples(*["yes", "no"] * 4),
        examples(*["no"] * 9, "yes"),
        Lean("", "yes", 0.5, {"no": 9}),
        seed=1,
        room=9,
    )
    assert answers(found) == {"yes": 2, "no": 6}


@pytest.mark.parametrize(("halvings", "left"), [(0, 4), (1, 6), (2, 7), (3, 7)])
def test_half_as_many_are_exchanged_each_time_it_went_too_far(halvings: int, left: int) -> None:
    lean, others = Lean("", "yes", 0.5, {"no": 9}), examples(*["no"] * 9)
    found = rebalanced(examples(*["yes", "no"] * 8), others, lean, seed=1, room=9, halvings=halvings)
    assert answers(found)["yes"] == left


def test_the_other_examples_stay_where_they_are() -> None:
    before = examples(*["yes", "no"] * 4)
    found = rebalanced(before, examples(*["no"] * 9), Lean("", "yes", 0.5, {"no": 9}), seed=1, room=9)
    assert all(found[place] == example for place, example in enumerate(before) if example.answer == "no")


def test_those_come_in_first_that_are_given_first() -> None:
    others = examples("no", "no", "no")
    found = rebalanced(
        examples(*["yes"] * 3, "no"), others[1:], Lean("", "yes", 0.5, {"no": 1}), seed=1, room=9
    )
    assert others[1] in found
    assert others[2] not in found


def test_the_missing_answers_come_in_as_often_as_they_are_missing() -> None:
    others = examples(*["a", "b", "c"] * 5)
    found = rebalanced(examples(*["x"] * 9), others, Lean("", "x", 1.0, {"a": 4, "b": 2}), seed=1, room=9)
    assert answers(found) == {"x": 5, "a": 3, "b": 1}


@pytest.mark.parametrize(("share", "room", "after"), [(0.5, 9, 6), (0.25, 9, 5), (0.05, 9, 4), (0.5, 2, 5)])
def test_the_last_example_of_an_answer_stays_and_others_are_added(
    share: float, room: int, after: int
) -> None:
    lean = Lean("", "yes", share, {"no": 5})
    found = rebalanced(examples("yes", *["no"] * 3), examples(*["no"] * 9), lean, seed=1, room=room)
    assert answers(found) == {"yes": 1, "no": after}


def test_where_there_is_no_room_the_missing_ones_take_the_place_of_the_commonest() -> None:
    """The only example for "x" stays, though "x" comes too often; "a" is what is missing."""
    before = examples("x", "a", *["b"] * 5, "c")
    lean = Lean("", "x", 0.25, {"a": 6})
    found = rebalanced(before, examples(*["a"] * 9), lean, seed=1, room=0)
    assert answers(found) == {"x": 1, "a": 2, "b": 4, "c": 1}


def test_nothing_changes_where_no_answer_could_give_way() -> None:
    before = examples("x", "a", "a", "b")
    lean = Lean("", "x", 0.25, {"a": 6})
    assert rebalanced(before, examples(*["a"] * 9), lean, seed=1, room=0) == tuple(before)


def test_nothing_changes_where_no_other_example_is_left() -> None:
    before = examples("yes", "yes", "no")
    assert rebalanced(before, [], Lean("", "yes", 0.5, {"no": 5}), seed=1, room=9) == tuple(before)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    st.lists(st.sampled_from("abcd"), max_size=12),
    st.floats(0.01, 1),
    st.integers(),
)
def test_a_set_never_loses_an_answer_and_grows_by_what_is_allowed_at_most(
    held: list[str], others: list[str], share: float, seed: int
) -> None:
    missing = {"b": 3, "c": 1, "d": 2}
    before = examples(*held)
    found = rebalanced(before, examples(*others), Lean("", "a", share, missing), seed=seed, room=2)
    assert found == rebalanced(before, examples(*others), Lean("", "a", share, missing), seed=seed, room=2)
    assert len(before) <= len(found) <= len(before) + 2
    assert set(answers(found)) >= set(held)
    assert answers(found)["a"] <= held.count("a")
