"""Fixtures above function scope are set up exactly as often, and in the same order, as without the plugin."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Example

#: A fixture of any scope that writes down its life.
FIXTURE = """
@pytest.fixture(scope="{scope}"{more})
def {name}(request{needs}):
    label = "{name} " + str(getattr(request, "param", ""))
    note(label + "up")
    yield getattr(request, "param", None)
    note(label + "down")
"""


def fixture(name: str, scope: str, *, more: str = "", needs: str = "") -> str:
    return FIXTURE.format(name=name, scope=scope, more=more and f", {more}", needs=needs and f", {needs}")


ASKS = "assert prompt(q=prompt(q=word) + '!') == word + '!'"
CASES = f"""
@pytest.mark.parametrize("word", "ab")
def test_one(prompt, word, shared): {ASKS}

@pytest.mark.parametrize("word", "cd")
def test_two(prompt, word, shared): {ASKS}
"""
CLASSES = f"""
class TestOne:
    @pytest.mark.parametrize("word", "ab")
    def test_it(self, prompt, word, shared): {ASKS}

class TestTwo:
    @pytest.mark.parametrize("word", "cd")
    def test_it(self, prompt, word, shared): {ASKS}
"""

SUITES = {
    "session": fixture("shared", "session") + CASES,
    "session, parametrized": fixture("shared", "session", more="params=[1, 2]") + CASES,
    "module": fixture("shared", "module") + CASES,
    "module, parametrized": fixture("shared", "module", more="params=[1, 2]") + CASES,
    "class": fixture("shared", "class") + CLASSES,
    "class, parametrized": fixture("shared", "class", more="params=[1, 2]") + CLASSES,
    "package": fixture("shared", "package") + CASES,
    "on each other": fixture("low", "module", needs="top")
    + fixture("top", "session")
    + fixture("shared", "class", needs="low")
    + CLASSES,
    "autouse": fixture("other", "module", more="autouse=True")
    + fixture("shared", "class", more="autouse=True")
    + CLASSES,
    "by indirect parameters": fixture("shared", "module")
    + """
@pytest.mark.parametrize("shared", ["x", "y"], indirect=True)
@pytest.mark.parametrize("word", "ab")
def test_it(prompt, shared, word): """
    + ASKS,
    "by getfixturevalue": fixture("late", "module")
    + fixture("shared", "class")
    + f"""
class TestOne:
    @pytest.mark.parametrize("word", "ab")
    def test_it(self, prompt, word, request):
        request.getfixturevalue("shared")
        {ASKS}
        request.getfixturevalue("late")

class TestTwo:
    @pytest.mark.parametrize("word", "cd")
    def test_it(self, prompt, word, shared): {ASKS}
""",
    "xunit": f"""
def setup_module(): note("module up")
def teardown_module(): note("module down")

class TestOne:
    @classmethod
    def setup_class(cls): note("class up")
    @classmethod
    def teardown_class(cls): note("class down")
    @pytest.mark.parametrize("word", "ab")
    def test_it(self, prompt, word): {ASKS}

@pytest.mark.parametrize("word", "cd")
def test_two(prompt, word): {ASKS}
""",
    "unittest": """
import unittest

class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls): note("class up")
    @classmethod
    def tearDownClass(cls): note("class down")
    @pytest.fixture(autouse=True)
    def ask(self, prompt): self.ask = prompt
    def test_one(self): self.assertEqual(self.ask(q=self.ask(q="a") + "!"), "a!")
    def test_two(self): self.assertTrue(self.ask(q="b") == "c")
    @unittest.expectedFailure
    def test_three(self): self.assertTrue(self.ask(q="b") == "c")
    def test_four(self): self.skipTest(self.ask(q="b"))

class TestOne(Case): pass
class TestTwo(Case): pass
del Case
""",
    "not at all": CASES.replace(", shared", ""),
    "that fail at teardown": """
@pytest.fixture(scope="class")
def shared():
    yield
    raise OSError("broken")
"""
    + CLASSES,
    "of a module that fail at teardown": """
@pytest.fixture(scope="module")
def shared():
    yield
    raise OSError("broken")
"""
    + CLASSES,
    "that fail at setup": """
@pytest.fixture(scope="module")
def shared():
    note("up")
    raise OSError("broken")
"""
    + CASES,
    "that skip": """
@pytest.fixture(scope="module")
def shared():
    note("up")
    pytest.skip("not today")
"""
    + CASES,
}

MODULES = """
@pytest.fixture(scope="module", autouse=True)
def module(request):
    note(request.node.name + " up")
    yield
    note(request.node.name + " down")

@pytest.mark.parametrize("word", "ab")
def test_it(prompt, word, everywhere, changing): assert prompt(q=prompt(q=word) + "!") == word + "!"
"""


@pytest.mark.parametrize("source", SUITES.values(), ids=SUITES)
def test_fixtures_live_as_without_the_plugin(example: Example, source: str) -> None:
    run = example.tests(source).runs_as_without_plugin("-v", "-rA")
    assert run.asked or "broken" in source or "not today" in source


@pytest.mark.parametrize("source", SUITES.values(), ids=SUITES)
def test_also_when_some_answers_are_known(example: Example, source: str) -> None:
    example.tests(source).run("-k", "two or c")
    example.runs_as_without_plugin("-v")


def test_fixtures_of_several_modules(example: Example) -> None:
    shared = fixture("everywhere", "session") + fixture("changing", "session", more="params=[1, 2]")
    example.conftest("from house import note\n" + shared).files({"sub/__init__.py": ""})
    for name in ("test_a.py", "sub/test_b.py", "test_c.py"):
        example.tests(MODULES, name=name)
    run = example.runs_as_without_plugin("-v")
    assert run.outcomes == {"passed": 12}


def test_cases_between_other_tests(example: Example) -> None:
    example.tests(
        fixture("shared", "module")
        + f"""
@pytest.mark.parametrize("word", "ab")
def test_one(prompt, word, shared): {ASKS}

class TestPlain:
    def test_it(self, shared): note("plain")

def test_two(prompt, word="c"): {ASKS}
"""
    )
    run = example.runs_as_without_plugin("-v")
    assert run.notes == ("shared up", "plain", "shared down")


def test_calls_overlap_within_a_group_of_shared_fixtures(example: Example) -> None:
    example.model("house/together-2").tests(fixture("shared", "module", more="params=[1, 2]") + CASES)
    run = example.run()
    assert run.outcomes == {"passed": 8}
    assert run.notes == ("shared 1up", "shared 1down", "shared 2up", "shared 2down")
    assert run.peak >= 2


def test_a_suite_property_of_a_session_fixture_is_recorded_once(example: Example) -> None:
    example.tests(
        """
        @pytest.fixture(scope="session", autouse=True)
        def facts(record_testsuite_property):
            record_testsuite_property("ARCH", "PPC")

        def test_it(prompt): prompt(q="a")
        """
    )
    run = example.runs_as_without_plugin("--junit-xml=junit.xml")
    assert run.junit.count('name="ARCH"') == 1
