"""A script reads what a session measured."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.gate import check_prompts
from pytest_promptopt.records import Failure, Outcome, Split, Status
from pytest_promptopt.reports.json_report import _score, write_json
from pytest_promptopt.results import (
    RunResult,
    SplitScore,
)
from pytest_promptopt.statistics import PERMUTATION_TEST, PairedTest
from tests.reported_session import ROUTE, RUN, case, session_report


def written(path: Path, *, run: RunResult | None = RUN, **changed: Any) -> dict[str, Any]:
    write_json(path, session_report(run=run, **changed))
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    return report


def test_the_report_says_what_it_is_and_how_it_was_made(tmp_path: Path) -> None:
    report = written(tmp_path / "deep" / "er" / "report.json")
    assert list(report) == [
        *("schema", "version", "settings", "passed", "prompts", "models", "calls", "run", "notes")
    ]
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
