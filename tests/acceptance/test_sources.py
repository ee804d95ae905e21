"""`pytest --optimize` rewrites a prompt where it lives: a constant, a value, a skill, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_promptopt import optimize
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.scripting.given_cases import Case
from tests.acceptance.desk import CONFTEST, DEMO, TRAIN
from tests.acceptance.projects import Project, git

TASK = "Sort the message into one of these: card_arrival, exchange_rate, pin_blocked."
#: What the demo optimizer finds.
FOUND = "Answer with the label only."

MODULE = f'''"""The application."""

from textwrap import dedent

LABELS = ("card_arrival", "exchange_rate", "pin_blocked")  # in use elsewhere


class Triage:
    PROMPT = dedent("""
        {TASK}

        {{message}}
        """).strip()


SECOND = (
    "{TASK}\\n"
    "\\n"
    "{{message}}"
)
'''
DICT = f'''PROMPTS = {{
    "sort": (
        "{TASK}\\n"  # the labels
        "\\n"
        "{{message}}"  # as it came
    ),
    "other": "{TASK}",
}}
'''
YAML = f"""# What we say to models.
triage:
  system: |
    {TASK}

    {{{{ message }}}}
  temperature: 0  # of the application
other: [1, 2]
"""
AS_JSON = '{"triage": {"text": "TEXT\\n\\n{message}"}, "n": 1.50}\n'
SKILL = f"""---
name: sort-message
description: Sorts messages of customers.
allowed-tools: [Read]
---

{TASK}
"""


class House(Project):
    """A project under git, with a test for each of its sources."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        super().__init__(pytester)
        self.ini(*DEMO)
        (self.path / "prompts" / "repeat.md").unlink()
        (self.path / "conftest.py").unlink()

    def file(self, name: str, text: str) -> Path:
        self.write(name, text)
        return self.path / name

    def cases(self, name: str, source: str, *, call: str = "prompt(message=message)", mark: str = "") -> None:
        self.write(
            f"tests/test_{name}.py",
            f"import pytest\n\nCASES = {TRAIN!r}\n\n\n"
            f"@pytest.mark.prompt({source!r}{mark})\n"
            '@pytest.mark.parametrize(("message", "label"), CASES)\n'
            f"def test_{name}(prompt, message, label):\n    assert {call} == label\n",
        )

    def commit(self) -> None:
        for command in ("init -q", "add -A", "commit -q -m before"):
            self.git(*command.split())

    def git(self, *words: str) -> str:
        return git(self.path, *words)

    def changes(self) -> list[str]:
        """The lines that `git diff` shows as changed, with the names of their files."""
        return changed(self.git("diff", "-U0"), "---")

    def optimize(self, *args: str, workers: int = 0) -> pytest.RunResult:
        return self.run("--optimize", "--tb=no", *args, workers=workers)


def changed(diff: str, *headers: str) -> list[str]:
    """Lines of a diff that were taken out or put in."""
    headers = headers or ("---", "+++")
    return [line for line in diff.splitlines() if line[:1] in ("+", "-") and not line.startswith(headers)]


@pytest.fixture
def house(pytester: pytest.Pytester) -> House:
    return House(pytester)


def test_two_constants_of_one_module_are_rewritten_and_nothing_else(house: House) -> None:
    module = house.file("app/triage.py", MODULE)
    house.cases("class", "app/triage.py::Triage.PROMPT")
    house.cases("module", "app/triage.py::SECOND")
    house.commit()
    result = house.optimize()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "promptopt: app/triage.py::Triage.PROMPT: no examples are put into it, since *",
            "app/triage.py::Triage.PROMPT: improved, train 0.0% -> 100.0%",
            "  written:  app/triage.py::Triage.PROMPT",
            "app/triage.py::SECOND: improved, train 0.0% -> 100.0%",
            "  written:  app/triage.py::SECOND",
        ]
    )
    assert house.changes() == [
        "+++ b/app/triage.py",
        f"+        {FOUND}",
        "+",
        f'+    "{FOUND}\\n"',
        '+    "\\n"',
    ]
    names: dict[str, object] = {}
    exec(module.read_text(encoding="utf-8"), names)
    assert names["SECOND"] == f"{TASK}\n\n{FOUND}\n\n{{message}}", "the application runs as before"
    assert getattr(names["Triage"], "PROMPT") == names["SECOND"]  # noqa: B009
    assert house.run("--tb=no").ret == pytest.ExitCode.OK


