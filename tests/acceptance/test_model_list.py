"""``--promptopt-model=a,b``: the suite runs with each model."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections import defaultdict

import pytest

from tests.acceptance.projects import MARKING_HOOK, UNITTEST, Project

SAID = """
def said(request):
    word = request.messages[-1].content.rpartition(": ")[2]
    return "what?" if request.model == "house/deaf" and word > "b" else word
"""

WORDS = """
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", ["a", "b", "c", "d"])
def test_word(prompt, word):
    assert prompt(word=word) == word
"""

BOTH = "--promptopt-model=house/keen,house/deaf"


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester)
    project.append("conftest.py", SAID)
    return project


def collected(project: Project, *args: str) -> list[str]:
    lines = project.run("--collect-only", "-q", *args).outlines
    return [line.partition("::")[2] for line in lines if "::" in line]


def asked(project: Project) -> list[tuple[str, str]]:
    return sorted((call["model"], call["messages"][-1][1][-1]) for call in project.asked())


@pytest.mark.parametrize("workers", [0, 2], ids=["plain", "xdist"])
def test_each_case_runs_with_each_model_whose_name_ends_its_id(project: Project, workers: int) -> None:
    project.tests(WORDS)
    result = project.run(BOTH, "-v", workers=workers)
    result.assert_outcomes(passed=6, failed=2)
    result.stdout.fnmatch_lines_random([f"FAILED *::test_word?{word}-house/deaf?*" for word in "cd"])
    assert asked(project) == [(model, word) for model in ("house/deaf", "house/keen") for word in "abcd"]


def test_with_one_model_all_is_as_without_the_list(project: Project) -> None:
    project.tests(WORDS)
    ids = [f"test_word[{word}]" for word in "abcd"]
    assert collected(project) == collected(project, "--promptopt-model=house/keen") == ids
    assert collected(project, BOTH)[:2] == ["test_word[a-house/keen]", "test_word[a-house/deaf]"]


def test_answers_of_one_model_are_those_of_the_list(project: Project) -> None:
    project.tests(WORDS)
    project.run("--promptopt-model=house/keen")
    project.run(BOTH)
    project.run("--promptopt-model=house/deaf")
    assert len(project.asked()) == 8


def test_the_list_may_stand_in_the_ini_file(project: Project) -> None:
    project.ini("promptopt_model = house/keen, house/deaf")
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        def test_it(prompt):
            assert prompt(word="a") == "a"
        """
    )
    assert collected(project) == ["test_it[house/keen]", "test_it[house/deaf]"]


def test_cases_that_name_a_model_keep_it(project: Project) -> None:
    project.write("prompts/own.md", "---\nmodel: house/front\n---\nSay: {{ word }}\n")
    project.tests(
        """
        @pytest.mark.prompt("prompts/own.md")
        def test_front(prompt):
            assert prompt(word="a") == "a"

        @pytest.mark.prompt("prompts/repeat.md", model="house/mark")
        def test_mark(prompt):
            assert prompt(word="b") == "b"

        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize(
            "word", ["c", pytest.param("d", marks=pytest.mark.prompt(model="house/param"))]
        )
        def test_parameter(prompt, word):
            assert prompt(word=word) == word

        @pytest.mark.prompt(one="prompts/own.md", two="prompts/repeat.md")
        def test_stages(prompts):
            assert prompts["two"](word=prompts["one"](word="e")) == "e"

        def test_without_a_prompt():
            pass
        """
    )
    assert collected(project, BOTH) == [
        "test_front",
        "test_mark",
        "test_parameter[c-house/keen]",
        "test_parameter[c-house/deaf]",
        "test_parameter[d]",
        "test_stages[house/keen]",
        "test_stages[house/deaf]",
        "test_without_a_prompt",
    ]
    project.run(BOTH)
    assert asked(project) == sorted(
        [
            ("house/front", "a"),
            ("house/mark", "b"),
            ("house/keen", "c"),
            ("house/deaf", "c"),
            ("house/param", "d"),
            ("house/front", "e"),  # which both cases ask
            ("house/keen", "e"),
            ("house/deaf", "e"),
        ]
    )


def test_a_case_is_of_one_split_under_all_models(project: Project) -> None:
    project.ini("promptopt_model = house/keen", "promptopt_split = 50/20/30")
    names = "\n".join(f"def test_{number}(prompt): assert prompt(word='x{number}')" for number in range(12))
    project.tests(
        f"""
        pytestmark = pytest.mark.prompt("prompts/repeat.md")

        class Thing:
            def __init__(self, number):
                self.number = number

        @pytest.mark.parametrize("word", [f"word{{number}}" for number in range(20)])
        def test_word(prompt, word):
            assert prompt(word=word) == word

        @pytest.mark.parametrize("thing", [pytest.param(Thing(n), id=f"no-{{n}}") for n in range(12)])
        def test_object(prompt, thing):
            assert prompt(word=f"thing{{thing.number}}")

        {names.replace(chr(10), chr(10) + " " * 8)}
        """
    )

    def splits(*args: str) -> dict[str, set[str]]:
        project.run("--promptopt-report=out.json", *args)
        report = json.loads((project.path / "out.json").read_text())
        found = defaultdict(set)
        for result in report["prompts"][0]["results"]:
            found[result["case"]].add(result["split"])
        return found

    alone = splits()
    assert len(alone) == 44
    assert {split for each in alone.values() for split in each} == {"train", "validation", "heldout"}
    assert splits(BOTH) == alone


