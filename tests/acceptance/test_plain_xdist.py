"""Plain ``pytest -n``: the same outcomes as without, the work and the limit shared, nothing asked twice."""

from __future__ import annotations

import json
import time
import zlib
from collections import Counter
from textwrap import dedent
from typing import Any

import pytest

from pytest_promptopt.pytest_session.worker_partition import Parts, WorkerPartition
from tests.acceptance.projects import Project

MIXED = """
pytestmark = pytest.mark.prompt("prompts/repeat.md")

@pytest.mark.parametrize("word", ["a", "b", "c", "d", "wrong", "boom"])
def test_word(prompt, word):
    assert len(prompt(word=word)) == 1

@pytest.mark.skip
def test_skipped(prompt):
    prompt(word="a")

@pytest.mark.xfail(strict=True)
def test_expected(prompt):
    assert prompt(word="a") == "b"

def test_chain(prompt):
    assert prompt(word=prompt(word="x") + "y") == "xy"

def test_parts(prompt, subtests):
    answer = prompt(word="ab")
    for letter in "abx":
        with subtests.test(letter=letter):
            assert letter in answer

@pytest.fixture(scope="class")
def shared():
    return "z"

class TestClass:
    @pytest.mark.parametrize("times", [1, 2])
    def test_it(self, prompt, shared, times):
        assert prompt(word=shared * times) == shared * times
"""

#: A model that tells how many calls each worker had in flight at most.
COUNTING = """
import asyncio, os
from pathlib import Path
from pytest_promptopt.records import Answer, Usage

class Counting:
    flying = most = 0

    async def complete(self, request):
        self.flying += 1
        self.most = max(self.most, self.flying)
        worker = os.environ["PYTEST_XDIST_WORKER"]
        Path(__file__).with_name(f"most-{worker}").write_text(str(self.most))
        await self.think()
        self.flying -= 1
        return Answer("a", request.model, "end_turn", Usage(1, 1), 0.0, 0.0)

    async def think(self):
        await asyncio.sleep(0.2)

    async def aclose(self):
        pass

def pytest_promptopt_resolve_model(name):
    return Counting()
"""

#: It gives no answer, for a while, before the workers have asked all of 24 cases.
PATIENT = f"""{COUNTING}
async def think(self):
    for _ in range(200):
        if sum(int(most.read_text() or 0) for most in Path(__file__).parent.glob("most-*")) < 24:
            await asyncio.sleep(0.05)

Counting.think = think
"""


def test_the_same_outcomes_and_the_same_report(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(MIXED)
    project.tests("def test_plain():\n    pass\n", name="test_plain.py")
    seen = []
    for workers in (0, 2):
        result = project.run("-rA", "--promptopt-report=out.json", "--promptopt-cache=off", workers=workers)
        report = json.loads((project.path / "out.json").read_text(encoding="utf-8"))
        cases = sorted((case["id"], case["status"], case["rate"]) for case in report["prompts"][0]["results"])
        # The line at the end without its time.
        words = sorted(result.outlines[-1].strip("= ").rpartition(" in ")[0].split(", "))
        short = sorted(line for line in result.outlines if line.startswith(("PASSED ", "FAILED ", "ERROR ")))
        header = next(line for line in result.outlines if line.startswith("prompts/repeat.md: "))
        seen.append((result.ret, words, short, cases, header, report["prompts"][0]["rate"]))
    assert seen[0] == seen[1]
    assert seen[0][0] == pytest.ExitCode.TESTS_FAILED
    assert len(seen[0][3]) == 12


@pytest.mark.parametrize("cache", ["use", "off", "refresh"])
def test_no_question_is_asked_twice_and_both_workers_ask(pytester: pytest.Pytester, cache: str) -> None:
    """Nor where what an earlier session was answered is not to be taken."""
    project = Project(pytester)
    project.ini("promptopt_model = house/slow")
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", [f"word{number}" for number in range(40)])
        @pytest.mark.parametrize("again", [1, 2])
        def test_word(prompt, word, again):
            assert prompt(word=word) == word
        """
    )
    for times in (1, 2):
        result = project.run(f"--promptopt-cache={cache}", workers=2)
        result.assert_outcomes(passed=80)
        questions = Counter(call["messages"][0][1] for call in project.asked())
        assert len(questions) == 40
        assert set(questions.values()) == {1 if cache == "use" else times}
    assert {call["worker"] for call in project.asked()} == {"gw0", "gw1"}
    assert not (project.path / ".promptopt" / "sessions").exists(), "what they share goes with the session"
    assert (project.path / ".promptopt" / "cache").exists() == (cache != "off")
    if cache == "refresh":
        project.run().assert_outcomes(passed=80)
        assert len(project.asked()) == 80, "the next session finds the new answers"


@pytest.mark.parametrize(("limit", "each"), [(6, 3), (1, 1)])
def test_the_limit_is_divided_among_the_workers(pytester: pytest.Pytester, limit: int, each: int) -> None:
    """So that all of them together keep it; every worker has at least one call."""
    project = Project(pytester)
    project.write("conftest.py", COUNTING)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", [f"word{number}" for number in range(24)])
        def test_word(prompt, word):
            assert prompt(word=word) == "a"
        """
    )
    project.run(f"--promptopt-concurrency={limit}", workers=2).assert_outcomes(passed=24)
    most = {path.name: int(path.read_text()) for path in project.path.glob("most-*")}
    assert most == {"most-gw0": each, "most-gw1": each}


