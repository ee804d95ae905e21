"""A configuration of promptfoo as suites: what runs, and what is skipped by name with its line."""

from __future__ import annotations

import textwrap
from io import StringIO
from pathlib import Path

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.suites.checks import Check
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.promptfoo.importing import import_file
from pytest_promptopt.suites.promptfoo.reading import ReadSuite, read_promptfoo
from pytest_promptopt.suites.suite_reading import read_suite


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def read(folder: Path, text: str, name: str = "promptfooconfig.yaml") -> tuple[ReadSuite, ...]:
    return read_promptfoo(write(folder, name, text), folder)


def cases(found: tuple[ReadSuite, ...]) -> list[FileCase]:
    return [case for each in found for case in each.suite.cases]


def skipped(found: tuple[ReadSuite, ...]) -> list[str]:
    return [f"{case.where}: {case.reason}" for each in found for case in each.suite.skipped]


def one_test(test: str, *, prompt: str = "Say {{x}}", more: str = "") -> str:
    return f"""
prompts: [{prompt!r}]
providers: [echo]
{more}
tests:
  - {test}
"""


def test_each_provider_and_prompt_is_a_suite(folder: Path) -> None:
    write(folder, "p.txt", "one {{x}}\n---\ntwo {{x}}\n")
    found = read(
        folder,
        """
        prompts: ["Say {{x}}", file://p.txt, {raw: "Or {{x}}", label: third}]
        providers:
          - echo
          - {id: "openai:chat:gpt-4o", config: {temperature: 0.2, max_tokens: 9}, prompts: [third]}
        tests:
          - vars: {x: 1}
        """,
    )
    assert [(each.name, each.suite.prompts[0], each.suite.model) for each in found] == [
        ("prompt1-echo", "promptfooconfig.yaml::prompts[0]", "echo"),
        ("prompt2-echo", "p.txt::0", "echo"),
        ("prompt3-echo", "p.txt::1", "echo"),
        ("prompt4-echo", "promptfooconfig.yaml::prompts[2].raw", "echo"),
        ("prompt4-openai-chat-gpt-4o", "promptfooconfig.yaml::prompts[2].raw", "openai/gpt-4o"),
    ]
    assert found[-1].suite.parameters == {"temperature": 0.2, "max_tokens": 9}


def test_a_model_with_two_settings_is_two_suites(folder: Path) -> None:
    found = read(
        folder,
        """
        prompts: [a]
        providers:
          - {id: "openai:gpt-4o", config: {temperature: 0}}
          - {id: "openai:gpt-4o", config: {temperature: 1}}
        """,
    )
    assert [each.name for each in found] == ["prompt1-openai-gpt-4o", "prompt1-openai-gpt-4o-2"]


def test_a_text_in_quotes_is_none_of_the_numbers_on_its_line(folder: Path) -> None:
    found = read(folder, one_test("vars: {x: '42', y: 42, z: [1.5, '1.5', '1e3']}"))
    assert cases(found)[0].inputs == {"x": "42"}


def test_lists_multiply_and_the_default_test_is_added(folder: Path) -> None:
    found = read(
        folder,
        """
        prompts: ["{{a}} {{b}} {{c}}"]
        providers: echo
        defaultTest:
          vars: {c: see}
          assert: [{type: contains, value: "{{c}}"}]
        tests:
          - description: All of them
            vars: {a: [x, y], b: [1, 2]}
            assert: [{type: icontains, value: "{{a}}"}]
        """,
    )
    assert [(case.id, case.inputs) for case in cases(found)] == [
        ("1-All-of-them.1", {"a": "x", "b": [1, 2], "c": "see"}),
        ("1-All-of-them.2", {"a": "y", "b": [1, 2], "c": "see"}),
    ]
    assert [(check.type, check.value, check.where) for check in cases(found)[1].checks] == [
        ("contains", "see", "promptfooconfig.yaml:6"),
        ("icontains", "y", "promptfooconfig.yaml:10"),
    ]


def test_variables_are_filled_into_each_other_and_read_from_files(folder: Path) -> None:
    write(folder, "long.txt", "  from a file\n\n")
    write(folder, "data.yaml", "k: [1, {b: yes}]\n")
    found = read(
        folder,
        one_test(
            "vars: {x: 'I am {{name}}', name: Ann, y: file://long.txt, z: file://data.yaml, u: '{{w}}'}",
            prompt="{{x}} {{y}} {{z}} {{u}}",
        ),
    )
    assert cases(found)[0].inputs == {
        "x": "I am Ann",
        "y": "from a file",
        "z": '{"k":[1,{"b":"yes"}]}',
        "u": "{{w}}",
    }


