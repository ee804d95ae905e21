"""A script reads what a session measured."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.baselines.comparison import compare_measured
from pytest_promptopt.gate import check_prompts
from pytest_promptopt.records import Failure, Outcome, Split, Status
from pytest_promptopt.reports.json_report import report_json, write_json
from pytest_promptopt.reports.json_run import _score
from pytest_promptopt.results import (
    RunResult,
    SplitScore,
)
from pytest_promptopt.statistics import PERMUTATION_TEST, PairedTest
from tests.reported_session import (
    BASELINE,
    PASSED,
    ROUTE,
    RUN,
    case,
    compared_report,
    comparison,
    measured,
    session_report,
)


def written(path: Path, *, run: RunResult | None = RUN, **changed: Any) -> dict[str, Any]:
    write_json(path, session_report(run=run, **changed))
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    return report


def test_the_report_says_what_it_is_and_how_it_was_made(tmp_path: Path) -> None:
    report = written(tmp_path / "deep" / "er" / "report.json")
    assert list(report) == [
        *("schema", "version", "settings", "passed", "prompts", "models", "compared", "calls", "run"),
        *("mutation", "notes"),
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
        "stage_at_fault": None,
        "verdicts": [],
        "stages": [],
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


def test_a_comparison_is_there_with_every_case_at_one_place() -> None:
    (found,) = report_json(compared_report())["compared"]
    assert (found["prompt"], found["model"], found["with"]) == (ROUTE, None, BASELINE)
    assert (found["cases"], found["before"], found["now"], found["change"]) == (3, 0.5, 0.5, 0.0)
    assert (found["p"], found["p_better"], found["p_worse"]) == (0.75, 0.75, 0.75)
    assert (found["test"], found["same_text"]) == ("sign test", True)
    assert (found["verdict"], found["words"]) == ("no change", "FAILED: 1 case broken")
    assert (found["fail_on"], found["margin"], found["failed"]) == ("any", 0.0, True)
    assert {name: found[name] for name in ("fixed", "broken", "flaky", "new", "removed")} == {
        "fixed": ["test_route.py::passes"],
        "broken": ["test_route.py::fails"],
        "flaky": ["test_route.py::flips"],
        "new": ["test_route.py::new"],
        "removed": ["test_route.py::gone"],
    }
    assert found["not_compared"] == [
        {"why": "its test has changed", "cases": ["test_route.py::other"]},
        {"why": "no usable answer, before or now", "cases": ["test_route.py::errors"]},
        {"why": "left out of this run", "cases": ["test_route.py::elsewhere"]},
    ]
    assert found["answers"] == {
        "test_route.py::passes": {"before": "refund", "now": "billing"},
        "test_route.py::fails": {"before": "billing", "now": "Billing."},
    }
    assert found["categories"] == [
        {"name": "format violation", "before": 0, "now": 1},
        {"name": "wrong label", "before": 1, "now": 0},
    ]
    assert found["cost"] == {"before": 0.2, "now": 0.4}
    assert found["latency_p50"] == {"before": 0.5, "now": 0.7}


def test_what_cannot_be_compared_has_no_figures() -> None:
    (other,) = compare_measured(
        [replace(measured("passes", 1.0), model="house/old")], [replace(measured("passes", 1.0), model="m")]
    )
    (found,) = report_json(compared_report(compared=(other,)))["compared"]
    figures = ("before", "now", "change", "p", "p_better", "p_worse", "test", "same_text", "cost")
    assert [found[name] for name in figures] == [None] * len(figures)
    assert (found["verdict"], found["failed"]) == ("incomparable", True)
    assert (found["model"], found["other_models"]) == ("m", ["house/old"])


def test_a_comparison_that_is_only_told_fails_nothing() -> None:
    (found,) = report_json(session_report(run=None, compared=(comparison(),)))["compared"]
    assert (found["fail_on"], found["failed"], found["words"]) == (None, False, "no change")


@pytest.mark.parametrize(
    ("samples", "noise"),
    [((PASSED,), None), ((PASSED, PASSED), {"cases": 8, "flipping": 0, "smallest": 0.625})],
)
def test_the_noise_of_a_suite_stands_with_each_model(
    samples: tuple[Outcome, ...], noise: dict[str, float] | None
) -> None:
    checks = check_prompts({ROUTE: [case(str(number), *samples) for number in range(8)]}, {})
    (prompt,) = report_json(session_report(checks=checks, feedbacks={}))["prompts"]
    assert [model["noise"] for model in prompt["models"]] == [noise]


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
