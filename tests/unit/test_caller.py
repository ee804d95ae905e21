"""The caller: many requests in flight for synchronous code, each paid once and settled whatever happens."""

from __future__ import annotations

import _thread
import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.budget import Ledger, Price
from pytest_promptopt.cache import ResponseCache
from pytest_promptopt.errors import ErrorKind, ModelError, SettingsError
from pytest_promptopt.models.caller import Caller, Known, Paid
from pytest_promptopt.models.registry import resolve
from pytest_promptopt.models.retry import RetryPolicy
from pytest_promptopt.records import Answer, Message, Request, Role, Usage
from tests.wire import Reply, WireServer, message, refused

KEY = "sk-test-0123456789abcdef"
CLAUDE = "anthropic/claude-opus-5-5"
QUICK = RetryPolicy(base=0.01, cap=0.02, deadline=60.0)
PRICE = Price(1, 10, 0.1, 1.25)


class FakeModel:
    """Answers with the question in capitals after `seconds`; `faults` are raised first, one per attempt."""

    def __init__(self, *faults: Exception, seconds: float = 0.0, cost: float | None = 0.001) -> None:
        self.faults = list(faults)
        self.seconds = seconds
        self.cost = cost
        self.asked: list[str] = []
        self.now = self.most = self.closed = 0
        self.thread: threading.Thread | None = None

    async def complete(self, request: Request) -> Answer:
        self.thread = threading.current_thread()
        self.asked.append(request.messages[-1].content)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        if self.faults:
            raise self.faults.pop(0)
        text = request.messages[-1].content.upper()
        return Answer(text, request.model, "end_turn", Usage(1, 1), self.cost, self.seconds)

    async def aclose(self) -> None:
        self.closed += 1


def question(text: str = "hello", model: str = "fake/model", sample: int = 0) -> Request:
    return Request(model, (Message("user", text),), max_tokens=10, sample=sample)


@contextmanager
def calling(model: FakeModel | None = None, **changes: Any) -> Iterator[Caller]:
    options: dict[str, Any] = {
        "resolve": (lambda name: model) if model else resolve,
        "cache": None,
        "ledger": Ledger(),
        "concurrency": 50,
        "retry": QUICK,
        "price": lambda request: PRICE,
    }
    caller = Caller(**(options | changes))
    try:
        yield caller
    finally:
        caller.close()


def settle(caller: Caller, *requests: Request) -> list[Known]:
    """Submit all and wait for all."""
    for request in requests:
        caller.submit(request, Role.TARGET)
    open_keys = {request.key for request in requests}
    while open_keys:
        settled = caller.wait(timeout=10)
        assert settled, f"{len(open_keys)} flights did not settle"
        open_keys -= settled
    known = [caller.known(request) for request in requests]
    assert None not in known
    return [k for k in known if k is not None]


def failed(kind: ErrorKind, **fields: Any) -> ModelError:
    return ModelError(kind, f"fake: {kind}", model="fake/model", **fields)


def test_an_answer_is_unknown_then_under_way_then_known() -> None:
    model = FakeModel()
    with calling(model) as caller:
        assert caller.known(question()) is None
        [known] = settle(caller, question())
        assert known.answer is not None
        assert (known.answer.text, known.error, known.cached) == ("HELLO", None, False)
        assert caller.in_flight == 0
        assert caller.wait() == frozenset()
    assert model.thread is not threading.current_thread()
    assert model.closed == 1


def test_nothing_starts_before_the_first_request() -> None:
    before = threading.active_count()
    with calling(FakeModel()) as caller:
        assert caller.known(question()) is None
        assert caller.wait() == frozenset()
        assert threading.active_count() == before


def test_equal_requests_in_flight_are_asked_once_and_other_samples_are_not() -> None:
    model = FakeModel(seconds=0.05)
    with calling(model) as caller:
        settle(caller, question(), question(), question(sample=1))
        settle(caller)
        assert caller.ask(question(), Role.JUDGE).text == "HELLO"
    assert len(model.asked) == 2


def test_as_many_at_once_as_allowed_and_no_more() -> None:
    model = FakeModel(seconds=0.02)
    with calling(model, concurrency=4) as caller:
        settle(caller, *(question(str(n)) for n in range(20)))
    assert len(model.asked) == 20
    assert model.most == 4


