"""Configurations of promptfoo and evals of skills run as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.projects import Project

CONFIG = """\
description: greetings
prompts:
  - "Hello {{name}}, {{ missing }}!"
  - file://make.js
providers:
  - echo
defaultTest:
  assert:
    - type: icontains
      value: hello
tests:
  - vars: {name: [Ann, Bob]}
    assert:
      - type: contains
        value: "{{name}}"
  - description: wrong
    vars: {name: Zoe}
    assert:
      - type: equals
        value: nope
  - vars: {name: J}
    assert:
      - type: javascript
        value: output.length > 3
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester)
    project.write("promptfooconfig.yaml", CONFIG)
    return project


def test_a_configuration_runs_and_names_what_it_skips(project: Project) -> None:
    result = project.run("promptfooconfig.yaml", "-rs")
    result.assert_outcomes(passed=2, failed=1, skipped=2)
    result.stdout.fnmatch_lines(
        [
            'E   promptfooconfig.yaml:19: equals: expected "nope" but got "Hello Zoe, !"',
            "SKIPPED *promptfooconfig.yaml:23: the assertion `javascript` is not supported*",
            "SKIPPED *promptfooconfig.yaml:4: make.js: prompts that code makes are not supported",
        ]
    )


def test_it_is_not_collected_unless_it_is_named(project: Project) -> None:
    project.run().assert_outcomes()


def test_the_ini_file_names_those_that_are_always_collected(pytester: pytest.Pytester) -> None:
    project = Project(pytester, "promptopt_foreign_suites =", "  promptfoo*.yaml", "  evals/*.json")
    project.write("promptfooconfig.yaml", CONFIG)
    project.write("evals/greet.json", '{"prompts": ["Hi"], "providers": ["echo"]}')
    project.write("evals/other.json", '{"a": 1}')
    project.run().assert_outcomes(passed=3, failed=1, skipped=2)


def test_json_and_other_names_are_configurations_too(project: Project) -> None:
    config = {
        "prompts": ["Hi {{x}}"],
        "providers": ["echo"],
        "tests": [{"vars": {"x": 1}, "assert": [{"type": "equals", "value": "Hi 1"}]}],
    }
    project.write("evals/greet.json", json.dumps(config))
    project.write("other.yaml", "something: else\n")
    project.run("evals/greet.json").assert_outcomes(passed=1)
    assert project.run("other.yaml").ret == pytest.ExitCode.USAGE_ERROR


