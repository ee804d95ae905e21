"""Cases without Python: files of cases are tests like any others."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from tests.acceptance.projects import Project

SUITE = """\
prompt: ../prompts/repeat.md
cases:
  - word: yes
    expected: yes
  - id: shouted
    inputs: {word: LOUD}
    checks:
      - contains: LOUD
      - not-contains: quiet
      - max-words: 1
  - id: wrong
    inputs: {word: no}
    expected: maybe
    tags: [smoke, slow]
    split: validation
  - word: later
    split: heldout
    checks:
      - icontains: LATER
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester)
    project.write("evals/words.promptopt.yaml", SUITE)
    return project


def test_each_case_is_a_test_and_a_failure_shows_the_check_and_its_line(project: Project) -> None:
    result = project.run("--strict-markers", "-v")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "promptopt: 1 prompt, cases: 2 train, 1 validation, 1 held-out",
            "evals/words.promptopt.yaml::repeat?yes? PASSED*",
            "evals/words.promptopt.yaml::repeat?shouted? PASSED*",
            "evals/words.promptopt.yaml::repeat?wrong? FAILED*",
            "evals/words.promptopt.yaml::repeat?later? PASSED*",
            'E   evals/words.promptopt.yaml:13: equals: expected "maybe" but got "no"',
            "*answer of prompts/repeat.md*",
            "no",
        ]
    )
    shown = result.stdout.str()
    assert "case_files.py" not in shown
    assert "def " not in shown


def test_all_checks_that_do_not_hold_are_told(project: Project) -> None:
    project.write(
        "evals/words.promptopt.yaml",
        """\
        prompt: ../prompts/repeat.md
        checks:
          - max-words: 2
        cases:
          - word: one two three
            checks:
              - contains: four
              - regex: ^one
        """,
    )
    result = project.run()
    result.stdout.fnmatch_lines(
        [
            'E   evals/words.promptopt.yaml:7: contains "four"',
            "E   evals/words.promptopt.yaml:3: max-words 2: got 3 words",
            "E   2 of 3 checks do not hold",
        ]
    )


@pytest.mark.parametrize(
    ("selected", "passed", "failed"), [("smoke", 0, 1), ("shouted", 1, 0), ("not slow", 3, 0)]
)
def test_k_selects_by_id_and_by_tag(project: Project, selected: str, passed: int, failed: int) -> None:
    project.run("-k", selected).assert_outcomes(passed=passed, failed=failed, deselected=4 - passed - failed)


def test_last_failed_runs_the_failed_case_alone(project: Project) -> None:
    project.run()
    project.run("--lf").assert_outcomes(failed=1)
    project.run("evals/words.promptopt.yaml::repeat[shouted]").assert_outcomes(passed=1)


def test_workers_share_the_cases_and_junit_names_them(project: Project) -> None:
    result = project.run("--junitxml=junit.xml", workers=2)
    result.assert_outcomes(passed=3, failed=1)
    cases = ElementTree.parse(project.path / "junit.xml").iter("testcase")
    found = {(case.get("classname"), case.get("name")): case for case in cases}
    wrong = found["evals.words.promptopt.yaml", "repeat[wrong]"]
    failure = wrong.find("failure")
    assert failure is not None
    assert failure.get("message") == 'evals/words.promptopt.yaml:13: equals: expected "maybe" but got "no"'


def test_samples_gates_and_model_parameters_stand_in_the_file(project: Project) -> None:
    project.write(
        "evals/words.promptopt.yaml",
        """\
        prompts: [../prompts/repeat.md]
        model: house/slow
        samples: 3
        min_pass_rate: 50%
        parameters:
          temperature: 0.5
        cases:
          - {word: a, expected: a}
          - {word: b, expected: a}
        """,
    )
    result = project.run("-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["gate: prompts/repeat.md 50.0% >= 50.0% required: holds*"])
    asked = [json.loads(line) for line in (project.path / "calls.log").read_text().splitlines()]
    assert len(asked) == 6


def test_a_weight_counts_in_the_rate_and_in_the_gate(project: Project) -> None:
    suite = """\
        prompt: ../prompts/repeat.md
        min_pass_rate: 0.7
        cases:
          - {inputs: {word: a}, expected: a, weight: 3}
          - {inputs: {word: b}, expected: a}
        """
    project.write("evals/words.promptopt.yaml", suite)
    result = project.run()
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "prompts/repeat.md: 1/2 cases pass (weighted pass rate: 75.0%)",
            "gate: prompts/repeat.md 75.0% >= 70.0% required: holds (1 of 2 cases passed, weights count;*",
        ]
    )
    project.write("evals/words.promptopt.yaml", suite.replace("weight: 3", "weight: 2"))
    assert project.run().ret == 1