def test_wait_returns_what_settled_and_not_more_than_once() -> None:
    with calling(FakeModel(seconds=0.02)) as caller:
        requests = [question(str(n)) for n in range(10)]
        for request in requests:
            caller.submit(request, Role.TARGET)
        seen: list[str] = []
        while settled := caller.wait(timeout=5):
            seen += settled
        assert sorted(seen) == sorted(request.key for request in requests)


def test_wait_ends_at_its_timeout() -> None:
    with calling(FakeModel(seconds=30)) as caller:
        caller.submit(question(), Role.TARGET)
        start = time.monotonic()
        assert caller.wait(timeout=0.05) == frozenset()
        assert time.monotonic() - start < 2
        assert caller.in_flight == 1


def test_ctrl_c_interrupts_wait_and_cancel_settles_everything() -> None:
    model, ledger, paid = FakeModel(seconds=30), Ledger(), list[Paid]()
    with calling(model, ledger=ledger, on_paid=paid.append) as caller:
        requests = [question(str(n)) for n in range(5)]
        for request in requests:
            caller.submit(request, Role.TARGET)
        threading.Timer(0.2, _thread.interrupt_main).start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            caller.wait()
        caller.cancel()
        assert time.monotonic() - start < 2
        assert caller.in_flight == 0
        known = [caller.known(request) for request in requests]
        assert {k.error.kind for k in known if k and k.error} == {ErrorKind.CANCELLED}
    # They had reached the provider: they stay charged and are on record.
    assert ledger.spend.cost == pytest.approx(5 * PRICE.bound(question("0")))
    assert sorted(p.attempts for p in paid) == [1] * 5


def test_ask_from_any_thread_and_any_loop() -> None:
    model = FakeModel(seconds=0.05)
    answers: list[str] = []
    with calling(model) as caller:

        def from_thread() -> None:
            answers.append(caller.ask(question(), Role.TARGET).text)

        async def from_loop() -> None:
            asked = [caller.aask(question(), Role.TARGET) for _ in range(3)]
            answers.extend(answer.text for answer in await asyncio.gather(*asked))

        thread = threading.Thread(target=from_thread)
        thread.start()
        asyncio.run(from_loop())
        thread.join()
        from_thread()
    assert answers == ["HELLO"] * 5
    assert len(model.asked) == 1


def test_a_coroutine_that_gives_up_cancels_nobody_else() -> None:
    model = FakeModel(seconds=0.1)
    with calling(model) as caller:

        async def impatient() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await caller.aask(question(), Role.TARGET)

        asyncio.run(impatient())
        assert caller.ask(question(), Role.TARGET).text == "HELLO"
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "kind", [ErrorKind.CONNECTION, ErrorKind.SERVER, ErrorKind.MALFORMED, ErrorKind.EMPTY]
)
def test_a_passing_fault_is_retried_and_every_attempt_counts(kind: ErrorKind) -> None:
    model, ledger, paid = FakeModel(failed(kind), failed(kind)), Ledger(), list[Paid]()
    with calling(model, ledger=ledger, on_paid=paid.append) as caller:
        [known] = settle(caller, question())
    assert known.answer is not None
    assert ledger.spend.calls == 3
    assert [(p.request, p.answer, p.error, p.attempts) for p in paid] == [(question(), known.answer, None, 3)]
    assert paid[0].spend == ledger.spend


def test_a_lasting_fault_ends_after_seven_attempts_and_is_remembered() -> None:
    model = FakeModel(*(failed(ErrorKind.SERVER) for _ in range(10)))
    with calling(model) as caller:
        for _ in range(2):
            with pytest.raises(ModelError, match="server error") as caught:
                caller.ask(question(), Role.TARGET)
        assert caught.value.kind is ErrorKind.SERVER
        assert caller.fatal is None
    assert len(model.asked) == 7


@pytest.mark.parametrize("kind", [ErrorKind.BAD_REQUEST, ErrorKind.NOT_FOUND, ErrorKind.TOO_LARGE])
def test_a_hopeless_request_is_not_retried_and_stops_nobody_else(kind: ErrorKind) -> None:
    model = FakeModel(failed(kind))
    with calling(model) as caller:
        [known] = settle(caller, question())
        assert known.error is not None
        assert known.error.kind is kind
        assert caller.fatal is None
        assert caller.ask(question("next"), Role.TARGET).text == "NEXT"


