"""A session as its reports are given it: one prompt with a gate, and a run that improved it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_promptopt.baselines.comparison import PromptComparison, compare_measured
from pytest_promptopt.baselines.measured import Measured
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
from pytest_promptopt.settings import FailOn, Mode, Settings
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

BASELINE = "promptopt-baseline.json"


def measured(case: str, *scores: float, answer: str = "billing", **more: Any) -> Measured:
    return Measured(ROUTE, f"test_route.py::{case}", "", scores, answer=answer, text="3f2a", **more)


def comparison() -> PromptComparison:
    """One case of each kind."""
    before = [
        measured("passes", 0.0, answer="refund", category="wrong label", cost=0.1, latency=0.5),
        measured("fails", 1.0, cost=0.1, latency=0.5),
        measured("flips", 1.0, 0.0),
        measured("errors", 1.0),
        measured("other", 1.0, test="1"),
        measured("gone", 1.0),
        measured("elsewhere", 1.0),
    ]
    now = [
        measured("passes", 1.0, cost=0.2, latency=0.7),
        measured("fails", 0.0, answer="Billing.", category="format violation", cost=0.2, latency=0.7),
        measured("flips", 0.0, 1.0),
        measured("errors"),
        measured("other", 1.0, test="2"),
        measured("new", 1.0),
    ]
    (found,) = compare_measured(before, now, is_left_out=lambda case: case.endswith("elsewhere"))
    return found


def comparison_of(text: str) -> PromptComparison:
    """One whose every case, model, answer and category is `text`."""
    before = Measured(ROUTE, f"test_it.py::{text}", text, (1.0,), answer=text)
    (found,) = compare_measured([before], [replace(before, scores=(0.0,), category=text)])
    named = (f"test_it.py::{text}",)
    return replace(found, new=named, removed=named, unanswered=named, other_models=(text,))


def compared_report(**changed: Any) -> SessionReport:
    """A check that was compared, and fails for the broken case."""
    settings = Settings(rootdir=Path("home"), model="demo", fail_on=FailOn.ANY)
    arguments: dict[str, Any] = {
        "run": None,
        "settings": settings,
        "compared": (comparison(),),
        "compared_with": BASELINE,
    }
    return session_report(**(arguments | changed))


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
