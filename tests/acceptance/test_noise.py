"""Tests that toss a coin: luck is not written, flaky cases are named, the user may take the best anyway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt import journal
from tests.acceptance.projects import Project
from tests.coin_project import PROMPT, make_coin_project

#: Fails in every second of its runs.
FLICKER = """
RUNS = []

@pytest.mark.prompt("prompts/repeat.md"{mark})
def test_flicker(prompt):
    RUNS.append(prompt(word="a"))
    assert len(RUNS) % 2

@pytest.mark.prompt("prompts/repeat.md")
def test_steady(prompt):
    assert prompt(word="a") == "a"

@pytest.mark.prompt("prompts/repeat.md")
def test_wrong(prompt):
    assert prompt(word="a") == "b"
"""


def optimized(
    pytester: pytest.Pytester, *args: str, seed: int = 0
) -> tuple[pytest.RunResult, dict[str, Any], Path]:
    """What a run on 12 coin tosses showed, what it reports of its prompt, and the prompt's file."""
    folder = pytester.mkdir(f"coin-{seed}-{len(args)}")
    path = make_coin_project(folder, cases=12, heldout=4, chance=0.5, seed=seed)
    options = ("--promptopt-max-iterations=2", "--promptopt-report=report.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = pytester.runpytest_inprocess(
            "-p", "no:asyncio", "--rootdir", str(folder), "--tb=no", *options, *args, str(folder)
        )
    (prompt,) = json.loads((folder / "report.json").read_text(encoding="utf-8"))["run"]["prompts"]
    return result, prompt, path


def test_a_coin_in_the_test_itself_hardly_ever_rewrites_a_prompt(pytester: pytest.Pytester) -> None:
    runs = [optimized(pytester, "--optimize", seed=seed) for seed in range(3)]
    prompts = [prompt for _, prompt, _ in runs]
    assert sum(prompt["confirmation"] is not None for prompt in prompts) >= 2, "searches had a winner"
    assert sum(prompt["written"] for prompt in prompts) <= 1
    for _, prompt, path in runs:
        assert (path.read_text() == PROMPT) == (not prompt["written"])


def test_what_fresh_answers_contradict_is_named_as_flaky(pytester: pytest.Pytester) -> None:
    result, prompt, path = optimized(pytester, "--optimize")
    assert prompt["confirmation"] is not None
    flaky = {case["case"]: case for case in prompt["flaky"]}
    assert len(flaky) > 6, "a coin rarely falls the same way seven times"
    assert all(0 < case["passed"] < case["samples"] <= 7 for case in flaky.values())
    first = prompt["flaky"][0]
    told = f"{first['case']} ({first['passed']} of {first['samples']} samples passed)"
    result.stdout.fnmatch_lines([f"  flaky:    {len(flaky)} cases both passed and failed *:"])
    assert told in result.stdout.str()
    (told_in,) = path.parents[1].glob(".promptopt/runs/*/journal.jsonl")
    end = next(event for event in journal.read_events(told_in) if event.event == "end")
    assert end.data["prompts"][0]["flaky"] == prompt["flaky"]


def test_the_user_may_take_the_best_though_it_is_not_shown_to_be_better(pytester: pytest.Pytester) -> None:
    result, prompt, path = optimized(pytester, "--optimize", "--promptopt-accept=best")
    assert (prompt["outcome"], prompt["accepted"], prompt["written"]) == ("not shown", True, True)
    assert path.read_text() == prompt["after"] + "\n" != PROMPT
    assert [score["split"] for score in prompt["scores"]] == ["train", "heldout"]
    result.stdout.fnmatch_lines(
        [
            "prompts/coin.md: gain not shown, written all the same, train *",
            "  not shown: * points on fresh answers, a gain of * points would be*",
            "  accepted: the new text is not shown to be better; *",
            "  held-out: *",
            "  written:  prompts/coin.md",
        ]
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_that_disagree_are_named_by_a_plain_run(pytester: pytest.Pytester, workers: int) -> None:
    project = Project(pytester)
    project.tests(FLICKER.format(mark=", samples=4, min_case_rate=0.5"))
    result = project.run("--promptopt-report=report.json", workers=workers)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "  flaky: 1 case both passed and failed under this very text",
            "    test_it.py::test_flicker (2 of 4 samples passed)",
        ]
    )
    report = json.loads((project.path / "report.json").read_text(encoding="utf-8"))
    found = {case["id"]: case for case in report["prompts"][0]["results"]}
    assert {name: case["flaky"] for name, case in found.items()} == {
        "test_it.py::test_flicker": True,
        "test_it.py::test_steady": False,
        "test_it.py::test_wrong": False,
    }
    assert (found["test_it.py::test_flicker"]["rate"], found["test_it.py::test_flicker"]["samples"]) == (
        0.5,
        4,
    )


def test_one_sample_each_says_nothing_about_flakiness(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(FLICKER.format(mark=""))
    assert "flaky" not in project.run().stdout.str()
