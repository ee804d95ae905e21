"""`--promptopt-mutate`: each instruction is left out, and those that no test notices are named."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from pytest_promptopt.prompts.examples import Example, with_examples
from pytest_promptopt.reports.json_schema import report_schema
from tests.acceptance.projects import Project
from tests.unit.test_reports_html import Parts

OK, FAILED, USAGE = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR
INTERRUPTED = pytest.ExitCode.INTERRUPTED

PROMPT = """---
description: Repeats words.
---
Repeat the word.
Answer in capitals. Never be rude.

- End with a full stop.
Word: {{ word }}
"""

#: It does what it is told, and nothing else.
OBEDIENT = """
def said(request):
    text = request.messages[-1].content
    word = text.rpartition(": ")[2]
    word = word.upper() if "in capitals" in text else word
    return word + "." * ("full stop" in text)
"""

#: Eight tests are about capitals, one is about the full stop, one fails whatever the prompt says.
TESTS = """
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", ["a", "b", "c", "d", "e", "f", "g", "h"])
def test_capitals(prompt, word):
    assert prompt(word=word).rstrip(".") == word.upper()

@pytest.mark.prompt("prompts/repeat.md")
def test_full_stop(prompt):
    assert prompt(word="i").endswith(".")

@pytest.mark.prompt("prompts/repeat.md")
def test_that_fails_already(prompt):
    assert prompt(word="j") == "?"
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester)
    project.append("conftest.py", OBEDIENT)
    project.write("prompts/repeat.md", PROMPT)
    project.tests(TESTS)
    return project


def asked(project: Project) -> int:
    log = project.path / "calls.log"
    return len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0


def test_it_names_the_instructions_that_no_test_notices(project: Project) -> None:
    result = project.run("--promptopt-mutate", "--promptopt-report=r.json", "--promptopt-report=r.md")
    assert result.ret == OK
    result.stdout.fnmatch_lines(
        [
            "promptopt: prompts/repeat.md: 4 instructions, 10 cases: about 62 calls, seldom more *",
            "*= instructions that no test notices =*",
            "prompts/repeat.md: no test notices 2 of 4 instructions",
            "  prompts/repeat.md:4: no test notices it (0 of 9; at most 28%)",
            "      Repeat the word.",
            "  prompts/repeat.md:5: no test notices it (0 of 9; at most 28%)",
            "      Never be rude.",
            "  prompts/repeat.md:5: noticed by * of * cases (*%)",
            "      Answer in capitals.",
            "  prompts/repeat.md:7: noticed by 1 of 9 cases (2% to 43%)",
            "      - End with a full stop.",
            "  1 case of 10 failed with the prompt as it is: such a case cannot notice anything",
        ]
    )
    assert (project.path / "prompts/repeat.md").read_text(encoding="utf-8") == PROMPT
    report: Any = json.loads((project.path / "r.json").read_bytes())
    jsonschema.validate(report, report_schema())
    (found,) = report["mutation"]["prompts"]
    assert report["prompts"] == []
    assert (found["cases"], found["usable"], found["failing"]) == (10, 9, 1)
    assert [(each["line"], each["verdict"]) for each in found["instructions"]] == [
        (4, "not noticed"),
        (5, "noticed"),
        (5, "not noticed"),
        (7, "noticed"),
    ]
    assert found["instructions"][3]["failing"] == ["test_it.py::test_full_stop"]
    assert report["mutation"]["runs_per_case"] <= 2.0
    assert "| 4 | `Repeat the word.` | no test notices it" in (project.path / "r.md").read_text("utf-8")
    made = asked(project)
    assert report["calls"]["made"] == made == report["mutation"]["runs"]
    again = project.run("--promptopt-mutate", "--promptopt-report=again.json")
    assert (again.ret, asked(project)) == (OK, made), "all answers are known"
    second = json.loads((project.path / "again.json").read_bytes())
    assert second["mutation"] == report["mutation"]
    assert (second["calls"]["cached"], second["calls"]["made"]) == (made, 0)


