"""From recorded requests to cases that are reviewed, run and kept: ``--promptopt-from-traces``."""

from __future__ import annotations

import json

import pytest

from tests import recorded
from tests.acceptance.projects import Project, git

REDACTING = """
import re

def pytest_promptopt_redact(text):
    return re.sub(r"[\\w.+-]+@[\\w-]+\\.[\\w.]+", "someone@example.com", text)
"""

SUITE = "evals/repeat.traces.promptopt.yaml"


#: A word that is repeated, the answer, and what a person said of it.
Said = tuple[str, str, str]


def write_export(project: Project, *calls: Said, name: str = "export.jsonl") -> None:
    """Calls of the project's prompt, as Langfuse exports them."""
    values = []
    for number, (word, answer, label) in enumerate(calls):
        asked = [{"role": "user", "content": f"Repeat after me, and add nothing: {word}"}]
        values.append(recorded.observation("", answer, number, input=asked))
        if label:
            said = {"dataType": "CATEGORICAL", "stringValue": label, "source": "ANNOTATION"}
            values.append(recorded.score(number, None, **said))
    recorded.write_lines(project.path / name, values)


class TestFromProductionToCases:
    """One story: import, look, review, run, and import again."""

    @pytest.fixture
    def project(self, pytester: pytest.Pytester) -> Project:
        project = Project(pytester)
        project.write("prompts/repeat.md", "Repeat after me, and add nothing: {{ word }}\n")
        project.append("conftest.py", REDACTING)
        project.write("evals/test_it.py", "def test_nothing():\n    raise Exception\n")
        return project

    def test_the_whole_way(self, project: Project) -> None:
        prompt = "--promptopt-prompt=prompts/repeat.md"
        write_export(
            project,
            ("ann@a.org", "ann@a.org", ""),
            ("b", "b", "correct"),
            ("b", "b", ""),
            ("c", "x", "wrong"),
        )
        result = project.run("evals", "--promptopt-from-traces=export.jsonl", prompt)
        assert result.ret == 0
        result.stdout.fnmatch_lines(
            [
                "4 recorded calls read (Langfuse)",
                f"prompts/repeat.md: 3 new cases of 4 calls, 1 of them reviewed: wrote {SUITE}",
                "cases that nobody has reviewed are skipped; look at `recorded` in them",
            ]
        )
        assert not (project.path / "calls.log").exists()
        written = project.path / SUITE
        assert "ann@a.org" not in written.read_text()
        assert 'recorded: "someone@example.com"' in written.read_text()

        result = project.run(SUITE, "-rs")
        result.assert_outcomes(passed=1, skipped=2)
        result.stdout.fnmatch_lines(
            ["SKIPPED*repeat.traces.promptopt.yaml:*: not reviewed: rename `recorded`*"]
        )

        written.write_text(written.read_text().replace("recorded: x", "expected: c"))
        project.run(SUITE).assert_outcomes(passed=2, skipped=1)

        before = written.read_bytes()
        write_export(project, ("b", "b", ""), ("d", "d", ""), name="next.jsonl")
        result = project.run("evals", "--promptopt-from-traces=next.jsonl")  # the suite names the prompt
        result.stdout.fnmatch_lines(
            ["prompts/repeat.md: 1 new case of 1 call, *; 1 case known already: wrote*"]
        )
        assert written.read_bytes().startswith(before)

        result = project.run("evals", "--promptopt-from-traces=next.jsonl")
        assert result.ret == 0
        result.stdout.fnmatch_lines([f"prompts/repeat.md: nothing new; 2 cases known already: {SUITE}"])

    def test_a_suite_that_nobody_has_reviewed_yet_names_its_prompt(self, project: Project) -> None:
        write_export(project, ("a", "a", ""))
        first = project.run(
            "evals", "--promptopt-from-traces=export.jsonl", "--promptopt-prompt=prompts/repeat.md"
        )
        second = project.run("evals", "--promptopt-from-traces=export.jsonl")
        assert (first.ret, second.ret) == (0, 0)
        second.stdout.fnmatch_lines(["prompts/repeat.md: nothing new; 1 case known already*"])
        project.run(SUITE).assert_outcomes(skipped=1)


def test_the_prompts_are_those_of_the_tests(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.write(
        "app/prompts.py", 'ROUTE = """' + recorded.PROMPT.replace("{{ ticket }}", "{ticket}") + '"""\n'
    )
    project.write(
        "tests/test_it.py",
        """
        import pytest

        @pytest.mark.prompt("../app/prompts.py::ROUTE")
        def test_route(prompt):
            assert prompt(ticket="a") == "billing"
        """,
    )
    spans = [recorded.conventions("Where is it?", "delivery"), {"gen_ai.operation.name": "invoke_agent"}]
    without = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5-mini"}
    other = recorded.openllmetry("", "x") | {"gen_ai.prompt.0.content": "Another task."}
    recorded.write_lines(
        project.path / "export.jsonl", [recorded.otlp(spans), recorded.otlp([without, other], 2)]
    )
    result = project.run("tests", "--promptopt-from-traces=export.jsonl")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "3 recorded calls read (OTLP); 1 other span left out",
            "app/prompts.py::ROUTE: 1 new case of 1 call, 0 of them reviewed: wrote tests/prompts-ROUTE*",
            "  1 call left out: their messages were not recorded; *CAPTURE_MESSAGE_CONTENT=true",
            "  1 call left out: they hold the text of none of the prompts; one of them: the messages are*",
        ]
    )
    project.run("tests/prompts-ROUTE.traces.promptopt.yaml").assert_outcomes(skipped=1)