def test_several_prompts_are_asked_with_each_case(project: Project) -> None:
    project.write("prompts/old/repeat.md", "Again: {{ word }}")
    project.write(
        "evals/words.promptopt.yaml",
        """\
        prompts: [../prompts/repeat.md, ../prompts/old/repeat.md]
        cases:
          - {word: a, expected: a}
        """,
    )
    result = project.run("-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*::prompts-repeat?a? PASSED*", "*::prompts-old-repeat?a? PASSED*"])


def test_prompts_of_one_name_are_different_tests(project: Project) -> None:
    project.write("evals/repeat.md", "Again: {{ word }}")
    project.write("evals/repeat.txt", "Once more: {{ word }}")
    project.write(
        "evals/words.promptopt.yaml",
        """\
        prompts: [../repeat.md, repeat.md, repeat.txt]
        cases:
          - {word: a, expected: a}
        """,
    )
    project.write("repeat.md", "Repeat: {{ word }}")
    result = project.run("--collect-only", "-q")
    result.stdout.fnmatch_lines(
        ["promptopt: 3 prompts, cases: 3 train*", "*::repeat?a?", "*::repeat-2?a?", "*::repeat-3?a?"]
    )


def test_a_mistake_in_one_file_is_told_at_its_line_and_other_tests_run(project: Project) -> None:
    project.write("evals/bad.promptopt.yaml", SUITE.replace("max-words: 1", "max_words: one"))
    result = project.run("--continue-on-collection-errors")
    result.assert_outcomes(passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        ['evals/bad.promptopt.yaml:10: there is no check "max_words"; did you mean `max-words`?']
    )


@pytest.mark.parametrize(
    ("parameters", "line", "said"),
    [
        ("{temperature: hot}", 2, 'temperature must be a number from 0, got "hot"'),
        ("\n  top_p: 1\n  max_tokens: many", 4, 'max_tokens must be a whole number from 1, got "many"'),
        ("\n  stream: true", 3, "stream must be left out: the prompt file and the call decide it, got true"),
        (
            "\n  max_tokens: 3\n  max_output_tokens: 4",
            4,
            "max_output_tokens is the same setting as another *",
        ),
        ("\n  api_key: secret", 3, "api_key is no parameter of a model: address and key are for the *"),
    ],
)
def test_a_wrong_parameter_is_told_at_its_line_in_words_of_the_file(
    project: Project, parameters: str, line: int, said: str
) -> None:
    suite = SUITE.replace("cases:", f"parameters: {parameters}\ncases:")
    project.write("evals/words.promptopt.yaml", suite)
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"evals/words.promptopt.yaml:{line}: `parameters`: {said}"])
    assert "mark" not in result.stdout.str()
    assert "secret" not in result.stdout.str()
    assert not project.asked()


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("none.md", "there is no prompt file 'none.md'; looked for *"),
        ("../prompts", "'../prompts' is a folder, not a prompt file"),
    ],
)
def test_a_prompt_that_is_none_is_told_at_its_line(project: Project, prompt: str, said: str) -> None:
    suite = SUITE.replace("prompt: ../prompts/repeat.md", f"description: words\nprompt: {prompt}")
    project.write("evals/words.promptopt.yaml", suite)
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"evals/words.promptopt.yaml:2: {said}"])