def test_a_ceiling_ends_it_and_the_next_session_goes_on(project: Project) -> None:
    result = project.run("--promptopt-mutate", "--promptopt-max-calls=25")
    assert result.ret == FAILED, "nothing was found out"
    result.stdout.fnmatch_lines(
        [
            "promptopt: *; --promptopt-max-calls=25 may end it before",
            "prompts/repeat.md: none of 4 instructions was tried",
            "  prompts/repeat.md:4: not tried: it ended before",
            "it ended early: *25*",
        ]
    )
    before = asked(project)
    assert before <= 25
    whole = project.run("--promptopt-mutate", "--promptopt-report=r.json")
    assert whole.ret == OK
    made = json.loads((project.path / "r.json").read_bytes())["calls"]["made"]
    assert asked(project) == before + made


def test_other_ways_find_what_the_model_does_anyway(project: Project) -> None:
    """Left out, it is not missed; turned round, a test notices it: that instruction is guarded."""
    project.append(
        "conftest.py",
        """
old = said
def said(request):
    return "Fool!" if "Always be rude" in request.messages[-1].content else old(request)
""",
    )
    result = project.run("--promptopt-mutate", "--promptopt-mutate-by=delete,negate")
    result.stdout.fnmatch_lines(
        [
            "prompts/repeat.md: no test notices 1 of 4 instructions",
            "  prompts/repeat.md:5: noticed by 8 of 8 * when it is turned round, not when it is deleted",
            "      Never be rude.",
        ]
    )


def test_an_answer_that_is_wrong_once_is_no_notice(project: Project) -> None:
    luck = """
    old = said
    def said(request):
        text = request.messages[-1].content
        unlucky = request.sample == 0 and "rude" not in text and text.endswith((": a", ": b", ": i"))
        return "luck" if unlucky else old(request)
    """
    project.append("conftest.py", "\n".join(line[4:] for line in luck.splitlines()))
    result = project.run("--promptopt-mutate")
    result.stdout.fnmatch_lines(
        [
            "  prompts/repeat.md:5: no test notices it (0 of 9; at most 28%; 3 cases failed once, by what *)",
            "      Never be rude.",
        ]
    )


def test_a_prompt_in_code_has_the_lines_of_its_file(project: Project) -> None:
    project.write("app.py", 'import re\n\nPROMPT = """\\\nAnswer in capitals.\nBe kind.\nWord: {word}"""\n')
    project.tests(
        """
        @pytest.mark.prompt("app.py::PROMPT")
        @pytest.mark.parametrize("word", ["a", "b", "c"])
        def test_capitals(prompt, word):
            assert prompt(word=word) == word.upper()
        """
    )
    result = project.run("--promptopt-mutate")
    result.stdout.fnmatch_lines(
        ["  app.py:5: no test notices it (0 of 3; at most 63%)", "  app.py:4: noticed by 3 of 3 *"]
    )