def test_a_wrong_key_stops_the_run() -> None:
    model, ledger = FakeModel(failed(ErrorKind.AUTHENTICATION), seconds=0.02), Ledger()
    with calling(model, ledger=ledger, concurrency=1) as caller:
        known = settle(caller, *(question(str(n)) for n in range(10)))
        assert {k.error.kind for k in known if k.error} == {ErrorKind.AUTHENTICATION}
        assert caller.fatal is not None
        with pytest.raises(ModelError, match="authentication"):
            caller.ask(question("later"), Role.OPTIMIZER)
    assert len(model.asked) == 1
    assert ledger.spend.calls == 1


def test_a_rate_limit_pauses_everybody_who_asks_this_model() -> None:
    model = FakeModel(failed(ErrorKind.RATE_LIMIT, retry_after=0.3))
    with calling(model, concurrency=2) as caller:
        start = time.monotonic()
        settle(caller, question("0"))
        assert time.monotonic() - start >= 0.3
        model.faults = [failed(ErrorKind.OVERLOADED, retry_after=0.3)]
        caller.submit(question("1"), Role.TARGET)
        time.sleep(0.1)
        start = time.monotonic()
        settle(caller, question("2"))
        assert time.monotonic() - start >= 0.15
    assert len(model.asked) == 5


def test_a_small_account_gets_all_its_answers_by_slowing_down() -> None:
    """A provider that takes 4 requests at once: 50 in flight would use up their attempts on refusals."""

    class Narrow(FakeModel):
        async def complete(self, request: Request) -> Answer:
            if self.now >= 4:
                self.asked.append("refused")
                raise failed(ErrorKind.RATE_LIMIT, retry_after=0.02)
            return await super().complete(request)

    model = Narrow(seconds=0.005)
    with calling(model) as caller:
        known = settle(caller, *(question(str(n)) for n in range(200)))
    assert [k.error for k in known if k.error] == []


def test_a_wait_that_is_too_long_ends_the_request_and_asks_nobody_else() -> None:
    model = FakeModel(failed(ErrorKind.RATE_LIMIT, retry_after=3600.0))
    with calling(model) as caller:
        for text in ("a", "b"):
            with pytest.raises(ModelError) as caught:
                caller.ask(question(text), Role.TARGET)
            assert caught.value.retry_after == 3600
    assert model.asked == ["a"]


def test_a_hanging_provider_ends_at_the_deadline() -> None:
    ledger = Ledger()
    with calling(FakeModel(seconds=60), ledger=ledger, retry=RetryPolicy(deadline=0.2)) as caller:
        start = time.monotonic()
        with pytest.raises(ModelError, match=r"no reply within 0\.2\d* s") as caught:
            caller.ask(question(), Role.TARGET)
        assert caught.value.kind is ErrorKind.TIMEOUT
        assert time.monotonic() - start < 0.7
    assert ledger.spend.cost == PRICE.bound(question())


def test_a_defect_of_a_model_ends_its_own_request_only() -> None:
    model = FakeModel(*(ZeroDivisionError(f"with {KEY}") for _ in range(7)))
    with calling(model) as caller:
        with pytest.raises(ModelError, match=r"ZeroDivisionError: with \[redacted\]"):
            caller.ask(question(), Role.TARGET)
        assert caller.ask(question("next"), Role.TARGET).text == "NEXT"


def test_a_model_that_cannot_be_resolved_ends_the_request() -> None:
    def refuse(name: str) -> FakeModel:
        raise SettingsError(f"{name!r} names no model")

    with calling(resolve=refuse) as caller, pytest.raises(ModelError, match="'fake/model' names no model"):
        caller.ask(question(), Role.TARGET)


def test_a_thread_that_cannot_start_is_an_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> asyncio.AbstractEventLoop:
        raise OSError("too many open files")

    with calling(FakeModel()) as caller:
        with monkeypatch.context() as full:
            full.setattr(asyncio, "new_event_loop", refuse)
            with pytest.raises(OSError, match="too many open files"):
                caller.submit(question(), Role.TARGET)
        assert caller.wait() == frozenset()
        assert caller.ask(question(), Role.TARGET).text == "HELLO"


