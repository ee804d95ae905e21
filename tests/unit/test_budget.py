"""The ledger: nothing is sent that could pass a ceiling, and everything that was sent is on the account."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.budget.ledger import DEFAULT_MAX_TOKENS, Ledger, Price, input_bound, output_bound
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.records import Answer, Message, Request, Role, Spend, Usage


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["n", "max_tokens", "tools", "type", "maxOutputTokens", "x"])
    return st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)


PRICE = Price(input=1, output=10, cache_read=0.1, cache_write=1.25)
REQUEST = Request("anthropic/claude-x", (Message("user", "hello"),), max_tokens=100)
BOUND = PRICE.bound(REQUEST)


USAGE = Usage(10, 5, 3, 2)


def answer(cost: float | None = 0.0001, usage: Usage | None = USAGE) -> Answer:
    return Answer("fine", "anthropic/claude-x", "end_turn", usage, cost, 0.1)


def test_a_settled_call_counts_its_tokens_and_its_cost() -> None:
    ledger = Ledger()
    ledger.settle(ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE), answer())
    ledger.settle(ledger.reserve_attempt(REQUEST, Role.JUDGE, None), answer(cost=None, usage=None))
    assert ledger.spend_of(Role.TARGET) == Spend(1, 15, 5, 0.0001, 0)
    assert ledger.spend_of(Role.JUDGE) == Spend(1, 0, 0, 0.0, 1)
    assert ledger.spend == Spend(2, 15, 5, 0.0001, 1)


def test_a_call_past_the_ceiling_is_refused() -> None:
    ledger = Ledger(max_calls=2)
    ledger.refund(ledger.reserve_attempt(REQUEST, Role.TARGET, None))
    ledger.settle_at_bound(ledger.reserve_attempt(REQUEST, Role.OPTIMIZER, None))
    with pytest.raises(ModelError, match=r"ceiling of 2 calls.*--promptopt-max-calls") as caught:
        ledger.reserve_attempt(REQUEST, Role.TARGET, None)
    assert caught.value.kind is ErrorKind.BUDGET
    assert ledger.spend.calls == 2


def test_calls_set_aside_are_kept_until_they_are_given_back() -> None:
    ledger = Ledger(max_calls=3)
    ledger.reserve_for_scoring(2)
    ledger.reserve_attempt(REQUEST, Role.TARGET, None)
    with pytest.raises(ModelError, match="2 of them set aside for scoring the result"):
        ledger.reserve_attempt(REQUEST, Role.TARGET, None)
    ledger.reserve_for_scoring(0)
    for _ in range(2):
        ledger.reserve_attempt(REQUEST, Role.TARGET, None)
    with pytest.raises(ModelError, match="ceiling of 3 calls is reached"):
        ledger.reserve_attempt(REQUEST, Role.TARGET, None)


def test_a_call_that_vanished_stays_charged_and_a_refused_one_does_not() -> None:
    ledger = Ledger(max_cost=1)
    ledger.settle_at_bound(ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE))
    ledger.refund(ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE))
    assert ledger.spend == Spend(2, input_bound(REQUEST), 100, BOUND)


def test_money_is_reserved_before_it_is_spent() -> None:
    ledger = Ledger(max_cost=1.5 * BOUND)
    first = ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    with pytest.raises(ModelError, match=r"may cost up to \$0\.00\d\d.*--promptopt-max-cost"):
        ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    assert ledger.in_the_way(REQUEST, PRICE)
    ledger.settle(first, answer(cost=0.1 * BOUND))
    second = ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    ledger.settle(second, answer(cost=BOUND))
    assert not ledger.in_the_way(REQUEST, PRICE)
    assert ledger.spend.cost == pytest.approx(1.1 * BOUND)


def test_an_unknown_price_is_refused_under_a_ceiling_of_money() -> None:
    with pytest.raises(ModelError, match="price of anthropic/claude-x is unknown"):
        Ledger(max_cost=100).reserve_attempt(REQUEST, Role.TARGET, None)


def test_an_answer_of_unknown_cost_is_charged_its_reservation_under_a_ceiling() -> None:
    ledger = Ledger(max_cost=1)
    ledger.settle(ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE), answer(cost=None, usage=None))
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
                ledger.settle(ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE), answer())
            except ModelError as error:
                refused.append(error.kind)

    threads = [threading.Thread(target=spend) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.spend.calls == 100
    assert refused == [ErrorKind.BUDGET] * 150


# ------------------------------------------------------------------------------------------ tokens and time


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_tokens_are_reserved_before_they_are_used() -> None:
    bound = input_bound(REQUEST) + 100
    ledger = Ledger(max_tokens=bound + 20)
    first = ledger.reserve_attempt(REQUEST, Role.TARGET, None)
    with pytest.raises(ModelError, match=r"may take up to 137 tokens, and 20 of 157 are left .*-max-tokens"):
        ledger.reserve_attempt(REQUEST, Role.OPTIMIZER, None)
    assert ledger.in_the_way(REQUEST, None)
    ledger.settle(first, answer())
    second = ledger.reserve_attempt(REQUEST, Role.OPTIMIZER, None)
    ledger.settle(second, answer(usage=None))
    assert not ledger.in_the_way(REQUEST, None)
    used = ledger.spend.input_tokens + ledger.spend.output_tokens
    assert used == 20 + bound, "unknown usage is charged whole"


def test_no_call_is_sent_after_the_ceiling_on_time() -> None:
    clock = Clock()
    ledger = Ledger(max_time=60, clock=clock)
    ledger.refund(ledger.reserve_attempt(REQUEST, Role.TARGET, None))
    clock.now += 59
    assert ledger.seconds_left == pytest.approx(1)
    ledger.refund(ledger.reserve_attempt(REQUEST, Role.TARGET, None))
    clock.now += 1
    with pytest.raises(ModelError, match=r"ceiling of 60 s is reached \(--promptopt-max-time\)"):
        ledger.reserve_attempt(REQUEST, Role.TARGET, None)
    assert Ledger().seconds_left == float("inf")


def test_what_scoring_takes_is_kept_of_every_ceiling() -> None:
    """Of tokens and money as much as calls to the target took so far; of time a quarter, then less."""
    clock = Clock()
    ledger = Ledger(max_tokens=1000, max_cost=1, max_time=100, clock=clock)
    ledger.settle(
        ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE), answer(cost=0.0005, usage=Usage(40, 10))
    )
    ledger.reserve_for_scoring(18)
    with pytest.raises(ModelError, match="50 of 1,000 are left without what is set aside for scoring"):
        ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    assert ledger.seconds_left == pytest.approx(75)
    ledger.reserve_for_scoring(9)
    assert ledger.seconds_left == pytest.approx(87.5)
    ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    ledger.reserve_for_scoring(99)
    with pytest.raises(ModelError, match="of 1,000 are left"):
        ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)


@pytest.mark.parametrize(
    ("ledger", "reported", "size"),
    [
        (Ledger(max_tokens=10_000), answer(usage=Usage(37, 103)), "3 tokens more than the 137"),
        (Ledger(max_cost=1), answer(cost=BOUND + 0.5), r"\$0\.500000 more than the \$0\.00"),
    ],
    ids=["tokens", "cost"],
)
def test_a_provider_that_reports_more_than_was_reserved_ends_all_calls(
    ledger: Ledger, reported: Answer, size: str
) -> None:
    ledger.settle(ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE), reported)
    with pytest.raises(ModelError, match=f"anthropic/claude-x reports {size}") as caught:
        ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    assert caught.value.kind is ErrorKind.BUDGET
    assert ledger.breach == str(caught.value)
    assert not ledger.in_the_way(REQUEST, PRICE)


def test_without_a_ceiling_nothing_is_too_much() -> None:
    ledger = Ledger()
    ledger.settle(
        ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE), answer(cost=9, usage=Usage(10**6, 10**6))
    )
    ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    assert ledger.breach == ""


# ---------------------------------------------------------------------------------------- the shared account


def test_an_account_goes_on_where_a_killed_process_left_it(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "ledger.db"
    first = Ledger(max_time=100, path=path, clock=clock)
    first.settle(first.reserve_attempt(REQUEST, Role.TARGET, PRICE), answer())
    clock.now += 30
    first.reserve_attempt(REQUEST, Role.OPTIMIZER, PRICE)  # and then it is killed
    clock.now += 3600
    later = Ledger(max_calls=3, max_time=100, clock=clock)
    later.move(path)
    assert later.spend_of(Role.OPTIMIZER) == Spend(1, input_bound(REQUEST), 100, BOUND)
    assert later.spend.calls == 2
    assert later.seconds_left == pytest.approx(70), "the time between does not count"
    later.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    with pytest.raises(ModelError, match="ceiling of 3 calls"):
        later.reserve_attempt(REQUEST, Role.TARGET, PRICE)


def test_what_the_account_lost_with_the_power_is_taken_from_the_journal(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.move(tmp_path / "ledger.db", {Role.TARGET: Spend(7, 70, 7, 0.5, 1)})
    assert ledger.spend == Spend(7, 70, 7, 0.5, 1)


def test_only_its_owner_may_look_into_an_account(tmp_path: Path) -> None:
    ledger = Ledger(path=tmp_path / "ledger.db")
    ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


SPENDER = """
import sys
from pathlib import Path
from pytest_promptopt.budget.ledger import Ledger, Price
from pytest_promptopt.errors import ModelError
from pytest_promptopt.records import Answer, Message, Request, Role, Usage
request = Request("m/x", (Message("user", "hello"),), max_tokens=100)
ledger = Ledger(max_tokens=20_000, path=Path(sys.argv[1]))
sent = 0
fits = True
while fits:
    try:
        reserved = ledger.reserve_attempt(request, Role.TARGET, None)
        sent += 1
        ledger.settle(reserved, Answer("a", "m/x", "end_turn", Usage(20, 30), None, 0.0))
    except ModelError:
        fits = ledger.in_the_way(request, None)