def test_a_broken_configuration_is_an_error_at_its_line(project: Project) -> None:
    project.write("promptfooconfig.yaml", "prompts: [a]\nproviders: [\n")
    result = project.run("promptfooconfig.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["promptfooconfig.yaml:3: it is not valid YAML: *"])


def test_cases_are_selected_and_spread_over_workers_as_any_others(project: Project) -> None:
    project.run("promptfooconfig.yaml", "-k", "wrong").assert_outcomes(failed=1, deselected=4)
    project.run("promptfooconfig.yaml::prompt1[1.2]").assert_outcomes(passed=1)
    project.run("promptfooconfig.yaml", workers=2).assert_outcomes(passed=2, failed=1, skipped=2)


DEMO = """
from pytest_promptopt.models.demo import DemoModel

def pytest_promptopt_resolve_model(name):
    return DemoModel() if name == "house/demo" else None
"""

TICKETS = """\
# Kept as it is.
prompts:
  - |
    Sort the message into one of these: card_arrival, exchange_rate, pin_blocked.

    {{ message }}
providers: ["litellm:house/demo"]  # and this
tests:
"""


def test_optimize_rewrites_a_prompt_where_it_stands(pytester: pytest.Pytester) -> None:
    project = Project(pytester, "promptopt_optimizer_model = demo")
    project.write("conftest.py", DEMO)
    messages = {
        "my card has not arrived": "card_arrival",
        "what is the exchange rate today": "exchange_rate",
        "my pin is blocked": "pin_blocked",
        "unblock my blocked pin please": "pin_blocked",
    }
    tests = "".join(
        f"  - vars: {{message: {message}}}\n    assert: [{{type: equals, value: {label}}}]\n"
        for message, label in messages.items()
    )
    project.write("promptfooconfig.yaml", TICKETS + tests)
    result = project.run("promptfooconfig.yaml", "--optimize")
    assert result.ret == 0
    written = (project.path / "promptfooconfig.yaml").read_text()
    assert written != TICKETS + tests
    start, end = TICKETS.partition("    Sort")[0], "    {{ message }}\nproviders"
    assert written.startswith(start)
    assert written.endswith(TICKETS.partition(end)[2] + tests)
    assert "{{ message }}" in written


def test_a_chat_is_sent_as_turns_and_its_text_to_echo(project: Project) -> None:
    project.write(
        "chat.json", '[{"role": "system", "content": "Say"}, {"role": "user", "content": "It: {{x}}"}]'
    )
    project.write(
        "promptfooconfig.yaml",
        """\
        prompts: [file://chat.json]
        providers: ["litellm:house/repeat"]
        tests:
          - vars: {x: word}
            assert: [{type: equals, value: word}]
        """,
    )
    project.run("promptfooconfig.yaml").assert_outcomes(passed=1)
    text = (project.path / "promptfooconfig.yaml").read_text()
    echoed = text.replace("litellm:house/repeat", "echo").replace("equals, value: word", "is-json")
    project.write("promptfooconfig.yaml", echoed)
    project.run("promptfooconfig.yaml").assert_outcomes(passed=1)


class TestImport:
    def test_writes_prompts_and_a_suite_beside_it(self, project: Project) -> None:
        result = project.run("--promptopt-import=promptfooconfig.yaml")
        assert result.ret == 0
        result.stdout.fnmatch_lines(
            [
                "wrote promptfooconfig-prompt1.md",
                "wrote promptfooconfig.promptopt.yaml",
                "3 cases imported, 2 left out",
                "  promptfooconfig.yaml:23: the assertion `javascript` is not supported*",
            ]
        )
        ran = project.run("promptfooconfig.promptopt.yaml")
        ran.assert_outcomes(passed=2, failed=1)
        suite = (project.path / "promptfooconfig.promptopt.yaml").read_text()
        assert (
            "# Left out: promptfooconfig.yaml:4: make.js: prompts that code makes are not supported" in suite
        )
        prompt = (project.path / "promptfooconfig-prompt1.md").read_text()
        assert prompt == "---\ntemplate: nunjucks\n---\nHello {{name}}, {{ missing }}!\n"

    def test_overwrites_nothing(self, project: Project) -> None:
        project.write("promptfooconfig.promptopt.yaml", "mine")
        result = project.run("--promptopt-import=promptfooconfig.yaml")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["*--promptopt-import: promptfooconfig.promptopt.yaml exists already; nothing is overwritten"]
        )
        assert not (project.path / "promptfooconfig-prompt1.md").exists()
        assert (project.path / "promptfooconfig.promptopt.yaml").read_text() == "mine"

    def test_of_a_chat_has_roles_and_of_plain_variables_is_jinja2(self, project: Project) -> None:
        project.write(
            "chat.json", '[{"role": "system", "content": "Be {{x}}"}, {"role": "user", "content": "Hi"}]'
        )
        project.write(
            "c.yaml",
            "prompts: [file://chat.json]\nproviders: ['openai:gpt-4o']\n"
            "tests:\n  - vars: {x: brief}\n    assert: [{type: regex, value: '^\\d$'}, {type: is-json}]\n",
        )
        assert project.run("--promptopt-import=c.yaml").ret == 0
        assert (project.path / "c-prompt1.md").read_text() == (
            "---\ntemplate: jinja2\n---\nsystem:\nBe {{ x }}\n\nuser:\nHi\n"
        )
        suite = (project.path / "c.promptopt.yaml").read_text()
        assert 'model: openai/gpt-4o\ncases:\n  - id: "1"\n' in suite
        assert '      - regex: "^[0-9]\\\\Z"\n      - is-json\n' in suite
        project.run("--collect-only", "c.promptopt.yaml").stdout.fnmatch_lines(["*c-prompt1[[]1[]]*"])

    def test_code_of_one_line_is_taken_over_and_other_code_is_told(self, project: Project) -> None:
        project.write(
            "c.yaml",
            """\
            prompts: ["{{x}}"]
            providers: [echo]
            tests:
              - vars: {x: abc}
                assert:
                  - {type: python, value: len(output) > 2}
                  - {type: not-python, value: output.count("z")}
                  - {type: python, value: "output == context['vars']['x']"}
            """,
        )
        project.run("--promptopt-import=c.yaml").stdout.fnmatch_lines(
            ["1 case imported, 1 left out", "  c.yaml:8: python: code that takes a context is not taken over"]
        )
        suite = (project.path / "c.promptopt.yaml").read_text()
        assert '      - python: "len(answer) > 2"\n' in suite
        assert "      - not-python: \"(answer.count('z')) > 0\"\n" in suite
        project.run("c.promptopt.yaml").assert_outcomes(passed=1)

    def test_code_of_several_lines_is_taken_over_if_it_only_returns_an_expression(
        self, project: Project
    ) -> None:
        project.write(
            "c.yaml",
            """\
            prompts: ["{{x}}"]
            providers: [echo]
            defaultTest:
              assert: [{type: contains, value: a}]
            tests:
              - vars: {x: abc}
                assert:
                  - type: python
                    value: |
                      return len(output) > 2
                  - type: python
                    value: |
                      long = len(output) > 2
                      return long
                  - {type: python, value: "json.loads(output)"}
            """,
        )
        project.run("--promptopt-import=c.yaml").stdout.fnmatch_lines(
            [
                "1 case imported, 2 left out",
                "  c.yaml:11: python: code that is more than an expression of the output is not taken over",
                "  c.yaml:15: python: code that is more than an expression of the output is not taken over",
            ]
        )
        assert '      - python: "len(answer) > 2"\n' in (project.path / "c.promptopt.yaml").read_text()
        project.run("c.promptopt.yaml").assert_outcomes(passed=1)

    def test_cases_that_our_files_cannot_say_are_left_out(self, project: Project) -> None:
        project.write(
            "c.yaml",
            """\
            prompts: ["{{x}}", "Say abc."]
            providers: [echo]
            tests:
              - vars: {x: abc}
              - vars: {x: abc}
                assert: [{type: contains, value: a}]
            """,
        )
        project.run("--promptopt-import=c.yaml").stdout.fnmatch_lines(
            [
                "1 case imported, 2 left out",
                "  c.yaml:4: the test 1: nothing is left to check",
                "  c.yaml:5: the test 2: the prompt uses none of its variables",
            ]
        )
        project.run("c.promptopt.yaml").assert_outcomes(passed=1)

    @pytest.mark.parametrize(
        ("other", "taken"),
        [(0, "parameters:\n  temperature: 0\n"), (1, "`config` of providers, which differs\n")],
    )
    def test_settings_of_several_models_are_taken_over_or_told(
        self, project: Project, other: int, taken: str
    ) -> None:
        project.write(
            "c.yaml",
            f"""\
            prompts: ["{{{{x}}}}"]
            providers:
              - {{id: "openai:gpt-4o", config: {{temperature: 0}}}}
              - {{id: "openai:gpt-4o-mini", config: {{temperature: {other}}}}}
            tests:
              - vars: {{x: abc}}
                assert: [{{type: contains, value: a}}]
            """,
        )
        assert project.run("--promptopt-import=c.yaml").ret == 0
        assert taken in (project.path / "c.promptopt.yaml").read_text()

    def test_with_nothing_to_import_says_why(self, project: Project) -> None:
        project.write("c.yaml", "prompts: [file://make.js]\nproviders: [echo]\n")
        result = project.run("--promptopt-import=c.yaml")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*no case of c.yaml can be imported*", "*c.yaml:1: make.js: *"])

    def test_of_a_file_that_is_not_there(self, project: Project) -> None:
        result = project.run("--promptopt-import=none.yaml")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["*--promptopt-import: there is no file *none.yaml; name a promptfooconfig.yaml"]
        )


