"""A run of some of a prompt's files decides no gate, once a run of a folder has shown all of them."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests.acceptance.projects import Project

OK, FAILED = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED

CASES = """
@pytest.mark.prompt("prompts/repeat.md", min_pass_rate=0.5)
@pytest.mark.parametrize("word", [{}])
def test_word(prompt, word):
    assert len(prompt(word=word)) == 1
"""

NOT_DECIDED = "promptopt: gate of prompts/repeat.md not decided: its cases in {} were not run; *-partial=on *"


@pytest.fixture(params=[0, 2], ids=["plain", "xdist"])
def workers(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    """Two files test the prompt: one case of each passes, and one of `a` fails."""
    project = Project(pytester, "python_files = test_*.py")
    project.tests(CASES.format("'a', 'wrong'"), name="tests/test_a.py")
    project.tests(CASES.format("'b'"), name="tests/test_b.py")
    return project


def is_decided(result: pytest.RunResult) -> bool:
    return any(line.startswith("gate: prompts/repeat.md ") for line in result.outlines)


def test_the_path_of_one_of_two_files_is_a_part(project: Project, workers: int) -> None:
    assert is_decided(project.run("tests", workers=workers))
    result = project.run("tests/test_a.py", workers=workers)
    assert result.ret == FAILED
    result.stdout.fnmatch_lines([NOT_DECIDED.format("tests/test_b.py")])
    assert not is_decided(result)
    result = project.run("tests/test_b.py", "tests/test_a.py", workers=workers)
    assert (result.ret, is_decided(result)) == (OK, True)
    result = project.run(workers=workers)
    assert (result.ret, is_decided(result)) == (OK, True)


@pytest.mark.parametrize(
    "ignored", [["--ignore=tests/test_a.py"], ["--ignore", "tests/test_a.py"], ["--ignore-glob=*/test_a*"]]
)
def test_files_that_are_ignored_are_left_out(project: Project, ignored: list[str]) -> None:
    project.run()
    result = project.run(*ignored)
    assert result.ret == OK
    result.stdout.fnmatch_lines([NOT_DECIDED.format("tests/test_a.py")])
    assert is_decided(project.run()), "what was ignored once is still known"
    result = project.run("tests/test_b.py")
    result.stdout.fnmatch_lines([NOT_DECIDED.format("tests/test_a.py")])


def test_what_the_ini_file_ignores_is_no_part_of_the_project(project: Project) -> None:
    project.run()
    project.ini("promptopt_model = house/repeat", "addopts = --ignore=tests/test_a.py")
    assert is_decided(project.run())


def test_the_team_can_have_it_decided(project: Project) -> None:
    project.run()
    result = project.run("tests/test_a.py", "--promptopt-gate-partial=on")
    assert (result.ret, is_decided(result)) == (OK, True)


def test_a_file_that_was_removed_or_renamed_is_not_missed(project: Project) -> None:
    project.run()
    (project.path / "tests/test_b.py").rename(project.path / "tests/test_c.py")
    assert is_decided(project.run("tests/test_a.py")), "of the new name no run knows yet"
    project.run("tests")
    project.run("tests/test_a.py").stdout.fnmatch_lines([NOT_DECIDED.format("tests/test_c.py")])
    (project.path / "tests/test_c.py").unlink()
    assert is_decided(project.run("tests/test_a.py"))


def test_a_file_without_cases_of_the_prompt_is_forgotten_when_it_is_seen(project: Project) -> None:
    project.run()
    project.tests("def test_plain(): pass", name="tests/test_b.py")
    project.run("tests/test_a.py").stdout.fnmatch_lines([NOT_DECIDED.format("tests/test_b.py")])
    project.run("tests")
    assert is_decided(project.run("tests/test_a.py"))


def test_other_cases_in_a_file_that_is_run_are_its_cases(project: Project) -> None:
    """A file is what is known, not how many cases it had: parameters change."""
    project.run()
    project.tests(CASES.format("'a'"), name="tests/test_a.py")
    assert is_decided(project.run("tests"))


def test_before_a_run_has_seen_a_folder_nothing_is_known(project: Project) -> None:
    """Nor where there is no cache of pytest, as in most CI jobs."""
    assert is_decided(project.run("tests/test_b.py"))
    assert is_decided(project.run("tests/test_a.py"))
    project.run()
    shutil.rmtree(project.path / ".pytest_cache")
    assert is_decided(project.run("tests/test_a.py"))
    assert is_decided(project.run("-p", "no:cacheprovider", "tests/test_a.py"))


def test_a_file_beside_the_project_is_no_part_of_it(project: Project) -> None:
    """Neither one that was named and no folder has, nor one that is outside of `testpaths`."""
    project.ini("promptopt_model = house/repeat", "testpaths = te*s")
    project.tests(CASES.format("'a'"), name="scratch/check.py")
    project.tests(CASES.format("'a'"), name="scratch/test_it.py")
    project.run("scratch/check.py")
    project.run("scratch")
    assert is_decided(project.run("tests"))


def test_of_a_collection_with_errors_nothing_is_kept(project: Project) -> None:
    project.run()
    good = (project.path / "tests/test_b.py").read_text(encoding="utf-8")
    project.write("tests/test_b.py", "import gone")
    project.run("--continue-on-collection-errors")
    project.write("tests/test_b.py", good)
    project.run("tests/test_a.py").stdout.fnmatch_lines([NOT_DECIDED.format("tests/test_b.py")])


@pytest.mark.parametrize("kept", ["[1]", '{"prompts/repeat.md": 3}', "{"])
def test_a_damaged_cache_is_none(project: Project, kept: str) -> None:
    project.write(".pytest_cache/v/promptopt/files", kept)
    assert is_decided(project.run("tests/test_a.py"))
    project.run()
    project.run("tests/test_a.py").stdout.fnmatch_lines([NOT_DECIDED.format("tests/test_b.py")])


def test_many_files_are_counted(project: Project) -> None:
    for name in "cdefg":
        project.tests(CASES.format("'b'"), name=f"tests/test_{name}.py")
    project.run()
    result = project.run("tests/test_a.py")
    named = "tests/test_b.py, tests/test_c.py, tests/test_d.py and 3 more files"
    result.stdout.fnmatch_lines([NOT_DECIDED.format(named)])


def test_an_optimization_says_that_they_cannot_guard_the_text(project: Project) -> None:
    project.run()
    result = project.run("--optimize-dry-run", "tests/test_a.py", "--promptopt-optimizer-model=demo")
    said = "promptopt: cases of prompts/repeat.md in tests/test_b.py are not run; they cannot guard it"
    result.stdout.fnmatch_lines([said])


def test_a_baseline_keeps_the_cases_of_files_that_are_ignored(project: Project) -> None:
    project.run("--promptopt-save-baseline")
    result = project.run("--promptopt-save-baseline", "--ignore=tests/test_a.py")
    result.stdout.fnmatch_lines(["promptopt: *, and 2 cases stayed in it that this run left out; *"])
