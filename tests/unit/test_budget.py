"""The ledger: nothing is sent that could pass a ceiling, and everything that was sent is on the account."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.budget import DEFAULT_MAX_TOKENS, Ledger, Price, input_bound
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.records import Answer, Message, Request, Role, Spend, Usage

PRICE = Price(input=1, output=10, cache_read=0.1, cache_write=1.25)
REQUEST = Request("anthropic/claude-x", (Message("user", "hello"),), max_tokens=100)
BOUND = PRICE.bound(REQUEST)


USAGE = Usage(10, 5, 3, 2)


def answer(cost: float | None = 0.0001, usage: Usage | None = USAGE) -> Answer:
    return Answer("fine", "anthropic/claude-x", "end_turn", usage, cost, 0.1)


def test_a_settled_call_counts_its_tokens_and_its_cost() -> None:
    ledger = Ledger()
    ledger.settle(ledger.reserve(REQUEST, Role.TARGET, PRICE), answer())
    ledger.settle(ledger.reserve(REQUEST, Role.JUDGE, None), answer(cost=None, usage=None))
    assert ledger.spend_of(Role.TARGET) == Spend(1, 15, 5, 0.0001, 0)
    assert ledger.spend_of(Role.JUDGE) == Spend(1, 0, 0, 0.0, 1)
    assert ledger.spend == Spend(2, 15, 5, 0.0001, 1)
    assert ledger.calls_left is None


def test_a_call_past_the_ceiling_is_refused() -> None:
    ledger = Ledger(max_calls=2)
    ledger.refund(ledger.reserve(REQUEST, Role.TARGET, None))
    ledger.keep(ledger.reserve(REQUEST, Role.OPTIMIZER, None))
    assert ledger.calls_left == 0
    with pytest.raises(ModelError, match=r"ceiling of 2 calls.*--promptopt-max-calls") as caught:
        ledger.reserve(REQUEST, Role.TARGET, None)
    assert caught.value.kind is ErrorKind.BUDGET
    assert ledger.spend.calls == 2


def test_calls_set_aside_are_kept_until_they_are_given_back() -> None:
    ledger = Ledger(max_calls=3)
    ledger.set_aside(2)
    ledger.reserve(REQUEST, Role.TARGET, None)
    with pytest.raises(ModelError, match="2 of them set aside for scoring the result"):
        ledger.reserve(REQUEST, Role.TARGET, None)
    ledger.set_aside(0)
    assert ledger.calls_left == 2
    ledger.reserve(REQUEST, Role.TARGET, None)


def test_a_call_that_vanished_stays_charged_and_a_refused_one_does_not() -> None:
    ledger = Ledger(max_cost=1)
    ledger.keep(ledger.reserve(REQUEST, Role.TARGET, PRICE))
    ledger.refund(ledger.reserve(REQUEST, Role.TARGET, PRICE))
    assert ledger.spend == Spend(2, input_bound(REQUEST), 100, BOUND)


def test_money_is_reserved_before_it_is_spent() -> None:
    ledger = Ledger(max_cost=1.5 * BOUND)
    first = ledger.reserve(REQUEST, Role.TARGET, PRICE)
    with pytest.raises(ModelError, match=r"may cost up to \$0\.00\d\d.*--promptopt-max-cost"):
        ledger.reserve(REQUEST, Role.TARGET, PRICE)
    assert ledger.could_fit(REQUEST, PRICE)
    ledger.settle(first, answer(cost=0.1 * BOUND))
    second = ledger.reserve(REQUEST, Role.TARGET, PRICE)
    ledger.settle(second, answer(cost=BOUND))
    assert not ledger.could_fit(REQUEST, PRICE)
    assert ledger.spend.cost == pytest.approx(1.1 * BOUND)


def test_an_unknown_price_is_refused_under_a_ceiling_of_money() -> None:
    with pytest.raises(ModelError, match="price of anthropic/claude-x is unknown"):
        Ledger(max_cost=100).reserve(REQUEST, Role.TARGET, None)


def test_an_answer_of_unknown_cost_is_charged_its_reservation_under_a_ceiling() -> None:
    ledger = Ledger(max_cost=1)
    ledger.settle(ledger.reserve(REQUEST, Role.TARGET, PRICE), answer(cost=None, usage=None))
    assert ledger.spend.cost == BOUND


@given(st.text(), st.integers(0, 100))
def test_a_bound_is_never_below_the_price(text: str, output: int) -> None:
    request = Request("m/x", (Message("user", text),), max_tokens=100)
    most = Usage(0, output, 0, len(text.encode("utf-8", "surrogatepass")))
    assert PRICE.of(most) <= PRICE.bound(request)


def test_a_request_without_a_limit_is_bounded_by_the_default() -> None:
    request = Request("m/x", (Message("user", "x"),), response_schema={"type": "object"})
    assert PRICE.bound(request) > DEFAULT_MAX_TOKENS * PRICE.output / 1e6


def test_fifty_threads_never_pass_the_ceiling() -> None:
    ledger = Ledger(max_calls=100)
    refused = []

    def spend() -> None:
        for _ in range(5):
            try:
                ledger.settle(ledger.reserve(REQUEST, Role.TARGET, PRICE), answer())
            except ModelError as error:
                refused.append(error.kind)

    threads = [threading.Thread(target=spend) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.spend.calls == 100
    assert refused == [ErrorKind.BUDGET] * 150
