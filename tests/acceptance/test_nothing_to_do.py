"""`--optimize` where there is nothing to optimize says so, before anything is paid."""

from __future__ import annotations

import pytest

from tests.acceptance.projects import Project

UNMARKED = "def test_x():\n    assert 1\n"

HELD_OUT = """
@pytest.mark.heldout
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", ["a", "b"])
def test_it(prompt, word):
    assert prompt(word=word) == "c"
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester, "promptopt_optimizer_model = house/writer")


@pytest.mark.parametrize("mode", ["--optimize", "--optimize-dry-run"])
def test_without_a_marked_test_the_mark_is_named(project: Project, mode: str) -> None:
    project.tests(UNMARKED)
    result = project.run(mode)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = "*--optimize: there is nothing to optimize: none of the 1 collected tests has @pytest.mark*"
    result.stderr.fnmatch_lines([said])


def test_marked_tests_that_are_deselected_are_counted(project: Project) -> None:
    project.tests(UNMARKED + HELD_OUT)
    result = project.run("--optimize", "-k", "test_x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*none of the 1 collected tests has*(2 that have it are deselected)"])


def test_where_all_tests_are_deselected_that_is_said(project: Project) -> None:
    project.tests(HELD_OUT)
    result = project.run("--optimize", "-k", "nothing")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*none of the 0 collected tests has*(2 that have it are deselected)"])


def test_what_pytest_has_to_say_goes_first(project: Project) -> None:
    project.tests("import gone\n" + UNMARKED)
    result = project.run("--optimize")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "nothing to optimize" not in result.stderr.str()
    project.tests("")
    assert project.run("--optimize").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_session_that_holds_all_cases_out_is_refused(project: Project) -> None:
    project.tests(HELD_OUT)
    result = project.run("--optimize")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--optimize: all 2 cases are held out, so there is none to learn from; *"])
    assert project.asked() == []


def test_a_prompt_that_holds_all_its_cases_out_beside_others_says_so(project: Project) -> None:
    project.write("prompts/other.md", "Say: {{ word }}\n")
    project.tests(
        HELD_OUT
        + """
@pytest.mark.prompt("prompts/other.md")
def test_other(prompt):
    assert prompt(word="a") == "a"
"""
    )
    result = project.run("--optimize")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "  before: all cases are held out",
            "*stopped:  no evidence: there is no training case*",
        ]
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_cases_that_are_all_skipped_are_no_evidence(project: Project, workers: int) -> None:
    """As where a fork's CI has no key: the prompt is used, and nobody has to call it."""
    project.tests(HELD_OUT.replace("heldout", 'skip(reason="no key")'))
    result = project.run("--optimize", workers=workers)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*stopped:  no evidence: every case is skipped, so there is no result*"])
    assert "prompt not used" not in result.stdout.str()