print(sent)
"""


def test_processes_that_share_an_account_never_pass_its_ceiling(tmp_path: Path) -> None:
    spenders = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, str(tmp_path / "l.db")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    sent = [int(spender.communicate()[0]) for spender in spenders]
    assert (20_000 - 137) // 50 <= sum(sent) <= 20_000 // 50
    total = Ledger(path=tmp_path / "l.db").spend
    assert total == Spend(sum(sent), 20 * sum(sent), 30 * sum(sent), 0.0, sum(sent))


def test_a_disk_that_is_full_lets_no_call_out(tmp_path: Path) -> None:
    """The account of a call that is over stays as it was reserved."""
    ledger = Ledger(path=tmp_path / "ledger.db")
    reserved = ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    with sqlite3.connect(tmp_path / "ledger.db") as book:
        for action in ("INSERT", "DELETE"):
            book.execute(
                f"CREATE TRIGGER full_{action} BEFORE {action} ON reserved "
                "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
            )
    book.close()
    with pytest.raises(ModelError, match="account of what is spent cannot be kept: disk is full") as caught:
        ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    assert caught.value.kind is ErrorKind.BUDGET
    ledger.settle(reserved, answer())
    later = Ledger()
    with sqlite3.connect(tmp_path / "ledger.db") as book:
        book.execute("DROP TRIGGER full_DELETE")
    book.close()
    later.move(tmp_path / "ledger.db")
    assert later.spend.cost == BOUND


# ----------------------------------------------------------------------------- what multiplies what is billed


@pytest.mark.parametrize(
    ("parameters", "tokens"),
    [
        ({"top_p": 1.0, "logit_bias": {"7": 3}}, 100),
        ({"n": 128}, 12_800),
        ({"n": "4"}, 400),
        ({"n": 2, "best_of": 5}, 500),
        ({"num_return_sequences": 3}, 300),
        ({"extra_body": {"n": 7}}, 700),
        ({"generationConfig": {"candidateCount": 4, "maxOutputTokens": 1_000}}, 4_000),
        ({"max_completion_tokens": 4_000}, 4_000),
        ({"max_output_tokens": 4_000, "n": 2}, 8_000),
        ({"options": {"num_predict": 300}}, 300),
        ({"extra_body": {"n_predict": 300}}, 300),
        ({"max_completion_tokens": 20}, 100),
        ({"n": True, "best_of": None, "max_new_tokens": "many"}, 100),
        ({"tools": [{"type": "function", "function": {"name": "n"}}, {"name": "look"}]}, 100),
        ({"prediction": "x" * 48}, 150),
        ({"parameters": {"sampleCount": 3}}, 300),
        ({"thinking_budget": 1_000}, 1_100),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 1_000}, "candidateCount": 2}}, 2_200),
        ({"thinking_budget": 0}, 100),
        ({"tools": [{"functionDeclarations": [{"name": "look"}]}, {"toolSpec": {"name": "see"}}]}, 100),
        ({"fallbacks": [], "plugins": None, "enable_search": False, "tools": []}, 100),
    ],
    ids=str,
)
def test_a_reservation_holds_all_that_parameters_can_make_of_an_answer(
    parameters: dict[str, Any], tokens: int
) -> None:
    request = replace(REQUEST, parameters=parameters)
    assert output_bound(request) == tokens
    ledger = Ledger(max_tokens=input_bound(request) + tokens)
    ledger.reserve_attempt(request, Role.TARGET, None)
    with pytest.raises(ModelError, match="are left"):
        ledger.reserve_attempt(request, Role.TARGET, None)
    dear = Ledger(max_cost=PRICE.bound(request) * 0.99)
    with pytest.raises(ModelError, match="may cost up to"):
        dear.reserve_attempt(request, Role.TARGET, PRICE)


def test_a_limit_by_another_name_is_the_limit_of_a_request_without_one() -> None:
    request = replace(REQUEST, max_tokens=None, parameters={"max_completion_tokens": 50})
    assert output_bound(request) == 50
    assert output_bound(replace(request, parameters={})) == DEFAULT_MAX_TOKENS


@pytest.mark.parametrize(
    "parameters",
    [
        {"modalities": ["text", "audio"]},
        {"audio": {"voice": "x"}},
        {"web_search_options": {"search_context_size": "high"}},
        {"extra_body": {"plugins": [{"id": "web"}]}},
        {"mcp_servers": [{"url": "https://x"}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"googleSearch": {}, "type": "google"}]},
        {"tools": [{"googleSearch": {}}]},
        {"tools": [{"urlContext": {}}, {"name": "look"}]},
        {"tools": {"codeExecution": {}}},
        {"tools": [{"functionDeclarations": [], "googleSearch": {}}]},
        {"tools": ["web_search"]},
        {"web_search_options": {}},
        {"extra_body": {"google_search_retrieval": {}}},
        {"data_sources": [{"type": "azure_search"}]},
        {"connectors": [{"id": "web-search"}]},
        {"thinking_budget": -1},
        {"fallbacks": ["openai/o3"]},
        {"max_completion_tokens": -1},
        {"options": {"num_predict": 0}},
        {"n": 1e300},
        {"n": 10**400},
    ],
    ids=str,
)
def test_what_nobody_can_bound_is_refused_under_a_ceiling_that_it_could_pass(
    parameters: dict[str, Any],
) -> None:
    request = replace(REQUEST, parameters=parameters)
    for ceiling in ({"max_tokens": 10**9}, {"max_cost": 10**6}):
        with pytest.raises(ModelError, match="nobody can say before what a call to") as caught:
            Ledger(**ceiling).reserve_attempt(request, Role.TARGET, PRICE)  # type: ignore[arg-type]
        assert caught.value.kind is ErrorKind.BUDGET
    Ledger(max_calls=1).reserve_attempt(request, Role.TARGET, PRICE)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), _nested))
def test_whatever_the_parameters_are_there_is_a_bound(value: Any) -> None:
    request = replace(REQUEST, parameters={"n": value, "max_output_tokens": value, "extra_body": value})
    assert 100 <= output_bound(request) <= 2**40
    Ledger().reserve_attempt(request, Role.TARGET, PRICE)


# ------------------------------------------------------------------------------------------ what can go wrong


OWNER = """
import sys, time
from pathlib import Path
from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.records import Message, Request, Role
request = Request("m/x", (Message("user", "hello"),), max_tokens=100)
ledger = Ledger(max_tokens=200, path=Path(sys.argv[1]))
ledger.reserve_attempt(request, Role.TARGET, None)
print("reserved", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="zombies")
def test_what_a_dead_process_had_reserved_is_waited_for_no_longer(tmp_path: Path) -> None:
    """Dead is also who is a zombie, since nobody has asked how it ended: so xdist leaves its workers."""
    command = [sys.executable, "-c", OWNER, str(tmp_path / "l.db")]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    try:
        assert owner.stdout.readline() == "reserved\n"
        ledger = Ledger(max_tokens=200, path=tmp_path / "l.db")
        with pytest.raises(ModelError, match="are left"):
            ledger.reserve_attempt(REQUEST, Role.TARGET, None)
        assert ledger.in_the_way(REQUEST, None)
        os.kill(owner.pid, signal.SIGKILL)
        assert owner.stdout.read() == "", "it is gone, and a zombie"
        assert not ledger.in_the_way(REQUEST, None)
        assert ledger.spend.calls == 1
    finally:
        owner.kill()
        owner.communicate()


