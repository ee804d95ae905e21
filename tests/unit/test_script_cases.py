"""The cases of a script: each form passes and fails as its author expects, and its failure is data."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.api import Case, Completion, Outcome, SettingsError, Status
from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Split
from pytest_promptopt.scripting.script_case import resolve_cases
from pytest_promptopt.scripting.script_engine import ScriptEngine
from pytest_promptopt.settings import Settings
from pytest_promptopt.testing import FakeModel

Given = Case | Callable[..., Any]


def run(tmp_path: Path, *cases: Given, says: FakeModel | str, **prompts: str) -> list[Outcome]:
    """The outcome of each case when the model says `says`, under the prompts as they are."""
    files = {}
    for stage, text in (prompts or {"": "{{ q }}"}).items():
        path = tmp_path / f"{stage or 'say'}.md"
        path.write_text(text)
        files[stage] = PromptFile.load(path, rootdir=tmp_path)
    model = FakeModel(lambda request: says) if isinstance(says, str) else says
    # The functions of this file are the project's own.
    settings = Settings(rootdir=Path(__file__).parent, model="fake/one")
    resolved = resolve_cases(cases, files, settings, tmp_path)
    client = ModelClient(
        resolve=lambda name: model, cache=None, ledger=Ledger(), concurrency=10, price=lambda request: None
    )
    try:
        engine = ScriptEngine(resolved, client, concurrency=10)
        (results,) = engine.evaluate([Trial({}, tuple(resolved))], lambda: None)
    finally:
        client.close()
    return [result.outcomes[0] for result in results]


def judged(tmp_path: Path, case: Given, says: str) -> Outcome:
    (outcome,) = run(tmp_path, case, says=says)
    return outcome


@pytest.mark.parametrize(
    ("expected", "says", "passes"),
    [
        ("billing", " billing\n", True),
        (" billing ", "billing", True),
        ("billing", "Billing", False),
        ({"total": 12.5, "tags": ["a"]}, '{"tags": ["a"], "total": 12.50}', True),
        ({"total": 12.5}, '{"total": 12.5, "more": 1}', False),
        ({"total": 12.5}, "it is 12.5", False),
        (["a", "b"], '["a", "b"]', True),
        (("a", "b"), '["a", "b"]', True),
        (3, "3", True),
        (3, "three", False),
        (None, "null", True),
        (True, "true", True),
    ],
)
def test_an_expected_answer_is_a_text_or_a_json_value(
    tmp_path: Path, expected: object, says: str, passes: bool
) -> None:
    outcome = judged(tmp_path, Case({"q": "hello"}, expected), says)
    assert outcome.status is (Status.PASSED if passes else Status.FAILED)
    assert outcome.score == passes


class TestFailures:
    """What the optimizer is told of a failed case."""

    def failure(self, tmp_path: Path, case: Given, says: str) -> tuple[Any, ...]:
        failure = judged(tmp_path, case, says).failure
        assert failure is not None
        return failure.operator, failure.expected, failure.actual, failure.constraint

    def test_of_an_expected_text(self, tmp_path: Path) -> None:
        found = self.failure(tmp_path, Case({"q": "x"}, "billing"), "sales")
        assert found == ("==", "billing", "sales", None)

    def test_of_expected_json(self, tmp_path: Path) -> None:
        found = self.failure(tmp_path, Case({"q": "x"}, {"a": 1}), '{"a": 2}')
        assert found == ("==", {"a": 1}, {"a": 2}, None)

    def test_of_a_lambda(self, tmp_path: Path) -> None:
        case = Case({"q": "x"}, lambda answer: "refund" in answer.lower())
        operator, _, _, constraint = self.failure(tmp_path, case, "No.")
        assert (operator, constraint) == ("in", "'refund' in answer")

    def test_of_one_of_several_lambdas_in_a_line(self, tmp_path: Path) -> None:
        first, second = (lambda answer: answer == "a"), (lambda answer: answer in ("a", "b"))
        assert self.failure(tmp_path, Case({"q": "x"}, first), "c") == ("==", "a", "c", None)
        assert self.failure(tmp_path, Case({"q": "x"}, second), "c")[3] == "answer in ['a', 'b']"

    def test_of_a_function_that_returns(self, tmp_path: Path) -> None:
        def total_is_right(answer: Completion) -> bool:
            """The total."""
            return bool(answer.json()["total"] == 12.5)

        found = self.failure(tmp_path, Case({"q": "x"}, check=total_is_right), '{"total": 13}')
        assert found == ("==", 12.5, 13, None)

    def test_of_a_check_that_asserts(self, tmp_path: Path) -> None:
        limit = 3

        def is_short(answer: Completion) -> bool:
            assert len(answer.split()) <= limit
            return True

        operator, _, _, constraint = self.failure(tmp_path, Case({"q": "x"}, is_short), "one two three four")
        assert (operator, constraint) == ("<=", "len(answer.split()) <= 3")

    def test_of_a_function_that_asserts_on_a_call(self, tmp_path: Path) -> None:
        def routes(prompt: Any) -> None:
            assert prompt(q="x") == "billing"

        assert self.failure(tmp_path, routes, "sales") == ("==", "billing", "sales", None)

    def test_of_a_function_with_names(self, tmp_path: Path) -> None:
        wanted = {"queue": "billing", "urgent": True}

        def routes(prompt: Any) -> None:
            found = json.loads(prompt(q="x"))
            assert found["queue"] == wanted["queue"], "the queue"

        assert self.failure(tmp_path, routes, '{"queue": "sales"}') == ("==", "billing", "sales", None)

    def test_of_an_async_function(self, tmp_path: Path) -> None:
        async def routes(prompt: Any) -> None:
            assert await prompt.acall(q="x") == "billing"

        assert self.failure(tmp_path, routes, "sales") == ("==", "billing", "sales", None)

    def test_of_a_partial(self, tmp_path: Path) -> None:
        def routes(prompt: Any, q: str, queue: str) -> None:
            assert prompt(q=q) == queue

        outcome = judged(tmp_path, functools.partial(routes, q="x", queue="billing"), "sales")
        assert outcome.parameters == {"q": "x", "queue": "billing"}
        assert outcome.expected == "billing"
        assert outcome.failure is not None
        assert outcome.failure.where.startswith("test_script_cases.py:")

    def test_what_no_source_can_tell_is_said(self, tmp_path: Path) -> None:
        names: dict[str, Any] = {}
        exec("def routes(prompt):\n    assert prompt(q='x') == 'billing'\n", names)
        failure = judged(tmp_path, names["routes"], "sales").failure
        assert failure is not None
        assert failure.operator is None
        assert "the source of the check cannot be read" in failure.message

    def test_what_is_not_compared_is_said(self, tmp_path: Path) -> None:
        def right(text: str) -> bool:
            return text == "billing"

        def routes(prompt: Any) -> None:
            assert right(prompt(q="x"))

        failure = judged(tmp_path, routes, "sales").failure
        assert failure is not None
        assert failure.constraint == "right(answer)"
        assert "shows no values" in failure.hint

    def test_the_code_of_the_user_is_run_once_for_it(self, tmp_path: Path) -> None:
        judgements = []

        def right(text: str) -> str:
            judgements.append(text)
            return "no"

        def routes(prompt: Any) -> None:
            answer = prompt(q="x")
            assert right(answer) == "yes"

        judged(tmp_path, routes, "sales")
        assert judgements == ["sales"]


class TestScores:
    @pytest.mark.parametrize(
        ("returned", "score", "status"),
        [
            (True, 1.0, Status.PASSED),
            (1, 1.0, Status.PASSED),
            (0.25, 0.25, Status.FAILED),
            (False, 0.0, Status.FAILED),
        ],
    )
    def test_a_check_gives_partial_credit(
        self, tmp_path: Path, returned: float, score: float, status: Status
    ) -> None:
        outcome = judged(tmp_path, Case({"q": "x"}, check=lambda answer: returned), "anything")
        assert (outcome.score, outcome.status) == (score, status)

    @pytest.mark.parametrize("returned", [None, "yes", 2, -0.5, float("nan")])
    def test_what_is_no_score_ends_the_run_with_a_sentence(self, tmp_path: Path, returned: Any) -> None:
        case = Case({"q": "x"}, check=lambda answer: returned)
        with pytest.raises(StopRun, match=r"case 1: the check .* returned .*; accepted: True, False or a"):
            judged(tmp_path, case, "anything")


class TestCalls:
    def test_all_calls_of_all_cases_are_in_flight_at_once(self, tmp_path: Path) -> None:
        async def both(prompt: Any) -> None:
            one, two = await prompt.acall(q="y"), prompt
            assert one == "ok"
            assert two.text == "{{ q }}"

        model = FakeModel(lambda request: "ok", seconds=0.05)
        cases: list[Given] = [*(Case({"q": f"{number}"}, "ok") for number in range(8)), both]
        outcomes = run(tmp_path, *cases, says=model)
        assert {outcome.status for outcome in outcomes} == {Status.PASSED}
        assert (len(model.asked), model.most) == (9, 9)

    def test_a_check_may_be_async(self, tmp_path: Path) -> None:
        async def right(answer: Completion) -> bool:
            return answer == "ok"

        check: Any = right
        assert judged(tmp_path, Case({"q": "x"}, check=check), "ok").status is Status.PASSED

    def test_a_pipeline_is_given_its_prompts_by_stage(self, tmp_path: Path) -> None:
        def pipeline(prompts: Any) -> None:
            plan = prompts["plan"](q="cake")
            assert prompts["code"](plan=plan) == "code: plan: cake"

        outcomes = run(tmp_path, pipeline, says=FakeModel(), plan="plan: {{ q }}", code="code: {{ plan }}")
        assert outcomes[0].status is Status.PASSED
        assert [call.prompt for call in outcomes[0].calls] == ["plan.md", "code.md"]

    def test_a_case_that_never_asks_is_no_evidence(self, tmp_path: Path) -> None:
        def idle(prompt: Any) -> None:
            raise ValueError("no ticket")

        asks = Case({"q": "x"}, "ok")
        outcome = run(tmp_path, asks, idle, says="ok")[1]
        assert outcome.status is Status.ERRORED
        assert outcome.error is not None
        assert "before it used its prompt: ValueError: no ticket" in outcome.error

    def test_variables_that_do_not_fit_are_an_error_with_the_place(self, tmp_path: Path) -> None:
        outcome = run(tmp_path, Case({"q": "x"}, "ok"), Case({"word": "x"}, "ok"), says="ok")[1]
        assert outcome.status is Status.ERRORED
        assert outcome.error is not None
        assert "`q` not given" in outcome.error


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Case("ticket", "x"), "inputs must be a mapping"),  # type: ignore[arg-type]
        (lambda: Case({"q": 1}), "give one of expected and check"),
        (lambda: Case({"q": 1}, "x", check=bool), "give one of expected and check"),
        (lambda: Case({"q": 1}, check="x"), "check must be a function"),  # type: ignore[arg-type]
        (lambda: Case({"q": 1}, "x", split="test"), "split must be one of train, validation, heldout"),
        (lambda: Case({"q": 1}, "x", samples=0), "samples must be a whole number from 1"),
        (lambda: Case({"q": 1}, "x", id=1), "must be texts"),  # type: ignore[arg-type]
        (lambda: Case.of(lambda answer: True), "must take `prompt` or `prompts`"),
    ],
)
def test_a_case_is_checked_where_it_is_written(make: Callable[[], Case], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        make()


@pytest.mark.parametrize(
    ("cases", "complaint"),
    [
        ([], "cases: there is none"),
        (["x"], "number 1 is 'x'; accepted: Case"),
        ([Case({"q": 1}, "x", id="a"), Case({"q": 2}, "x", id="a")], "'a' is the id of two cases"),
        ([Case({"q": 1}, "x", prompt="plan")], "prompt='plan' must be one of ''"),
    ],
)
def test_cases_that_cannot_be_run_are_named(tmp_path: Path, cases: list[Any], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        run(tmp_path, *cases, says="x")


def test_a_split_depends_on_what_a_case_is_about_and_on_no_other_case(tmp_path: Path) -> None:
    (tmp_path / "say.md").write_text("{{ q }}")
    files = {"": PromptFile.load(tmp_path / "say.md", rootdir=tmp_path)}
    settings = Settings(rootdir=tmp_path, model="fake/one", split=(0.6, 0.2, 0.2))

    def splits(*cases: Case) -> dict[str, Split]:
        found = resolve_cases(cases, files, settings, tmp_path)
        return {case.values["q"]: case.case.split for case in found.values()}

    many = [Case({"q": f"question {number}"}, "x") for number in range(200)]
    whole = splits(*many)
    assert splits(*reversed(many[:50])).items() <= whole.items()
    relabelled = splits(*(Case({"q": f"question {number}"}, "y") for number in range(200)))
    assert relabelled != whole  # as under pytest, where the expected value is a parameter too
    counts = [list(whole.values()).count(split) for split in Split]
    assert counts[0] > 100
    assert min(counts) > 20
    assert splits(Case({"q": "question 7"}, "x", split="heldout"))["question 7"] is Split.HELDOUT


def test_a_function_is_what_it_is_about_whatever_stands_around_it(tmp_path: Path) -> None:
    (tmp_path / "say.md").write_text("{{ q }}")
    files = {"": PromptFile.load(tmp_path / "say.md", rootdir=tmp_path)}
    settings = Settings(rootdir=tmp_path, model="fake/one")
    table, program = [{"q": str(number)} for number in range(50)], object()

    def about(row: dict[str, str]) -> Callable[..., Any]:
        def asks(prompt: Any) -> None:
            assert prompt(**row) == str(program)
            assert table

        return asks

    found = resolve_cases([about(row) for row in table[:3]], files, settings, tmp_path)
    assert [case.values for case in found.values()] == [{"row": row} for row in table[:3]]
    assert list(found) == ["asks", "asks 2", "asks 3"]
    assert len({case.identity for case in found.values()}) == 3
    assert "0x" not in "".join(case.identity for case in found.values())


def test_the_address_of_an_input_and_the_place_of_the_project_do_not_count(tmp_path: Path) -> None:
    class Thing:
        pass

    def found(folder: str) -> list[tuple[str, Split]]:
        root = tmp_path / folder
        root.mkdir()
        (root / "say.md").write_text("{{ q }} {{ path }}")
        files = {"": PromptFile.load(root / "say.md", rootdir=root)}
        settings = Settings(rootdir=root, model="fake/one", split=(0.6, 0.2, 0.2))
        cases = [Case({"q": Thing(), "path": root / "a.txt"}, "x") for _ in range(30)]
        resolved = resolve_cases(cases, files, settings, root)
        return [(case.identity, case.case.split) for case in resolved.values()]

    here = found("here")
    assert here == found("elsewhere")
    assert len({identity for identity, _ in here}) == 30
