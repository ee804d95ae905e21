"""What a plain check tells: what it has asked and paid, and what the model answered where a test fails."""

from __future__ import annotations

import pytest

from tests.acceptance.projects import Project

ECHO = """
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", ["a", "b", "c"])
def test_it(prompt, word):
    assert "z" not in prompt(word=word).lower().replace("b", "z")
"""

PAID = "3 model calls, 0 of them from the cache; * input and * output tokens, *"


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


def test_calls_tokens_and_the_share_of_the_cache_are_told(project: Project) -> None:
    project.tests(ECHO)
    project.run().stdout.fnmatch_lines([PAID])
    project.run().stdout.fnmatch_lines(["3 model calls, 3 of them from the cache: nothing was paid"])


def test_workers_tell_the_same_together(project: Project) -> None:
    project.tests(ECHO)
    result = project.run("-n", "2")
    result.stdout.fnmatch_lines([PAID])


def test_quiet_sessions_and_those_that_ask_nothing_do_not_speak_of_calls(project: Project) -> None:
    project.tests(ECHO)
    assert "model call" not in project.run("-q").stdout.str()
    project.tests("def test_x():\n    assert 1\n")
    assert "model call" not in project.run().stdout.str()


def test_the_answer_stands_under_each_failing_test(project: Project) -> None:
    project.tests(ECHO)
    result = project.run()
    result.assert_outcomes(passed=2, failed=1)
    shown = result.stdout.str()
    assert shown.count("- answer of prompts/repeat.md -") == 1
    result.stdout.fnmatch_lines(["*- answer of prompts/repeat.md -*", "*b*"], consecutive=True)
