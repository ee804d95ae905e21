"""Tools, images and documents in a project: called, checked, cached, fed back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.projects import Project

#: The house agent looks up the city of the question, in the unit that the prompt names. The house writer
#: writes a prompt that names the unit.
AGENT = """
from pytest_promptopt import ToolCall

def said(request):
    if request.model == "house/writer":
        with open("asked.txt", "a") as log:
            log.write("\\n".join(message.content for message in request.messages) + "\\n====\\n")
        return "<reason>units</reason><new_prompt>Look it up, unit C always: {{ city }}</new_prompt>"
    text = request.messages[-1].content
    city = text.rpartition(": ")[2]
    if not request.tools:
        return "I have no tools"
    if city == "nowhere":
        return "There is no such city."
    return ToolCall("weather", {"city": city, "unit": "C" if "unit C" in text else "F"})
"""

TESTS = '''
import pytest
from pytest_promptopt import ToolCall

def weather(city: str, unit: str = "F") -> str:
    """The weather of a city.

    :param unit: C or F
    """

@pytest.mark.parametrize("city", ["Oslo", "Rome", "Paris", "Bonn", "Riga", "Turin", "Lima", "Cork"])
@pytest.mark.prompt("prompts/look.md")
def test_call(prompt, city):
    answer = prompt(city=city, tools=[weather])
    assert answer.tool_calls == [ToolCall("weather", {"city": city, "unit": "C"})]
'''


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester)
    project.append("conftest.py", AGENT)
    project.write("prompts/look.md", "Look it up: {{ city }}\n")
    return project


@pytest.fixture(params=[0, 2], ids=["plain", "xdist"])
def workers(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_call_of_a_tool_is_an_answer(project: Project, workers: int) -> None:
    """Whose text is empty; it is paid once, and is the same from the cache, in a worker or not."""
    project.tests('''
        import pytest

        def weather(city: str, unit: str = "F") -> str:
            """The weather of a city."""

        @pytest.mark.prompt("prompts/look.md")
        def test_tool_only(prompt):
            answer = prompt(city="Oslo", tools=[weather], tool_choice="required")
            assert answer == "" and answer.stop_reason == "tool_use"
            [call] = answer.tool_calls
            assert (call.name, call.id) == ("weather", "call_1")
            assert call.arguments == {"city": "Oslo", "unit": "F"}
            assert answer.content == [call]

        @pytest.mark.prompt("prompts/look.md")
        def test_text(prompt):
            answer = prompt(city="nowhere", tools=[weather])
            assert answer == "There is no such city." and answer.tool_calls == []
    ''')
    project.run(workers=workers).assert_outcomes(passed=2)
    project.run(workers=workers).assert_outcomes(passed=2)
    asked = project.asked()
    assert [call["tools"] for call in asked] == [["weather"], ["weather"]]


def test_a_wrong_call_is_told_as_such(project: Project, workers: int) -> None:
    project.tests(TESTS)
    result = project.run(workers=workers)
    result.assert_outcomes(failed=8)
    shown = result.stdout.str()
    assert "wrong tool call" in shown
    assert "another value for the argument unit of weather (8)" in " ".join(shown.split())
    assert '  the argument unit of weather: expected "C" but got "F"' in shown
    assert 'weather", "arguments": {"city": "Oslo", "unit": "F"}' in shown


def test_an_optimization_is_told_of_tools_and_faults(project: Project, workers: int) -> None:
    project.tests(TESTS)
    options = ("--promptopt-optimizer-model=house/writer", "--promptopt-seed=1")
    result = project.run("--optimize", *options, workers=workers)
    result.assert_outcomes(passed=8)
    assert (project.path / "prompts/look.md").read_text() == "Look it up, unit C always: {{ city }}\n"
    asked = (project.path / "asked.txt").read_text()
    assert '<category name="wrong tool call" count="8">' in asked
    assert "weather(city: string, unit?: string): The weather of a city." in asked
    assert 'tool call: the argument unit of weather: expected "C" but got "F"' in asked
    assert "<examples_before_it>" not in asked


def test_arguments_are_redacted_too(project: Project) -> None:
    hide = """
def pytest_promptopt_redact(text):
    return text.replace("Oslo", "CITY")