def test_references_and_aliases_are_followed(folder: Path) -> None:
    found = read(
        folder,
        """
        prompts: ["{{x}}"]
        providers: [echo]
        assertionTemplates:
          short: {type: contains, value: a}
        tests:
          - vars: &vars {x: a}
            assert: [{$ref: "#/assertionTemplates/short"}]
          - vars: *vars
          - vars: {x: b}
            assert: [{$ref: "#/nowhere"}]
        """,
    )
    assert [(case.id, len(case.checks)) for case in cases(found)] == [("1", 1), ("2", 0)]
    assert skipped(found) == ["promptfooconfig.yaml:11: `$ref: #/nowhere` leads nowhere"]


def test_tables_and_other_files_hold_tests(folder: Path) -> None:
    write(folder, "t.csv", 'x,__expected,__expected2,__description\na,contains:a,"b, ""c""",first\n')
    write(folder, "t.jsonl", '{"vars": {"x": "l"}}\n\n{"vars": {"x": "m"}}\n')
    write(folder, "t.yaml", "- vars: {x: y}\n- vars: {x: file://secret.txt}\n")
    found = read(
        folder,
        """
        prompts: ["{{x}}"]
        providers: [echo]
        tests: [file://t.csv, t.jsonl, file://t.yaml, file://make.py, "huggingface://datasets/x"]
        """,
    )
    assert [(case.id, case.inputs["x"], case.where) for case in cases(found)] == [
        ("1-first", "a", "t.csv:2"),
        ("2", "l", "t.jsonl:1"),
        ("3", "m", "t.jsonl:3"),
        ("4", "y", "t.yaml:1"),
    ]
    assert [(check.type, check.value) for check in cases(found)[0].checks] == [
        ("contains", "a"),
        ("equals", 'b, "c"'),
    ]
    assert skipped(found) == [
        "t.yaml:2: other files named in t.yaml are not supported",
        "promptfooconfig.yaml:4: make.py: tests that code makes are not supported",
        "promptfooconfig.yaml:4: huggingface://datasets/x: tests from elsewhere are not supported",
    ]


def test_a_chat_in_json_is_turns_for_a_model_and_one_text_for_echo(folder: Path) -> None:
    write(
        folder, "chat.json", '[{"role": "system", "content": "Be {{x}}"}, {"role": "user", "content": "Hi"}]'
    )
    found = read(
        folder,
        """
        prompts: [file://chat.json]
        providers: [echo, "anthropic:messages:claude-haiku-4-5"]
        tests: [{vars: {x: brief}}]
        """,
    )
    assert [each.suite.prompts[0] for each in found] == ["chat.json::$text", "chat.json::$chat"]
    assert [each.suite.parameters for each in found] == [{"freeze": True}, {"freeze": True}]