def test_ctrl_c_shows_what_is_known_and_pays_nothing_twice(project: Project) -> None:
    project.append(
        "conftest.py",
        """
import contextlib, signal
calm = said
def said(request):
    if "Repeat the word" not in request.messages[-1].content:
        with contextlib.suppress(FileNotFoundError):  # once, whichever of the calls in flight is first
            (LOG.parent / "stop").unlink()
            os.kill(os.getpid(), signal.SIGINT)
    return calm(request)
""",
    )
    project.write("stop", "")
    stopped = project.pytester.runpytest_subprocess("-p", "no:asyncio", "--promptopt-mutate", timeout=60)
    assert stopped.ret == INTERRUPTED
    stopped.stdout.fnmatch_lines(
        [
            "prompts/repeat.md: none of 4 instructions was tried",
            "  prompts/repeat.md:4: not tried: *",
            "it ended early: interrupted",
        ]
    )
    before = asked(project)
    assert project.run("--promptopt-mutate", "--promptopt-report=r.json").ret == OK
    assert json.loads((project.path / "r.json").read_bytes())["calls"]["made"] < before + 60


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--promptopt-mutate", "--optimize"), "--promptopt-mutate runs no optimization: give one of them"),
        (("--promptopt-mutate", "--optimize-dry-run"), "--promptopt-mutate runs no optimization"),
        (
            ("--promptopt-mutate", "--promptopt-calibrate"),
            "--promptopt-calibrate and --promptopt-mutate: give one",
        ),
        (("--promptopt-mutate", "--co"), "--promptopt-mutate: --collect-only runs no case; leave it out"),
        (("--promptopt-mutate", "--setup-show"), "--promptopt-mutate: --setup-show is to show every run"),
        (("--promptopt-mutate", "--sw"), "--promptopt-mutate: --sw stops at the first failure"),
        (("--promptopt-mutate", "-n2"), "--promptopt-mutate runs all cases in one process; leave -n out"),
        (
            ("--promptopt-mutate", "--promptopt-save-baseline"),
            "is about a plain check; leave --promptopt-mutate out",
        ),
        (("--promptopt-mutate", "--promptopt-gate-samples=4"), "is about a plain check; leave --optimize, "),
        (
            ("--promptopt-mutate", "--promptopt-mutate-by=shout"),
            "'shout' is not one of delete, weaken, negate",
        ),
        (
            ("--promptopt-mutate-by=negate",),
            "--promptopt-mutate-by=negate is of --promptopt-mutate: add that",
        ),
        (
            ("--promptopt-mutate", "test_plain.py"),
            "--promptopt-mutate: there is no prompt to break: none of the 1 ",
        ),
        (("--promptopt-mutate", "test_frozen.py"), "--promptopt-mutate: every prompt is frozen (freeze= in "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_does_not_go_together_is_refused_before_a_call(
    project: Project, options: tuple[str, ...], said: str
) -> None:
    project.write("test_plain.py", "def test_it(): pass\n")
    frozen = '@pytest.mark.prompt("prompts/repeat.md", freeze=True)\ndef test_it(prompt): prompt(word="a")\n'
    project.write("test_frozen.py", f"import pytest\n{frozen}")
    result = project.run(*options)
    assert result.ret == USAGE
    assert said in result.stderr.str() + result.stdout.str()
    assert asked(project) == 0


def test_a_page_has_it_and_a_report_that_has_no_place_for_it_is_named(project: Project) -> None:
    result = project.run("--promptopt-mutate", "--promptopt-report=r.html", "--promptopt-report=r.xml")
    result.stdout.fnmatch_lines(
        ["promptopt: *r.xml was not written: what --promptopt-mutate finds goes into *"]
    )
    assert not (project.path / "r.xml").exists()
    page = Parts((project.path / "r.html").read_text(encoding="utf-8")).data("data")["mutation"]
    assert page["prompts"][0]["said"] == "no test notices 2 of 4 instructions"
    assert page["prompts"][0]["found"][0][:3] == ["not noticed", 4, "Repeat the word."]


#: It answers with an example where it sees one for the word, else it does what it is told.
COPYING = (
    OBEDIENT
    + """
obedient = said

def said(request):
    *before, last = request.messages
    shown = {asked.content: answer.content for asked, answer in zip(before[::2], before[1::2])}
    word = last.content.rpartition(": ")[2]
    known = {text.rpartition(": ")[2]: answer for text, answer in shown.items()}
    return known.get(word) or obedient(request)
"""
)

#: Both of the tests stand in the prompt as examples.
SHOWN = """
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", ["a", "b"])
def test_capitals(prompt, word):
    assert prompt(word=word) == word.upper()
"""


def test_a_case_that_is_an_example_does_not_read_its_answer_off(project: Project) -> None:
    body = "Answer in capitals. Never be rude.\nWord: {{ word }}"
    examples = [Example({"word": word}, word.upper()) for word in ("a", "b")]
    project.write("prompts/repeat.md", with_examples(body, examples) + "\n")
    project.append("conftest.py", COPYING)
    project.tests(SHOWN)
    result = project.run("--promptopt-mutate")
    result.stdout.fnmatch_lines(
        ["  prompts/repeat.md:*: noticed by 2 of 2 cases (*", "      Answer in capitals."]
    )


REDACTING = """
def pytest_promptopt_redact(text):
    raise RuntimeError("not today")
"""


def test_a_hook_that_raises_ends_it_with_a_sentence(project: Project) -> None:
    example = Example({"word": "a"}, "A")
    project.write(
        "prompts/repeat.md", with_examples("Answer in capitals.\nWord: {{ word }}", [example]) + "\n"
    )
    project.append("conftest.py", REDACTING)
    result = project.run("--promptopt-mutate")
    assert result.ret == FAILED
    result.stdout.fnmatch_lines(["it ended early: pytest_promptopt_redact raised at conftest.py:*not today*"])