EVALS: dict[str, Any] = {
    "skill_name": "greet",
    "evals": [
        {"id": 1, "prompt": "Greet: hello Ann", "files": [], "expectations": ["says hello", "mentions Ann"]},
        {"id": 2, "prompt": "Greet: bye", "expected_output": "says hello"},
        {"id": 3, "prompt": "Sum", "expected_output": "6", "files": ["a.xlsx"]},
    ],
}


#: As a judge the house looks for the last word of the criterion.
LOOKING = """
import re

def said(request):
    text = request.messages[-1].content
    if "<criterion>" not in text:
        return text.rpartition(": ")[2]
    criterion = re.search(r"<criterion>\\n?(.*?)\\n?</criterion>", text)[1]
    answer = re.search(r"<answer>\\n?(.*?)\\n?</answer>", text)[1]
    return "SCORE: 1" if criterion.split()[-1] in answer else "ISSUE: it does not\\nSCORE: 0"
"""


class TestSkillEvals:
    @pytest.fixture
    def project(self, pytester: pytest.Pytester) -> Project:
        project = Project(pytester, "promptopt_judge_model = demo")
        project.write("greet/SKILL.md", "---\nname: greet\ndescription: greets\n---\n\nGreet politely.\n")
        project.write("greet/evals/evals.json", json.dumps(EVALS, indent=1))
        return project

    def test_each_is_a_case_that_the_judge_looks_at(self, project: Project) -> None:
        result = project.run("greet/evals/evals.json", "-rs")
        assert result.parseoutcomes()["skipped"] == 1
        result.stdout.fnmatch_lines(["SKIPPED *evals.json:*: `files` are for an agent that can open them*"])
        result.stdout.fnmatch_lines(['*judged * for "The answer is as expected: says hello"*'])

    def test_its_text_is_the_system_message_and_each_expectation_must_hold(self, project: Project) -> None:
        project.ini("promptopt_model = house/repeat", "promptopt_judge_model = house/judge")
        project.append("conftest.py", LOOKING)
        other = {"id": 4, "prompt": "Greet: hello Bob", "expectations": ["says hello", "mentions Ann"]}
        project.write("greet/evals/evals.json", json.dumps({"evals": [*EVALS["evals"], other]}, indent=1))
        result = project.run("greet/evals/evals.json", "-v")
        result.assert_outcomes(passed=1, failed=2, skipped=1)
        result.stdout.fnmatch_lines(
            [
                "*evals.json::SKILL?1? PASSED*",
                "*evals.json::SKILL?2? FAILED*",
                "*evals.json::SKILL?4? FAILED*",
                'E   greet/evals/evals.json:*: rubric "The answer is as expected: says hello": *gives 0.00*',
                'E   greet/evals/evals.json:*: rubric "mentions Ann": the judge gives 0.00*',
            ]
        )
        asked = [call["messages"] for call in project.asked() if call["model"] == "house/repeat"]
        assert asked == [
            [["system", "Greet politely."], ["user", f"Greet: {word}"]]
            for word in ("hello Ann", "bye", "hello Bob")
        ]

    @pytest.mark.parametrize(
        ("evals", "said"),
        [
            ({"evals": 1}, "it must have `evals`, a list of cases"),
            ({"evals": [{"id": 1}]}, "a case must have a `prompt`, a text"),
            ({"evals": [{"prompt": "a", "expectations": [1]}]}, "an expectation must be a text"),
            (
                {"evals": [{"id": 1, "prompt": "a", "expected_output": "b"}] * 2},
                'the id "1" is given twice',
            ),
        ],
    )
    def test_a_mistake_is_an_error_at_its_line(self, project: Project, evals: object, said: str) -> None:
        project.write("greet/evals/evals.json", json.dumps(evals, indent=1))
        result = project.run("greet/evals/evals.json")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([f"greet/evals/evals.json:*: {said}"])

    def test_there_must_be_a_skill(self, project: Project) -> None:
        (project.path / "greet/SKILL.md").unlink()
        result = project.run("greet/evals/evals.json")
        result.stdout.fnmatch_lines(["*evals.json:2: there is no SKILL.md beside it or in the folder above"])