#: A test, what stands beside it, and the reason why it is skipped.
SKIPPED = {
    "javascript": ("assert: [{type: javascript, value: output.length}]", "the assertion `javascript` is not"),
    "embeddings": ("assert: [{type: not-similar, value: a}]", "it compares embeddings in promptfoo"),
    "embeddings, named": (
        "assert: [{type: 'similar:cosine', value: a}]",
        "--promptopt-embedding-model=PROVIDER/MODEL (ini promptopt_embedding_model)",
    ),
    "another measure": ("assert: [{type: 'similar:dot', value: a}]", "only the cosine is compared"),
    "unknown": ("assert: [{type: max-length, value: 3}]", "the assertion `max-length` is not supported"),
    "transform": ("assert: [{type: equals, value: a, transform: output}]", "`transform` of an assertion"),
    "empty value": ("assert: [{type: contains, value: ''}]", "a text or a number that is not empty"),
    "true": ("assert: [{type: contains, value: true}]", "a text or a number that is not empty"),
    "no value": ("assert: [{type: equals}]", "`equals`: it has no value"),
    "regex": ("assert: [{type: regex, value: '(?i)a'}]", "`regex`: (?i)a: `(?i)` is not taken alike"),
    "schema": ("assert: [{type: is-json, value: {type: nonsense}}]", "it is no JSON Schema"),
    "schema keyword": ("assert: [{type: is-json, value: {foo: 1}}]", "`foo` in a JSON Schema is refused"),
    "schema format": (
        "assert: [{type: is-json, value: {properties: {a: {format: email}}}}]",
        "`format` in a JSON Schema",
    ),
    "schema pattern": ("assert: [{type: is-json, value: {pattern: '\\\\p{L}'}}]", "the pattern"),
    "schema draft": (
        "assert: [{type: is-json, value: {$schema: 'https://json-schema.org/draft/2020-12/schema'}}]",
        "`$schema` in a JSON Schema",
    ),
    "schema of nothing": ("assert: [{type: is-json, value: false}]", "a JSON Schema must be a mapping"),
    "schema of a text": ("assert: [{type: is-json, value: 'null'}]", "a JSON Schema must be a mapping"),
    "latency": ("assert: [{type: latency}]", "`latency`: it has no threshold"),
    "python": ("assert: [{type: python, value: 'if'}]", "the code cannot be read"),
    "python file": ("assert: [{type: python, value: file://none.py}]", "there is no file none.py"),
    "provider": ("provider: echo", "`provider` of a test is not supported"),
    "options": ("options: {transform: output}", "`transform` in the `options` of a test is not supported"),
    "threshold": ("threshold: 0.5", "`threshold` of a test is not supported"),
    "threshold of 0": ("threshold: 0", "`threshold` of a test is not supported"),
    "date": ("vars: {x: 2024-01-02}", "promptfoo takes 2024-01-02 for a number or a date; put it in quotes"),
    "exponent": ("vars: {x: 1e3}", "promptfoo takes 1e3 for a number or a date"),
    "digits in groups": ("vars: {x: 10_000.5}", "promptfoo takes 10_000.5 for a number or a date"),
    "octal": ("vars: {x: 012}", "promptfoo takes 012 for a number or a date"),
    "code": ("vars: {x: file://x.py}", "there is no file x.py"),
    "environment": ("vars: {x: '{{ env.HOME }}'}", "`env` takes values from the environment"),
    "value": ("assert: [{type: equals, value: '{{ x | wordcount }}'}]", "the filter `wordcount`"),
    "dollars": ("vars: {x: 'a {{y}}', y: '$&'}", "JavaScript puts the $ of `y` into `x` in its own way"),
}  # fmt: skip


@pytest.mark.parametrize(("test", "said"), SKIPPED.values(), ids=SKIPPED)
def test_what_is_not_done_as_promptfoo_does_it_is_skipped_with_its_line(
    folder: Path, test: str, said: str
) -> None:
    found = read(folder, one_test(test))
    assert cases(found) == []
    (reason,) = skipped(found)
    assert reason.startswith("promptfooconfig.yaml:6: ")
    assert said in reason


class TestSimilar:
    """With a model that makes embeddings."""

    @staticmethod
    def read(folder: Path, assertion: str) -> tuple[ReadSuite, ...]:
        path = write(folder, "promptfooconfig.yaml", one_test(f"assert: [{assertion}]"))
        return read_promptfoo(path, folder, embedding_model="demo")

    @pytest.mark.parametrize(
        ("assertion", "check"),
        [
            (
                "{type: similar, value: to a}",
                Check("similar", "to a", threshold=0.75, options={"model": "demo"}),
            ),
            (
                "{type: 'not-similar:cosine', value: b, threshold: 0, provider: 'openai:embedding:x'}",
                Check("similar", "b", negated=True, threshold=0, options={"model": "demo"}),
            ),
            (
                "{type: similar, value: [b, a]}",
                Check("promptfoo-similar", ["b", "a"], threshold=0.75, options={"model": "demo"}),
            ),
        ],
    )
    def test_it_is_the_cosine_and_75_unless_it_says_more(
        self, folder: Path, assertion: str, check: Check
    ) -> None:
        (case,) = cases(self.read(folder, assertion))
        assert case.checks == (check,)

    @pytest.mark.parametrize("value", ["''", "[]", "[1]", "{a: 1}", "file://a.py"])
    def test_a_value_that_is_no_text_is_skipped(self, folder: Path, value: str) -> None:
        write(folder, "a.py", "")
        (reason,) = skipped(self.read(folder, f"{{type: similar, value: {value}}}"))
        assert reason.startswith("promptfooconfig.yaml:6: `similar`: ")