def test_an_input_that_an_expression_takes_and_nobody_gives_is_told_without_our_code(
    project: Project,
) -> None:
    check = 'python: case["wrod"] == answer'
    project.write(
        "evals/words.promptopt.yaml", SUITE.replace("contains: LOUD", f"'{check}'".replace("'", ""))
    )
    result = project.run("-k", "shouted")
    result.stdout.fnmatch_lines(
        ["E *KeyError: *evals/words.promptopt.yaml:5: the case has no input 'wrod'; its inputs are word*"]
    )
    assert "__getitem__" not in result.stdout.str()


def test_an_error_in_an_expression_shows_its_line_and_none_of_our_code(project: Project) -> None:
    check = 'int(answer.removeprefix("Repeat: ")) > 1'
    project.write("evals/words.promptopt.yaml", SUITE.replace("contains: LOUD", f"python: '{check}'"))
    result = project.run("-k", "shouted")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(
        ["E * ValueError: invalid literal for int*'LOUD'", "<evals/words.promptopt.yaml:8>*"]
    )
    result.stdout.no_fnmatch_line("*file_case.py*")
    result.stdout.no_fnmatch_line("*other_checks.py*")


def test_a_missing_variable_is_told_before_any_call(project: Project) -> None:
    project.write("evals/words.promptopt.yaml", SUITE.replace("word: LOUD", "wrod: LOUD"))
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "evals/words.promptopt.yaml:5: the case does not give `word`, which prompts/repeat.md needs; "
            "did you mean `word` by `wrod`?"
        ]
    )
    assert not project.asked()


def test_a_variable_as_another_template_language_writes_it_is_told_before_any_call(project: Project) -> None:
    project.write("prompts/repeat.md", "Repeat: {word}\n")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "evals/words.promptopt.yaml:3: prompts/repeat.md is read as jinja2, in which `word` is no "
            "variable of it; write {{ word }}, or `template: format` in its front matter"
        ]
    )
    assert not project.asked()
    project.write("prompts/repeat.md", "---\ntemplate: none\n---\nRepeat: {word}\n")
    assert "no variable" not in project.run().stdout.str()


def test_the_ending_of_a_table_may_be_written_large(project: Project) -> None:
    project.write("evals/MORE.CSV", "word,expected\nyes,yes\n")
    project.run("evals/MORE.CSV", "--promptopt-prompt=prompts/repeat.md").assert_outcomes(passed=1)
    project.run("evals/MORE.CSV").stderr.fnmatch_lines(["*a table of cases needs a prompt file*"])


def test_fixtures_of_a_conftest_beside_the_file_apply(project: Project) -> None:
    project.write(
        "evals/conftest.py",
        """
        import pytest

        @pytest.fixture(autouse=True)
        def noted(request):
            print("about", request.node.name)
        """,
    )
    result = project.run("-rP", "-k", "shouted")
    result.stdout.fnmatch_lines(["about repeat?shouted?"])


def test_a_check_that_nobody_can_decide_is_an_error_and_no_failure(project: Project) -> None:
    project.write("prompts/other.md", "---\nmodel: free/one\n---\nRepeat: {{ word }}")
    project.write(
        "conftest.py",
        """
        from pytest_promptopt.testing import FakeModel

        def pytest_promptopt_resolve_model(name):
            return FakeModel(lambda request: "yes", cost=None)
        """,
    )
    project.write(
        "evals/words.promptopt.yaml",
        "prompt: ../prompts/other.md\ncases:\n  - {word: a, checks: [{cost: 0.1}]}\n",
    )
    result = project.run()
    result.stdout.fnmatch_lines(
        ["E   evals/words.promptopt.yaml:3: cost: the cost of an answer of free/one is not known"]
    )
    result.assert_outcomes(errors=1)


RUBRIC = """\
prompt: ../prompts/repeat.md
cases:
  - {word: one two, checks: [{rubric: has three words at most}]}
  - word: one two three four five
    id: long
    checks:
      - rubric: has three words at most
      - contains: one
"""


