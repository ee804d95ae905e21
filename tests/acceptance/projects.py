"""A small project in pytester's folder: prompts, tests, and a model of its own that logs its calls."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_promptopt.testing import ProjectFolder

#: The house model says what follows the last colon of what it is asked; it refuses "boom".
#: `house/slow` takes its time. A test that needs other answers appends a `said` of its own.
CONFTEST = """
import asyncio, json, os
from pathlib import Path
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.records import Usage
from pytest_promptopt.testing import FakeModel

LOG = Path(__file__).with_name("calls.log")

def pytest_promptopt_resolve_model(name):
    if not name.startswith("house/"):
        return None
    seconds = 0.05 if name == "house/slow" else None
    return FakeModel(lambda request: said(request), seconds=seconds, usage=Usage(10, 1), cost=0.001, log=LOG)

def said(request):
    text = request.messages[-1].content.rpartition(": ")[2]
    if text == "boom":
        raise ModelError(ErrorKind.BAD_REQUEST, "the house model refuses boom", model=request.model)
    return text
"""

#: A test class as unittest has it, which takes the prompt by a fixture of its own.
UNITTEST = """
import unittest

@pytest.mark.prompt("prompts/repeat.md")
class TestOld(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _prompt(self, prompt):
        self.prompt = prompt

    def test_good(self):
        self.assertEqual(self.prompt(word="a"), "a")

    def test_bad(self):
        self.assertEqual(self.prompt(word="a"), "b")
"""

#: A hook of a conftest.py that says who answers, when the tests are planned already.
MARKING_HOOK = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.prompt(model="house/added"))
"""


def git(folder: Path, *words: str) -> str:
    """What git says in a folder, whoever's machine this is."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    return done.stdout


class Project(ProjectFolder):
    """Has ``prompts/repeat.md`` and asks ``house/repeat`` unless a test says otherwise."""

    def __init__(self, pytester: pytest.Pytester, *ini: str, path: Path | None = None) -> None:
        """:param path: rootdir; None for pytester's folder."""
        self.pytester = pytester
        super().__init__(path or pytester.path)
        self.write("conftest.py", CONFTEST)
        self.write("prompts/repeat.md", "Repeat: {{ word }}\n")
        self.ini("promptopt_model = house/repeat", *ini)

    def append(self, name: str, text: str) -> None:
        """Add `text` to a file as it is."""
        self.write(name, (self.path / name).read_text(encoding="utf-8") + text)

    def run(self, *args: str, workers: int = 0, process: bool = False) -> pytest.RunResult:
        """:param process: in one of its own, that takes along what is left open there."""
        spread = ("-n", str(workers)) if workers else ()
        run = self.pytester.runpytest_subprocess if process else self.pytester.runpytest_inprocess
        return run("-p", "no:asyncio", *spread, *args)