def test_half_a_character_is_a_bad_request_that_is_not_sent() -> None:
    model = FakeModel()
    with calling(model) as caller:
        with pytest.raises(
            ModelError, match=r"the user message holds U\+D800, half of a character"
        ) as caught:
            caller.ask(question("a \ud800"), Role.TARGET)
        assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert model.asked == []


def test_a_provider_that_is_down_is_left_alone_then_asked_once_and_then_the_run_ends() -> None:
    model = FakeModel(*(failed(ErrorKind.OVERLOADED) for _ in range(1000)))
    policy = RetryPolicy(base=0.001, cap=0.002, breaker=5, rests=(0.02, 0.02))
    with calling(model, retry=policy, concurrency=4) as caller:
        known = settle(caller, *(question(str(n)) for n in range(100)))
        assert caller.fatal is not None
        assert caller.fatal.kind is ErrorKind.UNAVAILABLE
        assert all(k.error is not None for k in known)
        asked = len(model.asked)
        assert asked < 20
        settle(caller, question("later"))
        assert len(model.asked) == asked


def test_a_provider_that_comes_back_answers_everything() -> None:
    model = FakeModel(*(failed(ErrorKind.CONNECTION) for _ in range(21)))
    policy = RetryPolicy(base=0.001, cap=0.002, breaker=5, rests=(0.02, 0.02))
    with calling(model, retry=policy, concurrency=20) as caller:
        known = settle(caller, *(question(str(n)) for n in range(100)))
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
        with calling(model, cache=open_cache()) as caller:
            [known] = settle(caller, question())
            assert known.answer is not None
            assert (known.answer.stop_reason, known.answer.cost, known.cached) == (stop_reason, None, cached)
    assert len(model.asked) == 1


def test_what_on_paid_raises_reaches_whoever_waits() -> None:
    def full(paid: Paid) -> None:
        raise OSError("no space left for the journal")

    with calling(FakeModel(), on_paid=full) as caller, pytest.raises(OSError, match="journal"):
        settle(caller, question())


def test_a_ceiling_of_calls_holds_with_everything_in_flight() -> None:
    model, ledger = FakeModel(seconds=0.01), Ledger(max_calls=7)
    with calling(model, ledger=ledger) as caller:
        known = settle(caller, *(question(str(n)) for n in range(30)))
    assert len(model.asked) == ledger.spend.calls == 7
    assert sum(k.error is not None and k.error.kind is ErrorKind.BUDGET for k in known) == 23


def test_a_ceiling_of_money_waits_for_reservations_to_settle() -> None:
    bound = PRICE.bound(question("00"))
    model, ledger = FakeModel(seconds=0.01, cost=bound / 10), Ledger(max_cost=2.05 * bound)
    with calling(model, ledger=ledger) as caller:
        known = settle(caller, *(question(f"{n:02}") for n in range(10)))
    assert [k.error for k in known if k.error] == []
    assert model.most == 2
    assert ledger.spend.cost == pytest.approx(bound)


def test_close_is_quick_repeatable_and_final() -> None:
    model = FakeModel(seconds=30)
    with calling(model) as caller:
        caller.submit(question(), Role.TARGET)
        time.sleep(0.05)
        start = time.monotonic()
        caller.close()
        caller.close()
        assert time.monotonic() - start < 2
        assert caller.in_flight == 0
        with pytest.raises(ModelError, match="session is over") as caught:
            caller.ask(question("late"), Role.TARGET)
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
    model, paid = FakeModel(), list[Paid]()
    with calling(model, cache=open_cache()) as caller:
        [known] = settle(caller, question())
        assert not known.cached
    with calling(model, cache=open_cache(), on_paid=paid.append) as caller:
        assert caller.known(question()) == Known(known.answer, None, cached=True)
        assert caller.ask(question(), Role.TARGET) == known.answer
        caller.submit(question(), Role.TARGET)
        assert caller.in_flight == 0
    assert len(model.asked) == 1
    assert paid == []