@pytest.fixture
def judged(project: Project) -> Project:
    from tests.acceptance.test_judge import JUDGE

    project.ini("promptopt_model = house/repeat", "promptopt_judge_model = house/judge")
    project.write("conftest.py", (project.path / "conftest.py").read_text(encoding="utf-8") + JUDGE)
    project.write("evals/words.promptopt.yaml", RUBRIC)
    return project


def test_a_rubric_is_decided_by_the_judge_and_gives_partial_credit(judged: Project) -> None:
    result = judged.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            'E   evals/words.promptopt.yaml:7: rubric "has three words at most": the judge gives 0.50: *',
            "prompts/repeat.md: 1/2 cases pass (pass rate with partial credit: 75.0%)",
            "*criterion not met: 1 case*",
        ]
    )


def test_a_repeated_case_is_sampled_and_none_is_taken_for_another(judged: Project) -> None:
    pytest.importorskip("pytest_repeat")
    judged.write("evals/words.promptopt.yaml", RUBRIC + "  - {word: a, expected: a}\n")
    result = judged.run("--count=2", "--tb=no")
    result.stdout.fnmatch_lines(["prompts/repeat.md: 2/3 cases pass*"])


def test_an_untested_judge_decides_no_gate_of_a_suite(judged: Project) -> None:
    result = judged.run("--promptopt-min-pass-rate=0.5")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*the judge may not decide about "has three words at most": *'])
    assert judged.run("--promptopt-min-pass-rate=0.5", "--promptopt-trust-judge").ret == 0


SKIPPING = """

from dataclasses import replace
from pytest_promptopt.pytest_engine.case_files import CaseFile
from pytest_promptopt.suites.suite import SkippedCase

READ = CaseFile.read
SKIPPED = SkippedCase("script", "checks of the type javascript are not supported", "evals/a.yaml:9")

def pytest_configure(config):
    CaseFile.read = lambda self: replace(READ(self), skipped=(SKIPPED,))

def pytest_unconfigure(config):
    CaseFile.read = READ
"""


def test_a_skipped_part_of_a_file_is_seen_and_never_passes(project: Project) -> None:
    conftest = (project.path / "conftest.py").read_text(encoding="utf-8")
    project.write("conftest.py", conftest + SKIPPING)
    result = project.run("-rs")
    result.assert_outcomes(passed=3, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * evals/a.yaml:9: checks of the type javascript are not supported"])


OPTIMIZER = """

def pytest_promptopt_resolve_model(name):
    model = FakeModel(said if name == "house/repeat" else written, usage=Usage(10, 1), cost=0.001)
    return model if name.startswith("house/") else None

def written(request):
    Path(__file__).with_name("requests.txt").open("a").write(request.messages[-1].content + "\\n=====\\n")
    return "<prompt>Repeat loudly: {{ word }}</prompt>"
"""

TOLD = """\
prompt: ../prompts/repeat.md
checks:
  - max-words: 2
cases:
  - {word: the first one, expected: first}
  - {word: second, checks: [{contains: quiet}]}
  - {word: third, checks: [{not-contains: third}]}
  - {word: fourth, checks: [{regex: '^[0-9]+$'}]}
  - {word: '{"total": 11}', checks: [{json-path: $.total, value: 12}]}
  - {word: secret of nobody, expected: hidden, split: heldout}
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_the_optimizer_is_told_of_each_check_as_of_an_assert(project: Project, workers: int) -> None:
    conftest = (project.path / "conftest.py").read_text(encoding="utf-8")
    project.write("conftest.py", conftest + OPTIMIZER)
    project.write("evals/words.promptopt.yaml", TOLD)
    project.run(
        "--optimize",
        "--promptopt-optimizer-model=house/writer",
        "--promptopt-max-iterations=1",
        workers=workers,
    )
    asked = (project.path / "requests.txt").read_text(encoding="utf-8")
    for told in (
        "the first one",
        'expected "first"',
        "'quiet' in answer",
        "'third' not in answer",
        "answer matches '^[0-9]+$'",
        "total",
        "assert len(answer.split()) <= 2",
        "assert answer == expected",
    ):
        assert told in asked, told
    assert "secret of nobody" not in asked
    assert "hidden" not in asked
