"""A spreadsheet of cases and a prompt file, checked and optimized by one command or by a short test."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest
import yaml

from tests.acceptance.doc_pages import ROOT
from tests.acceptance.projects import Project

TABLE = """\
id,word,expected,split,tags,check:max-words,notes
first,yes,yes,,smoke,1,a comment
,two words,two words,heldout,"slow, smoke",,
wrong,no,maybe,validation,,,
"""
TEST = """
from pytest_promptopt import cases

@pytest.mark.prompt("../prompts/repeat.md")
@pytest.mark.parametrize("case", cases("words.csv"))
def test_word(prompt, case):
    case.check(prompt(word=case["word"]))
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


def test_a_test_takes_its_cases_from_a_table(project: Project) -> None:
    project.write("tests/words.csv", TABLE)
    project.write("tests/test_words.py", f"import pytest{TEST}")
    result = project.run("-v", "--strict-markers")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "promptopt: 1 prompt, cases: 1 train, 1 validation, 1 held-out",
            "tests/test_words.py::test_word?first? PASSED*",
            "tests/test_words.py::test_word?two-words? PASSED*",
            "tests/test_words.py::test_word?wrong? FAILED*",
            'E*CheckFailed: tests/words.csv:4: equals: expected "maybe" but got "no"',
        ]
    )
    assert "suites/" not in result.stdout.str()
    project.run("-k", "smoke").assert_outcomes(passed=2, deselected=1)


ROWS = [
    {"id": "first", "word": "yes", "expected": "yes", "weight": 3, "tags": ["smoke"]},
    {"id": "second", "word": "no", "expected": "no", "split": "heldout", "tags": ["smoke", "slow"]},
    {"id": "wrong", "word": "no", "expected": "maybe", "split": "validation"},
]
FORMS = {
    "csv": "id,word,expected,weight,split,tags\nfirst,yes,yes,3,,smoke\nsecond,no,no,,heldout,smoke; slow\n"
    "wrong,no,maybe,,validation,\n",
    "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "json": json.dumps(ROWS),
    "yaml": yaml.safe_dump(ROWS),
}


@pytest.mark.parametrize("ending", FORMS)
def test_ids_splits_weights_and_tags_are_those_of_the_file(project: Project, ending: str) -> None:
    project.write(f"tests/words.{ending}", FORMS[ending])
    project.write("tests/test_words.py", f"import pytest{TEST}".replace("words.csv", f"words.{ending}"))
    result = project.run("-v", "--promptopt-min-pass-rate=75%")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "promptopt: 1 prompt, cases: 1 train, 1 validation, 1 held-out",
            "*::test_word?first? PASSED*",
            "*::test_word?second? PASSED*",
            "*::test_word?wrong? FAILED*",
            "prompts/repeat.md: 2/3 cases pass (weighted pass rate: 80.0%)",
            "gate: prompts/repeat.md 80.0% >= 75.0% required: holds (2 of 3 cases passed, weights count;*",
        ]
    )
    project.run("-k", "slow").assert_outcomes(passed=1, deselected=2)


def test_rows_for_training_are_not_divided_by_shares(project: Project) -> None:
    rows = "".join(f"w{number},x,train\n" for number in range(20))
    project.write("evals/words.csv", "word,expected,split\n" + rows)
    project.ini("promptopt_model = house/repeat", "promptopt_split = 20/40/40")
    result = project.run("evals/words.csv", "--promptopt-prompt=prompts/repeat.md", "--collect-only")
    result.stdout.fnmatch_lines(["promptopt: 1 prompt, cases: 20 train, 0 validation, 0 held-out"])


def test_an_own_assert_tells_what_it_expects(project: Project) -> None:
    project.write("tests/words.csv", TABLE)
    test = TEST.replace(
        'case.check(prompt(word=case["word"]))', 'assert prompt(word=case["word"]) == case.expected'
    )
    project.write("tests/test_words.py", f"import pytest{test}")
    result = project.run()
    result.stdout.fnmatch_lines(['*expected "maybe", got "no"*'])


def test_a_check_that_nobody_can_decide_is_an_error_of_the_case(project: Project) -> None:
    project.write("tests/words.csv", "word,check:rubric\na,is polite\n")
    project.write("tests/test_words.py", f"import pytest{TEST}")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*tests/words.csv:2: rubric: there is no judge; give case.check(answer, judge)"]
    )


def test_the_path_may_begin_at_rootdir_and_a_wrong_one_says_where_was_looked(project: Project) -> None:
    project.write("data/words.csv", TABLE)
    project.write("tests/test_words.py", f"import pytest{TEST}".replace("words.csv", "data/words.csv"))
    project.run().assert_outcomes(passed=2, failed=1)
    project.write("tests/test_words.py", f"import pytest{TEST}".replace("words.csv", "data/none.csv"))
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*SettingsError: cases('data/none.csv'): there is no such file; looked for *"]
    )


def test_a_table_of_200_cases_and_a_prompt_reach_a_verdict_in_one_command(project: Project) -> None:
    rows = [[f"word {number}", f"word {number % 150}"] for number in range(200)]
    text = io.StringIO()
    csv.writer(text).writerows([["word", "expected"], *rows])
    project.write("words.csv", text.getvalue())
    begun = time.monotonic()
    result = project.run("words.csv", "--promptopt-prompt=prompts/repeat.md")
    assert time.monotonic() - begun < 60
    result.assert_outcomes(passed=150, failed=50)
    result.stdout.fnmatch_lines(["prompts/repeat.md: 150/200 cases pass (75.0%)"])


def test_a_prompt_file_that_is_not_there(project: Project) -> None:
    project.write("words.csv", TABLE)
    result = project.run("words.csv", "--promptopt-prompt=prompts/none.md")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["--promptopt-prompt: there is no prompt file 'prompts/none.md'; looked for *"]
    )


def test_no_table_is_collected_without_being_named(project: Project) -> None:
    project.write("words.csv", TABLE)
    project.ini("promptopt_model = house/repeat", "promptopt_prompt = prompts/repeat.md")
    assert project.run().ret == pytest.ExitCode.NO_TESTS_COLLECTED
    project.ini("promptopt_model = house/repeat")
    result = project.run("words.csv")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: a table of cases needs a prompt file: add --promptopt-prompt=PATH"])
    project.ini("promptopt_model = house/repeat", "promptopt_prompt = prompts/repeat.md")
    project.run("words.csv").assert_outcomes(passed=2, failed=1)


def test_a_table_alone_makes_a_prompt_better(pytester: pytest.Pytester) -> None:
    """On the embedded model, from the example's tickets: no Python, no key, no network."""
    project = Project(pytester)
    project.ini("promptopt_model = demo", "promptopt_optimizer_model = demo")
    example = ROOT / "examples/support_routing"
    prompt = (example / "prompts/route.md").read_text(encoding="utf-8")
    project.write("prompts/route.md", prompt)
    table = (example / "tests/tickets.csv").read_text(encoding="utf-8").replace("queue", "expected", 1)
    project.write("tickets.csv", table)
    result = project.run("tickets.csv", "--promptopt-prompt=prompts/route.md", "--optimize", "--tb=no", "-q")
    result.stdout.fnmatch_lines(["prompts/route.md: improved, train 27.8% -> *", "*the gain carries over*"])
    assert (project.path / "prompts/route.md").read_text(encoding="utf-8") != prompt