@pytest.mark.parametrize("damage", ["garbage", "folder", "other"])
def test_a_damaged_account_is_set_aside_and_made_anew_from_the_journal(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ledger.db"
    if damage == "garbage":
        path.write_bytes(b"no database " * 500)
    elif damage == "folder":
        path.mkdir()
    else:
        with sqlite3.connect(path) as book:
            book.execute("CREATE TABLE spend (something)")
        book.close()
    ledger = Ledger(max_calls=9)
    said = ledger.move(path, {Role.TARGET: Spend(7, 70, 7, 0.5, 1)})
    [aside] = tmp_path.glob("ledger.db.damaged-*")
    assert aside.name in said
    assert "made anew from the journal" in said
    ledger.settle_at_bound(ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE))
    assert ledger.spend.calls == 8
    ledger.close()
    assert Ledger(path=path).spend.calls == 8


def test_where_no_account_can_be_made_it_stays_in_memory(tmp_path: Path) -> None:
    ledger = Ledger(max_calls=9)
    said = ledger.move(tmp_path / "no such folder" / "ledger.db", {Role.TARGET: Spend(7, 70, 7, 0.5, 1)})
    assert "kept in memory" in said
    assert ledger.spend.calls == 7
    ledger.reserve_attempt(REQUEST, Role.TARGET, PRICE)
    assert ledger.spend.calls == 8


def test_an_account_that_is_as_it_was_left_needs_no_word(tmp_path: Path) -> None:
    assert Ledger().move(tmp_path / "ledger.db") == ""
