"""The caller: many requests in flight for synchronous code, each paid once and settled whatever happens."""

from __future__ import annotations

import _thread
import asyncio
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pytest_promptopt import testing
from pytest_promptopt.budget.ledger import Ledger, Price, input_bound
from pytest_promptopt.errors import CONSEQUENCES, ErrorKind, ModelError, SettingsError
from pytest_promptopt.models import unpatched_asyncio
from pytest_promptopt.models.call_records import CallResult, PaidCall, RecordedCall
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.models.registry import resolve_model
from pytest_promptopt.models.retry import RetryPolicy
from pytest_promptopt.records import Answer, Message, Request, Role, Spend, Usage
from pytest_promptopt.records.content import ToolCall
from pytest_promptopt.response_cache import ResponseCache
from tests.wire import Reply, WireServer, message, refused

KEY = "sk-test-0123456789abcdef"
CLAUDE = "anthropic/claude-opus-5-5"
QUICK = RetryPolicy(base=0.01, cap=0.02, deadline=60.0)
PRICE = Price(1, 10, 0.1, 1.25)


class FakeModel(testing.FakeModel):
    """Answers with the question in capitals after `seconds`; `faults` are raised first, one per attempt."""

    def __init__(self, *faults: Exception, seconds: float | None = 0.0, cost: float | None = 0.001) -> None:
        super().__init__(
            lambda request: request.messages[-1].content.upper(), faults=faults, seconds=seconds, cost=cost
        )


def question(text: str = "hello", model: str = "fake/model", sample: int = 0) -> Request:
    return Request(model, (Message("user", text),), max_tokens=10, sample=sample)


@contextmanager
def calling(model: FakeModel | None = None, **changes: Any) -> Iterator[ModelClient]:
    options: dict[str, Any] = {
        "resolve": (lambda name: model) if model else resolve_model,
        "cache": None,
        "ledger": Ledger(),
        "concurrency": 50,
        "retry": QUICK,
        "price": lambda request: PRICE,
    }
    client = ModelClient(**(options | changes))
    try:
        yield client
    finally:
        client.close()


def settle(client: ModelClient, *requests: Request) -> list[CallResult]:
    """Submit all and wait for all."""
    for request in requests:
        client.submit(request, Role.TARGET)
    open_keys = {request.key for request in requests}
    while open_keys:
        settled = client.wait(timeout=10)
        assert settled, f"{len(open_keys)} flights did not settle"
        open_keys -= settled
    known = [client.look_up(request) for request in requests]
    assert None not in known
    return [k for k in known if k is not None]


def failed(kind: ErrorKind, **fields: Any) -> ModelError:
    return ModelError(kind, f"fake: {kind}", model="fake/model", **fields)


def test_an_answer_that_another_process_has_paid_for_this_run_is_no_cached_one() -> None:
    model, said = FakeModel(), Answer("said there", "fake/model", "end_turn", None, None, 0.1)
    with calling(model) as client:
        client.take_over(PaidCall(question(), Role.TARGET, said, None, 1, Spend(1)))
        assert client.look_up(question()) == CallResult(said, None, cached=False)
        client.take_over(PaidCall(question("b"), Role.TARGET, None, failed(ErrorKind.SERVER), 3, Spend(3)))
        assert client.look_up(question("b")) is None, "a failure there may be an answer here"
        assert client.ask(question(), Role.TARGET) == said
    assert model.asked == []


def test_an_answer_is_unknown_then_under_way_then_known() -> None:
    model = FakeModel()
    with calling(model) as client:
        assert client.look_up(question()) is None
        [known] = settle(client, question())
        assert known.answer is not None
        assert (known.answer.text, known.error, known.cached) == ("HELLO", None, False)
        assert client.in_flight == 0
        assert client.wait() == frozenset()
    assert model.thread is not threading.current_thread()
    assert model.closed == 1


def test_who_waits_can_say_how_many_calls_are_sent_and_since_when() -> None:
    two_are_seen = threading.Event()

    class HeldModel(FakeModel):
        """Answers once two calls were seen to be sent."""

        async def complete(self, request: Request) -> Answer:
            while not two_are_seen.is_set():
                await asyncio.sleep(0.005)
            return await super().complete(request)

    with calling(HeldModel(), concurrency=2) as client:
        seen: list[tuple[int, float]] = []

        def look() -> None:
            seen.append(client.under_way)
            if seen[-1][0] == 2:
                two_are_seen.set()

        client.while_waiting = look
        settle(client, *(question(str(number)) for number in range(4)))
        assert max(count for count, _ in seen) == 2, "what queues for a slot is not sent"
        assert all((longest > 0) == (count > 0) for count, longest in seen)
        assert client.under_way == (0, 0.0)
        client.while_waiting = lambda: seen.clear()
        client.ask(question("5"), Role.TARGET)
        assert seen == []


def test_it_knows_how_many_of_its_answers_were_cached(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path, warn=pytest.fail)
    with calling(FakeModel(), cache=cache) as client:
        settle(client, question("a"), question("b"))
        assert client.answers == (2, 0)
    with calling(FakeModel(failed(ErrorKind.BAD_REQUEST)), cache=cache) as client:
        settle(client, question("new"))
        assert client.answers == (0, 0), "an error is no answer"
        settle(client, question("a"), question("c"))
        assert client.answers == (2, 1)
    cache.close()


def test_nothing_starts_before_the_first_request() -> None:
    before = threading.active_count()
    with calling(FakeModel()) as client:
        assert client.look_up(question()) is None
        assert client.wait() == frozenset()
        assert threading.active_count() == before


