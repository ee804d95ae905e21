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


def test_an_answer_gives_no_command_to_a_job_of_github_actions(project: Project) -> None:
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        def test_it(prompt):
            assert prompt(word="::error file=x.py::gone") == "b"
        """
    )
    shown = project.run().outlines
    assert r"\::error file=x.py::gone" in shown
    assert not any(line.lstrip().startswith("::") for line in shown)


#: Everything that lets calls and reports differ in number.
MANY = """
pytestmark = pytest.mark.prompt("prompts/repeat.md")

@pytest.mark.prompt("prompts/repeat.md", samples=3)
def test_samples(prompt):
    assert prompt(word="sample")

runs = []

@pytest.mark.flaky(reruns=1)
def test_rerun(prompt):
    runs.append(prompt.attempt)
    assert prompt(word="rerun") == "other"

def test_subtests(prompt, subtests):
    answers = [prompt(word=word) for word in ("sub one", "sub two")]
    for answer in answers:
        with subtests.test(answer=answer):
            assert answer

@pytest.mark.prompt(first="prompts/repeat.md", second="prompts/again.md")
def test_pipeline(prompts):
    assert prompts["second"](word=prompts["first"](word="pipe"))

@pytest.mark.parametrize("number", range(2))
def test_shared(prompt, number):
    assert prompt(word="shared")

def test_errored(prompt):
    prompt(word="answered")
    prompt(word="boom")
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_the_line_counts_what_models_were_asked(project: Project, workers: int) -> None:
    pytest.importorskip("pytest_rerunfailures")
    project.write("prompts/again.md", "Again: {{ word }}\n")
    project.tests(MANY)
    result = project.run(workers=workers)
    asked = project.asked()
    assert len(asked) == 3 + 2 + 2 + 2 + 1 + 2
    said = f"{len(asked)} model calls, 0 of them from the cache; 110 input and 11 output tokens, $0.0110"
    result.stdout.fnmatch_lines([said])
    again = project.run(workers=workers)
    assert len(project.asked()) == len(asked) + 1, "an error is not stored"
    known = f"{len(asked)} model calls, {len(asked) - 1} of them from the cache"
    again.stdout.fnmatch_lines([f"{known}; 0 input and 0 output tokens, $0.00"])


COUNTING = """
import _pytest.nodes

shown = []
show = _pytest.nodes.Node._repr_failure_py

def _count(self, *args, **kwargs):
    shown.append(self.name)
    return show(self, *args, **kwargs)

def pytest_configure():
    _pytest.nodes.Node._repr_failure_py = _count

def pytest_unconfigure():
    _pytest.nodes.Node._repr_failure_py = show
    print("formatted:", *shown)
"""


def test_only_the_traceback_that_is_shown_is_formatted(project: Project) -> None:
    """Each case is run several times, and through an SDK a traceback takes seconds."""
    project.write("conftest.py", (project.path / "conftest.py").read_text(encoding="utf-8") + COUNTING)
    project.tests(ECHO.replace('"prompts/repeat.md"', '"prompts/repeat.md", samples=3'))
    result = project.run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["formatted: test_it?b?"])
