"""A baseline under version control, and the comparison of later runs with it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import jsonschema
import pytest

from pytest_promptopt.reports.json_schema import FILE as SCHEMA
from tests.acceptance.application_shop import Shop
from tests.acceptance.desk import TRAIN, VALIDATION
from tests.acceptance.projects import Project, git
from tests.acceptance.test_applications import APPLICATIONS, CONSTANT, SORTING
from tests.unit.test_reports_html import Parts

OK, FAILED, USAGE = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR

WORDS = """
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", [{words}])
def test_word(prompt, word):
    assert len(prompt(word=word)) == 1
"""

#: The model says a word twice once the text is another one.
WORSE = """
def said(request):
    text = request.messages[-1].content
    word = text.rpartition(": ")[2]
    return word + word if text.startswith("Please") and word in {broken!r} else word
"""

#: The model says "b" twice in every second answer.
FLIPS = """
def said(request):
    word = request.messages[-1].content.rpartition(": ")[2]
    return word + word if word == "b" and request.sample else word
"""

FILE = "promptopt-baseline.json"
NAME = "prompts/repeat.md with house/repeat"


@pytest.fixture(params=[0, 2], ids=["plain", "xdist"])
def workers(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


def words(project: Project, count: int = 8, *, more: str = "") -> None:
    letters = ", ".join(f'"{chr(ord("a") + number)}"' for number in range(count))
    project.tests(WORDS.format(words=letters + more))


def make_worse(project: Project, broken: str) -> None:
    """A new text, under which the model breaks the cases with these letters."""
    project.write("conftest.py", (project.path / "conftest.py").read_text() + WORSE.format(broken=broken))
    project.write("prompts/repeat.md", "Please repeat: {{ word }}\n")


def cases(project: Project, name: str = FILE) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((project.path / name).read_text())["cases"]
    assert found.pop() is None
    return found


def verdicts(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("compare: ")]


class TestFile:
    def test_it_has_one_line_for_each_case(self, project: Project, workers: int) -> None:
        words(project, 2, more=', "long"')
        result = project.run("--promptopt-save-baseline", workers=workers)
        assert result.ret == FAILED  # of the case; a baseline has failures, too
        lines = (project.path / FILE).read_text().splitlines()
        assert lines[0] == '{"promptopt_baseline": 1, "cases": ['
        assert lines[-1] == "null]}"
        assert [json.loads(line.rstrip(","))["case"] for line in lines[1:-1]] == [
            f"test_it.py::test_word[{word}]" for word in ("a", "b", "long")
        ]
        [good, _, bad] = cases(project)
        assert good["scores"] == [1.0]
        assert bad["scores"] == [0.0]
        assert (bad["answer"], bad["model"], bad["prompt"]) == ("long", "house/repeat", "prompts/repeat.md")
        assert bad["category"]
        assert "category" not in good
        assert good["cost"] == 0.001
        assert all(len(good[name]) == 12 for name in ("text", "inputs", "test", "answers"))
        assert str(project.path) not in "".join(lines)
        result.stdout.fnmatch_lines([f"promptopt: {FILE} has 3 cases of this run; answers are cut to 200 *"])

    def test_the_same_run_writes_the_same_file(self, project: Project, workers: int) -> None:
        words(project, 3)
        project.run("--promptopt-save-baseline", workers=workers)
        first = (project.path / FILE).read_bytes()
        project.run("--promptopt-save-baseline=other.json", "-p", "no:randomly")
        assert (project.path / "other.json").read_bytes() == first

    def test_a_part_of_the_cases_leaves_the_lines_of_the_others(self, project: Project) -> None:
        words(project, 3)
        project.run("--promptopt-save-baseline")
        before = cases(project)
        project.write("prompts/repeat.md", "Say again: {{ word }}\n")
        result = project.run("--promptopt-save-baseline", "-k", "word and b")
        after = cases(project)
        assert [each["case"] for each in after] == [each["case"] for each in before]
        assert [one["text"] == two["text"] for one, two in zip(before, after, strict=True)] == [
            True,
            False,
            True,
        ]
        result.stdout.fnmatch_lines(
            ["*has 1 case of this run, and 2 cases stayed in it that this run left out*"]
        )

    def test_a_hook_that_leaves_cases_out_removes_no_line(self, project: Project) -> None:
        """Plugins that divide a suite among machines deselect what is for the others."""
        words(project, 3)
        project.run("--promptopt-save-baseline")
        more = """