def test_equal_requests_in_flight_are_asked_once_and_other_samples_are_not() -> None:
    model = FakeModel(seconds=0.05)
    with calling(model) as client:
        settle(client, question(), question(), question(sample=1))
        settle(client)
        assert client.ask(question(), Role.JUDGE).text == "HELLO"
    assert len(model.asked) == 2


def test_as_many_at_once_as_allowed_and_no_more() -> None:
    model = FakeModel(seconds=0.02)
    with calling(model, concurrency=4) as client:
        settle(client, *(question(str(n)) for n in range(20)))
    assert len(model.asked) == 20
    assert model.most == 4


def test_wait_returns_what_settled_and_not_more_than_once() -> None:
    with calling(FakeModel(seconds=0.02)) as client:
        requests = [question(str(n)) for n in range(10)]
        for request in requests:
            client.submit(request, Role.TARGET)
        seen: list[str] = []
        while settled := client.wait(timeout=5):
            seen += settled
        assert sorted(seen) == sorted(request.key for request in requests)


def test_wait_ends_at_its_timeout() -> None:
    with calling(FakeModel(seconds=30)) as client:
        client.submit(question(), Role.TARGET)
        start = time.monotonic()
        assert client.wait(timeout=0.05) == frozenset()
        assert time.monotonic() - start < 2
        assert client.in_flight == 1


def test_ctrl_c_interrupts_wait_and_cancel_settles_everything() -> None:
    model, ledger, paid = FakeModel(seconds=30), Ledger(), list[PaidCall]()
    with calling(model, ledger=ledger, on_paid=paid.append) as client:
        requests = [question(str(n)) for n in range(5)]
        for request in requests:
            client.submit(request, Role.TARGET)
        threading.Timer(0.2, _thread.interrupt_main).start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.wait()
        client.cancel()
        assert time.monotonic() - start < 2
        assert client.in_flight == 0
        known = [client.look_up(request) for request in requests]
        assert {k.error.kind for k in known if k and k.error} == {ErrorKind.CANCELLED}
    # They had reached the provider: they stay charged and are on record.
    assert ledger.spend.cost == pytest.approx(5 * PRICE.bound(question("0")))
    assert sorted(p.attempts for p in paid) == [1] * 5


def test_ask_from_any_thread_and_any_loop() -> None:
    model = FakeModel(seconds=0.05)
    answers: list[str] = []
    with calling(model) as client:

        def from_thread() -> None:
            answers.append(client.ask(question(), Role.TARGET).text)

        async def from_loop() -> None:
            asked = [client.aask(question(), Role.TARGET) for _ in range(3)]
            answers.extend(answer.text for answer in await asyncio.gather(*asked))

        thread = threading.Thread(target=from_thread)
        thread.start()
        asyncio.run(from_loop())
        thread.join()
        from_thread()
    assert answers == ["HELLO"] * 5
    assert len(model.asked) == 1


def test_a_coroutine_under_no_loop_that_we_know_has_its_answer() -> None:
    with calling(FakeModel(seconds=0.05)) as client:
        coroutine = client.aask(question(), Role.TARGET)
        with pytest.raises(StopIteration) as ended:
            coroutine.send(None)
        assert ended.value.value.text == "HELLO"


def test_coroutines_under_trio_wait_side_by_side() -> None:
    trio = pytest.importorskip("trio")
    model = FakeModel(seconds=0.2)
    said: list[str] = []
    with calling(model) as client:

        async def ask(text: str) -> None:
            said.append((await client.aask(question(text), Role.TARGET)).text)

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                for text in "ab":
                    nursery.start_soon(ask, text)

        trio.run(main)
        assert sorted(said) == ["A", "B"]
        assert model.most == 2

        async def impatient() -> None:
            with trio.move_on_after(0.01) as scope:
                await ask("c")
            assert scope.cancelled_caught

        trio.run(impatient)


def test_a_coroutine_that_gives_up_cancels_nobody_else() -> None:
    model = FakeModel(seconds=0.1)
    with calling(model) as client:

        async def impatient() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await client.aask(question(), Role.TARGET)

        asyncio.run(impatient())
        assert client.ask(question(), Role.TARGET).text == "HELLO"
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "kind", [ErrorKind.CONNECTION, ErrorKind.SERVER, ErrorKind.MALFORMED, ErrorKind.EMPTY]
)
def test_a_passing_fault_is_retried_and_every_attempt_counts(kind: ErrorKind) -> None:
    model, ledger, paid = FakeModel(failed(kind), failed(kind)), Ledger(), list[PaidCall]()
    with calling(model, ledger=ledger, on_paid=paid.append) as client:
        [known] = settle(client, question())
    assert known.answer is not None
    assert ledger.spend.calls == 3
    assert [(p.request, p.answer, p.error, p.attempts) for p in paid] == [(question(), known.answer, None, 3)]
    assert paid[0].spend == ledger.spend


def test_a_lasting_fault_ends_after_seven_attempts_and_is_remembered() -> None:
    model = FakeModel(*(failed(ErrorKind.SERVER) for _ in range(10)))
    with calling(model) as client:
        for _ in range(2):
            with pytest.raises(ModelError, match="server error") as caught:
                client.ask(question(), Role.TARGET)
        assert caught.value.kind is ErrorKind.SERVER
        assert client.hopeless(question("next")) is None
    assert len(model.asked) == 7


@pytest.mark.parametrize("kind", [ErrorKind.BAD_REQUEST, ErrorKind.TOO_LARGE])
def test_a_hopeless_request_is_not_retried_and_stops_nobody_else(kind: ErrorKind) -> None:
    model = FakeModel(failed(kind))
    with calling(model) as client:
        [known] = settle(client, question())
        assert known.error is not None
        assert known.error.kind is kind
        assert client.hopeless(question("next")) is None
        assert client.ask(question("next"), Role.TARGET).text == "NEXT"


