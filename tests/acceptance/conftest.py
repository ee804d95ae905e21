"""`example`: a project as files, run by a real pytest, with a model that keeps a log of what it was asked.

`shop`: one whose application asks a provider by itself. `story`: one of a page of the documentation.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from .application_shop import Shop
from .desk import WEAK
from .doc_pages import ROOT
from .story import Story

# Loaded before pytester takes its snapshot of the loaded modules: a run in process would load them anew each
# time, and what kept a reference to the first ones would work with two of each class.
for module in ("deepdiff", "filelock", "jinja2.meta", "jinja2.sandbox", "rich", "yaml"):
    importlib.import_module(module)
for module in (
    "pytest_session.session_optimization",
    "pytest_session.case_runner",
    "pytest_session.summary",
    "models.demo",
    "reports.json_report",
):
    importlib.import_module(f"pytest_promptopt.{module}")

HERE = Path(__file__).parent

CONFTEST = """
import house
import pytest

@pytest.hookimpl(optionalhook=True)
def pytest_promptopt_resolve_model(name):
    return house.House(name) if name.startswith("house/") else None
"""
PROMPT = "---\nmodel: {model}\n---\nSay: {{{{ q }}}}\n"
HEADER = 'import pytest; from house import note; pytestmark = pytest.mark.prompt("say.md")\n'

#: What differs between two equal runs, and what the plugin adds to a session's output.
NOISE = (
    (re.compile(r" *\b\d+(?:\.\d+)?[mu]?s\b(?: \(\d+:\d\d:\d\d\))?"), " TIME"),
    (re.compile(r"\b0x[0-9a-f]+"), "0xADDRESS"),
    (re.compile(r"^(?:plugins|promptopt): .*\n", re.MULTILINE), ""),
    (re.compile(r"^(\d+ model calls?, |continue: ).*\n", re.MULTILINE), ""),
    (re.compile(r"^-+ answer of \S+ -+\n.*\n", re.MULTILINE), ""),
    # Up to what pytest prints last: why it stopped, and its counts.
    (re.compile(r"^=+ why prompts fail =+\n(?:(?![=!]|\d+ (?:passed|failed|error)).*\n)*", re.MULTILINE), ""),
    (re.compile(r"([=_-])\1{3,}"), r"\1\1\1"),
    (re.compile(r" +$", re.MULTILINE), ""),
    (re.compile(r"\n{3,}"), "\n\n"),
)
JUNIT_NOISE = re.compile(r' (?:time|timestamp|hostname)="[^"]*"|(?<=0x)[0-9a-f]+')


@dataclass(frozen=True)
class Run:
    """What one run of an example did and showed."""

    ret: int
    output: str
    outcomes: Mapping[str, int]
    #: What the model was asked, in the order of the calls, and how many calls were in flight at once at most.
    asked: tuple[str, ...]
    peak: int
    #: What the project wrote down with `note`.
    notes: tuple[str, ...]
    #: Its ``junit.xml`` without times, if it was asked for.
    junit: str

    @property
    def shown(self) -> str:
        """The output without times, addresses, and the lines that only the plugin writes."""
        text = self.output
        for pattern, replacement in NOISE:
            text = pattern.sub(replacement, text)
        return text


class Example:
    """A project in a folder of its own; its runs load no other plugin than those they name with ``-p``.

    Each run starts with empty logs and keeps caches, unless `forget` is called.
    """

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.path = pytester.path
        self._pytester = pytester
        self.files(
            {
                "conftest.py": CONFTEST,
                "house.py": (HERE / "inner_house.py").read_text(encoding="utf-8"),
                "standin.py": (HERE / "inner_standin.py").read_text(encoding="utf-8"),
                "pytest.ini": "[pytest]\n",
            }
        )
        self.model("house/echo")
        pytester.syspathinsert()
        pytester._monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def files(self, files: Mapping[str, str]) -> Example:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return self

    def model(self, name: str) -> Example:
        """Which model ``say.md`` is for."""
        return self.files({"say.md": PROMPT.format(model=name)})

    def conftest(self, source: str) -> Example:
        return self.files({"conftest.py": CONFTEST + dedent(source)})

    def tests(self, source: str, *, name: str = "test_it.py") -> Example:
        """A module of tests that use ``say.md``."""
        return self.files({name: HEADER + dedent(source)})

    def run(self, *args: str, process: bool = False, plugin: bool = True) -> Run:
        """Run pytest. ``process=True`` where capture, imports or workers matter."""
        for log in ("calls.log", "notes.log", "junit.xml"):
            (self.path / log).unlink(missing_ok=True)
        own = ("-p", "promptopt") if plugin else ("-p", "standin")
        pytester = self._pytester
        with warnings.catch_warnings():
            warnings.resetwarnings()  # the filters of these tests are not those of the example
            result = (pytester.runpytest_subprocess if process else pytester.runpytest_inprocess)(*own, *args)
        starts, peak = self._calls()
        return Run(
            ret=int(result.ret),
            output=result.stdout.str() + "\n" + result.stderr.str(),
            outcomes=_outcomes(result),
            asked=starts,
            peak=peak,
            notes=self._lines("notes.log"),
            junit=JUNIT_NOISE.sub("", "\n".join(self._lines("junit.xml"))),
        )

    def forget(self) -> Example:
        """Remove what runs left behind: answers, last failures, bytecode."""
        for name in (".promptopt", ".pytest_cache"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        return self

    def runs_as_without_plugin(self, *args: str, process: bool = False) -> Run:
        """Run with the plugin and without it, and hold that everything else is the same."""
        ours = self.run(*args, process=process)
        plain = self.run(*args, process=process, plugin=False)
        assert ours.shown.splitlines() == plain.shown.splitlines()
        assert (ours.ret, ours.outcomes, ours.notes) == (plain.ret, plain.outcomes, plain.notes)
        assert ours.junit == plain.junit
        return ours

    def _lines(self, name: str) -> tuple[str, ...]:
        path = self.path / name
        return tuple(path.read_text(encoding="utf-8").splitlines()) if path.exists() else ()

    def _calls(self) -> tuple[tuple[str, ...], int]:
        asked, flying, peak = [], 0, 0
        for line in self._lines("calls.log"):
            event, _, question = line.split("\t")
            if event == "start":
                asked.append(str(ast.literal_eval(question)))
            flying += 1 if event == "start" else -1
            peak = max(peak, flying)
        return tuple(asked), peak


def _outcomes(result: pytest.RunResult) -> Mapping[str, int]:
    try:
        return result.parseoutcomes()
    except ValueError:  # no summary line
        return {}


@pytest.fixture
def example(pytester: pytest.Pytester) -> Example:
    return Example(pytester)


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with Shop.open(pytester, monkeypatch, ROOT) as found:
        yield found.write("prompts/sort.md", WEAK)


@pytest.fixture
def story(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.setenv("COLUMNS", "100")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    return Story(pytester)
