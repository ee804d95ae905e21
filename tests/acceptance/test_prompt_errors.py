"""A mistake in a mark, a prompt file or a call is one sentence with its file and line, also under xdist."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import NamedTuple

import pytest

from tests.acceptance.projects import Project


class Mistake(NamedTuple):
    """A test with a mistake, the prompt files that it needs, and the sentence that the user reads."""

    test: str
    says: str
    prompts: dict[str, str | bytes] = {}  # noqa: RUF012  # a NamedTuple's default, never changed


def marked(arguments: str, *, more: str = "") -> str:
    return f"\n{more}@pytest.mark.prompt({arguments})\ndef test_it(prompt):\n    prompt(word='a')\n"


#: Found when tests are collected. Each test's mark is on line 3 of its module.
COLLECTION = {
    "nowhere": Mistake(
        marked("'prompts/nowhere.md'"),
        "test_nowhere.py:3: there is no prompt file 'prompts/nowhere.md'; looked for *prompts/nowhere.md",
    ),
    "folder": Mistake(marked("'prompts'"), "test_folder.py:3: 'prompts' is a folder, not a prompt file"),
    "ending": Mistake(
        marked("'prompts/a.docx'"),
        "prompts/a.docx: a prompt cannot be read from 'a.docx'; accepted are a .md, .txt or .prompty file, *",
        {"prompts/a.docx": "Repeat: {{ word }}"},
    ),
    "outside": Mistake(
        marked("'../outside.md'"),
        "*outside.md is outside rootdir */project; prompt files must be below it",
        {"../outside.md": "Repeat: {{ word }}"},
    ),
    "binary": Mistake(
        marked("'binary.md'"),
        "binary.md:2: byte 3 is NUL: a binary file is no prompt",
        {"binary.md": b"ab\n\0"},
    ),
    "latin": Mistake(
        marked("'latin.md'"),
        "latin.md:2: byte 6 (0xe9) is not UTF-8: *",
        {"latin.md": b"ab\ncaf\xe9 {{ word }}"},
    ),
    "empty": Mistake(marked("'empty.md'"), "empty.md:*the prompt is empty*", {"empty.md": "\n"}),
    "yaml": Mistake(
        marked("'yaml.md'"),
        "yaml.md:4: the front matter is not valid YAML: *",
        {"yaml.md": "---\nmodel: demo\nstop: [a\n---\nRepeat: {{ word }}\n"},
    ),
    "constant": Mistake(
        marked("'in_constant.py::PROMT'"),
        "in_constant.py: there is no constant PROMT; did you mean PROMPT?",
        {"in_constant.py": 'PROMPT = "Repeat: {word}"\n'},
    ),
    "no_constant": Mistake(
        marked("'in_no_constant.py'"),
        "in_no_constant.py: 'in_no_constant.py' needs the name of a constant after `::`; accepted are *",
        {"in_no_constant.py": 'PROMPT = "Repeat: {word}"\n'},
    ),
    "f_string": Mistake(
        marked("'in_f_string.py::PROMPT'"),
        "in_f_string.py:2: PROMPT is an f-string: f'Repeat: {WORD}'; accepted is a string *",
        {"in_f_string.py": 'WORD = "a"\nPROMPT = f"Repeat: {WORD}"\n'},
    ),
    "key": Mistake(
        marked("'app.yaml::triage.sytem'"),
        "app.yaml:2: there is no key `sytem` in triage; did you mean `system`?",
        {"app.yaml": "triage:\n  system: 'Repeat: {{ word }}'\n"},
    ),
    "item": Mistake(
        marked("'in_item.py::PROMPTS.triag'"),
        "in_item.py:1: there is no key `triag` in PROMPTS; did you mean `triage`[?]",
        {"in_item.py": 'PROMPTS = {"triage": "Repeat: {word}"}\n'},
    ),
    "ambiguous": Mistake(
        marked("'in_ambiguous.py::PROMPT'"),
        "in_ambiguous.py:1: its template language could be jinja2 ({{ word }}) or format ({tone}): say *",
        {"in_ambiguous.py": 'PROMPT = "Repeat {tone}: {{ word }}"\n'},
    ),
    "template": Mistake(
        marked("'in_template.py::PROMPT', template='jinja'"),
        "test_template.py:3: @pytest.mark.prompt(template='jinja'): template must be one of jinja2, *",
        {"in_template.py": 'PROMPT = "Repeat: {{ word }}"\n'},
    ),
    "open_region": Mistake(
        marked("'open_region.md'"),
        "open_region.md:2: <!-- promptopt: keep --> is not closed by <!-- /promptopt -->",
        {"open_region.md": "Repeat: {{ word }}\n<!-- promptopt: keep -->\nAlways.\n"},
    ),
    "value": Mistake(
        marked("'value.md'"),
        "value.md:2: `max_tokens` must be a whole number from 1, got 0",
        {"value.md": "---\nmax_tokens: 0\n---\nRepeat: {{ word }}\n"},
    ),
    "front_model": Mistake(
        marked("'front_model.md'"),
        "front_model.md:2: `model`: 'gpt' names no model: accepted are *",
        {"front_model.md": "---\nmodel: gpt\n---\nRepeat: {{ word }}\n"},
    ),
    "syntax": Mistake(
        marked("'syntax.md'"),
        "syntax.md:3: template syntax error: *",
        {"syntax.md": "One\n\n{% if word %}\n"},
    ),
    "no_path": Mistake(marked(""), "test_no_path.py:3: @pytest.mark.prompt(...) names no prompt file, *"),
    "not_a_path": Mistake(marked("5"), "test_not_a_path.py:3: @pytest.mark.prompt(5): expected one path*"),
    "two_paths": Mistake(
        marked("'prompts/repeat.md', 'b.md'"), "test_two_paths.py:3: *'b.md'): expected one path or stages*"
    ),
    "path_and_stage": Mistake(
        marked("'prompts/repeat.md', code='b.md'"),
        "test_path_and_stage.py:3: *code='b.md'): expected one path*",
    ),
    "samples": Mistake(
        marked("'prompts/repeat.md', samples=0"),
        "test_samples.py:3: @pytest.mark.prompt(samples=0): samples must be a whole number from 1",
    ),
    "slip": Mistake(
        marked("'prompts/repeat.md', sample=3"),
        "test_slip.py:3: @pytest.mark.prompt(sample=3): did you mean samples=[?]",
    ),
    "case_rate": Mistake(
        marked("'prompts/repeat.md', min_case_rate=2"),
        "test_case_rate.py:3: @pytest.mark.prompt(min_case_rate=2): * must be a number from 0 to 1",
    ),
    "pass_rate": Mistake(
        marked("'prompts/repeat.md', min_pass_rate=True"),
        "test_pass_rate.py:3: @pytest.mark.prompt(min_pass_rate=True): * must be a number from 0 to 1",
    ),
    "replay": Mistake(
        marked("'prompts/repeat.md', replay='no'"),
        "test_replay.py:3: @pytest.mark.prompt(replay='no'): replay must be True or False",
    ),
    "model": Mistake(
        marked("'prompts/repeat.md', model='gpt'"),
        "test_model.py:3: @pytest.mark.prompt(model='gpt'): model must be the name of a model; *",
    ),
    "tokens": Mistake(
        marked("'prompts/repeat.md', max_tokens='9'"),
        "test_tokens.py:3: @pytest.mark.prompt(max_tokens='9'): max_tokens must be a whole number from 1",
    ),
    "stop": Mistake(
        marked("'prompts/repeat.md', stop=[1]"),
        "test_stop.py:3: @pytest.mark.prompt(stop=[[]1]): stop must be a string or a list of strings",
    ),
    "parameter": Mistake(
        marked("'prompts/repeat.md', top_p={1}"),
        "test_parameter.py:3: @pytest.mark.prompt(top_p={1}): top_p must be a value that JSON can hold*",
    ),
    "api_key": Mistake(
        marked("'prompts/repeat.md', api_key='sk-secret'"),
        "test_api_key.py:3: @pytest.mark.prompt(api_key=...): api_key is no parameter of a model*",
    ),
    "messages": Mistake(
        marked("'prompts/repeat.md', messages=[]"),
        "test_messages.py:3: @pytest.mark.prompt(messages=*): messages must be left out*",
    ),
    "both": Mistake(
        marked("'prompts/repeat.md'", more="@pytest.mark.heldout\n@pytest.mark.validation\n"),
        "test_both.py:3: test_it is marked heldout and validation; a case has one split",
    ),
    "both_once": Mistake(
        "\n@pytest.mark.prompt('prompts/repeat.md')\n@pytest.mark.heldout\n"
        "@pytest.mark.parametrize('word', ['a', pytest.param('b', marks=pytest.mark.validation)])\n"
        "def test_it(prompt, word):\n    prompt(word=word)\n",
        "test_both_once.py:3: test_it[[]b] is marked heldout and validation; a case has one split",
    ),
}

#: Found when the test calls its prompt.
CALL = {
    "missing": Mistake(
        "\n@pytest.mark.prompt('missing.md')\ndef test_it(prompt):\n    prompt(a=1)\n",
        "E * missing.md:2: `b` not given; given: `a`; the prompt declares: `a`, `b`",
        {"missing.md": "{{ a }}\n{{ b }}"},
    ),
    "extra": Mistake(
        "\n@pytest.mark.prompt('prompts/repeat.md')\ndef test_it(prompt):\n    prompt(word='a', wrod='b')\n",
        "E * prompts/repeat.md: `wrod` given but not used by the prompt; *; the prompt declares: `word`",
    ),
    "undefined": Mistake(
        marked("'undefined.md'"),
        "E * undefined.md:2: cannot be rendered: UndefinedError: 'str object' has no attribute 'first'",
        {"undefined.md": "Repeat:\n{{ word.first }}"},
    ),
    "tools": Mistake(
        "\n@pytest.mark.prompt('prompts/repeat.md')\ndef test_it(prompt):\n    prompt(word='a', tools=[7])\n",
        "E * prompt(...): tools[[]0] is no tool, got 7; accepted are a function with type hints, *",
    ),
    "stage": Mistake(
        "\n@pytest.mark.prompt('prompts/repeat.md')\ndef test_it(prompts):\n    prompts['plan'](word='a')\n",
        "E * the case has no stage 'plan'; use the fixture `prompt`",
    ),
    "images": Mistake(
        "\n@pytest.mark.prompt('prompts/repeat.md')\ndef test_it(prompt):\n"
        "    prompt(word='a', messages=[{'role': 'user', 'content': [{'type': 'image'}]}])\n",
        "E * prompts/repeat.md: messages[[]0].content[[]0] (image) cannot be read: `source` is missing",
    ),
    "file": Mistake(
        "\n@pytest.mark.prompt('prompts/repeat.md')\ndef test_it(prompt):\n"
        "    prompt(word='a', images=['scan.png'])\n",
        "E * prompt(...): images[[]0]: there is no file scan.png (looked in *",
    ),
    "role": Mistake(
        "\n@pytest.mark.prompt('prompts/repeat.md')\ndef test_it(prompt):\n"
        "    prompt(word='a', messages=[{'role': 'robot', 'content': 'b'}])\n",
        "E * prompts/repeat.md: messages[[]0] has role 'robot'; accepted are 'user', 'assistant', 'tool'",
    ),
    "schema": Mistake(
        "\n@pytest.mark.prompt('prompts/repeat.md')\ndef test_it(prompt):\n"
        "    prompt(word='a', response_schema={'type': {1}})\n",
        "E * response_schema= must be JSON, got {'type': {1}}",
    ),
    "answer": Mistake(
        "\n@pytest.mark.prompt('prompts/repeat.md')\ndef test_it(prompt):\n    prompt(word='boom')\n",
        "E * the house model refuses boom",
    ),
}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Has rootdir in a folder of its own, so that there is something outside of it."""
    path = pytester.mkdir("project")
    monkeypatch.chdir(path)
    return Project(pytester, path=path)


