"""A judge's criteria are known before the first call, where the source of a test says them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import wraps
from typing import Any

import pytest

from pytest_promptopt.assertions.judge_criteria import JudgedFor, bars_of, criteria_of

TONE = "is friendly"


def sentence(prompt: Any, judge: Any) -> None:
    answer = prompt(text="...")
    assert judge(answer, "cites the policy").score >= 0.7
    assert judge(answer, criterion=TONE)
    assert judge(answer, "cites the policy", reference="...")


def parametrized(judge: Any, criterion: str) -> None:
    assert judge("...", criterion)


async def other_methods(judge: Any) -> None:
    assert (await judge.acall("...", "is short")).score > 0.5
    assert judge.compare("a", "b", "is clearer").better == "a"
    assert judge.panel("...", "is true", samples=3)


def computed(judge: Any, words: list[str]) -> None:
    assert judge("...", " ".join(sorted(words, key=lambda each: each[::-1])))


def another_name(judge_of_user: Any) -> None:
    assert judge_of_user("...", "is short")


@wraps(parametrized)
def decorated(*args: Any, **kwargs: Any) -> None:
    parametrized(*args, **kwargs)


def test_a_decorator_hides_no_criterion() -> None:
    assert criteria_of(decorated, {"criterion": "is short"}) == (JudgedFor("is short"),)


def test_sentences_and_names_are_read_each_once() -> None:
    assert criteria_of(sentence, {}) == (JudgedFor("cites the policy"), JudgedFor("is friendly"))


def test_a_parameter_has_the_value_of_its_case() -> None:
    assert criteria_of(parametrized, {"criterion": "is short"}) == (JudgedFor("is short"),)
    assert criteria_of(parametrized, {}) == ()


def test_every_way_to_ask_a_judge_counts() -> None:
    assert criteria_of(other_methods, {}) == (
        JudgedFor("is short"),
        JudgedFor("is clearer", "pairs"),
        JudgedFor("is true"),
    )


def test_what_only_running_the_test_would_tell_is_left_out() -> None:
    assert criteria_of(computed, {"words": ["b", "a"]}) == ()
    assert criteria_of(another_name, {}) == ()
    assert criteria_of(None, {}) == ()
    assert criteria_of(len, {}) == ()


def bars(judge: Any, prompt: Any, bar: float) -> None:
    assert judge("...", "is short").score >= 0.7
    verdict = judge("...", "is true")
    assert verdict.score > bar, verdict.reasons
    assert prompt.score > 0.1
    assert verdict.score == sum(range(3)) / 10
    assert 0.6 <= verdict.score < 1


async def awaited(judge: Any) -> None:
    assert (await judge.acall("...", "is short")).score >= 0.8


def test_what_scores_are_compared_with() -> None:
    assert bars_of(bars, {"bar": 0.9}) == (0.7, 0.9, 0.6, 1.0)
    assert bars_of(bars, {}) == (0.7, 0.6, 1.0)
    assert bars_of(awaited, {}) == (0.8,)
    assert bars_of(sentence, {}) == (0.7,)
    assert bars_of(None, {}) == ()


def test_a_function_is_read_once_for_all_its_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    def many(judge: Any, criterion: str, bar: float) -> None:
        assert judge("...", criterion).score >= bar

    walked: list[ast.AST] = []

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        walked.append(node)
        return _walk(node)

    _walk = ast.walk
    monkeypatch.setattr(ast, "walk", walk)
    cases: list[tuple[str, float]] = [("is short", 0.7), ("is true", 0.8)]
    for criterion, bar in cases:
        before = len(walked)
        assert criteria_of(many, {"criterion": criterion, "bar": bar}) == (JudgedFor(criterion),)
        assert bars_of(many, {"criterion": criterion, "bar": bar}) == (bar,)
    assert len(walked) == before > 0
