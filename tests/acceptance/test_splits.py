"""Which cases an optimization may learn from: said by marks, or divided by the ini file, and stable."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.acceptance.projects import Project

WORDS = [f"word{number}" for number in range(60)]


def splits(project: Project, *args: str, workers: int = 0) -> Mapping[str, str]:
    """Split by test name, without the ``@group`` that xdist puts behind it."""
    project.run("--promptopt-report=out.json", *args, workers=workers)
    report = json.loads((project.path / "out.json").read_text(encoding="utf-8"))
    results = [result for prompt in report["prompts"] for result in prompt["results"]]
    return {result["id"].partition("::")[2].partition("@")[0]: result["split"] for result in results}


def words(project: Project, *values: str, decorators: str = "") -> None:
    project.tests(
        f"""
        {decorators}
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", {list(values)!r})
        def test_word(prompt, word):
            assert prompt(word=word) == word
        """
    )


def test_marks_on_tests_classes_and_parameters(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        pytestmark = pytest.mark.prompt("prompts/repeat.md")

        def test_plain(prompt):
            prompt(word="a")

        @pytest.mark.heldout
        def test_kept(prompt):
            prompt(word="b")

        @pytest.mark.validation
        class TestClass:
            def test_chosen(self, prompt):
                prompt(word="c")

        @pytest.mark.parametrize(
            "word",
            [
                "d",
                pytest.param("e", marks=pytest.mark.heldout),
                pytest.param("f", marks=pytest.mark.validation),
            ],
        )
        def test_each(prompt, word):
            prompt(word=word)
        """
    )
    assert splits(project, "--strict-markers") == {
        "test_plain": "train",
        "test_kept": "heldout",
        "TestClass::test_chosen": "validation",
        "test_each[d]": "train",
        "test_each[e]": "heldout",
        "test_each[f]": "validation",
    }
    result = project.run("--collect-only", "-q")
    result.stdout.fnmatch_lines(["promptopt: 1 prompt, cases: 2 train, 2 validation, 2 held-out"])


def test_without_marks_and_ini_all_cases_are_train(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    words(project, *WORDS[:5])
    assert set(splits(project).values()) == {"train"}


class TestIni:
    @pytest.fixture
    def project(self, pytester: pytest.Pytester) -> Project:
        return Project(pytester, "promptopt_split = 60/20/20")

    def test_divides_the_cases_about_as_asked_and_always_alike(self, project: Project) -> None:
        words(project, *WORDS)
        found = splits(project)
        counts = Counter(found.values())
        assert 26 <= counts["train"] <= 46
        assert 4 <= counts["validation"] <= 20
        assert 4 <= counts["heldout"] <= 20
        assert splits(project) == found

    def test_the_header_counts_what_the_report_lists(self, project: Project) -> None:
        words(project, *WORDS)
        counts = Counter(splits(project).values())
        header = "promptopt: 1 prompt, cases: {train} train, {validation} validation, {heldout} held-out"
        project.run().stdout.fnmatch_lines([header.format(**counts)])

    def test_another_case_moves_no_other(self, project: Project) -> None:
        words(project, *WORDS[:20])
        before = splits(project)
        words(project, "new", *reversed(WORDS[:20]), "another")
        after = splits(project)
        assert {name: after[name] for name in before} == before
        assert len(after) == 22

    def test_nor_does_renaming_the_test_or_its_file(self, project: Project) -> None:
        words(project, *WORDS[:20])
        before = splits(project)
        source = (project.path / "test_it.py").read_text()
        (project.path / "test_it.py").unlink()
        project.write("test_other.py", source.replace("test_word", "test_renamed"))
        after = splits(project)
        assert {name.replace("test_renamed", "test_word"): split for name, split in after.items()} == before

    def test_nor_does_a_group_of_xdist(self, project: Project) -> None:
        words(project, *WORDS[:12], decorators="@pytest.mark.xdist_group('a')")
        before = splits(project)
        assert len(set(before.values())) > 1
        assert splits(project, "--dist=loadgroup", workers=2) == before

    def test_a_mark_beats_the_ini_value(self, project: Project) -> None:
        words(project, *WORDS[:12], decorators="@pytest.mark.validation")
        assert set(splits(project).values()) == {"validation"}

    def test_cases_without_parameters_are_told_apart_by_their_place(self, project: Project) -> None:
        names = [f"test_{number}" for number in range(20)]
        body = "".join(f"def {name}(prompt):\n    prompt(word='a')\n\n" for name in names)
        project.write(
            "odd@folder/test_it.py",
            f"import pytest\npytestmark = pytest.mark.prompt('prompts/repeat.md')\n{body}",
        )
        assert len(set(splits(project).values())) == 3

    def test_objects_as_parameters_have_the_same_split_in_every_process(self, project: Project) -> None:
        project.tests(
            """
            class Thing:
                pass

            @pytest.mark.prompt("prompts/repeat.md")
            @pytest.mark.parametrize("thing", [Thing() for _ in range(12)])
            def test_thing(prompt, thing):
                prompt(word="a")
            """
        )
        found = splits(project)
        assert len(set(found.values())) > 1
        assert splits(project, workers=2) == found


def test_equal_questions_share_the_strictest_split(pytester: pytest.Pytester) -> None:
    """Else the optimizer would see in one test what another holds out."""
    project = Project(pytester)
    project.tests(
        """
        pytestmark = pytest.mark.prompt("prompts/repeat.md")

        @pytest.mark.parametrize("word", ["a", "b", "c"])
        def test_one(prompt, word):
            prompt(word=word)

        @pytest.mark.parametrize(
            "word",
            [
                pytest.param("a", marks=pytest.mark.heldout),
                pytest.param("b", marks=pytest.mark.validation),
                pytest.param("d", marks=pytest.mark.heldout),
            ],
        )
        def test_two(prompt, word):
            prompt(word=word)
        """
    )
    assert splits(project) == {
        "test_one[a]": "heldout",
        "test_one[b]": "validation",
        "test_one[c]": "train",
        "test_two[a]": "heldout",
        "test_two[b]": "validation",
        "test_two[d]": "heldout",
    }