def test_a_wrong_key_stops_the_run() -> None:
    model, ledger = FakeModel(failed(ErrorKind.AUTHENTICATION), seconds=0.02), Ledger()
    with calling(model, ledger=ledger, concurrency=1) as client:
        known = settle(client, *(question(str(n)) for n in range(10)))
        assert {k.error.kind for k in known if k.error} == {ErrorKind.AUTHENTICATION}
        assert client.hopeless(question("later")) is not None
        with pytest.raises(ModelError, match="authentication"):
            client.ask(question("later"), Role.OPTIMIZER)
    assert len(model.asked) == 1
    assert ledger.spend.calls == 1


def test_a_rate_limit_pauses_everybody_who_asks_this_model() -> None:
    model = FakeModel(failed(ErrorKind.RATE_LIMIT, retry_after=0.3))
    with calling(model, concurrency=2) as client:
        start = time.monotonic()
        settle(client, question("0"))
        assert time.monotonic() - start >= 0.3
        model.faults = [failed(ErrorKind.OVERLOADED, retry_after=0.3)]
        client.submit(question("1"), Role.TARGET)
        time.sleep(0.1)
        start = time.monotonic()
        settle(client, question("2"))
        assert time.monotonic() - start >= 0.15
    assert len(model.asked) == 5


def test_waits_are_not_those_that_a_test_has_a_mock_for() -> None:
    """`mock.patch("asyncio.sleep")` ends neither the wait before a retry, nor counts it."""
    mocks = {name: mock.AsyncMock() for name in ("sleep", "wait_for", "wait")}
    model = FakeModel(*(failed(ErrorKind.SERVER) for _ in range(3)))
    retry = RetryPolicy(base=0.1, cap=0.1, random=lambda: 1.0)
    began = time.monotonic()
    with mock.patch.multiple("asyncio", **mocks), calling(model, retry=retry) as client:
        assert asyncio.sleep is mocks["sleep"]
        model.seconds = None  # it waits for nothing itself
        assert client.ask(question(), Role.TARGET).text == "HELLO"
    assert time.monotonic() - began > 0.25
    assert all(each.await_count == 0 for each in mocks.values())


def test_a_small_account_gets_all_its_answers_by_slowing_down() -> None:
    """A provider that takes 4 requests at once: 50 in flight would use up their attempts on refusals."""

    class Narrow(FakeModel):
        async def complete(self, request: Request) -> Answer:
            if self.now >= 4:
                self.asked.append("refused")
                raise failed(ErrorKind.RATE_LIMIT, retry_after=0.02)
            return await super().complete(request)

    model = Narrow(seconds=0.005)
    with calling(model) as client:
        known = settle(client, *(question(str(n)) for n in range(200)))
    assert [k.error for k in known if k.error] == []


def test_a_wait_that_is_too_long_ends_the_request_and_asks_nobody_else() -> None:
    model = FakeModel(failed(ErrorKind.RATE_LIMIT, retry_after=3600.0))
    with calling(model) as client:
        for text in ("a", "b"):
            with pytest.raises(ModelError) as caught:
                client.ask(question(text), Role.TARGET)
            assert caught.value.retry_after == 3600
    assert model.asked == ["a"]


def test_a_hanging_provider_ends_at_the_deadline() -> None:
    ledger = Ledger()
    with calling(FakeModel(seconds=60), ledger=ledger, retry=RetryPolicy(deadline=0.2)) as client:
        start = time.monotonic()
        with pytest.raises(ModelError, match=r"no reply within 0\.2\d* s") as caught:
            client.ask(question(), Role.TARGET)
        assert caught.value.kind is ErrorKind.TIMEOUT
        assert time.monotonic() - start < 0.7
    assert ledger.spend.cost == PRICE.bound(question())


def test_a_defect_of_a_model_ends_its_own_request_only() -> None:
    """It is not asked again: its code would do the same once more."""
    model, ledger = FakeModel(ZeroDivisionError(f"with {KEY}")), Ledger(max_tokens=10_000)
    with calling(model, ledger=ledger) as client:
        with pytest.raises(ModelError, match=r"ZeroDivisionError: with \[redacted\]") as caught:
            client.ask(question(), Role.TARGET)
        assert caught.value.kind is ErrorKind.DEFECT
        assert len(model.asked) == 1
        assert ledger.spend.output_tokens == 10, "it had waited for something, so it may have been billed"
        assert client.ask(question("next"), Role.TARGET).text == "NEXT"


class Odd(FakeModel):
    """Does what `does` does with its answer."""

    def __init__(self, does: Callable[[Answer], object], *, seconds: float | None = 0.0) -> None:
        super().__init__()
        self.does = does
        self.waits = seconds is not None

    async def complete(self, request: Request) -> Answer:
        self.asked.append(request.messages[-1].content)
        if self.waits:
            await asyncio.sleep(0)
        text = request.messages[-1].content.upper()
        answer = Answer(text, request.model, "end_turn", Usage(3, 4), 0.001, 0.1)
        return self.does(answer) if self.asked[-1] == "odd" else answer  # type: ignore[return-value]


def test_what_fails_before_it_waits_for_anything_costs_nothing() -> None:
    def forgot(answer: Answer) -> object:
        return answer.client.ask()  # type: ignore[attr-defined]

    model, ledger = Odd(forgot, seconds=None), Ledger(max_tokens=10_000, max_cost=1)
    with calling(model, ledger=ledger) as client:
        with pytest.raises(ModelError, match="has no attribute 'client'"):
            client.ask(question("odd"), Role.TARGET)
        assert (len(model.asked), ledger.spend.output_tokens, ledger.spend.cost) == (1, 0, 0.0)
        assert ledger.spend.calls == 1


