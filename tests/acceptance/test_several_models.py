"""One prompt, answered by several models: each has a rate of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.projects import Project

MATRIX = """
MODELS = [
    pytest.param(id=model, marks=pytest.mark.prompt("prompts/repeat.md", model=model))
    for model in ("house/repeat", "house/deaf", "house/away")
]

@pytest.mark.parametrize((), MODELS)
@pytest.mark.parametrize("word", ["a", "b", "c", "d"])
def test_word(prompt, word):
    assert prompt(word=word) == word
"""

SAID = """
def said(request):
    if request.model == "house/away":
        raise ModelError(ErrorKind.BAD_REQUEST, "away", model=request.model)
    return "what?" if request.model == "house/deaf" else request.messages[-1].content.rpartition(": ")[2]
"""


@pytest.fixture(params=[0, 2], ids=["plain", "xdist"])
def workers(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester)
    project.append("conftest.py", SAID)
    return project


def test_the_summary_and_the_gate_tell_the_models_apart(project: Project, workers: int) -> None:
    project.tests(MATRIX)
    result = project.run("--promptopt-min-pass-rate=90%", workers=workers)
    shown = result.outlines
    assert "prompts/repeat.md: 4/8 cases pass (50.0%), 4 further cases errored" in shown
    assert {line for line in shown if line.startswith("  house/") and ": " in line} == {
        "  house/repeat: 4/4 cases pass (100.0%)",
        "  house/deaf: 0/4 cases pass (0.0%)",
        "  house/away: no case has a usable answer",
    }
    assert {line.partition(" (")[0] for line in shown if line.startswith("gate: ")} == {
        "gate: prompts/repeat.md with house/repeat 100.0% >= 90.0% required: holds",
        "gate: prompts/repeat.md with house/deaf 0.0% < 90.0% required: FAILED",
        "gate: prompts/repeat.md with house/away has no pass rate, 90.0% required: FAILED",
    }


def test_the_report_names_the_model_of_each_case(project: Project, workers: int) -> None:
    project.tests(MATRIX)
    project.run("--promptopt-report=report.json", workers=workers)
    [prompt] = json.loads((project.path / "report.json").read_text())["prompts"]
    assert {(each["model"], each["rate"], each["cases"], each["errored"]) for each in prompt["models"]} == {
        ("house/repeat", 1.0, 4, 0),
        ("house/deaf", 0.0, 4, 0),
        ("house/away", None, 4, 4),
    }
    for each in prompt["results"]:
        assert each["model"] in each["id"]


def test_one_model_is_not_named_in_the_summary(project: Project) -> None:
    project.tests("""
        @pytest.mark.prompt("prompts/repeat.md", model="house/deaf")
        def test_word(prompt):
            assert prompt(word="a") == "a"
    """)
    result = project.run("--promptopt-report=report.json")
    assert not [line for line in result.outlines if line.startswith("  house/")]
    [prompt] = json.loads((project.path / "report.json").read_text())["prompts"]
    assert [each["model"] for each in prompt["models"]] == ["house/deaf"]


def test_each_stage_of_a_pipeline_has_its_model(project: Project) -> None:
    project.write("prompts/first.md", "---\nmodel: house/first\n---\nSay: {{ word }}\n")
    project.tests("""
        @pytest.mark.prompt(one="prompts/first.md", two="prompts/repeat.md")
        def test_word(prompts):
            assert prompts["two"](word=prompts["one"](word="a")) == "b"
    """)
    project.run("--promptopt-report=report.json")
    prompts = json.loads((project.path / "report.json").read_text())["prompts"]
    assert {each["prompt"]: each["results"][0]["model"] for each in prompts} == {
        "prompts/first.md": "house/first",
        "prompts/repeat.md": "house/repeat",
    }


def test_a_case_without_a_model_has_none(project: Project) -> None:
    project.ini("")
    project.tests("""
        @pytest.mark.prompt("prompts/repeat.md")
        def test_word(prompt):
            assert prompt(word="a") == "a"
    """)
    project.run("--promptopt-report=report.json")
    [prompt] = json.loads((project.path / "report.json").read_text())["prompts"]
    assert prompt["results"][0]["model"] is None


def test_a_word_that_is_called_like_the_only_model_tells_nothing_of_it(project: Project) -> None:
    project.tests("""
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", ["house/repeat", "a"])
        def test_word(prompt, word):
            assert prompt(word=word) == word
    """)
    project.run("--promptopt-report=report.json", "--junitxml=junit.xml")
    [prompt] = json.loads((project.path / "report.json").read_text())["prompts"]
    assert [each["case"] for each in prompt["results"]] == [each["id"] for each in prompt["results"]]
    assert "promptopt.model" not in (project.path / "junit.xml").read_text()
