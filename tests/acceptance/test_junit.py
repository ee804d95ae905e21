"""JUnit files and annotations say what the exit status says, also where a rate decides instead of cases."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tests.acceptance.desk import HELDOUT, Desk
from tests.acceptance.projects import Project
from tests.acceptance.test_gate import gated

#: What a plugin does that annotates failures in a pull request.
ANNOTATE = """
def pytest_runtest_logreport(report):
    if report.failed:
        with LOG.with_name("annotations").open("a") as file:
            file.write(report.nodeid + chr(10))
"""


@pytest.fixture(params=[0, 2], ids=["plain", "xdist"])
def workers(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


def suite(project: Project) -> ET.Element:
    [found] = ET.parse(project.path / "junit.xml").getroot().iter("testsuite")
    return found


def case(project: Project, name: str) -> ET.Element:
    [found] = [each for each in suite(project).iter("testcase") if each.get("name") == name]
    return found


def counted(project: Project) -> tuple[str | None, ...]:
    return tuple(suite(project).get(name) for name in ("tests", "failures", "errors", "skipped"))


def test_where_the_gate_holds_there_is_no_failure(project: Project, workers: int) -> None:
    gated(project)
    result = project.run("--promptopt-min-pass-rate=80%", "--junit-xml=junit.xml", workers=workers)
    assert result.ret == pytest.ExitCode.OK
    assert counted(project) == ("6", "0", "0", "0")
    gate = case(project, "gate")
    assert [each.tag for each in gate] == ["system-out"]
    assert "80.0% >= 80.0% required: holds" in (gate.findtext("system-out") or "")
    tolerated = case(project, "test_word[wrong]")
    assert tolerated.find("failure") is None
    [kept] = tolerated.iter("property")
    assert (kept.get("name"), kept.get("value")) == ("promptopt.tolerated", "gated")
    assert "assert 5 == 1" in (tolerated.findtext("system-out") or "")
    assert [each.tag for each in case(project, "test_word[a]")] == []


def test_where_it_does_not_hold_the_gate_is_the_failure(project: Project, workers: int) -> None:
    gated(project)
    result = project.run("--promptopt-min-pass-rate=81%", "--junit-xml=junit.xml", workers=workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert counted(project) == ("6", "1", "0", "0")
    gate = case(project, "gate")
    assert gate.get("classname") == "prompts.repeat.md"
    [failure] = gate.iter("failure")
    assert "prompts/repeat.md 80.0% < 81.0% required: FAILED (4 of 5 cases passed" in (failure.text or "")


def test_without_a_gate_every_failure_is_one(project: Project) -> None:
    gated(project)
    project.run("--junit-xml=junit.xml")
    assert counted(project) == ("5", "1", "0", "0")
    assert case(project, "test_word[wrong]").find("failure") is not None


def test_annotations_see_what_fails_the_session_only(project: Project, workers: int) -> None:
    project.write("conftest.py", (project.path / "conftest.py").read_text() + ANNOTATE)
    gated(project, more="\ndef test_broken():\n    assert 0\n")
    project.run("--promptopt-min-pass-rate=80%", workers=workers)
    noted = (project.path / "annotations").read_text().split()
    assert set(noted) == {"test_it.py::test_broken"}


def test_the_first_tolerated_failure_ends_no_session(project: Project, workers: int) -> None:
    gated(project, more="\ndef test_last():\n    pass\n")
    result = project.run("--promptopt-min-pass-rate=80%", "-x", workers=workers)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*5 passed, 1 gated failed*"])


def test_a_tolerated_failure_is_run_again_by_lf_and_counts_there(project: Project) -> None:
    gated(project)
    project.run("--promptopt-min-pass-rate=80%")
    result = project.run("--promptopt-min-pass-rate=80%", "--lf")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*1 failed in *"])


@pytest.mark.parametrize("options", ["", "-x", "-n 1 -x"])
@pytest.mark.parametrize("seen", ["held", "at once", "by another plugin"])
def test_a_failing_subtest_is_tolerated_with_its_case(project: Project, seen: str, options: str) -> None:
    if seen == "by another plugin":
        watching = "def pytest_runtest_makereport(item, call): pass"
        project.write("conftest.py", (project.path / "conftest.py").read_text() + watching)
    project.tests(f"""
        @pytest.mark.prompt("prompts/repeat.md", min_pass_rate=0.5, replay={seen != "at once"})
        @pytest.mark.parametrize("word", ["ab", "ac"])
        def test_parts(prompt, subtests, word):
            answer = prompt(word=word)
            with subtests.test("first"):
                assert answer[0] == "a"
            with subtests.test("second"):
                assert answer[1] == "x"
    """)
    result = project.run("--junit-xml=junit.xml", *options.split())
    assert result.ret == pytest.ExitCode.OK
    assert counted(project)[1:] == ("0", "0", "0")
    result.stdout.fnmatch_lines(["gate: prompts/repeat.md 50.0% >= 50.0% required: holds (0 of 2 *"])


def test_an_error_in_the_teardown_of_a_tolerated_case_is_one(project: Project) -> None:
    project.tests("""
        @pytest.fixture
        def broken():
            yield
            raise OSError("no disk")

        @pytest.mark.prompt("prompts/repeat.md", min_pass_rate=0)
        def test_it(prompt, broken):
            assert prompt(word="a") == "b"
    """)
    result = project.run("--junit-xml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert counted(project)[1:] == ("0", "1", "0")


def test_held_out_cases_are_tolerated_by_an_optimization(pytester: pytest.Pytester) -> None:
    desk = Desk(pytester)
    desk.cases(heldout=HELDOUT)
    desk.optimize("--junit-xml=junit.xml")
    assert suite(desk).get("failures") == "0"
    [kept] = suite(desk).iter("property")
    assert (kept.get("name"), kept.get("value")) == ("promptopt.tolerated", "held-out")
