"""A script reads what a session measured."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.failures import Category, FailedCase, Feedback
from pytest_promptopt.gate import Threshold, check_prompts
from pytest_promptopt.records import Case, CaseResult, Failure, FlakyCase, Outcome, Role, Spend, Split, Status
from pytest_promptopt.reports.json_report import _score, check_report_path, write_json
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
from pytest_promptopt.statistics import PERMUTATION_TEST, PairedTest

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
    {ROUTE: Threshold(0.9, "test_route.py:3")},
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


def written(path: Path, *, run: RunResult | None = RUN, **changed: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "checks": CHECKS,
        "run": run,
        "feedbacks": FEEDBACKS,
        "settings": Settings(
            rootdir=Path("home"), mode=Mode.OPTIMIZE, model="demo", reports=(Path("out/r.json"),)
        ),
        "version": "0.1.0",
    }
    write_json(path, **(arguments | changed))
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    return report


def test_the_report_says_what_it_is_and_how_it_was_made(tmp_path: Path) -> None:
    report = written(tmp_path / "deep" / "er" / "report.json")
    assert list(report) == ["schema", "version", "settings", "passed", "prompts", "models", "run", "notes"]
    assert (report["schema"], report["version"], report["passed"]) == (1, "0.1.0", False)
    assert report["settings"]["model"] == "demo"
    assert report["settings"]["mode"] == "optimize"
    assert report["settings"]["reports"] == ["out/r.json"]
    assert "rootdir" not in report["settings"]


def test_every_case_is_there_with_its_category_and_operands(tmp_path: Path) -> None:
    (prompt,) = written(tmp_path / "report.json")["prompts"]
    assert prompt["rate"] == pytest.approx(0.75)
    assert (prompt["cases"], prompt["failing"], prompt["errored"]) == (3, 1, 1)
    assert (prompt["min_pass_rate"], prompt["held"], prompt["where"]) == (0.9, False, "test_route.py:3")
    assert prompt["categories"][0]["confusion"] == [["billing", "Billing.", 1]]
    passes, fails, errors = prompt["results"]
    assert (passes["status"], passes["rate"], passes["category"], passes["expected"]) == (
        "passed",
        1.0,
        None,
        None,
    )
    assert fails == {
        "id": "test_route.py::fails",
        "case": "test_route.py::fails",
        "model": None,
        "split": "heldout",
        "status": "failed",
        "rate": 0.5,
        "samples": 2,
        "counted": 2,
        "weight": 1.0,
        "flaky": True,
        "category": "format violation",
        "expected": "billing",
        "actual": "Billing.",
        "message": "assert 'Billing.' == 'billing'",
        "error": None,
        "verdicts": [],
    }
    assert (errors["status"], errors["rate"], errors["error"]) == (
        "errored",
        None,
        "timeout: no answer within 60 s",
    )


def test_scores_of_a_judge_are_reported_with_their_own_test() -> None:
    tested = PairedTest(0.01, 0.995, PERMUTATION_TEST)
    score = _score(SplitScore(Split.HELDOUT, 40, 0.4, 0.6, raised=12, lowered=3, tested=tested))
    assert (score["raised"], score["lowered"], score["fixed"], score["broken"]) == (12, 3, 0, 0)
    assert (score["p_better"], score["p_worse"], score["test"]) == (0.01, 0.995, "paired permutation test")
    assert "tested" not in score, "it is told in three keys"


def test_the_run_is_there_with_its_evidence(tmp_path: Path) -> None:
    run = written(tmp_path / "report.json")["run"]
    (prompt,) = run["prompts"]
    assert (prompt["before"], prompt["after"], prompt["written"]) == ("Route.", "Route well.", True)
    assert (prompt["outcome"], prompt["accepted"]) == ("improved", True)
    assert prompt["rates"] == {"a": [pytest.approx(1 / 3), 1.0]}
    assert prompt["flaky"] == [{"case": "a", "passed": 1, "samples": 3}]
    assert prompt["examples"] == ["b"]
    (score,) = prompt["scores"]
    assert (score["fixed"], score["broken"], score["errored"]) == (9, 0, 2)
    assert score["p_better"] == pytest.approx(1 / 512)
    assert (score["p_worse"], score["test"]) == (1.0, "sign test")
    low, high = score["interval"]
    assert 0.6 < low < 0.825 < high < 1.0
    (candidate,) = prompt["iterations"][0]["candidates"]
    assert (candidate["id"], candidate["prompts"], candidate["verdict"]) == ("1.1", [ROUTE], "accepted")
    assert candidate["fixed"] == ["a"]
    assert prompt["iterations"][0]["foresight"] == {
        "rate": 0.8,
        "low": 0.6,
        "high": 0.9,
        "sd": 0.08,
        "run": 18,
        "cases": 50,
    }
    assert (prompt["unwritten"], prompt["pipeline"]) == (None, [])


def test_an_unknown_price_is_null_and_never_0(tmp_path: Path) -> None:
    run = written(tmp_path / "report.json")["run"]
    assert (run["spend"]["target"]["cost"], run["spend"]["target"]["unpriced"]) == (0.5, 1)
    assert (run["spend"]["optimizer"]["cost"], run["spend"]["optimizer"]["unpriced"]) == (None, 1)
    assert run["prompts"][0]["iterations"][0]["spend"]["cost"] is None


def test_a_plain_check_has_no_run(tmp_path: Path) -> None:
    report = written(tmp_path / "report.json", run=None, checks=(), feedbacks={})
    assert (report["run"], report["prompts"], report["passed"]) == (None, [], True)


def test_whatever_a_test_compares_becomes_json(tmp_path: Path) -> None:
    odd = {
        "nan": float("nan"),
        1: {2},
        "half": "\ud83d",
        "path": Path("a/b"),
        "big": 10**30,
        "deep": [(1,)],
    }
    failure = Failure("AssertionError", "differs", "x:1", "==", odd, float("-inf"))
    result = case("odd", Outcome("", Status.FAILED, 0.0, failure=failure))
    (prompt,) = written(tmp_path / "report.json", checks=check_prompts({ROUTE: [result]}, {}))["prompts"]
    (shown,) = prompt["results"]
    assert shown["actual"] == "-inf"
    assert shown["expected"] == {
        "nan": "nan",
        "1": "{2}",
        "half": "\ud83d",
        "path": "a/b",
        "big": 10**30,
        "deep": [[1]],
    }


def test_a_failed_write_leaves_the_old_report_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")

    def refuse(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        written(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("text", ["report.json", "out/Report.JSON"])
def test_json_is_accepted(text: str) -> None:
    assert check_report_path(text) == Path(text)


@pytest.mark.parametrize("text", ["report.html", "report", "", ".json", "json"])
def test_any_other_ending_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_report_path(text)
    assert str(caught.value).startswith(f"--promptopt-report: {text!r} is not")
    assert ".json" in str(caught.value)


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    folder = tmp_path / "reports.json"
    folder.mkdir()
    with pytest.raises(SettingsError, match=r"reports\.json' is not the path of a \.json file"):
        check_report_path(str(folder))
