"""Samples that wait for answers: what a thread of the case asks meanwhile breaks nothing."""

from __future__ import annotations

from typing import Any, cast

from pytest_promptopt.records import Request, Role
from pytest_promptopt.replay.pending_sample import PendingSample
from pytest_promptopt.replay.pending_trials import WaitingSamples
from pytest_promptopt.replay.run import Run


def test_a_thread_that_nobody_waits_for_may_ask_while_the_questions_of_its_run_are_sent() -> None:
    run: Run[Any] = Run(cast("Any", None), cast("Any", None))
    run.missing["first"] = Request("m", ())
    submitted: list[Request] = []

    def submit(request: Request, role: Role) -> None:
        submitted.append(request)
        run.missing[f"late {len(submitted)}"] = Request("m", ())

    pending = PendingSample(cast("Any", None), sample=0)
    WaitingSamples(submit, lambda timeout: frozenset()).wait_for(pending, run)
    assert len(submitted) == 1
    assert pending.waiting == {"first"}, "what came late is asked by the next run"


def test_cases_that_ask_their_judge_the_same_are_no_twins() -> None:
    run: Run[Any] = Run(cast("Any", None), cast("Any", None))
    run.missing |= {key: Request("m", ()) for key in ("of the prompt", "of the judge", "of the application")}
    run.judge_keys.add("of the judge")
    run.missing_otherwise.add("of the application")
    assert run.keys == {"of the prompt"}
    assert run.role_of("of the judge") is Role.JUDGE
    assert run.role_of("of the prompt") is Role.TARGET