def _raise(error: BaseException) -> Callable[[Answer], object]:
    def raising(answer: Answer) -> object:
        raise error

    return raising


@pytest.mark.parametrize("waits", [None, 0.0], ids=["at once", "later"])
@pytest.mark.parametrize(
    "error",
    [
        SystemExit("set HOUSE_KEY first"),
        KeyboardInterrupt(),
        GeneratorExit(),
        BaseException("of a library"),
        StopIteration(),
        BaseExceptionGroup("two", [SystemExit()]),
    ],
    ids=repr,
)
def test_whatever_a_model_raises_ends_its_own_request_only(error: BaseException, waits: float | None) -> None:
    with calling(Odd(_raise(error), seconds=waits)) as client:
        [known] = settle(client, question("odd"))
        assert known.error is not None
        assert type(error).__name__ in str(known.error) or "StopIteration" in str(known.error)
        assert client.ask(question("next"), Role.TARGET).text == "NEXT"


@pytest.mark.parametrize("error", [SystemExit("no"), KeyboardInterrupt()], ids=repr)
def test_nobody_waits_for_a_loop_that_a_task_of_a_model_has_ended(error: BaseException) -> None:
    class Exiting(FakeModel):
        async def complete(self, request: Request) -> Answer:
            async def leave() -> None:
                raise error

            self.task = asyncio.create_task(leave())
            await asyncio.sleep(30)
            return await super().complete(request)

    with calling(Exiting()) as client:
        [known] = settle(client, question())
        assert known.error is not None
        assert type(error).__name__ in str(known.error)
        with pytest.raises(ModelError, match="has ended the event loop"):
            client.ask(question("later"), Role.TARGET)

    async def ask() -> None:
        with calling(Exiting()) as client:
            await client.aask(question(), Role.TARGET)

    with pytest.raises(ModelError, match="has ended the event loop"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("change", "usage", "cost"),
    [
        ({"usage": Usage(-10_000, 5)}, None, None),
        ({"usage": Usage(10, 10**30)}, None, None),
        ({"usage": Usage(10, 2**62)}, None, None),
        ({"usage": Usage("10", "5")}, None, None),  # type: ignore[arg-type]
        ({"usage": Usage(1.5, 5)}, None, None),  # type: ignore[arg-type]
        ({"usage": Usage(True, 5)}, None, None),
        ({"usage": Usage(1, 5, -1)}, None, None),
        ({"usage": {"input_tokens": 1}}, None, None),
        ({"cost": "0.1"}, Usage(3, 4), None),
        ({"cost": float("nan")}, Usage(3, 4), None),
        ({"cost": float("inf")}, Usage(3, 4), None),
        ({"cost": -1.0}, Usage(3, 4), None),
        ({"cost": 10**400}, Usage(3, 4), None),
        ({"cost": 0}, Usage(3, 4), 0.0),
        ({"latency": float("nan")}, Usage(3, 4), 0.001),
        ({"latency": "long", "model": None}, Usage(3, 4), 0.001),
        ({"thinking": b"a thought"}, Usage(3, 4), 0.001),
        ({"thinking": None}, Usage(3, 4), 0.001),
    ],
    ids=str,
)
def test_what_cannot_be_true_of_an_answer_was_not_said(
    change: dict[str, Any], usage: Usage | None, cost: float | None, open_cache: Callable[[], ResponseCache]
) -> None:
    """It is charged as it was reserved, so that no ceiling is passed."""
    ledger, cache = Ledger(max_tokens=1000, max_cost=1), open_cache()
    model = Odd(lambda answer: replace(answer, **change))
    with calling(model, ledger=ledger, cache=cache) as client:
        answer = client.ask(question("odd"), Role.TARGET)
        assert (answer.text, answer.usage, answer.cost) == ("ODD", usage, cost)
        assert 0 <= answer.latency < 10
        assert answer.thinking == ""
    spent = ledger.spend
    bound = input_bound(question("odd")) + 10
    assert spent.input_tokens + spent.output_tokens == (bound if usage is None else 7)
    assert spent.cost == (PRICE.bound(question("odd")) if cost is None else cost)
    assert cache.get(question("odd").key) == answer


class Wordless(Exception):
    """Not even its words can be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Unmade(ModelError):
    """Of an author who forgot to call the constructor of its base."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (failed("overload"), r"fake: overload \(a ModelError whose kind is 'overload', and no ErrorKind"),  # type: ignore[arg-type]
        (failed(None), "whose kind is a NoneType, and no ErrorKind"),  # type: ignore[arg-type]
        (failed([]), "whose kind is a list, and no ErrorKind"),  # type: ignore[arg-type]
        (Unmade(), "whose kind is a NoneType, and no ErrorKind"),
        (Wordless(), "Wordless"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("where", ["model", "hook"])
def test_an_error_that_is_none_we_know_is_told_and_ends_nothing_else(
    error: Exception, said: str, where: str
) -> None:
    def refuse(name: str) -> FakeModel:
        raise error

    with calling(FakeModel(error), **({"resolve": refuse} if where == "hook" else {})) as client:
        [known] = settle(client, question())
        assert known.error is not None
        assert re.search(said, str(known.error))
        assert known.error.kind in (ErrorKind.DEFECT, ErrorKind.SETUP)
        assert known.error.model == "fake/model"
        if where == "model":
            assert client.ask(question("next"), Role.TARGET).text == "NEXT"


@pytest.mark.parametrize(
    "wait", ["1", float("nan"), float("inf"), -1, True, object(), 10**400], ids=lambda wait: str(wait)[:9]
)
def test_a_wait_that_is_none_is_not_waited_for(wait: Any) -> None:
    """A model of the user's own may hand on the header as it came. One that is too long ends the request."""
    too_long = isinstance(wait, int | float) and wait > 1e6
    model = FakeModel(failed(ErrorKind.RATE_LIMIT, retry_after=wait))
    with calling(model) as client:
        [known] = settle(client, question())
        assert (known.error is not None) == too_long
        assert client.look_up(question()) is known


def test_a_kind_may_be_given_by_its_value() -> None:
    model = FakeModel(failed("rate limit"))  # type: ignore[arg-type]
    with calling(model) as client:
        assert client.ask(question(), Role.TARGET).text == "HELLO"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("look", '{"city": "Oslo"}'), ("look", None), ("look", {"at": object()}), (None, {})],
    ids=lambda value: type(value).__name__,
)
def test_a_call_of_a_tool_that_nobody_can_read_is_a_mistake_of_the_model(name: Any, arguments: Any) -> None:
    call = ToolCall(name, arguments)
    model = Odd(lambda answer: replace(answer, text="", tool_calls=(call,)))
    with calling(model) as client:
        with pytest.raises(ModelError, match="fake/model: the model returned ToolCall") as caught:
            client.ask(question("odd"), Role.TARGET)
        assert caught.value.kind is ErrorKind.DEFECT
        assert client.ask(question("next"), Role.TARGET).text == "NEXT"


