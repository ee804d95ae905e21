"""Somebody grades the stages of a pipeline, and sees under a failing test where it goes wrong."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt import optimize
from pytest_promptopt.testing import FakeModel

from .projects import Project

PIPELINE = """
@pytest.mark.prompt(plan="prompts/plan.md", code="prompts/code.md"{mark})
@pytest.mark.parametrize("word", ["sort", "sum"])
def test_it(prompts, word):
    plan = prompts["plan"](word=word)
    prompts["plan"].grade(plan == "sort", f"expected sort of {{word}}")
    assert prompts["code"](plan=plan) == "sort"
    prompts["code"].grade(1)
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester)
    project.write("prompts/plan.md", "Plan: {{ word }}\n")
    project.write("prompts/code.md", "Code: {{ plan }}\n")
    return project


def stages(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Of each case in the JSON report what it tells of the stages."""
    (check, *_) = json.loads((path / "out.json").read_text(encoding="utf-8"))["prompts"]
    return {result["id"].rpartition("[")[2].rstrip("]"): result["stages"] for result in check["results"]}


@pytest.mark.parametrize(("workers", "mark"), [(0, ""), (0, ", samples=2"), (2, "")])
def test_a_failing_test_shows_its_stages(project: Project, workers: int, mark: str) -> None:
    project.tests(PIPELINE.format(mark=mark))
    result = project.run("--promptopt-report=out.json", "--promptopt-report=out.md", workers=workers)
    result.assert_outcomes(passed=1, failed=1)
    shown = result.stdout.str()
    assert shown.count("- stages: grade, input -> answer -") == 1
    result.stdout.fnmatch_lines(
        [
            "*- stages: grade, input -> answer -*",
            "prompts/plan.md  0     sum -> sum (expected sort of sum)",
            "prompts/code.md  -     sum -> sum",
        ],
        consecutive=True,
    )
    assert stages(project.path) == {
        "sort": [],
        "sum": [
            {
                "prompt": "prompts/plan.md",
                "calls": 1,
                "inputs": {"word": "sum"},
                "output": "sum",
                "grade": 0,
                "why": "expected sort of sum",
            },
            {
                "prompt": "prompts/code.md",
                "calls": 1,
                "inputs": {"plan": "sum"},
                "output": "sum",
                "grade": None,
                "why": "",
            },
        ],
    }
    page = (project.path / "out.md").read_text(encoding="utf-8")
    assert "\n  * `prompts/plan.md`: `sum` → `sum`, grade 0 (expected sort of sum)\n" in page
    assert "\n  * `prompts/code.md`: `sum` → `sum`\n" in page


def test_grades_decide_nothing_and_the_lowest_counts(project: Project) -> None:
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        def test_good(prompt):
            prompt(word="a")
            prompt.grade(0, "bad")

        @pytest.mark.prompt("prompts/repeat.md")
        def test_bad(prompt):
            for word in ("a", "b"):
                prompt.grade(prompt(word=word) == "a", f"for {word}")
            assert False
        """
    )
    result = project.run("--promptopt-report=out.json")
    result.assert_outcomes(passed=1, failed=1)
    told = json.loads((project.path / "out.json").read_text(encoding="utf-8"))["prompts"][0]["results"]
    ((grade,),) = [each["stages"] for each in told if each["stages"]]
    assert (grade["grade"], grade["why"], grade["calls"]) == (0, "for a; for b", 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("2", "score must be a number from 0 to 1, True or False, got 2"),
        ("'good'", "score must be a number from 0 to 1, True or False, got 'good'"),
        ("1, why=3", "why must be a text, got 3"),
    ],
)
def test_a_grade_that_is_none_says_what_would_be(project: Project, given: str, said: str) -> None:
    project.tests(
        f"""
        @pytest.mark.prompt(plan="prompts/plan.md")
        def test_it(prompts):
            prompts["plan"](word="a")
            prompts["plan"].grade({given})
        """
    )
    result = project.run()
    result.assert_outcomes(failed=1) if not result.parseoutcomes().get("errors") else None
    result.stdout.fnmatch_lines([f"*test_it.py:*: prompts?'plan'?.grade(score, why): {said}*"])


def test_a_script_tells_grades_to_the_optimizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plan", "code"):
        (tmp_path / f"{name}.md").write_text(f"{name}: {{{{ word }}}}\n")

    def case(prompts: Any, word: str) -> None:
        plan = prompts["plan"](word=word)
        prompts["plan"].grade(0.5, f"a plan of {word}")
        assert prompts["code"](word=plan) == "right"

    model = FakeModel(lambda request: "wrong")
    optimize(
        {"plan": "plan.md", "code": "code.md"},
        [functools.partial(case, word=word) for word in "abcdefgh"],
        model="fake/one",
        max_iterations=2,
        resolve_model=lambda name: model,
    )
    asked = [request.messages[1].content for request in model.requests if len(request.messages) > 1]
    told = [content for content in asked if "\nplan: {{ word }}" in content]
    assert told
    assert all('\ngrade of this stage, from 0 to 1: 0.5, "a plan of ' in content for content in told)
    assert not any("grade of this stage" in content for content in asked if content not in told)
