"""A run in which a fifth of all requests fails: the same cases pass and fail, and none is errored."""

from __future__ import annotations

import json

import pytest

from pytest_promptopt.errors import CONSEQUENCES, ErrorKind
from tests.acceptance.projects import CONFTEST, Project
from tests.wire import FAULTS, Body, Storm, WireServer

CASES = 250

#: Waits that fit a server which answers at once.
QUICK = """
from pytest_promptopt.models import adaptive_timeout
from pytest_promptopt.models import retry
adaptive_timeout.LEAST = 0.5
attempts, _, _, *rest = retry.RetryPolicy.__init__.__defaults__
retry.RetryPolicy.__init__.__defaults__ = (attempts, 0.02, 0.1, *rest)
"""

#: Every third case fails, whatever the weather.
TESTS = """
@pytest.mark.prompt("say.md", max_tokens=20)
@pytest.mark.parametrize("number", range({cases}))
def test_say(prompt, number):
    assert prompt(number=number) == ("other" if number % 3 == 0 else str(number))
"""


def answer(body: Body) -> str:
    return str(body["messages"][-1]["content"]).split()[-1]


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "openai/gpt-4o-mini"])
def test_a_storm_changes_no_verdict(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    project = Project(pytester)
    project.write("conftest.py", QUICK)
    project.write("say.md", "Say {{ number }}")
    project.tests(TESTS.format(cases=CASES))
    project.ini(f"promptopt_model = {model}")
    storm = Storm(0.2, seed=4)
    with WireServer(answer=answer, weather=storm, latency=0.01) as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-0123456789")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        result = pytester.runpytest_subprocess("-p", "no:asyncio", "-q", "--tb=no")
    assert storm.seen.keys() == FAULTS.keys()
    failing = len(range(0, CASES, 3))
    result.assert_outcomes(passed=CASES - failing, failed=failing)


#: Fails with the kind that it is asked about; else it says back what it is asked.
FAULTY = """
def said(request):
    text = request.messages[-1].content.partition("Say: ")[2]
    if text.startswith("fault "):
        raise ModelError(ErrorKind(text.removeprefix("fault ")), f"unheard of: {text}", model=request.model)
    return text
"""

KINDS = """
@pytest.mark.prompt("say.md")
@pytest.mark.parametrize("kind", {kinds})
def test_fault(prompt, kind):
    try:
        answer = prompt(text="fault " + kind)
    except Exception as error:
        assert str(error) == kind

@pytest.mark.prompt("say.md")
def test_wrong(prompt):
    assert prompt(text="a") == "b"
"""


def test_no_kind_of_error_is_a_failure_or_feedback(pytester: pytest.Pytester) -> None:
    """Even if the test swallows it and then fails by an assert of its own."""
    ending = {ErrorKind.BUDGET, ErrorKind.DEFECT, *(kind for kind in ErrorKind if CONSEQUENCES[kind].stops)}
    kinds = [str(kind) for kind in ErrorKind if kind not in ending]
    project = Project(pytester)
    project.write("conftest.py", CONFTEST + FAULTY + QUICK)
    project.write("say.md", "Say: {{ text }}")
    project.tests(KINDS.format(kinds=kinds))
    project.ini("promptopt_model = house/target", "promptopt_optimizer_model = house/optimizer")
    result = project.pytester.runpytest_subprocess(
        "-p", "no:asyncio", "--optimize-dry-run", "--promptopt-max-iterations=1", "--promptopt-report=r.json"
    )
    result.assert_outcomes(errors=len(kinds), failed=1)
    (prompt,) = json.loads((project.path / "r.json").read_bytes())["prompts"]
    assert (prompt["failing"], prompt["errored"]) == (1, len(kinds))
    assert sorted(found["status"] for found in prompt["results"]) == ["errored"] * len(kinds) + ["failed"]
    told = str([call["messages"] for call in project.asked() if call["model"] == "house/optimizer"])
    assert "fault" not in told
    assert 'total="1"' in told
