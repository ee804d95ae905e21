"""Several `prompt` marks on one test: inner ones add to the outer ones and go before them."""

from __future__ import annotations

import pytest

from tests.acceptance.projects import MARKING_HOOK, Project


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


def asked(project: Project) -> list[tuple[str, str, dict[str, object]]]:
    """Whom each call went to, with what and with which parameters."""
    return sorted(
        (call["model"], call["messages"][-1][1], call["parameters"] | {"max_tokens": call["max_tokens"]})
        for call in project.asked()
    )


def test_a_parameter_names_its_own_model(project: Project) -> None:
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", temperature=0.5)
        @pytest.mark.parametrize(
            "word", ["a", pytest.param("b", marks=pytest.mark.prompt(model="house/other", max_tokens=7))]
        )
        def test_word(prompt, word):
            assert prompt(word=word) == word
        """
    )
    project.run().assert_outcomes(passed=2)
    assert asked(project) == [
        ("house/other", "Repeat: b", {"temperature": 0.5, "max_tokens": 7}),
        ("house/repeat", "Repeat: a", {"temperature": 0.5, "max_tokens": None}),
    ]


def test_each_mark_around_a_test_adds_to_those_inside(project: Project) -> None:
    project.tests(
        """
        pytestmark = pytest.mark.prompt("prompts/repeat.md", model="house/module", top_p=0.5, max_tokens=1)

        @pytest.mark.prompt(model="house/class", max_tokens=2)
        class TestClass:
            @pytest.mark.prompt(max_tokens=3)
            def test_method(self, prompt):
                assert prompt(word="a") == "a"

        @pytest.mark.prompt(temperature=0)
        @pytest.mark.prompt("prompts/repeat.md")
        def test_function(prompt):
            assert prompt(word="b") == "b"
        """
    )
    project.run().assert_outcomes(passed=2)
    assert asked(project) == [
        ("house/class", "Repeat: a", {"top_p": 0.5, "max_tokens": 3}),
        ("house/module", "Repeat: b", {"top_p": 0.5, "temperature": 0, "max_tokens": 1}),
    ]


def test_a_mark_without_a_path_around_others_says_what_all_have(project: Project) -> None:
    project.tests(
        """
        pytestmark = pytest.mark.prompt(model="house/module")

        @pytest.mark.prompt("prompts/repeat.md")
        def test_function(prompt):
            assert prompt(word="a") == "a"
        """
    )
    project.run().assert_outcomes(passed=1)
    assert [model for model, *_ in asked(project)] == ["house/module"]


def test_what_is_said_of_another_prompt_is_not_said_of_this_one(project: Project) -> None:
    project.write("prompts/other.md", "Other: {{ word }}")
    project.tests(
        """
        pytestmark = pytest.mark.prompt("prompts/other.md", model="house/other", min_pass_rate=1.0)

        @pytest.mark.prompt("prompts/repeat.md", max_tokens=5)
        def test_function(prompt):
            assert prompt(word="a") == "b"
        """
    )
    result = project.run()
    result.assert_outcomes(failed=1)  # and no gate
    assert asked(project) == [("house/repeat", "Repeat: a", {"max_tokens": 5})]


def test_a_class_goes_before_the_one_it_is_made_of(project: Project) -> None:
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", model="house/base", max_tokens=1)
        class Base:
            def test_method(self, prompt):
                assert prompt(word="a") == "a"

        @pytest.mark.prompt(model="house/derived")
        class TestDerived(Base):
            pass
        """
    )
    project.run().assert_outcomes(passed=1)
    assert asked(project) == [("house/derived", "Repeat: a", {"max_tokens": 1})]


def test_a_hook_may_add_a_mark(project: Project) -> None:
    project.append("conftest.py", MARKING_HOOK)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", model="house/written")
        def test_function(prompt):
            assert prompt(word="a") == "a"
        """
    )
    project.run().assert_outcomes(passed=1)
    assert [model for model, *_ in asked(project)] == ["house/added"]


BESIDE = {
    "models": (
        """
        @pytest.mark.prompt(model="house/a")
        @pytest.mark.prompt("prompts/repeat.md", model="house/b")
        def test_it(prompt): ...
        """,
        "test_it.py:3: two @pytest.mark.prompt at one place have model='house/b' and model='house/a'; to run "
        "a test with several models use --promptopt-model=house/b,house/a, or a *",
    ),
    "paths": (
        """
        @pytest.mark.prompt("prompts/other.md")
        @pytest.mark.prompt("prompts/repeat.md")
        def test_it(prompt): ...
        """,
        "test_it.py:3: two @pytest.mark.prompt at one place name different prompts, 'prompts/repeat.md' and "
        "'prompts/other.md'; a test has one, or stages in one mark",
    ),
    "parameters": (
        """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("a", [pytest.param(1, marks=pytest.mark.prompt(samples=2))])
        @pytest.mark.parametrize("b", [pytest.param(1, marks=pytest.mark.prompt(samples=3))])
        def test_it(prompt, a, b): ...
        """,
        "test_it.py:3: two @pytest.mark.prompt at one place have samples=3 and samples=2; write it once",
    ),
    "no path": (
        """
        @pytest.mark.parametrize("a", [pytest.param(1, marks=pytest.mark.prompt(model="house/a"))])
        def test_it(prompt, a): ...
        """,
        "test_it.py:3: @pytest.mark.prompt(...) names no prompt file, nor does a mark around it; use *",
    ),
    "a wrong value of a parameter": (
        """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("a", [pytest.param(1, marks=pytest.mark.prompt(model="a model"))])
        def test_it(prompt, a): ...
        """,
        "test_it.py:3: @pytest.mark.prompt(model='a model'): model must be *",
    ),
}


@pytest.mark.parametrize(("source", "said"), BESIDE.values(), ids=BESIDE)
def test_marks_that_contradict_each_other_are_named(project: Project, source: str, said: str) -> None:
    project.tests(source)
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said.replace("[", "[[]")])