def add(project: Project, name: str, mistake: Mistake) -> None:
    project.tests(mistake.test, name=f"test_{name}.py")
    for path, content in mistake.prompts.items():
        project.write(path, content)


def is_said(result: pytest.RunResult, mistake: Mistake) -> bool:
    return any(fnmatch(line, mistake.says) for line in result.outlines)


@pytest.mark.parametrize("name", COLLECTION)
def test_found_at_collection(project: Project, name: str) -> None:
    add(project, name, COLLECTION[name])
    result = project.run()
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert is_said(result, COLLECTION[name]), result.stdout.str()
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*During handling*")
    assert project.asked() == []


@pytest.mark.parametrize("name", CALL)
def test_found_at_the_call(project: Project, name: str) -> None:
    """The case has no verdict: it is an error, in no rate, and the traceback ends where the test calls."""
    add(project, name, CALL[name])
    result = project.run()
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert is_said(result, CALL[name]), result.stdout.str()
    result.stdout.re_match_lines([rf"test_{name}\.py:\d+: \w+Error$"])
    result.stdout.no_fnmatch_line("*pytest_promptopt?pytest_*")
    result.stdout.no_fnmatch_line("*During handling*")
    result.stdout.fnmatch_lines(["*: no case has a usable answer"])


def test_without_a_model_it_says_how_to_name_one(project: Project) -> None:
    (project.path / "pytest.ini").write_text("[pytest]\n")
    project.tests(marked("'prompts/repeat.md'"))
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["E * prompts/repeat.md: no model to ask; set --promptopt-model=PROVIDER/MODEL *`demo` needs no key"]
    )


def test_all_of_them_under_xdist(project: Project) -> None:
    for name, mistake in {**COLLECTION, **CALL}.items():
        add(project, name, mistake)
    project.tests(marked("'prompts/repeat.md'"), name="test_good.py")
    result = project.run(workers=2)
    output = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in output
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(errors=len(COLLECTION) + len(CALL), passed=1)
    unsaid = [name for name, mistake in {**COLLECTION, **CALL}.items() if not is_said(result, mistake)]
    assert unsaid == [], output
