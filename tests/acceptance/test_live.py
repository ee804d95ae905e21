"""Somebody watches a session: what is shown of its cases while they run, and what they can do at its end."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.pytest_session import live_session
from tests.acceptance.desk import GOOD, WEAK, Desk
from tests.acceptance.projects import Project, git

WORDS = """
import pytest

@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", "abcdefgh")
def test_word(prompt, word):
    print(f"<{word}>")
    assert prompt(word=word) != "c"
"""
FIRST = (
    "promptopt: 0 of 8 cases done, waiting for *, * made, *s so far",
    "promptopt: 1 of 8 cases done, 100.0% pass, *",
    "promptopt: 8 of 8 cases done, 87.5% pass, waiting for no answer, 8 calls made, $0.0080, "
    "0.0% of answers from the cache, *",
)


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    found = Project(pytester)
    found.write("test_words.py", WORDS)
    return found


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that hears of everything at once, not twice a minute."""
    monkeypatch.setattr(live_session, "LINE_EVERY", 0.0)


def told(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if " done, " in line]


def test_a_short_run_says_nothing(project: Project) -> None:
    assert told(project.run("--tb=no")) == []


@pytest.mark.usefixtures("talkative")
def test_a_log_is_told_how_far_the_cases_are(project: Project) -> None:
    result = project.run("--tb=no")
    result.assert_outcomes(passed=7, failed=1)
    found = told(result)
    for line in FIRST:
        assert any(re.fullmatch(re.escape(line).replace(r"\*", ".*"), each) for each in found), (line, found)
    again = told(project.run("--tb=no"))[-1]
    assert "0 calls made, 100.0% of answers from the cache, " in again


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("args", [("-q",), ("-p", "no:terminal"), ("--collect-only",)])
def test_who_wants_quiet_gets_it(project: Project, args: tuple[str, ...]) -> None:
    assert told(project.run("--tb=no", *args)) == []


@pytest.mark.usefixtures("talkative")
def test_what_tests_print_stays_whole(project: Project) -> None:
    result = project.run("--tb=no", "-s")
    assert told(result)
    printed = "".join(line for line in result.outlines if line not in told(result))
    assert re.findall("<.>", printed) == [f"<{word}>" for word in "abcdefgh"]