"""
    project.append("conftest.py", hide)
    project.tests(TESTS)
    project.run("--optimize", "--promptopt-optimizer-model=house/writer").assert_outcomes(passed=8)
    asked = (project.path / "asked.txt").read_text()
    assert '"city": "CITY"' in asked.replace('\\"', '"')
    assert "Oslo" not in asked
    assert '<category name="wrong tool call" count="8">' in asked


def test_a_prompt_may_have_variables_of_these_names(project: Project) -> None:
    project.write("prompts/rag.md", "Answer from {{ documents }}: {{ tools }}\n")
    project.tests("""
        import pytest

        @pytest.mark.prompt("prompts/rag.md")
        def test_it(prompt):
            assert prompt(documents=["a", "b"], tools=None) == "I have no tools"
    """)
    project.run().assert_outcomes(passed=1)
    [asked] = project.asked()
    assert asked["messages"] == [["user", "Answer from ['a', 'b']: None"]]


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def test_an_image_is_cached_by_its_bytes_and_stored_nowhere(project: Project, workers: int) -> None:
    (project.path / "shots").mkdir()
    (project.path / "shots/receipt.png").write_bytes(PNG)
    project.tests("""
        import pytest
        from pathlib import Path
        from pytest_promptopt import Image

        @pytest.mark.prompt("prompts/look.md")
        @pytest.mark.parametrize("image", ["shots/receipt.png", Image("shots/receipt.png")])
        def test_it(prompt, image):
            assert prompt(city="Oslo", images=[image]) == "A receipt."
    """)
    project.write(
        "conftest.py",
        (project.path / "conftest.py").read_text() + "\n\ndef said(request):\n    return 'A bill.'\n",
    )
    result = project.run(workers=workers)
    result.assert_outcomes(failed=2)
    (project.path / "shots/receipt.png").rename(project.path / "shots/other.png")
    test = project.path / "tests" / "test_it.py"
    [test] = [path for path in project.path.rglob("test_*.py")]
    test.write_text(test.read_text().replace("receipt.png", "other.png"))
    project.run(workers=workers).assert_outcomes(failed=2)
    assert len(project.asked()) == 1  # the same bytes under another name
    (project.path / "shots/other.png").write_bytes(PNG + b"more")
    project.run(workers=workers).assert_outcomes(failed=2)
    assert len(project.asked()) == 2
    stored = [path for path in project.path.rglob("*") if path.is_file() and ".promptopt" in path.parts]
    assert stored
    assert all(PNG[40:140] not in path.read_bytes() for path in stored)


def test_an_optimizer_reads_of_an_image_its_name(project: Project, workers: int) -> None:
    (project.path / "receipt.png").write_bytes(PNG)
    project.tests("""
        from pathlib import Path
        import pytest
        from pytest_promptopt import Image

        @pytest.mark.parametrize("city", ["Oslo", "Rome", "Paris", "Bonn"])
        @pytest.mark.prompt("prompts/look.md")
        def test_it(prompt, city):
            seal = Path(__file__).with_name("receipt.png").read_bytes() + b"seal"
            answer = prompt(city=city, images=["receipt.png", Image(seal, name="seal.png")])
            assert answer == f"unit C in {city}"
    """)
    project.write(
        "conftest.py",
        (project.path / "conftest.py").read_text()
        + """
agent = said

def said(request):
    if request.model == "house/writer":
        return agent(request)
    text = request.messages[-1].content
    return ("unit C in " if "unit C" in text else "in ") + text.rpartition(": ")[2]
""",
    )
    result = project.run("--optimize", "--promptopt-optimizer-model=house/writer", workers=workers)
    result.assert_outcomes(passed=4)
    asked = (project.path / "asked.txt").read_text()
    assert "receipt.png (image/png, 10 kB), seal.png (image/png, 10 kB)" in asked
    [journal] = project.path.rglob("journal.jsonl")
    assert all(PNG[40:60].hex() not in line for line in journal.read_text().splitlines())
    assert json.loads(journal.read_text().splitlines()[0])


A = "{'name': 'a', 'input_schema': {'type': 'object'}}"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("images=['prompts/look.md']", "images[[]0]: look.md is of type text/plain; images are PNG, JPEG, *"),
        ("images=['prompts']", "images[[]0]: prompts is a folder; accepted are files"),
        ("images=[b'']", "images[[]0]: what is given is empty"),
        (
            "documents=[b'\\0']",
            "documents[[]0]: what is given is of a type that nobody knows; documents are *",
        ),
        ("images=7", "images= must be a list of paths or bytes, got 7"),
        ("tools=[print]", "tools[[]0]: print*cannot be a tool: *"),
        (
            "tools=[lambda city: city]",
            "tools[[]0]: <lambda> (*test_it.py:*) cannot be a tool: the parameter *",
        ),
        ("tools=[{'type': 'web_search', 'name': 'b'}]", "tools[[]0] is no function to be called (*own*"),
        ("tools=[{'name': 'a b', 'input_schema': {'type': 'object'}}]", "tools[[]0] is called 'a b'; *"),
        (
            f"tools=[{A.replace('object', 'string')}]",
            "tools[[]0] (a): its parameters must be of type 'object'*",
        ),
        (f"tools=[{A}], tool_choice='b'", "tool_choice='b' is no choice; accepted are 'auto'*(tools: 'a')"),
        (f"tools=[{A}, {A}]", "tools[[]1] is called 'a', as one before it is"),
        ("tool_choice='auto'", "tool_choice='auto' without tools="),
    ],
)
def test_a_mistake_is_named(project: Project, call: str, said: str) -> None:
    project.tests(
        f'@pytest.mark.prompt("prompts/look.md")\ndef test_it(prompt):\n    prompt(city="a", {call})\n'
    )
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*prompt(...): {said}*"])
    assert project.asked() == []