MISTAKES = {
    "no such file": ("none.jsonl", "", "there is no file *none.jsonl; name an export of traces"),
    "a torn line": ("torn.jsonl", "", "torn.jsonl:2: it is not JSON: *; the file ends in*"),
    "nothing fits": ("other.jsonl", "", "none of 1 call can be a case"),
    "no calls": ("empty.jsonl", "", "no call of a model is recorded there; 1 other span left out"),
    "workers": ("other.jsonl", "-n2", "*; leave -n out, or add -n 0"),
    "optimize": ("other.jsonl", "--optimize", "*runs no test; leave --optimize out"),
    "collect only": ("other.jsonl", "--collect-only", "*--collect-only runs no case, and*"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_and_nothing_is_written(pytester: pytest.Pytester, mistake: str) -> None:
    name, option, told = MISTAKES[mistake]
    project = Project(pytester)
    project.write("prompts/repeat.md", "Repeat after me, and add nothing: {{ word }}\n")
    recorded.write_lines(project.path / "other.jsonl", [recorded.observation("", "", 1)])
    span = {"id": "1", "traceId": "2", "type": "SPAN"}
    recorded.write_lines(project.path / "empty.jsonl", [span])
    project.write("torn.jsonl", json.dumps(span) + '\n{"id": "1", "tra')
    args = [f"--promptopt-from-traces={name}", "--promptopt-prompt=prompts/repeat.md", option]
    result = project.run(*filter(None, args))
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: *{told}"])
    assert not list(project.path.rglob("*.promptopt.yaml"))


def test_a_project_without_prompts_is_told_how_to_name_one(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    recorded.write_lines(project.path / "other.jsonl", [recorded.observation("", "", 1)])
    result = project.run("--promptopt-from-traces=other.jsonl")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: --promptopt-from-traces: there is no prompt that the requests could*"]
    )


def test_a_mistake_in_a_test_file_is_pytests_to_tell(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.write("tests/test_it.py", "import nowhere_to_be_found\n")
    recorded.write_lines(project.path / "other.jsonl", [recorded.observation("", "", 1)])
    result = project.run("--promptopt-from-traces=other.jsonl", "--promptopt-prompt=prompts/repeat.md")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*Interrupted: 1 error during collection*"])


def test_a_hook_that_raises_ends_it_before_anything_is_written(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.write("prompts/repeat.md", "Repeat after me, and add nothing: {{ word }}\n")
    project.append("conftest.py", "\ndef pytest_promptopt_redact(text):\n    raise ValueError('no')\n")
    write_export(project, ("a", "a", ""))
    result = project.run("--promptopt-from-traces=export.jsonl", "--promptopt-prompt=prompts/repeat.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: pytest_promptopt_redact raised at conftest.py:*: ValueError: no"])
    assert not list(project.path.rglob("*.promptopt.yaml"))


def test_spans_and_annotations_in_two_files_are_read_as_one(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.write("prompts/route.md", recorded.PROMPT)
    tickets = ("Where is it?", "Who has paid?", "What now?")
    spans = [
        recorded.phoenix_span(recorded.openinference(ticket, "delivery"), number)
        for number, ticket in enumerate(tickets)
    ]
    recorded.write_lines(project.path / "spans.jsonl", spans)
    said = [
        recorded.annotation(0, "correct"),
        recorded.annotation(1, "incorrect", explanation="it is about money"),
        recorded.annotation(2, "correct", kind="LLM"),
    ]
    recorded.write_lines(project.path / "annotations.jsonl", [{"data": said, "next_cursor": None}])
    files = [f"--promptopt-from-traces={name}.jsonl" for name in ("spans", "annotations")]
    result = project.run(*files, "--promptopt-prompt=prompts/route.md")
    result.stdout.fnmatch_lines(["prompts/route.md: 3 new cases of 3 calls, 1 of them reviewed: wrote *"])
    text = (project.path / "route.traces.promptopt.yaml").read_text()
    assert "# a person said correctness: incorrect (it is about money)" in text
    assert (text.count("    expected: delivery"), text.count("    recorded: delivery")) == (1, 2)


def test_requests_of_an_earlier_text_are_cases_of_the_prompt_of_now(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.write("prompts/route.md", recorded.PROMPT)
    git(project.path, "init", "-q")
    git(project.path, "add", "prompts")
    git(project.path, "commit", "-qm", "one")
    project.write(
        "prompts/route.md", "Name the queue of a ticket, and nothing else, please.\n\n{{ ticket }}\n"
    )
    recorded.write_lines(project.path / "export.jsonl", [recorded.observation("Where is it?", "delivery", 1)])
    result = project.run("--promptopt-from-traces=export.jsonl", "--promptopt-prompt=prompts/route.md")
    result.stdout.fnmatch_lines(
        [
            "prompts/route.md: 1 new case of 1 call, 0 of them reviewed: wrote route.traces.promptopt.yaml",
            "1 call of earlier texts, which git has: their inputs are still cases",
        ]
    )
    assert "ticket: Where is it?" in (project.path / "route.traces.promptopt.yaml").read_text()
