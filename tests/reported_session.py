"""A session as its reports are given it: one prompt with a gate, and a run that improved it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_promptopt.failures import Category, FailedCase, Feedback
from pytest_promptopt.gate import check_prompts
from pytest_promptopt.records import Case, CaseResult, Failure, FlakyCase, Outcome, Role, Spend, Split, Status
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.results import (
    CandidateResult,
    CandidateVerdict,
    Foresight,
    Iteration,
    PromptOutcome,
    PromptResult,
    RunResult,
    SplitScore,
)
from pytest_promptopt.settings import Mode, Settings
from pytest_promptopt.thresholds import GateName, Threshold

ROUTE = "prompts/route.md"


def case(name: str, *outcomes: Outcome, split: Split = Split.TRAIN) -> CaseResult:
    return CaseResult(Case(f"test_route.py::{name}", (ROUTE,), split, samples=len(outcomes)), outcomes)


PASSED = Outcome("", Status.PASSED, 1.0)
WRONG = Failure(
    "AssertionError", "assert 'Billing.' == 'billing'", "test_route.py:9", "==", "billing", "Billing."
)
FAILED = Outcome("", Status.FAILED, 0.0, failure=WRONG)
ERRORED = Outcome("", Status.ERRORED, 0.0, error="timeout: no answer within 60 s")
CHECKS = check_prompts(
    {
        ROUTE: [
            case("passes", PASSED),
            case("fails", FAILED, PASSED, split=Split.HELDOUT),
            case("errors", ERRORED),
        ]
    },
    {ROUTE: {GateName.PASS_RATE: Threshold(0.9, "test_route.py:3")}},
)
FEEDBACKS = {
    ROUTE: Feedback(
        total=3,
        failing=1,
        errored=1,
        categories=(
            Category(
                name="format violation",
                count=1,
                observed="a full stop after the label",
                examples=("test_route.py::fails",),
                cause="no format is stated",
                fix="state the format",
                cases=("test_route.py::fails",),
                confusion=(("billing", "Billing.", 1),),
            ),
        ),
        failed=(
            FailedCase(
                "test_route.py::fails", "format violation", {}, "billing", "Billing.", (), "assert ..."
            ),
        ),
    )
}
RUN = RunResult(
    id="run-1",
    prompts=(
        PromptResult(
            prompt=ROUTE,
            before="Route.",
            after="Route well.",
            outcome=PromptOutcome.IMPROVED,
            stop="target reached",
            why="all pass",
            scores=(SplitScore(Split.HELDOUT, 40, 0.6, 0.825, errored=2, fixed=9, broken=0),),
            iterations=(
                Iteration(
                    1,
                    "training",
                    (ROUTE,),
                    (
                        CandidateResult(
                            "1.1",
                            (ROUTE,),
                            "format",
                            "clearer",
                            0.8,
                            CandidateVerdict.ACCEPTED,
                            "fixes 1",
                            ("a",),
                        ),
                    ),
                    0.8,
                    Spend(10, 100, 20, 0.0, 10),
                    2.5,
                    foresight=Foresight(0.8, 0.6, 0.9, 0.08, 18, 50),
                ),
            ),
            fixed=("a",),
            accepted=True,
            written=True,
            rates={"a": (1 / 3, 1.0)},
            flaky=(FlakyCase("a", 1, 3),),
            examples=("b",),
        ),
    ),
    spend={Role.TARGET: Spend(10, 100, 20, 0.5, 1), Role.OPTIMIZER: Spend(1, 50, 20, 0.0, 1)},
    elapsed=3.5,
    journal=".promptopt/runs/run-1/journal.jsonl",
)


def session_report(**changed: Any) -> SessionReport:
    arguments: dict[str, Any] = {
        "checks": CHECKS,
        "run": RUN,
        "feedbacks": FEEDBACKS,
        "settings": Settings(
            rootdir=Path("home"), mode=Mode.OPTIMIZE, model="demo", reports=(Path("out/r.json"),)
        ),
        "version": "0.1.0",
    }
    return SessionReport(**(arguments | changed))