@pytest.mark.parametrize(
    "returned",
    ["pin", None, 7, {"text": "x"}, Answer(b"pin", "m/x", "end_turn", None, None, 0.0), Usage(1, 2)],  # type: ignore[arg-type]
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_answer_is_named_as_a_mistake_of_the_model(returned: object) -> None:
    model, ledger = Odd(lambda answer: returned), Ledger(max_tokens=1000)
    with calling(model, ledger=ledger) as client:
        with pytest.raises(ModelError, match="fake/model: the model returned a") as caught:
            client.ask(question("odd"), Role.TARGET)
        assert caught.value.kind is ErrorKind.DEFECT
        assert model.asked == ["odd"]
        assert ledger.spend.output_tokens == 10, "it may have been billed"
        assert client.ask(question("next"), Role.TARGET).text == "NEXT"


def test_an_empty_answer_is_repeated_once_and_then_it_is_the_answer(
    open_cache: Callable[[], ResponseCache],
) -> None:
    model, ledger = Odd(lambda answer: replace(answer, text="")), Ledger()
    for _ in range(2):
        with calling(model, ledger=ledger, cache=open_cache()) as client:
            assert client.ask(question("odd"), Role.TARGET).text == ""
    assert len(model.asked) == 2
    assert ledger.spend == Spend(2, 6, 8, 0.002, 0), "both are paid"


def test_an_answer_that_is_empty_by_accident_is_not_the_answer() -> None:
    texts = iter(["", "there"])
    with calling(Odd(lambda answer: replace(answer, text=next(texts)))) as client:
        assert client.ask(question("odd"), Role.TARGET).text == "there"


@pytest.mark.parametrize("reason", ["tool_use", "tool_calls", "max_tokens", "refusal", "pause_turn"])
def test_an_answer_without_text_that_ends_otherwise_is_not_repeated(reason: str) -> None:
    model = Odd(lambda answer: replace(answer, text="", stop_reason=reason))
    with calling(model) as client:
        assert client.ask(question("odd"), Role.TARGET).stop_reason == reason
    assert len(model.asked) == 1


def test_an_empty_answer_stays_when_its_repetition_fails() -> None:
    model = Odd(lambda answer: replace(answer, text=""))
    with calling(model, ledger=Ledger(max_calls=1)) as client:
        assert client.ask(question("odd"), Role.TARGET).text == ""


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if CONSEQUENCES[kind].stops])
def test_a_lasting_error_ends_all_calls_to_its_model_and_to_no_other(kind: ErrorKind) -> None:
    class Failing(FakeModel):
        async def complete(self, request: Request) -> Answer:
            await super().complete(request)
            raise failed(kind)

    bad, good = Failing(), FakeModel()
    with calling(resolve=lambda name: bad if name == "bad/model" else good) as client:
        known = settle(client, question("1", "bad/model"))
        known += settle(client, *(question(str(n), "bad/model") for n in range(2, 9)))
        assert {k.error.kind for k in known if k.error} == {kind}
        assert client.ask(question("next"), Role.TARGET).text == "NEXT"
    assert bad.asked == ["1"]


def test_a_refused_parameter_ends_the_calls_that_have_it() -> None:
    class Refusing(FakeModel):
        async def complete(self, request: Request) -> Answer:
            answer = await super().complete(request)
            if "top_q" in request.parameters:
                raise ModelError(ErrorKind.BAD_REQUEST, "HTTP 400: unknown parameter: 'top_q'")
            return answer

    model = Refusing()
    bad = [replace(question(str(n)), parameters={"top_q": 1}) for n in range(5)]
    with calling(model) as client:
        known = settle(client, bad[0]) + settle(client, *bad[1:])
        assert {k.error.kind for k in known if k.error} == {ErrorKind.PARAMETER}
        assert client.ask(question("next"), Role.TARGET).text == "NEXT"
    assert model.asked == ["0", "next"]


def test_a_model_that_cannot_be_made_is_tried_once() -> None:
    tried = []

    def resolving(name: str) -> FakeModel:
        tried.append(name)
        raise RuntimeError("no home")

    ledger = Ledger()
    with calling(resolve=resolving, ledger=ledger) as client:
        known = settle(client, question("1")) + settle(client, question("2"), question("3"))
    assert ["RuntimeError: no home" in str(k.error) for k in known] == [True] * 3
    assert (len(tried), ledger.spend.calls) == (1, 0)