def test_a_value_of_a_dict_is_and_its_comments_stay(house: House) -> None:
    house.file("app/triage.py", DICT)
    house.cases("sort", """app/triage.py::PROMPTS["sort"]""")
    house.commit()
    result = house.optimize()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["  written:  app/triage.py::PROMPTS.sort"])
    assert house.changes() == ["+++ b/app/triage.py", f'+        "{FOUND}\\n"', '+        "\\n"']


def test_a_block_of_yaml_a_skill_and_a_prompty_file_are(house: House) -> None:
    house.file("config/prompts.yaml", YAML)
    house.file("skills/sort/SKILL.md", SKILL)
    house.file("prompts/a.prompty", f"---\nname: a\n---\nsystem:\n{TASK}\n\nuser:\n{{{{message}}}}\n")
    house.cases("yaml", "config/prompts.yaml::triage.system")
    house.cases(
        "skill",
        "skills/sort/SKILL.md",
        call='prompt(messages=[{"role": "user", "content": message}])',
    )
    house.cases("prompty", "prompts/a.prompty")
    house.commit()
    assert house.optimize().ret == pytest.ExitCode.OK
    assert house.changes() == [
        "+++ b/config/prompts.yaml",
        f"+    {FOUND}",
        "+",
        "+++ b/prompts/a.prompty",
        f"+{FOUND}",
        "+",
        "+++ b/skills/sort/SKILL.md",
        "+",
        f"+{FOUND}",
    ]


def test_json_toml_and_the_description_of_a_skill_are(house: House) -> None:
    house.file("app.json", AS_JSON.replace("TEXT", TASK))
    house.file("app.toml", f'n = 1.50\n[triage]\ntext = """\n{TASK}\n\n$message\n""" # why\n')
    house.file("SKILL.md", f"---\nname: a\ndescription: {TASK.replace(':', ' -')}\n---\nThe body.\n")
    house.cases("json", "app.json::triage.text")
    house.cases("toml", "app.toml::triage.text")
    house.cases(
        "skill", "SKILL.md::description", call='prompt(messages=[{"role": "user", "content": message}])'
    )
    house.commit()
    house.optimize()
    skill, json, toml = house.git("diff", "-U0").split("diff --git ")[1:]
    assert changed(json) == [
        "-" + AS_JSON.replace("TEXT", TASK).strip(),
        "+" + AS_JSON.replace("TEXT", f"{TASK}\\n\\n{FOUND}").strip(),
    ]
    assert changed(toml) == [f"+{FOUND}", "+"]
    assert changed(skill)[1] == "+description: |-"
    assert f"+  {FOUND}" in changed(skill)
    assert {line[:3] for line in changed(skill)[2:]} == {"+  ", "+"}


def test_both_of_a_file_are_put_back_and_a_later_edit_is_not_lost(house: House) -> None:
    module = house.file("app/triage.py", MODULE)
    house.cases("class", "app/triage.py::Triage.PROMPT")
    house.cases("module", "app/triage.py::SECOND")
    assert house.optimize().ret == pytest.ExitCode.OK
    (run,) = (path.name for path in house.path.glob(".promptopt/runs/*"))
    written = module.read_text(encoding="utf-8")
    module.write_text(written + "# mine\n", encoding="utf-8")
    result = house.run(f"--promptopt-restore={run}")
    result.stdout.fnmatch_lines(["app/triage.py: left alone, since it is not what the run wrote*"])
    module.write_text(written, encoding="utf-8")
    result = house.run(f"--promptopt-restore={run}")
    assert result.outlines == ["app/triage.py: restored"]
    assert module.read_text(encoding="utf-8") == MODULE


def test_a_constant_that_was_edited_meanwhile_is_not_written_over(house: House) -> None:
    module = house.file("app/triage.py", MODULE)
    house.cases("module", "app/triage.py::SECOND")
    house.write(
        "conftest.py",
        "from pathlib import Path\n\n"
        "def pytest_promptopt_iteration_finished(iteration):\n"
        "    path = Path(__file__).with_name('app') / 'triage.py'\n"
        "    path.write_text(path.read_text() + '# mine\\n')\n",
    )
    result = house.optimize()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*app/triage.py::SECOND: the file changed on disk since it was read*"])
    assert module.read_text(encoding="utf-8").startswith(MODULE)
    (beside,) = (house.path / "app").glob("triage.py.optimized-*")
    assert FOUND in beside.read_text(encoding="utf-8")


