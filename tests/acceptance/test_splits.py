"""Which cases an optimization may learn from: said by marks, or divided by the ini file, and stable."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_promptopt.models.demo.feedback import is_feedback
from tests.acceptance.desk import Desk
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


@pytest.mark.parametrize("place", ["from the tests' folder", "in another checkout", "under another rootdir"])
def test_neither_the_place_of_pytest_nor_of_the_project_moves_a_case(
    pytester: pytest.Pytester, place: str
) -> None:
    plain = "".join(f"\n\n    def test_{n}(self, prompt):\n        prompt(word='{n}')\n" for n in range(20))
    tests = f"""
        from pathlib import Path

        @pytest.mark.prompt("../prompts/repeat.md")
        @pytest.mark.parametrize("word", {WORDS[:20]!r})
        def test_word(prompt, word):
            prompt(word=word)

        @pytest.mark.prompt("../prompts/repeat.md")
        @pytest.mark.parametrize("file", [Path(__file__).parents[1] / str(n) for n in range(20)], ids=str)
        def test_file(prompt, file):
            prompt(word=file.name)

        class TestPlain:
            pytestmark = pytest.mark.prompt("../prompts/repeat.md")
        """

    def divided(path: Path, start: Path) -> list[str]:
        project = Project(pytester, "promptopt_split = 40/30/30", path=path)
        project.tests(dedent(tests).rstrip() + plain, name="tests/test_it.py")
        if place == "under another rootdir" and start != path:
            (path / "pytest.ini").rename(start / "pytest.ini")
            (start / "conftest.py").write_bytes((path / "conftest.py").read_bytes())
        with pytest.MonkeyPatch.context() as shell:
            shell.chdir(start)
            project.run(f"--promptopt-report={path / 'out.json'}", str(path / "tests"))
        data = json.loads((path / "out.json").read_text(encoding="utf-8"))
        return [result["split"] for prompt in data["prompts"] for result in prompt["results"]]

    one = pytester.path / "one" / "project"
    expected = divided(one, one)
    assert len(expected) == 60
    assert len(set(expected)) == 3
    other = pytester.path / "elsewhere" / "deep" / "project"
    if place == "in another checkout":
        assert divided(other, other) == expected
    elif place == "from the tests' folder":
        assert divided(one, one / "tests") == expected
    else:
        (other / "sub").mkdir(parents=True)
        assert divided(other / "sub", other) == expected


SECRET = "the HELDOUTSECRET card has not arrived"
TWINS = f"""
SECRET = {SECRET!r}

@pytest.mark.prompt("prompts/sort.md")
def test_twin(prompt):
    assert prompt(message=SECRET) == "card_arrival"

@pytest.mark.prompt("prompts/sort.md")
def test_twin_that_asks_it_second(prompt):
    prompt(message="my pin is blocked")
    assert prompt(message=SECRET) == "card_arrival"

@pytest.mark.heldout
@pytest.mark.prompt("prompts/sort.md")
def test_held_out(prompt):
    first = prompt(message=SECRET)
    assert prompt(message="again: " + first) == "card_arrival"
"""


@pytest.mark.parametrize("known", ["nothing", "the first calls", "all"])
def test_cases_that_share_any_request_share_the_strictest_split_whatever_is_known(
    pytester: pytest.Pytester, known: str
) -> None:
    desk = Desk(pytester)
    desk.cases(more=TWINS)
    if known != "nothing":
        desk.run("--tb=no", *(["-k", "not held_out"] if known == "the first calls" else []))
        (desk.path / "asked.log").unlink()
    desk.optimize("--promptopt-max-iterations=2")
    requests = [text for text in desk.told if is_feedback(text)]
    assert requests
    assert [text for text in requests if "HELDOUTSECRET" in text] == []


def test_what_held_out_cases_ask_is_in_no_request_though_a_failure_quotes_it(
    pytester: pytest.Pytester,
) -> None:
    desk = Desk(pytester)
    desk.tests(
        """
        ROWS = [
            ("my parcel is late", "delivery"),
            ("the parcel never came", "delivery"),
            ("charged twice this month", "billing"),
            ("HIDDEN zebra wants a refund", "billing"),
            ("HIDDEN line one\\nand line two", "delivery"),
        ]
        KEPT = pytest.mark.heldout

        @pytest.mark.prompt("prompts/sort.md")
        @pytest.mark.parametrize(
            "message, label", [pytest.param(*row, marks=KEPT) if "HIDDEN" in row[0] else row for row in ROWS]
        )
        def test_it(prompt, message, label):
            answer = prompt(message=message)
            assert answer in dict(ROWS) and answer == label, f"none of {ROWS}"
        """
    )
    desk.optimize()
    requests = [text for text in desk.told if is_feedback(text)]
    assert any("my parcel is late" in text for text in requests)
    assert not any("HIDDEN" in text for text in requests)