def test_answers_of_others_are_told_before_they_are_used(open_cache: Callable[[], ResponseCache]) -> None:
    told: list[tuple[str, str]] = []

    def on_cached_answer(request: Request, answer: Answer) -> None:
        told.append((request.messages[0].content, answer.text))

    with calling(FakeModel(), cache=open_cache(), on_cached_answer=on_cached_answer) as client:
        settle(client, question("a"), question("b"), question("c"))
    assert told == []
    with calling(FakeModel(), cache=open_cache(), on_cached_answer=on_cached_answer) as client:
        end = Answer("C", "fake/model", "end_turn", None, None, 0.0)
        client.remember({question("c").key: RecordedCall(end, calls=3)})
        for _ in range(2):
            assert client.look_up(question("a")) is not None
            client.submit(question("b"), Role.OPTIMIZER)
            assert client.wait(timeout=5) or not client.in_flight
            assert client.look_up(question("c")) is not None
    assert told == [("a", "A"), ("b", "B")]
    assert (client.replayed, client.replayed_calls) == (1, 3)


@pytest.mark.parametrize(("calls", "cached"), [(1, False), (0, True)])
def test_an_answer_is_as_new_to_who_resumes_a_run_as_it_was_to_the_run(calls: int, cached: bool) -> None:
    with calling(FakeModel()) as client:
        end = Answer("C", "fake/model", "end_turn", None, None, 0.0)
        client.remember({question("c").key: RecordedCall(end, calls)})
        known = client.look_up(question("c"))
        assert known is not None
        assert known.cached is cached


def test_what_on_known_raises_reaches_whoever_waits(open_cache: Callable[[], ResponseCache]) -> None:
    def full(request: Request, answer: Answer) -> None:
        raise OSError("no space left for the journal")

    with calling(FakeModel(), cache=open_cache()) as client:
        settle(client, question())
    with calling(FakeModel(), cache=open_cache(), on_cached_answer=full) as client:
        assert client.look_up(question()) is not None
        with pytest.raises(OSError, match="journal"):
            client.wait()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_is_told_that_it_cannot_ask() -> None:
    with calling(FakeModel()) as client:
        client.ask(question(), Role.TARGET)
        child = os.fork()
        if child == 0:
            try:
                client.ask(question("other"), Role.TARGET)
            except ModelError as error:
                os._exit(0 if "forked" in str(pickle.loads(pickle.dumps(error))) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_process_that_may_have_few_files_has_few_calls_in_flight() -> None:
    script = """
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from pathlib import Path
from pytest_promptopt.response_cache import ResponseCache
from tests.unit.test_model_client import FakeModel, calling, question, settle

class Connecting(FakeModel):
    async def complete(self, request):
        with open("/dev/null"), open("/dev/null"):
            return await super().complete(request)

model, said = Connecting(seconds=0.05), []
with calling(model, cache=ResponseCache(Path(sys.argv[1]), warn=said.append), concurrency=50) as caller:
    known = settle(caller, *(question(str(n)) for n in range(60)))
print(len([k for k in known if k.answer]), 1 <= model.most <= 32, said)
"""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", script, str(Path(folder, "cache"))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr) == ("60 True []\n", "")


def test_the_limit_on_files_is_raised_where_that_is_allowed() -> None:
    script = """
import resource
from pytest_promptopt.models.file_descriptors import reserve_descriptors
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
print(reserve_descriptors(100), resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 132)
"""
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr) == ("100 True\n", "")