def test_under_xdist_it_is_the_same(house: House) -> None:
    house.file("app/triage.py", MODULE)
    house.cases("class", "app/triage.py::Triage.PROMPT")
    house.cases("module", "app/triage.py::SECOND", mark=', template="format"')
    house.commit()
    assert house.optimize(workers=2).ret == pytest.ExitCode.OK
    assert len(house.changes()) == 5


def test_the_mark_says_what_a_text_is_written_in(house: House) -> None:
    house.file("app.py", f'PROMPT = "{TASK} It costs $five.\\n\\n{{message}}"\n')
    house.cases("app", "app.py::PROMPT")
    result = house.run()
    result.stdout.fnmatch_lines(
        ["app.py:1: its template language could be format ({message}) or template ($five): say which, *"]
    )
    house.cases("app", "app.py::PROMPT", mark=', template="format"')
    assert house.run("--tb=no").parseoutcomes() == {"failed": len(TRAIN)}


def test_two_marks_that_say_different_things_are_an_error(house: House) -> None:
    house.file("app.py", 'PROMPT = "{message}"\n')
    house.cases("one", "app.py::PROMPT", mark=', template="format"')
    house.cases("two", "app.py::PROMPT", mark=', template="none"')
    result = house.run()
    result.stdout.fnmatch_lines(
        ["*app.py::PROMPT is read as format, here as none; give it the same template=*"]
    )


def test_a_frozen_stage_of_a_file_stays(house: House) -> None:
    house.file("app/triage.py", MODULE)
    house.cases("module", "app/triage.py::SECOND")
    house.cases("class", "app/triage.py::Triage.PROMPT", mark=", freeze=True")
    house.commit()
    house.optimize()
    assert house.changes() == ["+++ b/app/triage.py", f'+    "{FOUND}\\n"', '+    "\\n"']


def test_a_slip_in_front_matter_is_said_and_no_error(house: House) -> None:
    house.file("a.md", f"---\ntitle: mine\nmax-tokens: 5\n---\n{TASK} {FOUND}\n\n{{{{ message }}}}\n")
    house.cases("a", "a.md")
    result = house.run("--tb=no")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["promptopt: a.md:3: `max-tokens` is passed over; did you mean `max_tokens`[?]"]
    )


def test_a_script_names_sources_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    module = house.file("app/triage.py", MODULE)
    monkeypatch.chdir(house.path)
    result = optimize(
        "app/triage.py::SECOND",
        [Case({"message": message}, label) for message, label in TRAIN],
        model="demo",
        optimizer_model="demo",
        template="format",
        write=True,
    )
    assert [prompt.prompt for prompt in result.prompts] == ["app/triage.py::SECOND"]
    assert result.prompts[0].written
    assert module.read_text(encoding="utf-8") == MODULE.replace(
        '    "{message}"', f'    "{FOUND}\\n"\n    "\\n"\n    "{{message}}"'
    )


def test_what_the_process_has_imported_stays_known(house: House) -> None:
    module = house.file("app.py", 'PROMPT = "Sort {message}"\n')
    file = PromptFile.load("app.py::PROMPT", rootdir=house.path)
    module.write_text('PROMPT = "Sort this: {message}"\n', encoding="utf-8")
    again = file.read_again()
    assert (again.prose, again.as_imported().prose) == ("Sort this: {message}", "Sort {message}")


def test_a_run_that_was_cut_off_goes_on(house: House) -> None:
    """The tests import the module with the prompts: what the run writes there is no change of code."""
    module = house.file("app/triage.py", MODULE)
    house.cases("class", "app/triage.py::Triage.PROMPT")
    house.cases("module", "app/triage.py::SECOND")
    house.write("conftest.py", CONFTEST + "\nfrom app import triage\n")
    house.write("ctrl-c", "30")
    options = ("--optimize", "--tb=no", "-p", "no:asyncio", "--promptopt-cache=off")
    assert house.pytester.runpytest_subprocess(*options, timeout=90).ret == pytest.ExitCode.INTERRUPTED
    assert module.read_text(encoding="utf-8") == MODULE
    (house.path / "ctrl-c").unlink()
    result = house.run("--optimize-resume", "--tb=no")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["promptopt: continuing run *", "note: continued: * came from its journal, *"]
    )
    assert "changed since the run was begun" not in result.stdout.str()
    assert module.read_text(encoding="utf-8").count(FOUND) == 2
    assert len(list(house.path.glob(".promptopt/runs/*"))) == 1
    originals = [path for path in house.path.glob(".promptopt/runs/*/original/**/*") if path.is_file()]
    assert [path.read_text(encoding="utf-8") for path in originals] == [MODULE]
