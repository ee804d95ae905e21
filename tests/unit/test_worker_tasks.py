"""How cases are divided among xdist's workers, and what crosses to them and back."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.call_records import CallResult, PaidCall
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.pytest_engine.outcomes import to_json
from pytest_promptopt.pytest_session.worker_evaluator import Evaluations, Job, Probes
from pytest_promptopt.pytest_session.worker_messages import (
    paid_from_json,
    paid_to_json,
    result_from_json,
    result_to_json,
    trial_from_json,
    trial_to_json,
)
from pytest_promptopt.pytest_session.worker_pool import Task, Worker
from pytest_promptopt.records import Answer, Message, Outcome, Request, Role, Spend, Status, Usage

NOBODY: Any = None
ANSWER = Answer("yes \ud83d", "house/a", "end_turn", Usage(3, 1, 2, 0), 0.25, 1.5, thinking="hm")
REQUEST = Request(
    "house/a",
    (Message("system", "Be brief."), Message("user", "So?")),
    max_tokens=5,
    stop=("END",),
    parameters={"temperature": 0.5, "tags": ["a"]},
    response_schema={"type": "object"},
    sample=3,
)


def worker(busy: float | None = None) -> Worker:
    return Worker(NOBODY, NOBODY, ready=True, takes_part=True, busy=busy)


def jobs(count: int, *, trial: int = 0) -> list[Job]:
    return [(trial, f"test_a.py::test[{number}]") for number in range(count)]


def evaluations(count: int, **given: Any) -> Evaluations:
    cases = tuple(case for _, case in jobs(count))
    settings = {"concurrency": 4, "together": None} | given
    return Evaluations([Trial({"p.md": "new"}, cases)], jobs(count), **settings)


def cases_of(task: Task | None) -> list[str]:
    assert task is not None
    return [case for trial in task.data["trials"] for case in trial["cases"]]


def reply(task: Task) -> dict[str, Any]:
    found = [
        [[to_json(Outcome(case, Status.PASSED, 1.0))] for case in trial["cases"]]
        for trial in task.data["trials"]
    ]
    return {"outcomes": found, "reached": True, "unrecognised": ""}


def sizes(tasks: Evaluations, *workers: Worker) -> list[int]:
    """How many cases each worker, in turn, is given until there are none."""
    found = []
    while tasks.unfinished:
        for each in workers:
            task = tasks.take(each, len(workers))
            if task is not None:
                found.append(task.weight)
                tasks.done(task, reply(task))
    return found


class TestParts:
    def test_they_get_smaller_towards_the_end(self) -> None:
        found = sizes(evaluations(100), worker(), worker())
        assert sum(found) == 100
        assert found == sorted(found, reverse=True)
        assert found[0] == 25
        assert found[-1] <= 2

    def test_they_keep_the_calls_of_a_worker_in_flight(self) -> None:
        assert set(sizes(evaluations(100, concurrency=40), worker(), worker())[:-1]) <= {20, 25}

    def test_of_few_cases_each_worker_has_its_share(self) -> None:
        assert sizes(evaluations(6, concurrency=100), worker(), worker()) == [3, 3]

    def test_slow_cases_come_one_by_one(self) -> None:
        assert sizes(evaluations(6), worker(busy=5.0), worker(busy=5.0)) == [1] * 6

    def test_a_file_of_one_worker_is_one_part(self) -> None:
        two = [(0, f"test_{'ab'[number % 2]}.py::test[{number}]") for number in range(10)]
        trial = Trial({}, tuple(case for _, case in two))
        tasks = Evaluations([trial], two, concurrency=1, together=lambda id: id.split("::")[0])
        for file in ("test_a.py", "test_b.py"):
            assert {case.split("::")[0] for case in cases_of(tasks.take(worker(), 4))} == {file}
        assert tasks.take(worker(), 4) is None

    def test_what_a_dead_worker_had_is_the_next_to_be_given(self) -> None:
        tasks = evaluations(20)
        first = tasks.take(worker(), 2)
        assert first is not None
        tasks.take(worker(), 2)
        tasks.give_back(first)
        again = cases_of(tasks.take(worker(), 2))
        assert again == cases_of(first)[: len(again)]


def test_each_result_belongs_to_its_trial_and_case() -> None:
    trials = [Trial({"p.md": text}, ("a", "b"), samples=(7,)) for text in ("one", "two")]
    todo = [(number, case) for case in ("a", "b") for number in (0, 1)]
    tasks = Evaluations(trials, todo, concurrency=4, together=None)
    task = tasks.take(worker(), 1)
    assert task is not None
    given = [trial_from_json(trial) for trial in task.data["trials"]]
    assert given == trials
    outcomes = [
        [
            [to_json(Outcome(case, Status.FAILED, 0.0, 7, error=trial.overlay["p.md"] + case))]
            for case in trial.cases
        ]
        for trial in given
    ]
    tasks.done(task, {"outcomes": outcomes, "reached": False, "unrecognised": ""})
    assert not tasks.unfinished
    assert {job: found[0].error for job, found in tasks.found.items()} == {
        (0, "a"): "onea",
        (0, "b"): "oneb",
        (1, "a"): "twoa",
        (1, "b"): "twob",
    }


def test_probing_is_divided_among_the_workers() -> None:
    tasks = Probes(5)
    first, second = tasks.take(worker(), 2), tasks.take(worker(), 2)
    assert first is not None
    assert second is not None
    assert tasks.take(worker(), 2) is None
    tasks.give_back(second)
    again = tasks.take(worker(), 2)
    assert again is second
    tasks.done(first, {"asked": [[0, ["k"]], [2, []]]})
    tasks.done(second, {"asked": [[4, ["k", "l"]]]})
    assert not tasks.unfinished
    assert tasks.asked == {0: {"k"}, 2: set(), 4: {"k", "l"}}


class TestMessages:
    def test_a_request_keeps_its_key(self) -> None:
        assert Request.from_json(REQUEST.to_json()) == REQUEST
        assert Request.from_json(REQUEST.to_json()).key == REQUEST.key

    @pytest.mark.parametrize("cached", [True, False])
    def test_an_answer_is_the_same(self, cached: bool) -> None:
        result = CallResult(ANSWER, None, cached)
        assert result_from_json(result_to_json(result)) == result

    def test_an_error_has_the_same_consequences(self) -> None:
        error = ModelError(ErrorKind.PAYMENT, "no credit", model="house/a", status=402)
        found = result_from_json(result_to_json(CallResult(None, error, cached=False))).error
        assert found is not None
        assert (str(found), found.stops_run, found.model, found.status) == ("no credit", True, "house/a", 402)

    def test_a_paid_call(self) -> None:
        paid = PaidCall(REQUEST, Role.TARGET, ANSWER, None, 2, Spend(2, 3, 1, 0.25, 0))
        assert paid_from_json(paid_to_json(paid)) == paid

    def test_a_trial(self) -> None:
        for trial in (Trial({"p.md": "new"}, ("a", "b"), (1, 2), {"key": "said"}), Trial({}, ("a",))):
            assert trial_from_json(trial_to_json(trial)) == trial
