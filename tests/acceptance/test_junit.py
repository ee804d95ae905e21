"""JUnit files and annotations say what the exit status says, also where a rate decides instead of cases."""

from __future__ import annotations

import json
import re
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


#: The first of three samples is lost, and another answer is wrong for "b".
LOSES = """
def said(request):
    word = request.messages[-1].content.rpartition(": ")[2]
    if request.sample == 0:
        raise ModelError(ErrorKind.BAD_REQUEST, "lost", model=request.model)
    return "wrong" if word == "b" and request.sample == 2 else word
"""


def test_a_lost_sample_has_neither_passed_nor_failed(project: Project, workers: int) -> None:
    """The others are the case, in the gate, in both reports of JUnit, in JSON and in a baseline."""
    project.append("conftest.py", LOSES)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", ["a", "b"])
        def test_word(prompt, word):
            assert prompt(word=word) == word
        """
    )
    files = ("--junit-xml=junit.xml", "--promptopt-report=r.json", "--promptopt-report=p.xml")
    kept = "--promptopt-save-baseline=b.json"
    result = project.run(
        "--promptopt-samples=3", "--promptopt-min-pass-rate=75%", kept, *files, workers=workers
    )
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "promptopt: 2 samples of 2 cases not answered, the others count: lost",
            "gate: * 75.0% >= 75.0% required: holds (1 of 2 cases passed*, 2 samples not answered; *",
        ]
    )
    assert counted(project) == ("3", "0", "0", "0")
    report = json.loads((project.path / "r.json").read_bytes())
    found = {each["id"][-2]: each for each in report["prompts"][0]["results"]}
    assert [found[name]["rate"] for name in "ab"] == [1.0, 0.5]
    assert [(each["samples"], each["counted"]) for each in found.values()] == [(3, 2), (3, 2)]
    cases = ET.parse(project.path / "p.xml").getroot().iter("testcase")
    told = {
        str(each.get("name"))[-2:]: {each.get("name"): each.get("value") for each in each.iter("property")}
        for each in cases
    }
    assert [told[name]["promptopt.unanswered"] for name in ("a]", "b]")] == ["1", "1"]
    baseline = (project.path / "b.json").read_text(encoding="utf-8")
    assert sorted(re.findall(r'"scores": (\[.*?\])', baseline)) == ["[1.0, 0.0]", "[1.0, 1.0]"]


def test_a_failing_case_says_how_many_of_its_samples_are_lost(project: Project) -> None:
    project.append("conftest.py", LOSES)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", samples=3)
        def test_word(prompt):
            assert prompt(word="b") == "b"
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["1 of 2 samples passed, 1 not answered; min_case_rate is 1"])


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