def pytest_collection_modifyitems(config, items):
    config.hook.pytest_deselected(items=items[1:])
    del items[1:]
"""
        project.write("conftest.py", (project.path / "conftest.py").read_text() + more)
        project.run("--promptopt-save-baseline")
        assert len(cases(project)) == 3
        result = project.run("--promptopt-compare")
        assert "  left out of this run: 2 cases of the baseline" in result.outlines

    def test_a_run_that_stops_early_removes_no_line(self, project: Project) -> None:
        words(project, 3)
        project.run("--promptopt-save-baseline")
        project.tests(WORDS.format(words='"long", "b", "c"'))
        project.run("--promptopt-save-baseline", "-x")
        assert len(cases(project)) == 4

    def test_after_a_conflict_it_is_written_anew(self, project: Project) -> None:
        words(project, 2)
        path = project.path / FILE
        path.write_text('{"promptopt_baseline": 1, "cases": [\n<<<<<<< HEAD\n')
        result = project.run("--promptopt-save-baseline", "-k", "b and word")
        assert result.ret == USAGE
        result.stderr.fnmatch_lines(["*json:2: has a conflict of a merge in it*"])
        assert project.run("--promptopt-save-baseline").ret == OK
        assert len(cases(project)) == 2

    def test_another_programs_file_is_never_written_over(self, project: Project) -> None:
        words(project, 2)
        project.write("package.json", "{}")
        result = project.run("--promptopt-save-baseline=package.json")
        assert result.ret == USAGE
        assert (project.path / "package.json").read_text() == "{}"

    def test_all_cases_leave_none_that_is_gone(self, project: Project) -> None:
        words(project, 3)
        project.run("--promptopt-save-baseline")
        words(project, 2)
        project.run("--promptopt-save-baseline")
        assert len(cases(project)) == 2

    def test_a_run_that_broke_off_writes_none(self, project: Project) -> None:
        project.tests("""
        @pytest.mark.prompt("prompts/repeat.md")
        def test_word(prompt):
            prompt(word="a")

        def test_stop():
            pytest.exit("enough")
        """)
        result = project.run("--promptopt-save-baseline")
        assert result.ret == pytest.ExitCode.INTERRUPTED
        assert not (project.path / FILE).exists()

    @pytest.mark.parametrize("option", ["--promptopt-save-baseline=test_it.py", "--promptopt-compare=."])
    def test_no_other_file_is_taken_for_one(self, project: Project, option: str) -> None:
        words(project, 1)
        result = project.run(option)
        assert result.ret == USAGE
        result.stderr.fnmatch_lines([f"*{option.partition('=')[0]}: * is not the path of a .json file*"])

    def test_nothing_fails_on_a_comparison_that_is_none(self, project: Project) -> None:
        words(project, 1)
        result = project.run("--promptopt-fail-on=any")
        assert result.ret == USAGE
        result.stderr.fnmatch_lines(["*--promptopt-fail-on=any is of a comparison: add --promptopt-compare*"])
        project.ini("promptopt_model = house/repeat", "promptopt_fail_on = any")
        assert project.run().ret == OK

    def test_an_optimization_keeps_none(self, project: Project) -> None:
        words(project, 1)
        result = project.run("--optimize", "--promptopt-save-baseline")
        assert result.ret == USAGE
        result.stderr.fnmatch_lines(["*--promptopt-save-baseline is about a plain check*"])


class TestComparison:
    def test_nothing_has_changed(self, project: Project) -> None:
        words(project)
        project.run("--promptopt-save-baseline")
        asked = len(project.asked())
        result = project.run("--promptopt-compare", "--promptopt-fail-on=any")
        assert result.ret == OK
        assert len(project.asked()) == asked
        assert verdicts(result) == [
            f"compare: {NAME} +0.0 points over 8 cases: no change (0 fixed, 0 broken; p = 1, exact sign test)"
        ]
        assert f"{NAME}: 100.0% before, 100.0% now (8 cases, the same text)" in result.outlines

    @pytest.mark.parametrize(
        ("broken", "fail_on", "fails"),
        [
            ("abcde", "significant", True),
            ("abcd", "significant", False),
            ("a", "any", True),
            ("", "any", False),
            ("abcde", None, False),
        ],
    )
    def test_what_fails_the_session(
        self, project: Project, broken: str, fail_on: str | None, fails: bool
    ) -> None:
        """A gate that holds lets the single cases fail; the comparison fails the session by itself."""
        words(project)
        project.run("--promptopt-save-baseline")
        make_worse(project, broken)
        args = [] if fail_on is None else [f"--promptopt-fail-on={fail_on}"]
        result = project.run(
            "--promptopt-compare",
            "--promptopt-min-pass-rate=10%",
            "--junit-xml=junit.xml",
            *args,
        )
        assert result.ret == (FAILED if fails else OK)
        [said] = verdicts(result)
        assert ("FAILED" in said) is fails
        [suite] = ET.parse(project.path / "junit.xml").getroot().iter("testsuite")
        told = [each for each in suite.iter("testcase") if each.get("name") == "compare"]
        assert len(told) == fails
        assert suite.get("failures") == str(int(fails))

    def test_a_failing_case_fails_as_ever(self, project: Project) -> None:
        """Also where it failed in the baseline: only a gate takes the word from single cases."""
        words(project, 2, more=', "long"')
        project.run("--promptopt-save-baseline")
        result = project.run("--promptopt-compare", "--promptopt-fail-on=any")
        assert result.ret == FAILED
        assert "no change" in verdicts(result)[0]

    def test_a_margin_lets_a_shown_loss_pass(self, project: Project) -> None:
        project.ini("promptopt_model = house/repeat", "promptopt_compare_margin = 62.5")
        words(project)
        project.run("--promptopt-save-baseline")
        make_worse(project, "abcde")
        args = ("--promptopt-compare", "--promptopt-fail-on=significant", "--promptopt-min-pass-rate=1%")
        result = project.run(*args)
        assert result.ret == OK
        assert "a loss is shown, within the margin of 62.5 points" in verdicts(result)[0]
        project.ini("promptopt_model = house/repeat", "promptopt_compare_margin = 62")
        assert project.run(*args).ret == FAILED

    def test_broken_cases_show_both_answers(self, project: Project) -> None:
        words(project, 3)
        project.run("--promptopt-save-baseline")
        make_worse(project, "b")
        result = project.run("--promptopt-compare")
        result.stdout.fnmatch_lines(
            [
                f"*= compared with {FILE} =*",
                f"{NAME}: 100.0% before, 66.7% now (3 cases)",
                "  broken: 1 case",
                "    test_it.py::test_word?b? (now: *)",
                "      before  b",
                "      now     bb",
                "  kinds of failure: * 0 -> 1",
                "  cost $0.0030 -> $0.0030*",
                f"compare: {NAME} -33.3 points over 3 cases: no loss is shown (0 fixed, 1 broken; p = 0.5, *",
            ]
        )

    def test_fixed_new_and_removed_cases_are_named(self, project: Project) -> None:
        words(project, 3)
        make_worse(project, "b")
        project.run("--promptopt-save-baseline")
        words(project, 2, more=', "x"')
        project.write("prompts/repeat.md", "Repeat: {{ word }}\n")
        result = project.run("--promptopt-compare")
        result.stdout.fnmatch_lines(
            [
                "  new: 1 case",
                "    test_it.py::test_word?x?",
                "  removed: 1 case",
                "    test_it.py::test_word?c?",
                "  fixed: 1 case",
                "    test_it.py::test_word?b?",
            ]
        )

    def test_what_this_run_leaves_out_is_not_removed(self, project: Project, workers: int) -> None:
        words(project, 3)
        project.run("--promptopt-save-baseline", workers=workers)
        result = project.run("--promptopt-compare", "-k", "word and b", workers=workers)
        assert "  left out of this run: 2 cases of the baseline" in result.outlines
        assert not any(line.startswith("  removed") for line in result.outlines)

    def test_another_model_is_not_compared(self, project: Project, workers: int) -> None:
        words(project, 2)
        project.run("--promptopt-save-baseline", workers=workers)
        args = ("--promptopt-compare", "--promptopt-fail-on=significant", "--promptopt-model=house/other")
        result = project.run(*args, workers=workers)
        assert result.ret == FAILED
        result.stdout.fnmatch_lines(
            [
                "  the baseline has it with house/repeat: another model is not compared",
                "compare: prompts/repeat.md with house/other: FAILED: none of its cases can be compared",
            ]
        )

    def test_each_of_several_models_has_its_own_verdict(self, project: Project) -> None:
        words(project, 2)
        both = "--promptopt-model=house/one,house/two"
        project.run("--promptopt-save-baseline", both)
        assert [(each["case"], each["model"]) for each in cases(project)][:2] == [
            ("test_it.py::test_word[a]", "house/one"),
            ("test_it.py::test_word[a]", "house/two"),
        ]
        result = project.run("--promptopt-compare", both)
        assert {line.partition(" +")[0] for line in verdicts(result)} == {
            "compare: prompts/repeat.md with house/one",
            "compare: prompts/repeat.md with house/two",
        }

    def test_a_baseline_of_one_model_is_compared_when_others_come_to_it(self, project: Project) -> None:
        """What a case is called there leaves the model out."""
        words(project, 2)
        project.run("--promptopt-save-baseline", "--promptopt-model=house/one")
        result = project.run("--promptopt-compare", "--promptopt-model=house/one,house/two")
        assert [line.partition(" (")[0] for line in verdicts(result)] == [
            "compare: prompts/repeat.md with house/one +0.0 points over 2 cases: no change",
            "compare: prompts/repeat.md with house/two: not in the baseline",
        ]
        project.run("--promptopt-save-baseline", "--promptopt-model=house/one,house/two")
        result = project.run("--promptopt-compare", "--promptopt-model=house/two")
        assert [line.partition(" (")[0] for line in verdicts(result)] == [
            "compare: prompts/repeat.md with house/two +0.0 points over 2 cases: no change"
        ]

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("== 1", "== 1 + 0", "its test has changed"),
            ("== 1", "==   1  # as it should be", ""),
        ],
    )
    def test_a_changed_test_is_said_a_comment_is_none(
        self, project: Project, old: str, new: str, reason: str
    ) -> None:
        words(project, 2)
        project.run("--promptopt-save-baseline")
        path = project.path / "test_it.py"
        path.write_text(path.read_text().replace(old, new))
        result = project.run("--promptopt-compare")
        said = f"  not compared, {reason}: 2 cases, removed and new" in result.outlines
        assert said is bool(reason)

    def test_changed_inputs_under_the_same_name_are_another_case(self, project: Project) -> None:
        source = """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", [pytest.param("{word}", id="one")])
        def test_word(prompt, word):
            assert len(prompt(word=word)) == 1
        """
        project.tests(source.format(word="a"))
        project.run("--promptopt-save-baseline")
        project.tests(source.format(word="b"))
        result = project.run("--promptopt-compare", "--promptopt-fail-on=any")
        assert "  not compared, its inputs have changed: 1 case, removed and new" in result.outlines
        assert result.ret == FAILED

    def test_a_case_that_flips_is_flaky_not_broken(self, project: Project) -> None:
        project.tests("""
        @pytest.mark.prompt("prompts/repeat.md", samples=2)
        @pytest.mark.parametrize("word", ["a", "b"])
        def test_word(prompt, word):
            assert len(prompt(word=word)) == 1
        """)
        project.run("--promptopt-save-baseline")
        project.write("conftest.py", (project.path / "conftest.py").read_text() + FLIPS)
        project.write("prompts/repeat.md", "Again: {{ word }}\n")
        args = ("--promptopt-compare", "--promptopt-fail-on=any", "--promptopt-min-pass-rate=1%")
        result = project.run(*args)
        assert result.ret == OK
        result.stdout.fnmatch_lines(
            [
                "  flaky: 1 case passed and failed under one text",
                "    test_it.py::test_word?b? (2 of 2 passed before, 1 of 2 now)",
                "noise: prompts/repeat.md: 1 of 2 cases flips under the same text; no change of any size *",
                "compare: * -25.0 points over 2 cases: no loss is shown (0 fixed, 0 broken; *",
            ]
        )


class TestReports:
    def test_each_report_has_the_comparison(self, project: Project, workers: int) -> None:
        words(project, 3)
        project.run("--promptopt-save-baseline", "--promptopt-samples=2", workers=workers)
        make_worse(project, "b")
        reports = [f"--promptopt-report=out/compared.{ending}" for ending in ("json", "md", "html")]
        args = ("--promptopt-samples=2", "--promptopt-compare", "--promptopt-fail-on=any")
        result = project.run(*args, "--promptopt-min-pass-rate=1%", *reports, workers=workers)
        assert result.ret == FAILED
        json_file, markdown, page = (project.path / "out" / f"compared.{e}" for e in ("json", "md", "html"))
        report = json.loads(json_file.read_text())
        jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
        [found] = report["compared"]
        assert (found["prompt"], found["model"], found["with"]) == ("prompts/repeat.md", "house/repeat", FILE)
        assert (found["cases"], found["now"], found["p"]) == (3, pytest.approx(2 / 3), 0.5)
        assert (found["verdict"], found["failed"]) == ("loss not shown", True)
        assert found["answers"] == {"test_it.py::test_word[b]": {"before": "b", "now": "bb"}}
        [of_model] = report["prompts"][0]["models"]
        assert of_model["noise"] == {"cases": 3, "flipping": 0, "smallest": None}
        text = markdown.read_text()
        assert f"### Compared with `{FILE}`" in text
        assert (
            "| `prompts/repeat.md` | 100.0% | **66.7%** | \\-33.3 points | 0\\.5 | 0 | 1 | ❌ FAILED" in text
        )
        assert re.search(r"\| `test_it\.py::test_word\[b\]` \| [^|]+ \| `b` \| `bb` \|", text)
        assert "* noise: prompts/repeat.md: 0 of 3 cases flip under the same text" in text
        [prompt] = Parts(page.read_text()).data("data")["prompts"]
        assert [(each["id"], each["now"]) for each in prompt["compared"][0]["broken"]["cases"]] == [
            ("test_it.py::test_word[b]", "bb")
        ]

    def test_a_page_names_the_commit_that_it_was_compared_with(self, project: Project) -> None:
        words(project, 2)
        git(project.path, "init", "-q")
        git(project.path, "add", ".")
        git(project.path, "commit", "-qm", "one")
        project.run("--promptopt-compare=git:HEAD", "--promptopt-report=a.md")
        assert "### Compared with `git:HEAD`" in (project.path / "a.md").read_text()

    def test_without_a_comparison_there_is_none(self, project: Project) -> None:
        words(project, 1)
        project.run("--promptopt-report=a.json", "--promptopt-save-baseline")
        assert json.loads((project.path / "a.json").read_text())["compared"] == []


class TestBadFiles:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda text: text[: len(text) // 2], "promptopt-baseline.json:*: is no JSON: it breaks off"),
            (lambda text: "{}", "promptopt-baseline.json:1: is no baseline*"),
            (lambda text: text.replace("1,", "99,", 1), "*json:1: is a baseline of schema 99*"),
            (lambda text: text.replace("[1.0]", "[2.0]", 1), "*json:2: `scores` cannot be [[]2.0[]]"),
            (lambda text: text.replace("{", "<<<<<<< HEAD\n{", 2), "*json:*: has a conflict of a merge *"),
        ],
    )
    def test_it_is_refused_before_the_first_call(self, project: Project, change: Any, said: str) -> None:
        words(project, 2)
        project.run("--promptopt-save-baseline")
        asked = len(project.asked())
        path = project.path / FILE
        path.write_text(change(path.read_text()))
        result = project.run("--promptopt-compare", "--promptopt-cache=refresh")
        assert result.ret == USAGE
        result.stderr.fnmatch_lines([f"*{said}"])
        assert len(project.asked()) == asked

    def test_a_missing_one_is_named(self, project: Project) -> None:
        words(project, 1)
        result = project.run("--promptopt-compare=gone.json")
        assert result.ret == USAGE
        result.stderr.fnmatch_lines(["*there is no baseline gone.json; pytest --promptopt-save-baseline *"])


class TestCommit:
    @pytest.fixture(autouse=True)
    def _repository(self, project: Project) -> None:
        words(project)
        git(project.path, "init", "-q")
        git(project.path, "add", ".")
        git(project.path, "commit", "-qm", "one")

    def test_the_old_text_is_answered_now(self, project: Project, workers: int) -> None:
        make_worse(project, "abcde")
        args = ("--promptopt-compare=git:HEAD", "--promptopt-fail-on=significant")
        result = project.run(*args, "--promptopt-min-pass-rate=1%", workers=workers)
        assert result.ret == FAILED
        assert len(project.asked()) == 16
        result.stdout.fnmatch_lines(
            [
                "*= compared with git:HEAD =*",
                f"{NAME}: 100.0% before, 37.5% now (8 cases)",
                "  broken: 5 cases",
                "      before  a",
                "      now     aa",
                f"compare: {NAME} -62.5 points over 8 cases: FAILED: a loss is shown (0 fixed, 5 broken; *",
            ]
        )
        assert (project.path / "prompts/repeat.md").read_text().startswith("Please")
        again = project.run(*args, "--promptopt-min-pass-rate=1%", workers=workers)
        assert len(project.asked()) == 16
        assert verdicts(again) == verdicts(result)

    def test_an_unchanged_text_is_not_asked_again(self, project: Project) -> None:
        result = project.run("--promptopt-compare=git:HEAD", "--promptopt-fail-on=any")
        assert result.ret == OK
        assert len(project.asked()) == 8
        assert "(8 cases, the same text)" in result.stdout.str()

    def test_parameters_are_those_of_the_commit(self, project: Project, workers: int) -> None:
        project.write("prompts/repeat.md", "---\ntemperature: 0.5\n---\nRepeat: {{ word }}\n")
        project.run("--promptopt-compare=git:HEAD", workers=workers)
        assert [dict(each["parameters"]) for each in project.asked()] == [{}] * 8 + [{"temperature": 0.5}] * 8

    def test_a_run_of_a_part_asks_the_old_text_about_this_part(self, project: Project) -> None:
        make_worse(project, "b")
        result = project.run("--promptopt-compare=git:HEAD", "-k", "word and b")
        assert len(project.asked()) == 2
        assert "over 1 case: " in verdicts(result)[0]

    def test_what_git_cannot_give_is_said_before_the_first_call(self, project: Project) -> None:
        for option, said in (
            ("git:gone", "*git:gone: there is no such commit here*"),
            ("git:", "*git:: name a commit*"),
            ("git:--all", "*git:--all: name a commit*"),
        ):
            result = project.run(f"--promptopt-compare={option}")
            assert result.ret == USAGE
            result.stderr.fnmatch_lines([said])
        assert project.asked() == []

    def test_a_prompt_that_was_not_there_is_new_and_the_others_are_compared(self, project: Project) -> None:
        """As in a pull request that adds one."""
        project.write("prompts/new.md", "New: {{ word }}\n")
        project.tests(WORDS.format(words='"a"').replace("repeat.md", "new.md"), name="test_new.py")
        result = project.run("--promptopt-compare=git:HEAD", "--promptopt-fail-on=any")
        assert result.ret == OK
        new = "prompts/new.md is new: it is not in git:HEAD, so there is nothing to compare it with"
        result.stdout.fnmatch_lines([f"promptopt: {new}"])
        assert "prompts/repeat.md" in result.stdout.str()

    def test_without_git_it_is_said(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(project.path / "nowhere"))
        result = project.run("--promptopt-compare=git:HEAD")
        assert result.ret == USAGE
        result.stderr.fnmatch_lines(["*git:REF needs the command git*"])

    def test_outside_of_a_repository_it_is_said(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (project.path / ".git").rename(project.path / "elsewhere")
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.path.parent))
        result = project.run("--promptopt-compare=git:HEAD")
        assert result.ret == USAGE
        result.stderr.fnmatch_lines(["*git:HEAD: *not a git repository*"])

    def test_with_workers_a_bad_text_of_the_commit_is_said_before_the_first_call(
        self, project: Project
    ) -> None:
        project.write("prompts/repeat.md", "---\nmodel: [\n---\nRepeat: {{ word }}\n")
        git(project.path, "commit", "-qam", "bad")
        project.write("prompts/repeat.md", "Repeat: {{ word }}\n")
        result = project.run("--promptopt-compare=git:HEAD", workers=2)
        assert result.ret == USAGE
        result.stderr.fnmatch_lines(["*git:HEAD: prompts/repeat.md:*"])
        assert project.asked() == []

    def test_workers_without_a_case_have_nothing_to_compare(self, project: Project) -> None:
        args = ("--promptopt-compare=git:HEAD", "--promptopt-save-baseline")
        project.tests("def test_plain(): pass")
        assert project.run(*args, workers=2).ret == OK
        project.tests("import gone")
        assert project.run(*args, workers=2).ret == FAILED
        assert not (project.path / FILE).exists()

    def test_of_two_prompts_in_a_file_each_is_answered_as_it_was(
        self, project: Project, workers: int
    ) -> None:
        """The one that has not changed is in no other text either."""
        constants = 'ONE = "{} word: {{{{ word }}}}"\nTWO = "Repeat: {{{{ word }}}}"\n'
        project.write("shop.py", constants.format("A"))
        project.tests(
            "".join(
                WORDS.format(words='"a"')
                .replace("prompts/repeat.md", f"shop.py::{name}")
                .replace("test_word", f"test_{name}")
                for name in ("ONE", "TWO")
            )
        )
        git(project.path, "add", ".")
        git(project.path, "commit", "-qm", "two")
        project.write("shop.py", constants.format("Please"))
        result = project.run("--promptopt-compare=git:HEAD", workers=workers)
        assert result.ret == OK
        assert sorted(each["messages"][0][1] for each in project.asked()) == [
            "A word: a",
            "Please word: a",
            "Repeat: a",
        ]

    def test_a_constant_that_is_new_in_a_file_is_compared_with_nothing(
        self, project: Project, workers: int
    ) -> None:
        project.write("shop.py", 'ONE = "A word: {{ word }}"\n')
        git(project.path, "add", ".")
        git(project.path, "commit", "-qm", "one of two")
        project.write("shop.py", 'TWO = "Repeat: {{ word }}"\nONE = "Please word: {{ word }}"\n')
        for name in ("ONE", "TWO"):
            source = WORDS.format(words='"a"').replace("prompts/repeat.md", f"shop.py::{name}")
            project.tests(source, name=f"test_{name}.py")
        result = project.run("--promptopt-compare=git:HEAD", "--promptopt-fail-on=any", workers=workers)
        assert result.ret == OK
        said = "promptopt: shop.py::TWO is new: git:HEAD has none that can be read (shop.py: there is no *"
        result.stdout.fnmatch_lines([said])
        asked = [each["messages"][0][1] for each in project.asked()]
        assert [text for text in sorted(asked) if " word: " in text] == ["A word: a", "Please word: a"]

    def test_gates_of_the_text_of_now_may_have_more_samples(self, project: Project, workers: int) -> None:
        """Of what is compared both texts have as many."""
        make_worse(project, "ab")
        gate = ("--promptopt-gate=interval", "--promptopt-min-pass-rate=60%", "--promptopt-gate-samples=3")
        project.run("--promptopt-compare=git:HEAD", *gate, "--promptopt-report=r.json", workers=workers)
        texts = [each["messages"][0][1].startswith("Please") for each in project.asked()]
        assert (texts.count(True), texts.count(False)) == (16, 16)

    def test_collecting_asks_nothing(self, project: Project) -> None:
        make_worse(project, "b")
        result = project.run("--promptopt-compare=git:HEAD", "--collect-only", "-q")
        assert result.ret == OK
        assert project.asked() == []


@pytest.mark.parametrize(("name", "spread"), [("anthropic", "-n0"), ("constant", "-n0"), ("constant", "-n2")])
def test_an_application_answers_the_old_text_as_well(shop: Shop, name: str, spread: str) -> None:
    """It has read its prompt when it was imported, and makes its calls itself."""
    tests = SORTING.format(train=TRAIN, validation=VALIDATION, heldout=VALIDATION[:1])
    prompt = "prompts/sort.md" if name == "anthropic" else "application.py::Triage.PROMPT"
    shop.write("application.py", APPLICATIONS.get(name, CONSTANT))
    shop.write("test_it.py", tests.replace("prompts/sort.md", prompt))
    git(shop.pytester.path, "init", "-q")
    git(shop.pytester.path, "add", ".")
    git(shop.pytester.path, "commit", "-qm", "one")
    path = prompt.partition("::")[0]
    shop.write(
        path, shop.read(path).replace("pin_blocked.", "pin_blocked.\n\nAnswer with the label only.", 1)
    )
    result = shop.run("--promptopt-compare=git:HEAD", "--tb=short", spread)
    result.assert_outcomes(passed=7)
    [said] = verdicts(result)
    assert f"compare: {prompt} with " in said
    assert "+100.0 points over 7 cases: a gain is shown (7 fixed, 0 broken; " in said
