"""Figures and foreign text as a reader meets them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.records import Spend
from pytest_promptopt.reports.wording import (
    cost,
    duration,
    excerpt,
    percent,
    plural,
    printable,
    table,
)


@given(st.text(st.characters()))
def test_nothing_that_a_model_says_reaches_the_terminal_as_a_control(text: str) -> None:
    shown = printable(text)
    assert "\n" not in shown
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain: ä, 票, ✓", "plain: ä, 票, ✓"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("\x9b2J", r"\x9b2J"),
        ("abc\u202edef", r"abc\u202edef"),
        ("half \ud83d", r"half \ud83d"),
    ],
)
def test_unprintable_text_is_escaped_and_the_rest_is_left(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(), st.integers(min_value=4, max_value=80))
def test_an_excerpt_is_never_wider_than_asked(text: str, width: int) -> None:
    assert len(excerpt(text, width)) <= width


def test_a_cut_is_visible() -> None:
    assert excerpt("x" * 11, 10) == "xxxxxxx..."
    assert excerpt("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (0.6166, "61.7%"),
        (0.0, "0.0%"),
        (1.0, "100.0%"),
        (0.99999, "99.9%"),
        (0.00001, "0.1%"),
        (None, "unknown"),
    ],
)
def test_only_all_is_100_percent_and_only_none_is_0(rate: float | None, shown: str) -> None:
    assert percent(rate) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0.0s"), (4.23, "4.2s"), (59.96, "1m 00s"), (65, "1m 05s"), (7380, "2h 03m")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("spend", "shown"),
    [
        (Spend(calls=3), "$0.00"),
        (Spend(calls=3, cost=0.0421), "$0.0421"),
        (Spend(calls=3, cost=0.00001), "< $0.0001"),
        (Spend(calls=3, cost=1234.5), "$1,234.50"),
        (Spend(calls=3, cost=0.5, unpriced=1), "$0.5000 + 1 call of unknown price"),
        (Spend(calls=3, unpriced=3), "price unknown"),
    ],
)
def test_an_unknown_price_is_never_nothing(spend: Spend, shown: str) -> None:
    assert cost(spend) == shown


def test_spends_add_up_and_keep_what_is_unknown() -> None:
    spends = [Spend(2, 10, 20, 0.5, 0), Spend(3, 1, 2, 0.25, 3)]
    assert sum(spends, Spend()) == Spend(5, 11, 22, 0.75, 3)
    assert spends[1] - spends[0] == Spend(1, -9, -18, -0.25, 3)


def test_counts_agree_with_their_noun() -> None:
    assert [plural(n, "case") for n in (0, 1, 2, 1024)] == ["0 cases", "1 case", "2 cases", "1,024 cases"]


def test_columns_are_aligned() -> None:
    assert table([("expected", "cases"), ("a", "12"), ("long label", "3")], right=[1]) == [
        "expected    cases",
        "a              12",
        "long label      3",
    ]