def test_money_that_never_comes_free_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that holds a reservation and neither ends nor settles it."""
    ledger = Ledger(max_tokens=1)
    monkeypatch.setattr(ledger, "in_the_way", lambda *_: frozenset({1}))
    with calling(FakeModel(), ledger=ledger, retry=replace(QUICK, deadline=0.3)) as client:
        start = time.monotonic()
        with pytest.raises(ModelError, match="are left"):
            client.ask(question(), Role.TARGET)
        assert time.monotonic() - start < 5


def test_a_model_that_cannot_be_resolved_ends_the_request() -> None:
    def refuse(name: str) -> FakeModel:
        raise SettingsError(f"{name!r} names no model")

    with calling(resolve=refuse) as client, pytest.raises(ModelError, match="'fake/model' names no model"):
        client.ask(question(), Role.TARGET)


def test_a_thread_that_cannot_start_is_an_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> asyncio.AbstractEventLoop:
        raise OSError("too many open files")

    with calling(FakeModel()) as client:
        with monkeypatch.context() as full:
            full.setattr(unpatched_asyncio.asyncio, "new_event_loop", refuse)
            with pytest.raises(OSError, match="too many open files"):
                client.submit(question(), Role.TARGET)
        assert client.wait() == frozenset()
        assert client.ask(question(), Role.TARGET).text == "HELLO"


def test_half_a_character_is_a_bad_request_that_is_not_sent() -> None:
    model = FakeModel()
    with calling(model) as client:
        with pytest.raises(
            ModelError, match=r"the user message holds U\+D800, half of a character"
        ) as caught:
            client.ask(question("a \ud800"), Role.TARGET)
        assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert model.asked == []


def test_a_provider_that_is_down_is_left_alone_then_asked_once_and_then_the_run_ends() -> None:
    model = FakeModel(*(failed(ErrorKind.OVERLOADED) for _ in range(1000)))
    policy = RetryPolicy(base=0.001, cap=0.002, breaker=5, rests=(0.02, 0.02))
    with calling(model, retry=policy, concurrency=4) as client:
        known = settle(client, *(question(str(n)) for n in range(100)))
        hopeless = client.hopeless(question("later"))
        assert hopeless is not None
        assert hopeless.kind is ErrorKind.UNAVAILABLE
        assert all(k.error is not None for k in known)
        asked = len(model.asked)
        assert asked < 20
        settle(client, question("later"))
        assert len(model.asked) == asked


def test_a_provider_that_comes_back_answers_everything() -> None:
    model = FakeModel(*(failed(ErrorKind.CONNECTION) for _ in range(21)))
    policy = RetryPolicy(base=0.001, cap=0.002, breaker=5, rests=(0.02, 0.02))
    with calling(model, retry=policy, concurrency=20) as client:
        known = settle(client, *(question(str(n)) for n in range(100)))
    assert [k.error for k in known if k.error] == []


@pytest.mark.parametrize("stop_reason", ["refusal", "max_tokens", "a new one"])
def test_a_refusal_and_a_cut_answer_are_stored_as_what_they_are(
    open_cache: Callable[[], ResponseCache], stop_reason: str
) -> None:
    class Stopping(FakeModel):
        async def complete(self, request: Request) -> Answer:
            return replace(await super().complete(request), stop_reason=stop_reason, usage=None, cost=None)

    model = Stopping()
    for cached in (False, True):
        with calling(model, cache=open_cache()) as client:
            [known] = settle(client, question())
            assert known.answer is not None
            assert (known.answer.stop_reason, known.answer.cost, known.cached) == (stop_reason, None, cached)
    assert len(model.asked) == 1


def test_what_on_paid_raises_reaches_whoever_waits() -> None:
    def full(paid: PaidCall) -> None:
        raise OSError("no space left for the journal")

    with calling(FakeModel(), on_paid=full) as client, pytest.raises(OSError, match="journal"):
        settle(client, question())


def test_a_ceiling_of_calls_holds_with_everything_in_flight() -> None:
    model, ledger = FakeModel(seconds=0.01), Ledger(max_calls=7)
    with calling(model, ledger=ledger) as client:
        known = settle(client, *(question(str(n)) for n in range(30)))
    assert len(model.asked) == ledger.spend.calls == 7
    assert sum(k.error is not None and k.error.kind is ErrorKind.BUDGET for k in known) == 23


def test_a_ceiling_of_money_waits_for_reservations_to_settle() -> None:
    bound = PRICE.bound(question("00"))
    model, ledger = FakeModel(seconds=0.01, cost=bound / 10), Ledger(max_cost=2.05 * bound)
    with calling(model, ledger=ledger) as client:
        known = settle(client, *(question(f"{n:02}") for n in range(10)))
    assert [k.error for k in known if k.error] == []
    assert model.most == 2
    assert ledger.spend.cost == pytest.approx(bound)


def test_close_is_quick_repeatable_and_final() -> None:
    model = FakeModel(seconds=30)
    with calling(model) as client:
        client.submit(question(), Role.TARGET)
        time.sleep(0.05)
        start = time.monotonic()
        client.close()
        client.close()
        assert time.monotonic() - start < 2
        assert client.in_flight == 0
        with pytest.raises(ModelError, match="session is over") as caught:
            client.ask(question("late"), Role.TARGET)
        assert caught.value.kind is ErrorKind.CANCELLED
    assert model.closed == 1
    assert model.thread is not None
    assert not model.thread.is_alive()


@pytest.fixture
def open_cache(tmp_path: Path) -> Iterator[Callable[[], ResponseCache]]:
    caches: list[ResponseCache] = []

    def make() -> ResponseCache:
        caches.append(ResponseCache(tmp_path / "cache", warn=pytest.fail))
        return caches[-1]

    yield make
    for cache in caches:
        cache.close()


def test_an_answer_of_an_earlier_session_is_not_paid_again(open_cache: Callable[[], ResponseCache]) -> None:
    model, paid = FakeModel(), list[PaidCall]()
    with calling(model, cache=open_cache()) as client:
        [known] = settle(client, question())
        assert not known.cached
    with calling(model, cache=open_cache(), on_paid=paid.append) as client:
        assert client.look_up(question()) == CallResult(known.answer, None, cached=True)
        assert client.ask(question(), Role.TARGET) == known.answer
        client.submit(question(), Role.TARGET)
        assert client.in_flight == 0
    assert len(model.asked) == 1
    assert paid == []


def test_refresh_asks_again_and_stores(open_cache: Callable[[], ResponseCache]) -> None:
    model = FakeModel()
    with calling(model, cache=open_cache()) as client:
        settle(client, question())
    with calling(model, cache=open_cache(), refresh=True) as client:
        assert client.look_up(question()) is None
        assert [k.cached for k in settle(client, question())] == [False]
        assert client.look_up(question()) is not None
    assert len(model.asked) == 2


def test_errors_are_not_stored(open_cache: Callable[[], ResponseCache]) -> None:
    model = FakeModel(failed(ErrorKind.BAD_REQUEST))
    with calling(model, cache=open_cache()) as client, pytest.raises(ModelError):
        client.ask(question(), Role.TARGET)
    with calling(model, cache=open_cache()) as client:
        assert client.ask(question(), Role.TARGET).text == "HELLO"


CHILD = """
import asyncio, sys
from pathlib import Path
from pytest_promptopt.budget.ledger import Ledger, Price, input_bound
from pytest_promptopt.response_cache import ResponseCache
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.records import Answer, Message, Request, Role

class Model:
    async def complete(self, request):
        with open(sys.argv[2], "a") as log:
            log.write(request.messages[0].content + "\\n")
        await asyncio.sleep(0.2)
        return Answer(request.messages[0].content, "m/x", "end_turn", None, None, 0.2)

    async def aclose(self):
        pass

cache = ResponseCache(Path(sys.argv[1]), warn=print)
client = ModelClient(
    resolve=lambda name: Model(), cache=cache, ledger=Ledger(), concurrency=50, price=lambda request: None
)
requests = [Request("m/x", (Message("user", str(n)),)) for n in range(10)]
for request in requests:
    client.submit(request, Role.TARGET)