@pytest.mark.usefixtures("talkative")
def test_workers_tell_how_far_they_are(project: Project) -> None:
    result = project.run("--tb=no", workers=2)
    result.assert_outcomes(passed=7, failed=1)
    assert told(result)
    assert all(" of 8 cases done, " in line for line in told(result))


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("name", ["check_line", "CheckFigures"])
def test_what_cannot_be_shown_ends_no_run(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(live_session, name, broken)
    result = project.run("--tb=no")
    result.assert_outcomes(passed=7, failed=1)
    result.stdout.no_fnmatch_line("*ZeroDivisionError*")


# ------------------------------------------------------------------------------------- what can be done now


def interrupted(project: Project, *args: str) -> list[str]:
    project.append("test_words.py", "\n\ndef test_last():\n    raise KeyboardInterrupt\n")
    result = project.pytester.runpytest_inprocess("-p", "no:asyncio", "--tb=no", *args, no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    return result.outlines


def test_after_ctrl_c_a_check_says_what_it_has_kept(project: Project) -> None:
    assert "continue: run the same command again; the answers that were paid for come from the cache" in (
        interrupted(project)
    )


def test_without_the_cache_nothing_is_kept(project: Project) -> None:
    assert "continue: run the same command again; --promptopt-cache=off asks everything anew" in interrupted(
        project, "--promptopt-cache=off"
    )


def test_a_session_that_pytest_ends_is_not_continued(project: Project) -> None:
    project.append("test_words.py", "\n\ndef test_last():\n    pytest.exit('enough', 2)\n")
    project.run("--tb=no").stdout.no_fnmatch_line("continue: *")


def test_after_ctrl_c_an_optimization_is_continued_by_its_command(pytester: pytest.Pytester) -> None:
    desk = Desk(pytester)
    desk.write("ctrl-c", "12")
    tests = ("-k", "sort or nothing", next(path.name for path in desk.path.glob("test_*.py")))
    result = desk.pytester.runpytest_subprocess(
        "--optimize", "--tb=no", "-p", "no:asyncio", *tests, timeout=60
    )
    (run,) = (path.name for path in desk.path.glob(".promptopt/runs/*"))
    command = f"pytest -k 'sort or nothing' {tests[-1]} --optimize-resume={run}"
    steps = result.outlines[result.outlines.index(f"continue: {command}") :]
    assert steps[1].startswith("verdict: prompts/sort.md interrupted")
    assert "KeyboardInterrupt" in steps[2], "the verdict is the plugin's last word"
    (desk.path / "ctrl-c").unlink()
    assert desk.run(*shlex.split(command)[1:]).ret == pytest.ExitCode.OK
    assert desk.text == GOOD


def last_words(result: pytest.RunResult) -> list[str]:
    """From the first thing to do on."""
    start = next(number for number, line in enumerate(result.outlines) if line.startswith("see it: "))
    return result.outlines[start:]


def test_after_a_write_it_is_said_how_to_see_and_undo_it(pytester: pytest.Pytester) -> None:
    desk = Desk(pytester)
    git(desk.path, "init", "--quiet")
    git(desk.path, "add", ".")
    git(desk.path, "commit", "--quiet", "--message=all")
    result = desk.optimize("--promptopt-min-pass-rate=10%")
    see, undo, verdict, gate, _ = last_words(result)
    assert see == "see it:   git diff -- prompts/sort.md"
    assert "+Answer with the label only." in git(desk.path, *shlex.split(see.partition("git ")[2]))
    assert verdict.startswith("verdict: prompts/sort.md improved, written, held-out 0.0% -> 50.0%")
    assert gate.startswith("gate: prompts/sort.md ")
    assert desk.run(*shlex.split(undo.partition("pytest ")[2])).ret == pytest.ExitCode.OK
    assert desk.text == WEAK


def test_where_git_does_not_know_the_file_the_page_shows_it(pytester: pytest.Pytester) -> None:
    desk = Desk(pytester)
    result = desk.optimize()
    see, undo, verdict, _ = last_words(result)
    (run,) = (path.name for path in desk.path.glob(".promptopt/runs/*"))
    assert (see, undo) == (
        f"see it:   pytest --promptopt-show={run}",
        f"undo it:  pytest --promptopt-restore={run}",
    )
    assert verdict.startswith("verdict: prompts/sort.md improved, written")


def test_the_file_is_named_as_the_user_sees_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(pytester)
    git(desk.path, "init", "--quiet")
    git(desk.path, "add", ".")
    git(desk.path, "commit", "--quiet", "--message=all")
    monkeypatch.chdir(desk.path / "prompts")
    assert last_words(desk.optimize(".."))[0] == "see it:   git diff -- sort.md"


def test_what_was_not_written_needs_no_undoing(pytester: pytest.Pytester) -> None:
    result = Desk(pytester).run("--optimize-dry-run", "--tb=no", "--promptopt-strategy=refine,evolve")
    result.stdout.no_fnmatch_line("undo it: *")
    assert [line.partition(":")[0] for line in result.outlines[-3:-1]] == ["verdict", "verdict"]
    assert result.outlines[-2].startswith("verdict: strategy evolve: ")


def test_a_name_with_a_space_is_quoted(pytester: pytest.Pytester) -> None:
    """A file may be called anything."""
    desk = Desk(pytester)
    Path(desk.prompt).rename(desk.path / "prompts" / "to sort.md")
    for tests in desk.path.glob("test_*.py"):
        tests.write_text(tests.read_text(encoding="utf-8").replace("sort.md", "to sort.md"), encoding="utf-8")
    git(desk.path, "init", "--quiet")
    git(desk.path, "add", ".")
    git(desk.path, "commit", "--quiet", "--message=all")
    assert last_words(desk.optimize())[0] == "see it:   git diff -- 'prompts/to sort.md'"
