"""A whole run over texts that want to be more than data: what is asked and what is shown keep their form."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest

from tests.acceptance.projects import CONFTEST, Project
from tests.injections import INJECTIONS, ORDER

#: Says back what it is asked; as an optimizer it has no idea.
ECHO = """
def said(request):
    if request.model == "house/optimizer":
        return "<reason>none</reason>"
    return request.messages[-1].content.partition("Repeat: ")[2].removesuffix(" (end)")
"""

TESTS = """
import json
from pathlib import Path

TEXTS = json.loads((Path(__file__).parent / "texts.json").read_text(encoding="utf-8"))

@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("text", list(TEXTS.values()), ids=list(TEXTS))
def test_text(prompt, text):
    assert prompt(text=text) == "fine"

@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("text", list(TEXTS.values()), ids=list(TEXTS))
def test_raises(prompt, text):
    answer = prompt(text=text)
    raise ValueError(answer)
"""

#: Half a character cannot be sent: its case is errored.
SENDABLE = {name: text for name, text in INJECTIONS.items() if name != "lone surrogates"}


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester)
    project.write("conftest.py", CONFTEST + ECHO)
    project.write("texts.json", json.dumps(INJECTIONS))
    project.write("prompts/repeat.md", "user:\nRepeat: {{ text }} (end)\n")
    project.ini("promptopt_model = house/target", "promptopt_optimizer_model = house/optimizer")
    project.tests(TESTS)
    return project


def controls(output: str) -> set[str]:
    """What a terminal or a reader would obey, or not see."""
    return {c for c in output if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c != "\n"} | set(
        re.findall("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", output)
    )


def test_a_run_shows_and_asks_nothing_out_of_form(project: Project) -> None:
    result = project.run(
        "--optimize-dry-run", "--promptopt-max-iterations=2", "--promptopt-report=report.json", "-vv", "-rA"
    )
    output = result.stdout.str()
    assert controls(output) == set()
    assert "INTERNALERROR" not in output
    result.assert_outcomes(failed=2 * len(SENDABLE), errors=2)

    report = json.loads((project.path / "report.json").read_bytes())
    (prompt,) = report["prompts"]
    assert [found["status"] for found in prompt["results"]].count("failed") == 2 * len(SENDABLE)

    requests = [call["messages"] for call in project.asked() if call["model"] == "house/optimizer"]
    assert requests
    for messages in requests:
        assert messages[0][0] == "system"
        assert ORDER not in messages[0][1]
        assert {role for role, _ in messages[1:]} <= {"user", "assistant"}
        told = messages[1][1]
        assert controls(told) == set()
        opened = re.findall(r"^<(\w+)", told, re.MULTILINE)
        closed = re.findall(r"^</(\w+)>$|</(\w+)>$", told, re.MULTILINE)
        assert len(opened) == len(set(opened) - {"category"}) + opened.count("category")
        assert opened.count("failures") == opened.count("current_prompt") == 1
        assert sum("failures" in tag for tag in closed) == 1
