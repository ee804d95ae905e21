"""The reports that a session leaves: files by their ending, and what a job on GitHub Actions shows."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from pytest_promptopt.reports.json_schema import FILE
from tests.acceptance.desk import Desk
from tests.acceptance.projects import Project

WORDS = """

@pytest.mark.prompt("prompts/repeat.md"{mark})
@pytest.mark.parametrize("word", ["a", "b", "wrong", "worse", "boom"])
def test_word(prompt, word):
    assert prompt(word=word) == word[:1]
"""
LINE = 2 + WORDS[: WORDS.index("    assert")].count("\n")


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester)
    project.tests(WORDS.format(mark=""))
    return project


def on_github(monkeypatch: pytest.MonkeyPatch, project: Project) -> Path:
    summary = project.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    return summary


def assert_valid(report: Path) -> None:
    """As the JSON Schema in the package says."""
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(report.read_text(encoding="utf-8")))


def commands(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("::")]


@pytest.mark.parametrize("workers", [0, 2], ids=["plain", "xdist"])
def test_a_session_writes_each_report_that_it_is_asked_for(project: Project, workers: int) -> None:
    result = project.run("--promptopt-report=a.md", "--promptopt-report=deep/b.json", workers=workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    page = (project.path / "a.md").read_text(encoding="utf-8")
    assert page.startswith("## Prompts: failing cases 2 of 5\n")
    assert "| `prompts/repeat.md` | **50.0%** | " in page
    assert " model calls, 0 of them from the cache; " in page
    assert "the house model refuses boom" in page
    assert_valid(project.path / "deep" / "b.json")


def test_after_an_optimization_there_is_the_diff(pytester: pytest.Pytester) -> None:
    desk = Desk(pytester)
    desk.optimize("--promptopt-report=pr.md")
    assert_valid(desk.path / "report.json")
    page = (desk.path / "pr.md").read_text(encoding="utf-8")
    assert page.startswith("## Prompts: 1 of 1 improved\n")
    assert "### `prompts/sort.md`: improved\n" in page
    assert "| **held-out** | 0.0% | 50.0% |" in page
    assert "\n+Answer with the label only.\n" in page
    assert "* Confirmed: " in page


@pytest.mark.parametrize("workers", [0, 2], ids=["plain", "xdist"])
def test_on_github_a_job_has_summary_and_annotations(
    project: Project, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    summary = on_github(monkeypatch, project)
    result = project.run(workers=workers)
    assert summary.read_text(encoding="utf-8").startswith("## Prompts: failing cases 2 of 5\n")
    found = sorted(commands(result))
    assert len(found) == 3
    place = f"::error file=test_it.py,line={LINE},title=prompts/repeat.md::test_it.py::test_word["
    assert [line.startswith(place) for line in found].count(True) == 2
    assert any("expected: w%0Agot: wrong" in line for line in found)
    assert any("test_word[boom]: no usable answer: " in line for line in found)


def test_what_a_gate_tolerates_is_one_annotation_and_only_if_the_gate_fails(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_github(monkeypatch, project)
    project.tests(WORDS.format(mark="").replace(', "boom"', ""))
    assert commands(project.run("--promptopt-min-pass-rate=40%")) == []
    (line,) = commands(project.run("--promptopt-min-pass-rate=90%"))
    assert line.startswith("::error title=prompts/repeat.md::gate: prompts/repeat.md 50.0%25 < 90.0%25")
    project.tests(WORDS.format(mark=", min_pass_rate=0.9").replace(', "boom"', ""))
    (line,) = commands(project.run())
    assert line.startswith("::error file=test_it.py,line=")


def test_another_plugin_that_annotates_tests_is_left_to_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_github(monkeypatch, project)
    project.write("pytest_github_actions_annotate_failures.py", "")
    project.pytester.syspathinsert(project.path)
    plugin = ("-p", "pytest_github_actions_annotate_failures")
    assert commands(project.run(*plugin)) == []
    (line,) = commands(project.run(*plugin, "--promptopt-min-pass-rate=90%"))
    assert "::gate: " in line


def test_a_session_without_prompts_tells_a_job_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(pytester)
    summary = on_github(monkeypatch, project)
    project.write("test_plain.py", "def test_it():\n    assert False\n")
    assert commands(project.run()) == []
    assert not summary.exists()


def test_a_report_that_is_lost_at_the_end_fails_the_session_and_no_other_report(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk; the summary of the job, which nobody has asked for, fails nothing."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path))
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        def test_word(prompt, request):
            assert prompt(word="a") == "a"
            taken = request.config.rootpath / "a.md"
            taken.mkdir(exist_ok=True)
        """
    )
    assert project.run().ret == pytest.ExitCode.OK
    (project.path / "a.md").rmdir()
    files = ("--promptopt-report=a.md", "--promptopt-report=b.json", "--promptopt-save-baseline=c.json")
    result = project.run(*files)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (project.path / "b.json").exists()
    assert (project.path / "c.json").exists()
    result.stdout.fnmatch_lines(
        [
            "promptopt: --promptopt-report: a.md was not written: *",
            "promptopt: GITHUB_STEP_SUMMARY: * was not written: *",
        ]
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (
            "--promptopt-report=file/a.md",
            "--promptopt-report: file/a.md cannot be written: *file is no folder",
        ),
        ("--promptopt-report=a.html", "--promptopt-report: a.html cannot be written: it is a folder"),
        (
            "--promptopt-report=" + "a" * 300 + ".md",
            "--promptopt-report: a*a.md cannot be written: *name too long*",
        ),
        ("--promptopt-save-baseline=file/a/b.json", "--promptopt-save-baseline: file/a/b.json cannot be *"),
        ("-opromptopt_report=a.html", "promptopt_report: a.html cannot be written: it is a folder"),
    ],
    ids=lambda text: text[:40],
)
def test_a_file_that_cannot_be_written_is_said_before_the_first_call(
    project: Project, option: str, said: str
) -> None:
    project.write("file", "")
    (project.path / "a.html").mkdir()
    result = project.run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
    assert project.asked() == []


