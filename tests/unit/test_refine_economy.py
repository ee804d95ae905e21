"""What an iteration pays, what a call is worth elsewhere, and when a search had better end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.strategies.refine.economy import SHARE, Economy, Payoff, Prospect, expected_best

ASKING = [Prospect(1.0, 14), Prospect(1.8, 28), Prospect(2.1, 42)]


#: What a call must win at least, in cases.
LEAST = 0.01


def made(*iterations: tuple[float, int]) -> Economy:
    """A search after these iterations: the share of what failed that each won, and its calls."""
    economy = Economy(floor=LEAST, cost=30)
    for won, calls in iterations:
        economy.note(won, calls, calls)
    return economy


# ----------------------------------------------------------------------------- what tries pay


def test_what_tries_won_is_expected_of_the_next() -> None:
    payoff = Payoff()
    assert payoff.expected == SHARE
    payoff.note(1.0)
    won = payoff.expected
    assert SHARE < won < 1
    payoff.note(0.0)
    payoff.note(0.0)
    assert payoff.expected < SHARE < won
    assert payoff.tries == 3


def test_the_latest_tries_count_most() -> None:
    rising, falling = Payoff(), Payoff()
    for won in (0.0, 0.5, 1.0):
        rising.note(won)
        falling.note(1.0 - won)
    assert rising.expected > falling.expected


def test_a_loss_counts_as_nothing_won() -> None:
    lost, nothing = Payoff(), Payoff()
    lost.note(-0.8)
    nothing.note(0.0)
    assert lost.expected == nothing.expected


@given(st.lists(st.floats(-1, 1), max_size=30))
def test_what_is_expected_is_a_share(tries: list[float]) -> None:
    payoff = Payoff()
    for won in tries:
        payoff.note(won)
    assert 0 <= payoff.expected <= 1


# ----------------------------------------------------------------------------- when it ends


def test_a_search_goes_on_while_iterations_pay_and_ends_when_they_do_not() -> None:
    economy = made()
    failing = 5.0
    assert economy.pays(failing, LEAST)
    for _ in range(30):
        if not economy.pays(failing, LEAST):
            break
        economy.note(0.0, 60, 60)
    assert not economy.pays(failing, LEAST)
    assert economy.pays(100 * failing, LEAST), "where much fails a small share is worth it"
    economy.note(0.9, 20, 20)
    assert economy.pays(failing, LEAST), "one that wins much shows that it can be done"


def test_where_nothing_fails_no_call_pays() -> None:
    assert not made().pays(0.0, LEAST)


def test_dearer_iterations_pay_less() -> None:
    assert made((0.1, 10), (0.1, 10)).expected_cost < made((0.1, 200), (0.1, 200)).expected_cost
    assert made((0.05, 10)).pays(5.0, LEAST)
    assert not made((0.05, 2000)).pays(5.0, LEAST)


# ----------------------------------------------------------------------------- what a call is worth


def test_without_a_ceiling_a_call_costs_the_least_that_the_user_asks_of_it() -> None:
    assert made().price(ASKING, None) == 0.01


def test_the_fewer_calls_are_left_the_dearer_they_are() -> None:
    prices = [made().price(ASKING, free) for free in (30, 100, 300, 1000, 10_000)]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] > prices[2]
    assert prices[-1] == 0.01, "never less than without a ceiling"


def test_what_promises_more_makes_calls_dearer() -> None:
    assert made().price([Prospect(2.0, 14)], 100) > made().price([Prospect(0.5, 14)], 100)


# ----------------------------------------------------------------------------- how many to ask for


def test_one_candidate_wins_what_it_wins_but_never_less_than_nothing() -> None:
    assert expected_best(1, 3.0, 0.0) == 3.0
    assert expected_best(1, -3.0, 0.0) == 0.0
    assert expected_best(1, 0.0, 1.0) == pytest.approx(0.4, abs=0.01), "half of a normal density"


@given(st.integers(1, 9), st.floats(-5, 5), st.floats(0, 5))
def test_the_best_of_more_is_better_the_more_so_the_more_they_differ(
    count: int, mean: float, apart: float
) -> None:
    few, more = expected_best(count, mean, apart), expected_best(count + 1, mean, apart)
    assert few >= max(0.0, mean) - 1e-6
    assert more >= few - 0.02 * (1 + apart)
    assert expected_best(count, mean, apart + 1) >= few - 1e-6