def test_models_are_no_samples_of_each_other(project: Project) -> None:
    project.tests(WORDS)
    project.run(BOTH, "--promptopt-report=out.json")
    [prompt] = json.loads((project.path / "out.json").read_text())["prompts"]
    assert [result["samples"] for result in prompt["results"]] == [1] * 8
    assert {result["case"] for result in prompt["results"]} == {f"test_it.py::test_word[{w}]" for w in "abcd"}


def test_failed_first_and_last_failed_know_the_models_apart(project: Project) -> None:
    project.tests(WORDS)
    project.run(BOTH)
    result = project.run(BOTH, "--lf", "-v")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*test_word?c-house/deaf? FAILED*", "*test_word?d-house/deaf? FAILED*"])


def test_what_failed_with_one_model_is_run_again_by_whichever_way_it_is_named(project: Project) -> None:
    project.tests(WORDS)
    project.run("--promptopt-model=house/deaf")
    project.ini("promptopt_model = house/deaf")
    result = project.run("--lf", "-v")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*test_word?c? FAILED*", "*test_word?d? FAILED*"])


def test_junit_names_the_model(project: Project) -> None:
    project.tests(WORDS)
    project.run(BOTH, "--junitxml=junit.xml")
    found = {
        case.get("name"): [(each.get("name"), each.get("value")) for each in case.iter("property")]
        for case in ElementTree.parse(project.path / "junit.xml").iter("testcase")
    }
    assert found["test_word[a-house/keen]"] == [("promptopt.model", "house/keen")]
    assert found["test_word[d-house/deaf]"] == [("promptopt.model", "house/deaf")]
    project.run("--junitxml=junit.xml")
    assert not list(ElementTree.parse(project.path / "junit.xml").iter("property"))


def test_a_method_of_unittest_must_name_its_model(project: Project) -> None:
    project.tests(UNITTEST)
    result = project.run(BOTH)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        ["*test_it.py:11: test_good takes no parameters, so it cannot be run with each of house/keen, *"]
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("house/a,house/b,house/a", "*--promptopt-model: 'house/a,house/b,house/a' names house/a twice; *"),
        ("claude-x,anthropic/claude-x", "*names anthropic/claude-x twice; name each model once"),
        ("house/a,,house/b", "*--promptopt-model: 'house/a,,house/b' has an empty entry; accepted is one *"),
        ("house/a,", "*has an empty entry; *"),
        ("house/a,b", "*--promptopt-model: 'b' names no model: *"),
    ],
)
def test_a_wrong_list_is_refused(project: Project, given: str, said: str) -> None:
    result = project.run(f"--promptopt-model={given}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_cases_without_python_run_with_each_model_as_well(project: Project) -> None:
    project.write("prompts/say.md", "Say: {{ word }}")
    project.write(
        "evals/words.promptopt.yaml",
        """
        prompt: ../prompts/say.md
        cases:
          - {id: one, word: a, expected: a}
          - {id: two, word: d, expected: d}
        """,
    )
    project.write("more.csv", "word,expected\nc,c\n")
    result = project.run(BOTH, "-v", "evals", "more.csv", "--promptopt-prompt=prompts/say.md")
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*words.promptopt.yaml::*?one-house/keen? PASSED*",
            "*words.promptopt.yaml::*?two-house/deaf? FAILED*",
        ]
    )
    assert "  pass        fail        more.csv::say[c]" in result.outlines


def test_a_suite_that_names_its_model_keeps_it(project: Project) -> None:
    project.write("prompts/own.md", "---\nmodel: house/front\n---\nSay: {{ word }}\n")
    for name, head in (
        ("suite", "model: house/keen\nprompt: ../prompts/repeat"),
        ("file", "prompt: ../prompts/own"),
    ):
        project.write(
            f"evals/{name}.promptopt.yaml", f"{head}.md\ncases: [{{word: {name}, expected: {name}}}]\n"
        )
    project.run("--promptopt-model=house/a,house/b").assert_outcomes(passed=2)
    assert [model for model, _ in asked(project)] == ["house/front", "house/keen"]


def test_a_test_that_takes_its_model_from_a_hook_is_not_multiplied(project: Project) -> None:
    """A mark that a hook adds comes after the tests were planned: it decides who answers, not how often."""
    project.append("conftest.py", MARKING_HOOK)
    project.tests(WORDS)
    project.run(BOTH)
    assert {model for model, _ in asked(project)} == {"house/added"}


def test_repetitions_of_another_plugin_are_samples_under_each_model(project: Project) -> None:
    pytest.importorskip("pytest_repeat")
    project.tests(WORDS)
    project.run(BOTH, "--count=3", "--promptopt-report=out.json")
    [prompt] = json.loads((project.path / "out.json").read_text())["prompts"]
    assert [(result["model"], result["samples"]) for result in prompt["results"]] == [
        (model, 3) for _ in "abcd" for model in ("house/keen", "house/deaf")
    ]