def test_workers_may_have_names_of_the_users_own(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", "abcd")
        def test_word(prompt, word):
            assert prompt(word=word) == word
        """
    )
    named = ("--dist=load", "--tx", "popen//id=alpha", "--tx", "popen//id=\N{GREEK SMALL LETTER BETA}2")
    project.run(*named).assert_outcomes(passed=4)
    assert {call["worker"] for call in project.asked()} <= {"alpha", "\N{GREEK SMALL LETTER BETA}2"}


@pytest.mark.parametrize("dies", ["", "gw1"])
def test_each_worker_asks_its_whole_part_at_once(pytester: pytest.Pytester, dies: str) -> None:
    """Also what stands before the first case that it is given; one that replaces another asks the other's."""
    project = Project(pytester)
    project.write("conftest.py", PATIENT)
    project.tests(
        f"""
        import os

        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", [f"word{{number}}" for number in range(24)])
        def test_word(prompt, word):
            if os.environ["PYTEST_XDIST_WORKER"] == "{dies}":
                os._exit(9)  # as the operating system ends a process that takes too much memory
            assert prompt(word=word) == "a"
        """
    )
    result = project.run("--promptopt-concurrency=48", workers=2)
    assert result.parseoutcomes()["passed"] == 24 - bool(dies)
    most = {path.name: int(path.read_text()) for path in project.path.glob("most-*")}
    assert set(most) == {"most-gw0", "most-gw2" if dies else "most-gw1"}
    assert sum(most.values()) == 24


def test_a_worker_that_is_through_waits_for_what_another_needs(pytester: pytest.Pytester) -> None:
    """What it has asked before anybody's turn is paid for, and no other worker may pay for it again."""
    project = Project(pytester)
    project.write(
        "conftest.py",
        COUNTING.replace("sleep(0.2)", "sleep(0.2 + 2 * ('last' in request.messages[-1].content))")
        .replace("self.think()", "self.think(request)")
        .replace("think(self)", "think(self, request)")
        .replace("self.flying += 1", "self.flying += 1; print('.', file=open(ASKED, 'a'), end='')")
        .replace("class Counting", "ASKED = Path(__file__).with_name('asked')\n\nclass Counting"),
    )
    # The last one is in the part of the first worker, and has its turn in the second, which is busy first.
    ids = ((f"test_it.py::test_word[last{number}]", f"last{number}") for number in range(100))
    last = next(word for id, word in ids if zlib.crc32(id.encode()) % 2 == 0)
    project.tests(
        f"""
        import time

        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", ["a", "b", "busy", "{last}"])
        def test_word(prompt, word):
            assert prompt(word=word) == "a"
            if word == "busy":
                time.sleep(1)
        """
    )
    project.run(workers=2).assert_outcomes(passed=4)
    assert (project.path / "asked").read_text() == "...."


class Worker:
    def __init__(self, name: str) -> None:
        self.workerinput: dict[str, Any] = {"workerid": name, "workercount": "3"}


def test_the_work_is_divided_whatever_the_workers_are_called() -> None:
    parts = Parts()

    def part_of(name: str) -> int:
        worker = Worker(name)
        parts.give(worker.workerinput)
        share = WorkerPartition.of(worker)  # type: ignore[arg-type]
        assert share.parts == 3
        return share.number

    assert [part_of(name) for name in ("gw0", "alpha", "gw\u00b2")] == [0, 1, 2]
    for part, gone, comes in ((1, "alpha", "gw3"), (1, "gw3", "gw4"), (0, "gw0", "gw5")):
        parts.take_back(Worker(gone).workerinput)
        assert part_of(comes) == part, f"{comes} replaces {gone}"
    assert part_of("one more") in range(3)


def test_what_workers_note_reaches_the_terminal_once(pytester: pytest.Pytester) -> None:
    """Both find the damaged cache; the run goes on without its answers."""
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", ["a", "b", "c", "d"])
        def test_word(prompt, word):
            assert prompt(word=word) == word
        """
    )
    project.write(".promptopt/cache/cache.db", b"this is no database" * 100)
    result = project.run(workers=2)
    result.assert_outcomes(passed=4)
    notes = [line for line in result.outlines if line.startswith("promptopt: ") and "cache" in line]
    assert len(notes) == 1, result.stdout.str()


def test_answers_are_stored_for_the_next_session_of_either_kind(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", ["a", "b", "c", "d"])
        def test_word(prompt, word):
            assert prompt(word=word) == word
        """
    )
    project.run(workers=2).assert_outcomes(passed=4)
    project.run().assert_outcomes(passed=4)
    assert len(project.asked()) == 4


