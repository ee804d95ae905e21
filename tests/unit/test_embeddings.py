"""Embeddings: how they are asked for, kept and compared, and what a check says of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.budget.ledger import Ledger, input_bound, output_bound
from pytest_promptopt.errors import ErrorKind, ModelError, SettingsError, UnusableVerdict
from pytest_promptopt.failed_checks import CheckFailed
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.models.demo import DemoModel
from pytest_promptopt.models.embedding import cosine, embedded, embedding_request, vector_in
from pytest_promptopt.models.litellm_sdk import LitellmModel, import_litellm
from pytest_promptopt.models.prices import price_of
from pytest_promptopt.models.retry import RetryPolicy
from pytest_promptopt.optimizer.confirmation import _is_single_fresh_answer
from pytest_promptopt.records import (
    Answer,
    Call,
    Case,
    CaseResult,
    Message,
    Outcome,
    Request,
    Role,
    Split,
    Status,
    Usage,
)
from pytest_promptopt.replay.embedding_calls import RunEmbedder
from pytest_promptopt.replay.run import Run
from pytest_promptopt.response_cache import ResponseCache
from pytest_promptopt.suites.checks import Check
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.similar_check import comparing_with
from tests.wire import WireServer, refused

SMALL = "openai/text-embedding-3-small"
#: Two words that mean the same, and one that does not.
MEANING = {"refund": (1.0, 0.0), "reimbursement": (0.8, 0.6), "weather": (0.0, 1.0)}


class House:
    """Knows the vectors of a few texts."""

    def __init__(self, *faults: Exception, found: Any = None) -> None:
        self.asked: list[str] = []
        self.faults = list(faults)
        self.found = found

    async def embed(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        if self.faults:
            raise self.faults.pop(0)
        return [list(MEANING[text]) for text in texts] if self.found is None else self.found

    async def complete(self, request: Request) -> Answer:
        return Answer("said", request.model, "end_turn", Usage(1, 1), 0.0, 0.0)

    async def aclose(self) -> None:
        pass


def embed(model: Any, text: str = "refund") -> Answer:
    return asyncio.run(embedded(model, embedding_request("house/embed", text)))


class TestARequest:
    def test_it_is_another_question_than_the_same_text_to_the_same_model(self) -> None:
        request = embedding_request("demo", "hello")
        assert request.key != Request("demo", (Message("user", "hello"),), max_tokens=0).key
        assert request.key == embedding_request("demo", "hello").key
        assert Request.from_json(request.to_json()) == request

    def test_its_answer_takes_no_tokens(self) -> None:
        request = embedding_request("demo", "hello")
        assert output_bound(request) == 0
        assert input_bound(request) >= len("hello")

    def test_its_price_is_that_of_its_input(self) -> None:
        if find_spec("litellm") is None:
            pytest.skip("litellm is an extra")
        price = price_of(embedding_request(SMALL, "hello"))
        assert price is not None
        assert price.input == pytest.approx(0.02)
        assert price.output == 0.0


class TestAVector:
    @given(st.lists(st.floats(-1024, 1024, width=32), min_size=1, max_size=50))
    def test_it_is_kept_as_it_came(self, numbers: list[float]) -> None:
        assert vector_in(embed(House(found=[numbers]))) == tuple(numbers)

    def test_arrays_of_numpy_are_taken(self) -> None:
        array = (number for number in (1, 2))  # anything that gives numbers
        assert vector_in(embed(House(found=[array]))) == (1.0, 2.0)

    @pytest.mark.parametrize(
        "found",
        [[], [[]], [[1.0], [2.0]], [["a"]], [1.0], "vector", [[math.nan]], [[math.inf]], [[1e39]], 3],
    )
    def test_anything_else_is_for_its_author_to_mend(self, found: Any) -> None:
        with pytest.raises(ModelError, match=r"house/embed: embed\(texts\) returned .*a vector of") as caught:
            embed(House(found=found))
        assert caught.value.kind is ErrorKind.DEFECT

    def test_a_model_without_embeddings_says_which_to_name(self) -> None:
        with pytest.raises(ModelError, match="house/embed makes no embeddings; name an embedding model"):
            embed(object())

    @pytest.mark.parametrize("text", ["fine", "AAA", "AAAA="])
    def test_another_answer_holds_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            vector_in(Answer(text, "demo", "end_turn", None, None, 0.0))

    def test_the_cosine(self) -> None:
        assert cosine((1, 0), (2, 0)) == 1.0
        assert cosine((1, 0), (0, 5)) == 0.0
        assert cosine((1, 0), (-1, 0)) == -1.0
        assert cosine((3, 4), (4, 3)) == pytest.approx(0.96)
        with pytest.raises(ValueError, match="of 2 and of 3 numbers"):
            cosine((1, 0), (1, 0, 0))
        with pytest.raises(ValueError, match="zeros"):
            cosine((1, 0), (0, 0))


class TestDemo:
    @staticmethod
    def alike(one: str, two: str) -> float:
        found = asyncio.run(DemoModel().embed([one, two]))
        return cosine(*found.vectors)

    def test_shared_words_and_letters_count(self) -> None:
        order = "Your order was refunded today"
        assert self.alike(order, "your order, was refunded today!") == pytest.approx(1.0)
        assert self.alike(order, "Today we refunded your order") > 0.75
        assert self.alike(order, "It rains in Lisbon") < 0.3

    @given(st.text())
    def test_every_text_has_a_vector_of_length_1(self, text: str) -> None:
        (vector,) = asyncio.run(DemoModel().embed([text])).vectors
        assert math.hypot(*vector) == pytest.approx(1.0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WireServer]:
    if find_spec("litellm") is None:
        pytest.skip("litellm is an extra")
    import_litellm()
    with WireServer(vector=lambda text: MEANING[text]) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_BASE", f"{server.url}/v1")
        yield server


class TestOpenAI:
    """Over real HTTP."""

    @staticmethod
    def embed(text: str) -> Answer:
        async def once() -> Answer:
            model = LitellmModel(SMALL)
            try:
                return await embedded(model, embedding_request(SMALL, text))
            finally:
                await model.aclose()

        return asyncio.run(once())

    def test_it_is_asked_for_the_vector_of_a_text(self, server: WireServer) -> None:
        answer = self.embed("reimbursement")
        assert vector_in(answer) == pytest.approx((0.8, 0.6))
        assert answer.usage == Usage(3, 0)
        assert answer.cost == pytest.approx(3 * 0.02e-6)
        (received,) = server.requests
        assert received.path == "/v1/embeddings"
        assert (received.body["model"], received.body["input"]) == (
            "text-embedding-3-small",
            ["reimbursement"],
        )

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(401, ErrorKind.AUTHENTICATION), (429, ErrorKind.RATE_LIMIT), (404, ErrorKind.NOT_FOUND)],
    )
    def test_its_errors_are_those_of_answers(self, server: WireServer, status: int, kind: ErrorKind) -> None:
        server.script(refused(status))
        with pytest.raises(ModelError) as caught:
            self.embed("refund")
        assert caught.value.kind is kind
        assert len(server.requests) == 1


def calling(model: Any, cache: ResponseCache | None = None, ledger: Ledger | None = None) -> ModelClient:
    return ModelClient(
        resolve=lambda name: model,
        cache=cache,
        ledger=ledger or Ledger(),
        concurrency=5,
        retry=RetryPolicy(base=0.01, cap=0.02),
        price=lambda request: None,
    )


class TestACall:
    def test_it_is_counted_under_its_own_role_and_held_under_the_ceiling(self) -> None:
        ledger = Ledger(max_calls=1)
        client = calling(House(), ledger=ledger)
        client.ask(embedding_request("house/embed", "refund"), Role.EMBEDDING)
        assert ledger.spend_of(Role.EMBEDDING).calls == 1
        with pytest.raises(ModelError, match="--promptopt-max-calls"):
            client.ask(embedding_request("house/embed", "weather"), Role.EMBEDDING)
        client.close()

    def test_it_is_kept_by_model_and_text(self, tmp_path: Path) -> None:
        model = House()
        for _ in range(2):
            client = calling(model, ResponseCache(tmp_path / "cache", warn=print))
            embedder = RunEmbedder(None, client, None)
            assert embedder.cosine("refund", "reimbursement", "house/embed") == pytest.approx(0.8)
            client.close()
        assert sorted(model.asked) == ["refund", "reimbursement"]

    def test_it_is_tried_again_as_answers_are(self) -> None:
        model = House(ModelError(ErrorKind.OVERLOADED, "busy"))
        client = calling(model)
        assert RunEmbedder(None, client, None).cosine("refund", "refund", "house/embed") == 1.0
        client.close()
        assert model.asked == ["refund", "refund"]

    def test_a_model_that_makes_none_still_answers(self) -> None:
        class Speaker:
            complete = House.complete
            aclose = House.aclose

        client = calling(Speaker())
        with pytest.raises(ModelError, match="makes no embeddings"):
            client.ask(embedding_request("house/one", "refund"), Role.EMBEDDING)
        assert client.ask(Request("house/one", (Message("user", "hi"),)), Role.TARGET).text == "said"
        assert client.hopeless(embedding_request("house/one", "weather")) is not None
        client.close()


class TestInARun:
    """What a failed comparison means for the case."""

    @staticmethod
    def compared(model: Any) -> tuple[Run[Any], Exception]:
        client = calling(model)
        run: Run[Any] = Run(case=SimpleNamespace(case=SimpleNamespace(id="a")), client=client)
        with pytest.raises(Exception, match=r".") as caught:
            RunEmbedder(run, client, None).cosine("refund", "weather", "house/embed")
        client.close()
        return run, caught.value

    def test_its_error_is_that_of_the_run(self) -> None:
        run, error = self.compared(House(ModelError(ErrorKind.AUTHENTICATION, "who are you?")))
        assert run.error is error
        assert isinstance(error, ModelError)

    @pytest.mark.parametrize("kind", [ErrorKind.BAD_REQUEST, ErrorKind.TOO_LARGE])
    def test_an_answer_that_the_model_refuses_has_no_verdict(self, kind: ErrorKind) -> None:
        """As one that no judge grades: a new text must not win by such answers."""
        fault = ModelError(kind, "8,192 tokens at most", model="house/embed")
        run, error = self.compared(House(fault, fault))
        assert run.error is error
        assert isinstance(error, UnusableVerdict)
        assert str(error) == "the answer cannot be compared by embeddings: 8,192 tokens at most"

    def test_vectors_that_have_no_angle_are_an_error(self) -> None:
        run, error = self.compared(House(found=[[0.0, 0.0]]))
        assert run.error is error
        assert str(error) == "house/embed: a vector of zeros has no direction"

    def test_its_calls_are_no_answers_under_test(self) -> None:
        client = calling(House())
        run: Run[Any] = Run(case=SimpleNamespace(case=SimpleNamespace(id="a")), client=client)
        RunEmbedder(run, client, None).cosine("refund", "weather", "house/embed")
        client.close()
        assert run.calls == []
        assert [(call.text, call.embeds) for call in run.other_calls] == [
            ("a vector of 2 numbers", True),
            ("a vector of 2 numbers", True),
        ]
        assert run.keys == frozenset()
        assert {run.role_of(key) for key in run.embedding_keys} == {Role.EMBEDDING}


def test_a_known_embedding_makes_no_answer_an_old_one() -> None:
    """It is the same every time, and that of an expected text is known from the first case on."""

    def result(*calls: Call) -> CaseResult:
        outcome = Outcome("a", Status.PASSED, 1.0, calls=calls[:1], other_calls=calls[1:])
        return CaseResult(Case("a", ("p.md",), Split.TRAIN), (outcome,))

    fresh = Call("p.md", {}, "k", "hi", "end_turn", None, None, 0.0, cached=False)
    known = Call("demo", {}, "v", "a vector", "end_turn", None, None, 0.0, cached=True, embeds=True)
    judged = Call("judge.md", {}, "j", "1.0", "end_turn", None, None, 0.0, cached=True)
    assert _is_single_fresh_answer(result(fresh, known))
    assert not _is_single_fresh_answer(result(fresh, judged))


class Fixed:
    """Every two texts are alike in the same measure."""

    def __init__(self, measured: float, model: str | None) -> None:
        self.measured = measured
        self.model = model
        self.asked: list[str] = []

    def cosine(self, one: str, two: str, model: str) -> float:
        self.asked.append(model)
        return self.measured


class TestTheCheck:
    @staticmethod
    def said(check: Check, embedder: Fixed, answer: str = "It was a refund") -> str:
        case = FileCase("a", {}, checks=(check,), where="f.yaml:1")
        with comparing_with(lambda: embedder):
            try:
                case.check(answer)
            except CheckFailed as failed:
                return failed.failure.message
        return ""

    @pytest.mark.parametrize(("measured", "holds"), [(0.75, True), (0.7499999, True), (0.749, False)])
    def test_with_a_model_it_is_the_cosine_and_at_least_75(self, measured: float, holds: bool) -> None:
        embedder = Fixed(measured, "house/embed")
        said = self.said(Check("similar", "money back"), embedder)
        assert (said == "") is holds
        if said:
            assert said == (
                'similar "money back": got a cosine of 0.749 by house/embed, and 0.75 counts as similar'
            )

    def test_a_threshold_and_a_model_of_its_own_go_first(self) -> None:
        embedder = Fixed(0.8, "house/embed")
        check = Check("similar", "money back", threshold=0.9, options={"model": "demo"})
        assert self.said(check, embedder) == (
            'similar "money back" (at least 0.9): got a cosine of 0.800 by demo'
        )
        assert embedder.asked == ["demo"]

    @pytest.mark.parametrize("own", [{}, {"model": "none"}])
    def test_without_a_model_it_is_the_ratio_of_letters(self, own: dict[str, str]) -> None:
        embedder = Fixed(1.0, "house/embed" if own else None)
        said = self.said(Check("similar", "xyz", options=own), embedder)
        assert said == 'similar "xyz": got a text ratio of 0.00, and 0.8 counts as similar'
        assert embedder.asked == []

    def test_not_turns_it_round(self) -> None:
        check = Check("similar", "money back", negated=True)
        assert self.said(check, Fixed(0.2, "house/embed")) == ""
        assert self.said(check, Fixed(0.9, "house/embed")).startswith("not-similar")

    def test_an_answer_of_nothing_is_like_no_text_and_costs_nothing(self) -> None:
        embedder = Fixed(1.0, "house/embed")
        assert "a cosine of 0.000" in self.said(Check("similar", "money back"), embedder, " \n")
        assert embedder.asked == []

    def test_one_of_several_texts_is_enough_for_promptfoo(self) -> None:
        def check(*, negated: bool = False) -> Check:
            return Check(
                "promptfoo-similar", ["a", "b"], negated=negated, threshold=0.5, options={"model": "demo"}
            )

        assert self.said(check(), Fixed(0.5, None)) == ""
        assert "a cosine of 0.400" in self.said(check(), Fixed(0.4, None))
        assert self.said(check(negated=True), Fixed(0.4, None)) == ""
        assert "a cosine of 0.500" in self.said(check(negated=True), Fixed(0.5, None))

    def test_nobody_can_be_asked_outside_of_pytest(self) -> None:
        case = FileCase("a", {}, checks=(Check("similar", "x", "f.yaml:1", options={"model": "demo"}),))
        with pytest.raises(SettingsError, match=r"^f.yaml:1: similar: embeddings of demo are compared in"):
            case.check("y")
