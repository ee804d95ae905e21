"""Several models on the same cases: one table, and only real differences are named."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from tests.acceptance.projects import Project

SAID = """
def said(request):
    number = int(request.messages[-1].content.rpartition(": ")[2])
    if request.model == "house/away" and number == 0:
        raise ModelError(ErrorKind.BAD_REQUEST, "away", model=request.model)
    passes = {"house/weak": 12, "house/good": 28, "house/even": 27, "house/away": 30}
    return "good" if number < passes[request.model] else "bad"
"""

NUMBERS = """
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("number", range(30))
def test_number(prompt, number):
    assert prompt(word=number) == "good"
"""

THREE = "--promptopt-model=house/weak,house/good,house/even"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("COLUMNS", "80")
    project = Project(pytester)
    project.append("conftest.py", SAID)
    project.tests(NUMBERS)
    return project


def section(shown: list[str]) -> list[str]:
    start = next(number for number, line in enumerate(shown) if "models compared" in line)
    ends = (number for number, line in enumerate(shown) if number > start and "model calls, " in line)
    return shown[start + 1 : next(ends, None)]


@pytest.mark.parametrize("workers", [0, 2], ids=["plain", "xdist"])
def test_the_table_names_the_real_differences_and_no_other(project: Project, workers: int) -> None:
    shown = section(project.run(THREE, "-q", workers=workers).outlines)
    assert all(len(line) <= 80 for line in shown)
    assert shown[:13] == [
        "prompts/repeat.md: 30 cases",
        "                house/weak  house/good  house/even",
        "  pass rate          40.0%       93.3%       90.0%",
        "  95% interval      25-58%      79-98%      74-97%",
        "  cost             $0.0300     $0.0300     $0.0300",
        "  latency p50        0.00s       0.00s       0.00s",
        "  house/good is better than house/weak: +53.3 points over 30 cases, 16 better, 0",
        "      worse (p < 0.001, corrected < 0.001; exact sign test)",
        "  house/even is better than house/weak: +50.0 points over 30 cases, 15 better, 0",
        "      worse (p < 0.001, corrected < 0.001; exact sign test)",
        "  no difference shown: house/good and house/even: +3.3 points over 30 cases, 1",
        "      better, 0 worse (p = 1, corrected 1; exact sign test)",
        "  house/weak  house/good  house/even  they differ on 16 cases",
    ]
    differing = shown[13:23]
    assert len({line.split()[-1] for line in differing}) == 10
    assert all(line.split()[:3] in (["fail", "pass", "pass"], ["fail", "pass", "fail"]) for line in differing)
    assert shown[23] == "  ... and 6 more, see --promptopt-report=FILE.json"


def test_long_names_of_many_models_are_letters(project: Project) -> None:
    said = SAID.replace("passes[request.model]", "passes[request.model.split('-')[0]]")
    conftest = (project.path / "conftest.py").read_text()
    project.write("conftest.py", conftest + said)
    names = [f"house/{name}-2026-11-29-preview" for name in ("weak", "good", "even")]
    shown = project.run(f"--promptopt-model={','.join(names)}").outlines
    assert all(len(line) <= 80 for line in section(shown))
    assert "                      A        B        C" in shown
    assert [f"  {letter}  {name}" for letter, name in zip("ABC", names, strict=True)] == [
        line for line in shown if line[:4] in ("  A ", "  B ", "  C ") and "house" in line
    ]
    assert "  A     B     C     they differ on 16 cases" in shown


def test_the_json_report_has_every_case_and_pair(project: Project) -> None:
    project.run(THREE, "--promptopt-report=out.json", "--promptopt-min-pass-rate=91%")
    report = json.loads((project.path / "out.json").read_text())
    [compared] = report["models"]
    assert compared["prompts"] == ["prompts/repeat.md"]
    assert [(each["first"], each["second"], each["better"]) for each in compared["differences"]] == [
        ("house/good", "house/weak", 16),
        ("house/even", "house/weak", 15),
        ("house/good", "house/even", 1),
    ]
    assert compared["rates"]["test_it.py::test_number[27]"] == {
        "house/weak": 0.0,
        "house/good": 1.0,
        "house/even": 0.0,
    }
    assert len(compared["rates"]) == 30
    assert len(compared["differing"]) == 16
    figures = report["prompts"][0]["models"]
    assert [(each["model"], each["held"], each["calls"]) for each in figures] == [
        ("house/weak", False, 30),
        ("house/good", True, 30),
        ("house/even", False, 30),
    ]
    assert all(each["cost"] == pytest.approx(0.03) for each in figures)


@pytest.mark.parametrize("workers", [0, 2], ids=["plain", "xdist"])
def test_a_gate_must_hold_with_each_model(project: Project, workers: int) -> None:
    gated = ("--promptopt-min-pass-rate=91%", "--junitxml=junit.xml")
    result = project.run(THREE, *gated, workers=workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    gates = {line.partition(" (")[0] for line in result.outlines if line.startswith("gate: ")}
    assert gates == {
        "gate: prompts/repeat.md with house/weak 40.0% < 91.0% required: FAILED",
        "gate: prompts/repeat.md with house/good 93.3% >= 91.0% required: holds",
        "gate: prompts/repeat.md with house/even 90.0% < 91.0% required: FAILED",
    }
    found = ElementTree.parse(project.path / "junit.xml").iter("testcase")
    assert [case.get("name") for case in found if case.find("failure") is not None] == [
        "gate[house/weak]",
        "gate[house/even]",
    ]
    # Pooled with the good one even this would hold.
    assert project.run("--promptopt-model=house/good,house/even", *gated, workers=workers).ret == 1
    assert project.run("--promptopt-model=house/good", *gated, workers=workers).ret == 0


def test_cases_without_an_answer_are_no_difference(project: Project) -> None:
    shown = project.run("--promptopt-model=house/good,house/away").outlines
    assert ["errored", "0", "1"] in [line.split() for line in shown]
    assert "  no difference shown: house/away and house/good: +6.9 points over 29 cases, 2" in shown


def test_the_same_cases_by_marks_are_compared_as_well(project: Project) -> None:
    project.tests(
        """
        MODELS = [
            pytest.param(model, id=model, marks=pytest.mark.prompt("prompts/repeat.md", model=model))
            for model in ("house/weak", "house/good")
        ]

        @pytest.mark.parametrize("model", MODELS)
        @pytest.mark.parametrize("number", range(30))
        def test_number(prompt, number, model):
            assert prompt(word=number) == "good"
        """
    )
    shown = project.run().outlines
    assert "  house/good is better than house/weak: +53.3 points over 30 cases, 16 better, 0" in shown
    assert "  fail        pass        test_it.py::test_number[12]" in shown


def test_models_of_other_cases_are_not_compared(project: Project) -> None:
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", model="house/good")
        def test_one(prompt):
            assert prompt(word=1) == "good"

        @pytest.mark.prompt("prompts/repeat.md", model="house/weak")
        def test_two(prompt):
            assert prompt(word=2) == "good"
        """
    )
    assert not [line for line in project.run().outlines if "models compared" in line]
