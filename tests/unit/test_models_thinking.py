"""What open models think aloud is no part of their answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.models.thinking import without_thinking


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("<think>\nmaybe delivery\n</think>\n\nbilling", "billing", "maybe delivery"),
        ("\n<think></think>billing", "billing", ""),
        ("<thinking>hm</thinking>billing", "billing", "hm"),
        ("[THINK]hm[/THINK]billing", "billing", "hm"),
        ("<think>one</think>\n<think>two</think>\nbilling", "billing", "one\ntwo"),
        ("maybe delivery\n</think>\n\nbilling", "billing", "maybe delivery"),
        ("</think>\nbilling", "billing", ""),
        ("<think>\nmaybe deli", "", "maybe deli"),
        ("<think>a</think>x </think> y", "x </think> y", "a"),
        ("<thought>hm</thought>billing", "billing", "hm"),
        ("<seed:think>hm</seed:think>billing", "billing", "hm"),
        ("◁think▷hm◁/think▷billing", "billing", "hm"),
        ("◁think▷hm", "", "hm"),
        ("maybe delivery[/THINK]billing", "billing", "maybe delivery"),
        ("maybe delivery\n</thinking>\nbilling", "billing", "maybe delivery"),
        ("maybe ◁/think▷billing", "billing", "maybe"),
        (
            "<|channel|>analysis<|message|>maybe<|end|><|start|>assistant<|channel|>final<|message|>billing<|return|>",
            "billing",
            "maybe",
        ),
        ("<|channel|>analysis<|message|>maybe<|end|><|start|>assistant billing", "billing", "maybe"),
        ("<|channel|>final <|constrain|>json<|message|>{}", "{}", ""),
        ("<|start|>assistant<|channel|>analysis<|message|>may", "", "may"),
    ],
)
def test_the_answer_begins_after_the_thinking(text: str, answer: str, thought: str) -> None:
    assert without_thinking(text) == (answer, thought)


@pytest.mark.parametrize(
    "text",
    [
        "billing",
        "\n\nbilling\n",
        "Close it with `</think>` and go on.",
        'The tag is "</think>".',
        "Models write <think> and </think> around it.",
        "I <think> so",
        "<|channel|> opens a channel",
        "Write [THINK] and [/THINK] around it.",
        "A reply opens with <|channel|>analysis<|message|>.",
        "",
    ],
)
def test_an_answer_without_thinking_stays_as_it_is(text: str) -> None:
    assert without_thinking(text) == (text, "")


def test_blank_lines_that_were_left_by_somebody_else_go() -> None:
    assert without_thinking("\n\nbilling", taken_off=True) == ("billing", "")


@given(st.text(), st.text())
def test_nothing_of_the_answer_is_lost(thought: str, answer: str) -> None:
    thought, answer = thought.replace("<", ""), answer.replace("<", "").replace("[", "").strip()
    assert without_thinking(f"<think>{thought}</think>\n{answer}") == (answer, thought.strip())