PROMPTS = {
    "code": ("file://prompt.py:make", "prompt.py:make: prompts that code makes are not supported"),
    "nothing": ("file://none.txt", "there is no file none.txt"),
    "elsewhere": ("langfuse://x", "only texts and files are supported"),
    "filter": ("{{ x | wordcount }}", "the prompt: the filter `wordcount` is not followed"),
    "conversation": ("{{ _conversation }} {{x}}", "`_conversation` is not supported"),
    "argument": ("{{ messages }}", "a variable cannot be called `messages` here"),
}


@pytest.mark.parametrize(("prompt", "said"), PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_that_cannot_be_used_is_skipped_once(folder: Path, prompt: str, said: str) -> None:
    found = read(folder, one_test("vars: {x: [a, b]}", prompt=prompt))
    assert cases(found) == []
    (reason,) = skipped(found)
    assert reason.startswith("promptfooconfig.yaml:2: ")
    assert said in reason


PROVIDERS = {
    "unknown": ("http://localhost", "the provider http://localhost is not supported"),
    "images": ("openai:image:dall-e-3", "the provider openai:image:dall-e-3 is not supported"),
    "code": ("file://p.py", "the provider file://p.py is not supported"),
    "template": ("openai:{{ env.MODEL }}", "is not supported"),
    "tools": ("{id: 'openai:gpt-4o', config: {tools: []}}", "`tools` in the `config` of a provider"),
    "transform": ("{id: echo, transform: output}", "`transform` of a provider is not supported"),
}


@pytest.mark.parametrize(("provider", "said"), PROVIDERS.values(), ids=PROVIDERS)
def test_a_provider_that_cannot_be_asked_is_skipped_once(folder: Path, provider: str, said: str) -> None:
    found = read(folder, f"prompts: [a]\nproviders:\n  - {provider}\ntests: [{{vars: {{x: 1}}}}]\n")
    assert cases(found) == []
    assert skipped(found)[0].startswith("promptfooconfig.yaml:3: ")
    assert said in skipped(found)[0]


MODELS = {
    "openai:gpt-4.1": "openai/gpt-4.1",
    "openai:responses:gpt-5": "openai/gpt-5",
    "anthropic:messages:claude-haiku-4-5": "anthropic/claude-haiku-4-5",
    "anthropic:claude-haiku-4-5": "anthropic/claude-haiku-4-5",
    "google:gemini-2.5-pro": "gemini/gemini-2.5-pro",
    "ollama:chat:llama3.2": "ollama_chat/llama3.2",
    "bedrock:us.anthropic.claude-sonnet-4-v1:0": "bedrock/us.anthropic.claude-sonnet-4-v1:0",
    "openrouter:deepseek/deepseek-r1": "openrouter/deepseek/deepseek-r1",
    "litellm:openai/gpt-4.1": "openai/gpt-4.1",
    "echo": "echo",
}


@pytest.mark.parametrize(("provider", "model"), MODELS.items())
def test_a_provider_is_a_model(folder: Path, provider: str, model: str) -> None:
    (suite,) = read(folder, f"prompts: [a]\nproviders: ['{provider}']\n")
    assert suite.suite.model == model


def test_parts_that_change_every_case_leave_none_to_run(folder: Path) -> None:
    found = read(folder, one_test("vars: {x: a}", more="extensions: [file://hook.js:beforeEach]"))
    assert skipped(found) == ["promptfooconfig.yaml:4: `extensions` are code that may change every case"]


def test_a_red_team_is_told_beside_the_tests_that_run(folder: Path) -> None:
    found = read(folder, one_test("vars: {x: a}", more="redteam: {purpose: x}"))
    assert len(cases(found)) == 1
    assert [reason.partition(": ")[2] for reason in skipped(found)] == [
        "`redteam` makes cases by a model; only the tests that are written here run"
    ]


def test_a_scenario_is_each_of_its_tests_with_each_of_its_data(folder: Path) -> None:
    found = read(
        folder,
        """
        prompts: ["{{a}} {{b}}"]
        providers: [echo]
        defaultTest: {assert: [{type: contains, value: d}]}
        scenarios:
          - config:
              - {description: first, vars: {a: 1}, assert: [{type: contains, value: c}]}
              - vars: {a: 2}
            tests:
              - {vars: {b: x}, assert: [{type: contains, value: t}]}
              - {vars: {b: y}}
          - {config: 3}
        """,
    )
    assert [(case.id, case.inputs, [check.value for check in case.checks]) for case in cases(found)] == [
        ("1-first", {"a": 1, "b": "x"}, ["d", "c", "t"]),
        ("2-first", {"a": 1, "b": "y"}, ["d", "c"]),
        ("3", {"a": 2, "b": "x"}, ["d", "t"]),
        ("4", {"a": 2, "b": "y"}, ["d"]),
    ]
    assert skipped(found) == ["promptfooconfig.yaml:12: a scenario must have `config`, a list of tests' data"]


def test_a_json_file_with_tags_between_its_values_is_a_text_for_echo(folder: Path) -> None:
    write(folder, "chat.json", '[{% for x in l %}"{{ x }}"{% endfor %}]')
    found = read(
        folder, "prompts: [file://chat.json]\nproviders: [echo, openai:gpt-4o]\ntests: [{vars: {l: [1]}}]"
    )
    assert [case.inputs for case in cases(found)] == [{"l": [1]}]
    assert skipped(found)[0].endswith(
        "a JSON file with tags between its values is a chat that is not supported"
    )


def test_the_answers_of_one_test_are_no_variables_of_another(folder: Path) -> None:
    found = read(
        folder,
        """
        prompts: ["{{x}}"]
        providers: [echo]
        tests:
          - {vars: {x: a}, options: {storeOutputAs: y}}
          - {vars: {x: "{{y}}"}}
        """,
    )
    assert cases(found) == []
    assert [reason.partition(": ")[2][:15] for reason in skipped(found)] == ["`storeOutputAs`"] * 2


def test_variables_of_a_test_stand_beside_its_file(folder: Path) -> None:
    write(folder, "tests/t.yaml", "- vars: v*.yaml\n")
    write(folder, "tests/v1.yaml", "x: a\n")
    found = read(folder, "prompts: ['{{x}}']\nproviders: [echo]\ntests: file://tests/t.yaml\n")
    assert cases(found)[0].inputs == {"x": "a"}


@pytest.mark.parametrize(
    "more",
    [
        "tests: file://" + "x" * 5000,
        "tests: [{$ref: '#/tests'}]",
        "defaultTest: {$ref: '#/defaultTest'}",
        "tests: [{vars: {x: 'file://*['}}]",
        "tests: [{vars: file://., assert: [3]}]",
    ],
)
def test_no_configuration_crashes_the_reader(folder: Path, more: str) -> None:
    assert skipped(read(folder, f"prompts: ['{{{{x}}}}']\nproviders: [echo]\n{more}\n"))


def test_without_prompts_the_variable_of_this_name_is_asked(folder: Path) -> None:
    (suite,) = read(folder, "providers: [echo]\ntests: [{vars: {prompt: Hello}}]\n")
    assert suite.suite.prompts == ("promptfooconfig.yaml::$prompt",)
    assert suite.suite.cases[0].inputs == {"prompt": "Hello"}


def test_a_file_that_is_no_yaml_is_an_error_with_its_line(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"promptfooconfig.yaml:2: it is not valid YAML"):
        read(folder, "prompts: a\n  - b: [\n")
    with pytest.raises(SettingsError, match="a configuration of promptfoo must be a mapping"):
        read(folder, "- a\n")


def test_what_is_imported_can_be_read_and_what_our_files_cannot_say_is_left_out(folder: Path) -> None:
    out = StringIO()
    config = write(
        folder,
        "promptfooconfig.yaml",
        """
        prompts: ["Say {{x}}"]
        providers: [echo]
        tests:
          - vars: {x: a}
            assert:
              - {type: regex, value: "[\U0001f600é]$"}
              - {type: equals, value: null}
              - {type: contains-all, value: []}
              - {type: llm-rubric, value: polite, threshold: 7}
        """,
    )
    import_file(config, folder, out)
    (case,) = read_suite(folder / "promptfooconfig.promptopt.yaml", folder).cases
    assert [(check.name, check.value) for check in case.checks] == [("regex", "[\U0001f600é]\\Z")]
    assert [line.partition(": ")[0] for line in out.getvalue().splitlines()[3:]] == [
        f"  promptfooconfig.yaml:{line}" for line in (8, 9, 10)
    ]
    assert (
        "promptfooconfig.yaml:10: `threshold` of `rubric` must be a number from 0 to 1, got 7"
        in out.getvalue()
    )