@pytest.mark.parametrize("dist", ["load", "worksteal", "loadfile", "loadscope"])
def test_every_way_to_distribute(pytester: pytest.Pytester, dist: str) -> None:
    project = Project(pytester)
    for name in ("one", "two"):
        project.tests(
            f"""
            @pytest.mark.prompt("prompts/repeat.md")
            @pytest.mark.parametrize("word", ["{name}1", "{name}2", "{name}3"])
            def test_word(prompt, word):
                assert prompt(word=word) == word
            """,
            name=f"test_{name}.py",
        )
    project.run(f"--dist={dist}", workers=2).assert_outcomes(passed=6)
    assert len(project.asked()) == 6


def test_what_the_demo_model_answers_crosses_from_the_workers(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    prompt = "---\nmodel: demo\n---\nAnswer with one of: red, blue.\nText: {{ text }}\n"
    project.write("prompts/route.md", prompt)
    project.tests(
        """
        @pytest.mark.prompt("prompts/route.md")
        @pytest.mark.parametrize("text", ["a red car", "a blue car"])
        def test_colour(prompt, text):
            assert prompt(text=text).stop_reason == "end_turn"
        """
    )
    project.run(workers=2).assert_outcomes(passed=2)


COSTLY = """
    @pytest.mark.prompt("prompts/repeat.md", max_tokens=10)
    @pytest.mark.parametrize("word", [f"word{number}" for number in range(40)])
    def test_word(prompt, word):
        assert prompt(word=word) == word
"""


#: On a busy machine one worker could have made all calls before another is up.
TOGETHER = """
    import time

    @pytest.fixture(autouse=True, scope="session")
    def all_three_workers_are_up(worker_id, pytestconfig):
        up = pytestconfig.rootpath / "up"
        up.mkdir(exist_ok=True)
        (up / worker_id).touch()
        while len(list(up.iterdir())) < 3:
            time.sleep(0.01)
"""


def test_a_ceiling_holds_for_all_workers_together(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.ini("promptopt_model = house/slow")
    project.tests(TOGETHER + COSTLY)
    few = "--promptopt-concurrency=6"  # else one worker's first calls may be all that there are
    result = project.run("--promptopt-max-calls=15", few, "--tb=line", workers=3)
    result.assert_outcomes(passed=15, errors=25)
    assert len(project.asked()) == 15
    assert len({call["worker"] for call in project.asked()}) > 1
    result.stdout.fnmatch_lines(["*the ceiling of 15 calls is reached (--promptopt-max-calls)*"])
    assert not (project.path / ".promptopt" / "sessions").exists(), "the account goes with its session"


def test_tokens_of_all_workers_are_one_account(pytester: pytest.Pytester) -> None:
    """An answer of the house model takes 11 tokens; its reservation is larger, and mostly given back."""
    project = Project(pytester)
    project.ini("promptopt_model = house/slow")
    project.tests(COSTLY)
    result = project.run("--promptopt-max-tokens=200", "--tb=line", workers=2)
    calls = len(project.asked())
    assert 200 // 11 - 6 < calls <= 200 // 11
    result.assert_outcomes(passed=calls, errors=40 - calls)


def test_the_account_outlives_a_worker_that_dies(pytester: pytest.Pytester) -> None:
    """What its calls may have cost stays charged: the worker in its place may not spend it again."""
    project = Project(pytester)
    project.ini("promptopt_model = house/slow")
    project.tests(
        """
        import os
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", [f"word{number}" for number in range(40)])
        def test_word(prompt, word):
            assert prompt(word=word) == word
            if word == "word3":
                os._exit(1)
        """
    )
    project.run("--promptopt-max-calls=20", workers=2)
    assert len(project.asked()) == 20


def test_a_worker_that_dies_with_calls_in_flight_holds_up_nobody(pytester: pytest.Pytester) -> None:
    """What it had reserved stays charged, and is not waited for."""
    project = Project(pytester)
    crashing = """
        def said(request):
            crashed = LOG.with_name("crashed")
            if crashed.exists():
                return request.messages[-1].content.rpartition(": ")[2]
            crashed.touch()
            os._exit(9)
        """
    project.write("conftest.py", (project.path / "conftest.py").read_text() + dedent(crashing))
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", max_tokens=50)
        @pytest.mark.parametrize("number", range(12))
        def test_word(prompt, number):
            assert prompt(word=f"word{number}") == f"word{number}"
        """
    )
    started = time.monotonic()
    result = project.run("--promptopt-max-tokens=150", workers=2)  # one call at a time
    assert time.monotonic() - started < 60
    assert len(project.asked()) == 1
    assert "of 150 are left" in result.stdout.str()


def test_where_no_account_can_be_kept_that_is_said_before_any_call(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(COSTLY)
    project.write(".promptopt/sessions", "a file where the folder should be")
    result = project.run("--promptopt-max-calls=5", workers=2)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no account of what the workers spend can be kept in *; run without -n*"])
    assert not project.asked()
