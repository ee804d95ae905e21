"""Figures as a reader meets them."""

from __future__ import annotations

import pytest

from pytest_promptopt.records import Spend
from pytest_promptopt.reports.wording import calls_line, cost, duration, percent, table


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


def test_columns_are_aligned() -> None:
    assert table([("expected", "cases"), ("a", "12"), ("long label", "3")], right=[1]) == [
        "expected    cases",
        "a              12",
        "long label      3",
    ]


@pytest.mark.parametrize(
    ("cached", "made", "paid", "shown"),
    [
        (0, 0, Spend(), ""),
        (3, 0, Spend(), "3 model calls, 3 of them from the cache: nothing was paid"),
        (
            1,
            2,
            Spend(2, 1000, 20, 0.5),
            "3 model calls, 1 of them from the cache; 1,000 input and 20 output tokens, $0.5000",
        ),
        (
            0,
            2,
            Spend(5, 10, 2, unpriced=2),
            "2 model calls, 0 of them from the cache; 10 input and 2 output tokens, price unknown; 3 of 5 "
            "requests repeated another",
        ),
    ],
)
def test_the_line_of_calls(cached: int, made: int, paid: Spend, shown: str) -> None:
    assert calls_line(cached, made, paid) == shown