with open(sys.argv[2] + ".waiting", "a") as log:
    log.write("x")
print(*(client.ask(request, Role.TARGET).text for request in requests))
client.close()
cache.close()
"""


def test_three_processes_pay_each_answer_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    log = tmp_path / "asked"
    command = [sys.executable, "-W", "error", "-c", CHILD, str(tmp_path / "cache"), str(log)]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)
    ]
    assert [worker.communicate(timeout=60)[0] for worker in workers] == ["0 1 2 3 4 5 6 7 8 9\n"] * 3
    assert sorted(log.read_text().split()) == [str(n) for n in range(10)]


HANGING = CHILD.replace("asyncio.sleep(0.2)", "asyncio.sleep(60)")


def test_eight_processes_pay_an_answer_once_and_take_over_from_one_that_dies(tmp_path: Path) -> None:
    """The first to ask never gets its answers; it is killed, and the others pay them once."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    log = tmp_path / "asked"

    def start(script: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "cache"), str(log)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def asked() -> list[str]:
        return log.read_text().split() if log.exists() else []

    owner = start(HANGING)
    until(lambda: len(asked()) == 10)
    others = [start(CHILD) for _ in range(7)]
    until(lambda: (tmp_path / "asked.waiting").read_text() == 8 * "x")
    time.sleep(0.5)
    assert len(asked()) == 10, "they wait for the owner"
    owner.kill()
    owner.communicate()
    assert [other.communicate(timeout=60)[0] for other in others] == ["0 1 2 3 4 5 6 7 8 9\n"] * 7
    assert sorted(asked()) == sorted(2 * [str(n) for n in range(10)])


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def sdk() -> None:
    """Imported outside the deadlines of the tests: on a busy machine it takes many seconds."""
    import anthropic  # noqa: F401


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, sdk: None) -> Iterator[WireServer]:
    with WireServer(answer=lambda body: str(body["messages"][-1]["content"]).upper()) as server:
        monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        yield server


def real(**changes: Any) -> Any:
    from pytest_promptopt.models.prices import price_of

    return calling(price=price_of, **changes)


@pytest.mark.parametrize(
    "fault",
    [
        refused(500),
        refused(529),
        refused(429, retry_after="0.05"),
        Reply(fault="reset"),
        Reply(fault="cut"),
        Reply(body='{"id": "m'),
        Reply(body="<html>"),
        Reply(body={}),
        Reply(body=message(None)),
    ],
    ids=["500", "529", "429", "reset", "cut", "truncated", "html", "{}", "empty"],
)
def test_over_http_one_fault_costs_one_more_request(wire: WireServer, fault: Reply) -> None:
    wire.script(fault)
    ledger = Ledger()
    with real(ledger=ledger) as client:
        assert client.ask(question(model=CLAUDE), Role.TARGET).text == "HELLO"
    assert len(wire.requests) == ledger.spend.calls == 2


def test_over_http_a_wrong_key_is_one_sentence_without_the_key(wire: WireServer) -> None:
    wire.script(*(refused(401, f"invalid x-api-key {KEY}") for _ in range(60)))
    with real() as client:
        known = settle(client, *(question(str(n), CLAUDE) for n in range(60)))
        sent = len(wire.requests)
        assert sent <= 50
        hopeless = client.hopeless(question("later", CLAUDE))
        assert hopeless is not None
        assert hopeless.kind is ErrorKind.AUTHENTICATION
        settle(client, question("later", CLAUDE))
        assert len(wire.requests) == sent
    assert all(k.error is not None and KEY not in str(k.error) for k in known)


def test_over_http_a_refusal_and_a_cut_answer_are_answers(wire: WireServer) -> None:
    refusal, long = message(None, stop_reason="refusal"), message("Once upon", stop_reason="max_tokens")
    wire.script(Reply(body=refusal), Reply(body=long))
    with real() as client:
        assert client.ask(question("a", CLAUDE), Role.TARGET).stop_reason == "refusal"
        assert client.ask(question("b", CLAUDE), Role.TARGET).stop_reason == "max_tokens"
    assert len(wire.requests) == 2


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_over_http_a_hang_ends_at_the_deadline(wire: WireServer, fault: str) -> None:
    """The timeouts of an SDK are between two reads: one that drips a byte at a time never reaches them."""
    with real(retry=RetryPolicy(deadline=1.5)) as client:
        client.ask(question("warm", CLAUDE), Role.TARGET)
        wire.script(Reply(fault=fault))
        start = time.monotonic()
        with pytest.raises(ModelError, match="no reply within"):
            client.ask(question("cold", CLAUDE), Role.TARGET)
        assert time.monotonic() - start < 3


def test_over_http_many_are_in_flight_and_no_more_than_allowed(wire: WireServer) -> None:
    wire.latency = 0.05
    with real(concurrency=10) as client:
        settle(client, *(question(str(n), CLAUDE) for n in range(40)))
    assert len(wire.requests) == 40
    assert 5 <= wire.most_at_once <= 10


def test_what_a_ceiling_refused_can_be_asked_again_once_calls_are_free() -> None:
    ledger = Ledger(max_calls=2)
    ledger.reserve_for_scoring(1)
    with calling(FakeModel(), ledger=ledger) as client:
        first, second = question("one"), question("two")
        settle(client, first)
        (refused,) = settle(client, second)
        assert refused.error is not None
        assert refused.error.kind is ErrorKind.BUDGET
        ledger.reserve_for_scoring(0)
        client.forget_refusals()
        assert client.look_up(second) is None
        (answered,) = settle(client, second)
        assert answered.answer is not None