def test_refresh_asks_again_and_stores(open_cache: Callable[[], ResponseCache]) -> None:
    model = FakeModel()
    with calling(model, cache=open_cache()) as caller:
        settle(caller, question())
    with calling(model, cache=open_cache(), refresh=True) as caller:
        assert caller.known(question()) is None
        assert [k.cached for k in settle(caller, question())] == [False]
        assert caller.known(question()) is not None
    assert len(model.asked) == 2


def test_errors_are_not_stored(open_cache: Callable[[], ResponseCache]) -> None:
    model = FakeModel(failed(ErrorKind.BAD_REQUEST))
    with calling(model, cache=open_cache()) as caller, pytest.raises(ModelError):
        caller.ask(question(), Role.TARGET)
    with calling(model, cache=open_cache()) as caller:
        assert caller.ask(question(), Role.TARGET).text == "HELLO"


CHILD = """
import asyncio, sys
from pathlib import Path
from pytest_promptopt.budget import Ledger, Price
from pytest_promptopt.cache import ResponseCache
from pytest_promptopt.models.caller import Caller
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
caller = Caller(
    resolve=lambda name: Model(), cache=cache, ledger=Ledger(), concurrency=50, price=lambda request: None
)
requests = [Request("m/x", (Message("user", str(n)),)) for n in range(10)]
for request in requests:
    caller.submit(request, Role.TARGET)
with open(sys.argv[2] + ".waiting", "a") as log:
    log.write("x")
print(*(caller.ask(request, Role.TARGET).text for request in requests))
caller.close()
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
    with real(ledger=ledger) as caller:
        assert caller.ask(question(model=CLAUDE), Role.TARGET).text == "HELLO"
    assert len(wire.requests) == ledger.spend.calls == 2


def test_over_http_a_wrong_key_is_one_sentence_without_the_key(wire: WireServer) -> None:
    wire.script(*(refused(401, f"invalid x-api-key {KEY}") for _ in range(60)))
    with real() as caller:
        known = settle(caller, *(question(str(n), CLAUDE) for n in range(60)))
        sent = len(wire.requests)
        assert sent <= 50
        assert caller.fatal is not None
        assert caller.fatal.kind is ErrorKind.AUTHENTICATION
        settle(caller, question("later", CLAUDE))
        assert len(wire.requests) == sent
    assert all(k.error is not None and KEY not in str(k.error) for k in known)


def test_over_http_a_refusal_and_a_cut_answer_are_answers(wire: WireServer) -> None:
    refusal, long = message(None, stop_reason="refusal"), message("Once upon", stop_reason="max_tokens")
    wire.script(Reply(body=refusal), Reply(body=long))
    with real() as caller:
        assert caller.ask(question("a", CLAUDE), Role.TARGET).stop_reason == "refusal"
        assert caller.ask(question("b", CLAUDE), Role.TARGET).stop_reason == "max_tokens"
    assert len(wire.requests) == 2


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_over_http_a_hang_ends_at_the_deadline(wire: WireServer, fault: str) -> None:
    """The timeouts of an SDK are between two reads: one that drips a byte at a time never reaches them."""
    with real(retry=RetryPolicy(deadline=1.5)) as caller:
        caller.ask(question("warm", CLAUDE), Role.TARGET)
        wire.script(Reply(fault=fault))
        start = time.monotonic()
        with pytest.raises(ModelError, match="no reply within"):
            caller.ask(question("cold", CLAUDE), Role.TARGET)
        assert time.monotonic() - start < 3


def test_over_http_many_are_in_flight_and_no_more_than_allowed(wire: WireServer) -> None:
    wire._latency = 0.05
    with real(concurrency=10) as caller:
        settle(caller, *(question(str(n), CLAUDE) for n in range(40)))
    assert len(wire.requests) == 40
    assert 5 <= wire.most_at_once <= 10


def test_what_a_ceiling_refused_can_be_asked_again_once_calls_are_free() -> None:
    ledger = Ledger(max_calls=2)
    ledger.set_aside(1)
    with calling(FakeModel(), ledger=ledger) as caller:
        first, second = question("one"), question("two")
        settle(caller, first)
        (refused,) = settle(caller, second)
        assert refused.error is not None
        assert refused.error.kind is ErrorKind.BUDGET
        ledger.set_aside(0)
        caller.forget_refusals()
        assert caller.known(second) is None
        (answered,) = settle(caller, second)
        assert answered.answer is not None
