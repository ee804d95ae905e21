"""A check of a pipeline says which stage lost a failing case, by the grades of its test."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.projects import Project

TESTS = """
@pytest.mark.prompt(plan="prompts/plan.md", code="prompts/code.md")
@pytest.mark.parametrize(("word", "score"), [("one", 0.4), ("two", 1.0)])
def test_chain(prompts, word, score):
    plan = prompts["plan"](word=word)
    prompts["plan"].grade(score, "it has no steps")
    assert prompts["code"](word=str(plan)) == "two"
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


def test_the_stage_that_its_test_grades_is_named_in_every_report(project: Project) -> None:
    project.write("prompts/plan.md", "Plan: {{ word }}\n")
    project.write("prompts/code.md", "Code: {{ word }}\n")
    project.tests(TESTS)
    reports = [f"--promptopt-report={name}" for name in ("report.json", "report.md", "report.html")]
    result = project.run(*reports)
    result.assert_outcomes(passed=1, failed=1)
    line = "stage at fault: plan 1 of 1 failing case (shown by 0 runs, 1 grade, 0 judged)"
    result.stdout.fnmatch_lines([f"  {line}"])
    report = json.loads((project.path / "report.json").read_text(encoding="utf-8"))
    failed, passed = report["prompts"][0]["results"]
    fault = failed["stage_at_fault"]
    assert (fault["stage"], fault["by"], fault["why"]) == (
        "prompts/plan.md",
        "grade",
        "its test graded it 0.4",
    )
    assert passed["stage_at_fault"] is None
    assert "Stage at fault: plan 1 of 1 failing case" in (project.path / "report.md").read_text(
        encoding="utf-8"
    )


def test_each_stage_has_its_cases_and_gate_and_the_one_at_fault_the_table(project: Project) -> None:
    project.write("prompts/plan.md", "Plan: {{ word }}\n")
    project.write("prompts/code.md", "Code: {{ word }}\n")
    project.tests(TESTS)
    result = project.run("--promptopt-report=report.json", "--promptopt-min-pass-rate=60%")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    checks = json.loads((project.path / "report.json").read_text(encoding="utf-8"))["prompts"]
    assert [(check["prompt"], check["rate"], check["cases"], check["held"]) for check in checks] == [
        ("prompts/plan.md", 0.5, 2, False),
        ("prompts/code.md", 0.5, 2, False),
    ]
    assert [len(check["categories"]) for check in checks] == [1, 0]
    assert [check["results"][0]["category"] is None for check in checks] == [False, True]