def test_the_body_of_a_pull_request_tells_what_was_written(pytester: pytest.Pytester) -> None:
    desk = Desk(pytester)
    result = desk.optimize("--promptopt-pr-body=deep/pr.md")
    page = (desk.path / "deep" / "pr.md").read_text(encoding="utf-8")
    assert page.startswith("Improve prompts/sort.md: held-out 0.0% -> 50.0%\n\n")
    assert f"`pytest --promptopt-restore={desk.report['run']['id']}`" in page
    assert "\n+Answer with the label only.\n" in page
    result.stdout.no_fnmatch_line("*--promptopt-pr-body*")

    again = desk.optimize("--promptopt-pr-body=deep/pr.md")
    assert (desk.path / "deep" / "pr.md").read_bytes() == b"", "nothing is left to improve"
    again.stdout.fnmatch_lines(
        ["promptopt: --promptopt-pr-body: *pr.md is empty, since no prompt file was *"]
    )


def test_the_body_is_empty_after_ctrl_c_and_whole_when_the_run_is_resumed(pytester: pytest.Pytester) -> None:
    desk = Desk(pytester)
    desk.write("pr.md", "of an earlier run")
    desk.write("ctrl-c", "11")
    options = ("-p", "no:asyncio", "--promptopt-pr-body=pr.md")
    ended = desk.pytester.runpytest_subprocess("--optimize", *options, timeout=90)
    assert ended.ret == pytest.ExitCode.INTERRUPTED
    assert (desk.path / "pr.md").read_bytes() == b""
    (desk.path / "ctrl-c").unlink()
    desk.run("--optimize-resume", "--promptopt-pr-body=pr.md")
    assert (desk.path / "pr.md").read_text(encoding="utf-8").startswith("Improve prompts/sort.md")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("pr.md",), "--promptopt-pr-body=pr.md tells what --optimize has written: add --optimize"),
        (
            ("pr.md", "--optimize-dry-run"),
            "*--optimize-dry-run writes no prompt file: use --promptopt-report=*",
        ),
        (("pr.txt", "--optimize"), "*'pr.txt' is no path of a .md file; write --promptopt-pr-body=FILE.md"),
        (("folder.md", "--optimize"), "*'folder.md' is a folder; write --promptopt-pr-body=FILE.md"),
        (("", "--optimize"), "*'' is a folder; write --promptopt-pr-body=FILE.md"),
        (
            ("pr.md", "--optimize", "--promptopt-report=pr.md"),
            "*--promptopt-pr-body=pr.md and a report would be written to the same file*",
        ),
    ],
)
def test_a_body_that_cannot_be_is_refused(project: Project, args: tuple[str, ...], said: str) -> None:
    (project.path / "folder.md").mkdir()
    file, *others = args
    result = project.run(f"--promptopt-pr-body={file}", *others)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
    assert not (project.path / "calls.log").exists()
