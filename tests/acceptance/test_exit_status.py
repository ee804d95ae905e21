"""The exit status in a table: each row is a situation, and the status that a user and a CI job may rely on.

Where a session ends with 0 or 1, its JUnit report says the same: it has a failure or an error if, and only
if, the status is 1.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from tests.acceptance.desk import CONFTEST as SPY
from tests.acceptance.desk import DEMO, GOOD, HELDOUT, HOPELESS, TESTS, TRAIN, VALIDATION, WEAK
from tests.acceptance.projects import CONFTEST, UNITTEST, Project

OK, FAILED, STOPPED = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED
USAGE, NOTHING = pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED


@dataclass(frozen=True)
class Situation:
    """One row.

    :param tests: of ``test_it.py``, whose prompt is ``prompts/repeat.md``: the model says a word again.
    :param args: of the command line.
    :param said: a line of the output, as `fnmatch` has it.
    :param files: further ones, by their paths.
    :param before: the command lines of earlier runs in the same folder; their tests are `first_tests`, if
        given, and the files that are `changed` are written after them.
    :param needs: a module without which there is no such situation.
    """

    name: str
    ret: int
    tests: str
    args: Sequence[str] = ()
    said: str = ""
    ini: Sequence[str] = ("promptopt_model = house/repeat",)
    files: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[Sequence[str]] = ()
    first_tests: str = ""
    changed: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""


def cases(*words: str, mark: str = "", name: str = "word", uses: str = "") -> str:
    """A test with a case for each word: it passes by a word of one letter and fails by any other.

    For `boom` there is no answer. A word may also be a whole ``pytest.param``.

    :param uses: further fixtures of the test.
    """
    listed = ", ".join(word if word.startswith("pytest.") else repr(word) for word in words)
    return f"""
@pytest.mark.prompt("prompts/repeat.md"{mark})
@pytest.mark.parametrize("word", [{listed}])
def test_{name}(prompt, word{uses}):
    assert len(prompt(word=word)) == 1
"""


HEADER = "import pytest\n"

#: Four of five cases pass: 80 %.
FOUR_OF_FIVE = cases("a", "b", "c", "d", "wrong")
HOLDS, MISSES = "--promptopt-min-pass-rate=80%", "--promptopt-min-pass-rate=81%"
INTERVAL = "--promptopt-gate=interval"
PARTIAL = "--promptopt-gate-partial=on"
NOT_DECIDED = "promptopt: gate of prompts/repeat.md not decided: *"
GATE_HOLDS, GATE_FAILED = "gate: prompts/repeat.md *: holds *", "gate: prompts/repeat.md *: FAILED *"

PLAIN = """
def test_plain():
    assert {}
"""

#: Sixteen of twenty cases pass.
TWENTY = cases(*(f"{letter}" for letter in "abcdefghijklmnop"), "wrong1", "wrong2", "wrong3", "wrong4")

ALL_PASS = cases("a", "b", "c")

#: The model says `late` in one letter from its second sample on.
LATE = (
    CONFTEST
    + """
def said(request):
    word = request.messages[-1].content.rpartition(": ")[2]
    return word[0] if word == "late" and request.sample else word
"""
)

#: Of three samples of a case that fails the last two pass.
LUCKY = (
    CONFTEST
    + """
old = said
def said(request):
    answer = old(request)
    return answer[:1] if request.sample % 3 else answer
"""
)

HOOK = "\ndef pytest_promptopt_{}:\n    return 1 / 0\n"

USELESS = """
@pytest.mark.prompt("prompts/repeat.md")
def test_word(prompt):
    pytest.fail("no")
"""

#: The second sample of every case is lost.
LOSES = (
    CONFTEST
    + """
old = said
def said(request):
    if request.sample == 1:
        raise ModelError(ErrorKind.BAD_REQUEST, "lost", model=request.model)
    return old(request)
"""
)

WITHOUT_GATE = [
    Situation("every case passes", OK, ALL_PASS),
    Situation("one case fails", FAILED, FOUR_OF_FIVE),
    Situation("one case has no answer", FAILED, cases("a", "boom"), said="*1 passed, 1 error*"),
    Situation("one case is skipped", OK, cases("a", 'pytest.param("wrong", marks=pytest.mark.skip)')),
    Situation("every case is skipped", OK, "pytestmark = pytest.mark.skip\n" + FOUR_OF_FIVE),
    Situation("there is a test without a single case", OK, cases(), said="*1 skipped*"),
    Situation("a case is expected to fail", OK, cases("a", 'pytest.param("wrong", marks=pytest.mark.xfail)')),
    Situation(
        "a case passes that is expected to fail", OK, cases("a", 'pytest.param("b", marks=pytest.mark.xfail)')
    ),
    Situation(
        "a case passes that is expected to fail, which is strict",
        FAILED,
        cases("a", 'pytest.param("b", marks=pytest.mark.xfail(strict=True))'),
    ),
    Situation(
        "a case without an answer was expected to fail",
        FAILED,
        cases("a", 'pytest.param("boom", marks=pytest.mark.xfail)'),
    ),
    Situation(
        "a test takes no notice of an answer that did not come",
        FAILED,
        ALL_PASS
        + """
@pytest.mark.prompt("prompts/repeat.md")
def test_calm(prompt):
    with pytest.raises(Exception):
        prompt(word="boom")
""",
        said="*the test took no notice: the house model refuses boom*",
    ),
    Situation("there is no test", NOTHING, ""),
    Situation("no test is left by -k", NOTHING, ALL_PASS, ["-k", "nothing"]),
    Situation("tests are only collected", OK, FOUR_OF_FIVE, [MISSES, "--collect-only"]),
    Situation("tests are only set up", OK, FOUR_OF_FIVE, [MISSES, "--setup-only"]),
    Situation("nobody says which model answers", FAILED, ALL_PASS, ini=()),
    Situation("a test ends before it uses its prompt", FAILED, USELESS, (), "*before it used its prompt*"),
    Situation("a test takes the prompt and has no mark", FAILED, "def test_it(prompt): pass\n"),
    Situation(
        "a hook breaks that names failures",
        USAGE,
        FOUR_OF_FIVE,
        files={"conftest.py": CONFTEST + HOOK.format("categorize(case)")},
    ),
    Situation(
        "a report cannot be written",
        USAGE,
        ALL_PASS,
        ["--promptopt-report=test_it.py/r.json"],
        "ERROR: --promptopt-report: test_it.py/r.json cannot be written: *",
    ),
    Situation(
        "a report is lost at the end",
        FAILED,
        ALL_PASS + "\ndef test_plain(pytestconfig):\n    (pytestconfig.rootpath / 'r.json').mkdir()\n",
        ["--promptopt-report=r.json"],
        "*r.json was not written*",
    ),
]

SUBTESTS = """
@pytest.mark.prompt("prompts/repeat.md")
def test_parts(prompt, subtests):
    answer = prompt(word="ab")
    for letter in "ax":
        with subtests.test(letter=letter):
            assert letter in answer
"""

GATES = [
    Situation("the gate of an option holds", OK, FOUR_OF_FIVE, [HOLDS], GATE_HOLDS),
    Situation("the gate of an option fails", FAILED, FOUR_OF_FIVE, [MISSES], GATE_FAILED),
    Situation(
        "the gate of a mark holds", OK, cases("a", "wrong", mark=", min_pass_rate=0.5"), (), GATE_HOLDS
    ),
    Situation(
        "the gate of a mark fails", FAILED, cases("a", "wrong", mark=", min_pass_rate=0.6"), (), GATE_FAILED
    ),
    Situation(
        "the gate of the ini file holds",
        OK,
        FOUR_OF_FIVE,
        said=GATE_HOLDS,
        ini=("promptopt_model = house/repeat", "promptopt_min_pass_rate = 80%"),
    ),
    Situation(
        "one prompt has a gate, a case of another fails",
        FAILED,
        cases("a", "wrong", mark=", min_pass_rate=0.5")
        + cases("wrong", name="other").replace("repeat.md", "other.md"),
        said=GATE_HOLDS,
        files={"prompts/other.md": "Other: {{ word }}\n"},
    ),
    Situation(
        "one of two gates fails",
        FAILED,
        cases("a", "wrong") + cases("a", name="other").replace("repeat.md", "other.md"),
        [HOLDS],
        GATE_FAILED,
        files={"prompts/other.md": "Other: {{ word }}\n"},
    ),
    Situation(
        "the gate holds with one model of two",
        FAILED,
        FOUR_OF_FIVE,
        [HOLDS, "--promptopt-model=house/good,house/bad"],
        "gate: * with house/bad 0.0% *: FAILED *",
        files={
            "conftest.py": CONFTEST
            + "\nold = said\ndef said(r): return 'xx' if r.model == 'house/bad' else old(r)\n"
        },
    ),
    Situation(
        "every case of a gate fails, which asks for nothing", OK, cases("no"), ["--promptopt-min-pass-rate=0"]
    ),
    Situation(
        "a failing case is of a prompt with a gate and of one without",
        FAILED,
        cases("a", mark=", min_pass_rate=0.1")
        + """
@pytest.mark.prompt(one="prompts/repeat.md", two="prompts/other.md")
def test_two(prompts):
    assert prompts["two"](word=prompts["one"](word="a")) == "b"
""",
        (),
        GATE_HOLDS,
        files={"prompts/other.md": "Other: {{ word }}\n"},
    ),
    Situation("half of a case's subtests fail", OK, SUBTESTS, ["--promptopt-min-pass-rate=50%"], GATE_HOLDS),
    Situation("a case of unittest fails", OK, UNITTEST, ["--promptopt-min-pass-rate=50%"], GATE_HOLDS),
    Situation(
        "a failing case is not replayed",
        OK,
        cases("a", "wrong", mark=", replay=False, min_pass_rate=0.5"),
        (),
        GATE_HOLDS,
    ),
    Situation(
        "a case of a gate is expected to fail, and --runxfail has it count",
        OK,
        cases("a", 'pytest.param("wrong", marks=pytest.mark.xfail)'),
        ["--promptopt-min-pass-rate=50%", "--runxfail"],
        "gate: prompts/repeat.md 50.0% *: holds (1 of 2 cases passed*",
    ),
    Situation("the gate fails where nothing is printed", FAILED, FOUR_OF_FIVE, [MISSES, "-p", "no:terminal"]),
    Situation("the gate holds without pytest's cache", OK, FOUR_OF_FIVE, [HOLDS, "-p", "no:cacheprovider"]),
    Situation(
        "every case of a gate is skipped", OK, cases('pytest.param("a", marks=pytest.mark.skip)'), [HOLDS]
    ),
    Situation(
        "a case of a gate is expected to fail",
        OK,
        cases("a", 'pytest.param("wrong", marks=pytest.mark.xfail)'),
        [HOLDS],
        "gate: prompts/repeat.md 100.0% *: holds (1 of 1 case passed*",
    ),
    Situation(
        "a case of a gate passes that is expected to fail, which is strict",
        FAILED,
        cases("a", "b", 'pytest.param("c", marks=pytest.mark.xfail(strict=True))'),
        ["--promptopt-min-pass-rate=10%"],
        GATE_HOLDS,
    ),
    Situation(
        "a case file's gate holds",
        OK,
        "",
        said=GATE_HOLDS,
        files={
            "evals/words.promptopt.yaml": "prompt: prompts/repeat.md\nmin_pass_rate: 0.5\ncases:\n"
            "  - {word: a, expected: a}\n  - {word: a, expected: b}\n"
        },
    ),
]

ERRORS = [
    Situation(
        "the gate holds, a case has no answer",
        FAILED,
        cases("a", "b", "boom"),
        [HOLDS],
        "gate: prompts/repeat.md 100.0% *: holds (2 of 2 cases passed, 1 errored*",
    ),
    Situation(
        "the calls are used up",
        FAILED,
        ALL_PASS,
        [HOLDS, "--promptopt-max-calls=2"],
        "gate: *: holds (2 of 2 cases passed, 1 errored*",
    ),
    Situation(
        "no case of a gate has an answer", FAILED, cases("boom"), ["--promptopt-min-pass-rate=0"], GATE_FAILED
    ),
    Situation(
        "20 of 50 cases crash before their first call",
        FAILED,
        """
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("number", range(50))
def test_word(prompt, number):
    assert {}.get("word", "") or number >= 20 or {}["gone"]
    assert prompt(word="a") == "a"
""",
        ["--promptopt-min-pass-rate=60%"],
        "gate: prompts/repeat.md 100.0% *: holds (30 of 30 cases passed, 20 errored*",
    ),
    Situation(
        "a case crashes after its call, which is for the gate",
        OK,
        """
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", ["a", "b"])
def test_word(prompt, word):
    assert {"a": 1}[prompt(word=word)]
""",
        ["--promptopt-min-pass-rate=50%"],
        "gate: prompts/repeat.md 50.0% *: holds (1 of 2 cases passed*",
    ),
    Situation(
        "a fixture breaks in some cases",
        FAILED,
        """
@pytest.fixture
def needed(word):
    assert word != "c"
"""
        + cases("a", "b", "c", uses=", needed"),
        ["--promptopt-min-pass-rate=50%"],
        "gate: prompts/repeat.md 100.0% *: holds (2 of 2 cases passed, 1 errored*",
    ),
    Situation(
        "a fixture breaks when a case is over, and the case is tolerated",
        FAILED,
        """
@pytest.fixture
def needed():
    yield
    raise OSError("no disk")
"""
        + cases("wrong", uses=", needed"),
        ["--promptopt-min-pass-rate=0"],
    ),
    Situation(
        "setup_module breaks",
        FAILED,
        "def setup_module():\n    raise OSError('no disk')\n" + FOUR_OF_FIVE,
        ["--promptopt-min-pass-rate=0"],
        GATE_FAILED,
    ),
    Situation(
        "a test fails that has no prompt", FAILED, FOUR_OF_FIVE + PLAIN.format("0"), [HOLDS], GATE_HOLDS
    ),
    Situation(
        "another file cannot be collected",
        STOPPED,
        FOUR_OF_FIVE,
        [HOLDS],
        "*1 error during collection*",
        files={"test_other.py": "import gone\n"},
    ),
    Situation(
        "another file cannot be collected, and the run goes on",
        FAILED,
        FOUR_OF_FIVE,
        [HOLDS, "--continue-on-collection-errors"],
        GATE_HOLDS,
        files={"test_other.py": "import gone\n"},
    ),
    Situation("the prompt file is missing", STOPPED, ALL_PASS.replace("repeat.md", "gone.md"), [HOLDS]),
    Situation(
        "conftest.py cannot be imported", USAGE, ALL_PASS, [HOLDS], files={"conftest.py": "import gone\n"}
    ),
]

BY_INTERVAL = [
    Situation("an interval holds", OK, TWENTY, [INTERVAL, "--promptopt-min-pass-rate=50%"], GATE_HOLDS),
    Situation("an interval misses", FAILED, TWENTY, [INTERVAL, "--promptopt-min-pass-rate=99%"], GATE_FAILED),
    Situation("an interval does not decide", FAILED, TWENTY, [INTERVAL, HOLDS], "gate: *: UNDECIDED: *"),
    Situation(
        "an interval does not decide, and the team lets that pass",
        OK,
        TWENTY,
        [INTERVAL, HOLDS, "--promptopt-undecided=pass"],
        "gate: *: undecided, which passes: *",
    ),
    Situation(
        "more samples decide it",
        OK,
        TWENTY,
        [INTERVAL, "--promptopt-min-pass-rate=62%", "--promptopt-gate-samples=8"],
        GATE_HOLDS,
        files={"conftest.py": LUCKY},
    ),
    Situation(
        "held-out cases alone decide, and they pass",
        OK,
        cases("no", 'pytest.param("a", marks=pytest.mark.heldout)'),
        [HOLDS, "-o", "promptopt_gate_split=heldout"],
        "gate: *: holds (1 of 1 held-out case passed*",
    ),
    Situation(
        "held-out cases alone decide, and they fail",
        FAILED,
        cases("a", 'pytest.param("no", marks=pytest.mark.heldout)'),
        ["--promptopt-min-pass-rate=10%", "-o", "promptopt_gate_split=heldout"],
        GATE_FAILED,
    ),
    Situation(
        "held-out cases alone decide, and there is none",
        FAILED,
        ALL_PASS,
        [HOLDS, "-o", "promptopt_gate_split=heldout"],
        "gate: *: no held-out case ran*",
    ),
]

LIMITS = [
    Situation(
        "answers cost as much as they may", OK, ALL_PASS, ["--promptopt-max-cost-per-case=0.001"], GATE_HOLDS
    ),
    Situation(
        "answers cost too much", FAILED, ALL_PASS, ["--promptopt-max-cost-per-case=0.0009"], GATE_FAILED
    ),
    Situation("answers come in time", OK, ALL_PASS, ["--promptopt-p95-latency=1h"], GATE_HOLDS),
    Situation(
        "answers come too late",
        FAILED,
        ALL_PASS,
        ["--promptopt-p95-latency=0.01s", "--promptopt-model=house/slow"],
        GATE_FAILED,
    ),
    Situation(
        "answers cost as much as they may, and a case fails",
        FAILED,
        FOUR_OF_FIVE,
        ["--promptopt-max-cost-per-case=1"],
        GATE_HOLDS,
    ),
    Situation(
        "the rate holds, and answers cost too much",
        FAILED,
        FOUR_OF_FIVE,
        [HOLDS, "--promptopt-max-cost-per-case=0.0009"],
        GATE_FAILED,
    ),
]

WRONG_FIRST = cases("wrong", "b", "c", "d", "e")

STOPS = [
    Situation("-x meets a tolerated failure", OK, WRONG_FIRST, [HOLDS, "-x"], "*4 passed, 1 gated failed*"),
    Situation(
        "--maxfail=2 meets two tolerated failures",
        OK,
        cases("wrong", "bad", "c"),
        ["--promptopt-min-pass-rate=30%", "--maxfail=2"],
        "*1 passed, 2 gated failed*",
    ),
    Situation(
        "-x meets a failure of another test",
        FAILED,
        PLAIN.format("0") + WRONG_FIRST,
        [HOLDS, "-x"],
        "*1 failed in*",
    ),
    Situation(
        "-x meets a failure of another test in between",
        FAILED,
        cases("wrong", "b") + PLAIN.format("0") + cases("c", "d", name="more"),
        ["--promptopt-min-pass-rate=10%", "-x"],
        NOT_DECIDED,
    ),
    Situation(
        "-x meets a case without an answer", FAILED, cases("a", "boom", "c"), [HOLDS, "-x"], NOT_DECIDED
    ),
    Situation(
        "--sw meets a tolerated failure", OK, WRONG_FIRST, [HOLDS, "--sw"], "*4 passed, 1 gated failed*"
    ),
    Situation(
        "--sw meets a failure of another test", STOPPED, PLAIN.format("0") + WRONG_FIRST, [HOLDS, "--sw"]
    ),
    Situation(
        "--sw begins in the middle",
        OK,
        cases("a", "wrong") + PLAIN.format("1") + cases("b", "c", name="more"),
        [HOLDS, "--sw"],
        NOT_DECIDED,
        before=[[HOLDS, "--sw"]],
        first_tests=cases("a", "wrong") + PLAIN.format("0") + cases("b", "c", name="more"),
    ),
    Situation(
        "Ctrl-C",
        STOPPED,
        FOUR_OF_FIVE + "\ndef test_plain():\n    raise KeyboardInterrupt\n",
        [HOLDS],
        "*KeyboardInterrupt*",
    ),
    Situation(
        "Ctrl-C, and a hook breaks that names failures",
        STOPPED,
        FOUR_OF_FIVE + "\ndef test_plain():\n    raise KeyboardInterrupt\n",
        [HOLDS],
        "promptopt: pytest_promptopt_categorize raised *",
        files={"conftest.py": CONFTEST + HOOK.format("categorize(case)")},
    ),
    Situation(
        "Ctrl-C in a case",
        STOPPED,
        FOUR_OF_FIVE + cases("e", name="more") + "    raise KeyboardInterrupt\n",
        [HOLDS],
    ),
    Situation(
        "a test ends the session with 0, and what ran by then was tolerated",
        FAILED,
        cases("wrong")
        + "\ndef test_plain():\n    pytest.exit('enough', returncode=0)\n"
        + cases("b", name="more"),
        ["--promptopt-min-pass-rate=50%"],
        GATE_FAILED,
    ),
    Situation(
        "a test ends the session with a status of its own",
        7,
        FOUR_OF_FIVE + "\ndef test_plain():\n    pytest.exit('enough', returncode=7)\n",
        [HOLDS],
    ),
]

PARTS = [
    Situation(
        "-k leaves cases out, those left pass", OK, FOUR_OF_FIVE, [HOLDS, "-k", "[a] or [b]"], NOT_DECIDED
    ),
    Situation(
        "-k leaves cases out, one left fails", FAILED, FOUR_OF_FIVE, [HOLDS, "-k", "wrong or b"], NOT_DECIDED
    ),
    Situation(
        "-k leaves cases out, and those left decide",
        OK,
        FOUR_OF_FIVE,
        ["--promptopt-min-pass-rate=50%", "-k", "wrong or b", PARTIAL],
        GATE_HOLDS,
    ),
    Situation(
        "-k leaves cases out, and those left decide that it fails",
        FAILED,
        FOUR_OF_FIVE,
        [HOLDS, "-k", "wrong or b", PARTIAL],
        GATE_FAILED,
    ),
    Situation(
        "-k leaves out tests of no prompt only",
        OK,
        FOUR_OF_FIVE + PLAIN.format("0"),
        [HOLDS, "-k", "word"],
        GATE_HOLDS,
    ),
    Situation(
        "-m leaves cases out",
        FAILED,
        cases("a", 'pytest.param("wrong", marks=pytest.mark.heldout)'),
        ["--promptopt-min-pass-rate=50%", "-m", "heldout"],
        NOT_DECIDED,
    ),
    Situation(
        "-m leaves cases out, and those left decide",
        OK,
        cases(
            "a",
            'pytest.param("b", marks=pytest.mark.heldout)',
            'pytest.param("wrong", marks=pytest.mark.heldout)',
        ),
        ["--promptopt-min-pass-rate=50%", "-m", "heldout", PARTIAL],
        GATE_HOLDS,
    ),
    Situation(
        "--deselect leaves out the case that fails",
        OK,
        FOUR_OF_FIVE,
        [MISSES, "--deselect=test_it.py::test_word[wrong]"],
        NOT_DECIDED,
    ),
    Situation(
        "a node id names the case that fails",
        FAILED,
        FOUR_OF_FIVE,
        [HOLDS, "test_it.py::test_word[wrong]"],
        NOT_DECIDED,
    ),
    Situation(
        "a node id names a test, whose cases decide",
        OK,
        FOUR_OF_FIVE,
        [HOLDS, "test_it.py::test_word", PARTIAL],
        GATE_HOLDS,
    ),
    Situation("a path names the whole file", OK, FOUR_OF_FIVE, [HOLDS, "test_it.py"], GATE_HOLDS),
    Situation(
        "a path names one of two files with cases, which pass",
        OK,
        ALL_PASS,
        [HOLDS, "test_it.py"],
        "promptopt: gate of prompts/repeat.md not decided: its cases in test_b.py were not run; *",
        files={"test_b.py": HEADER + cases("wrong")},
        before=[["-q"]],
    ),
    Situation(
        "a path names one of two files with cases, of which one fails",
        FAILED,
        FOUR_OF_FIVE,
        [HOLDS, "test_it.py"],
        NOT_DECIDED,
        files={"test_b.py": HEADER + ALL_PASS},
        before=[["-q"]],
    ),
    Situation(
        "a path names one of two files with cases, which decide",
        OK,
        FOUR_OF_FIVE,
        [HOLDS, "test_it.py", PARTIAL],
        GATE_HOLDS,
        files={"test_b.py": HEADER + ALL_PASS},
        before=[["-q"]],
    ),
    Situation(
        "a path names one of two files with cases, and no run has seen the other",
        OK,
        FOUR_OF_FIVE,
        [HOLDS, "test_it.py"],
        GATE_HOLDS,
        files={"test_b.py": HEADER + cases("wrong")},
    ),
    Situation(
        "--ignore leaves out the file with the case that fails",
        OK,
        ALL_PASS,
        [HOLDS, "--ignore=test_b.py"],
        NOT_DECIDED,
        files={"test_b.py": HEADER + cases("wrong")},
        before=[["-q"]],
    ),
    Situation(
        "--lf runs what was tolerated", FAILED, FOUR_OF_FIVE, [HOLDS, "--lf"], NOT_DECIDED, before=[[HOLDS]]
    ),
    Situation(
        "--lf runs what was tolerated, which decides",
        FAILED,
        FOUR_OF_FIVE,
        [HOLDS, "--lf", PARTIAL],
        GATE_FAILED,
        before=[[HOLDS]],
    ),
    Situation(
        "--lf where nothing failed runs all", OK, ALL_PASS, [HOLDS, "--lf"], GATE_HOLDS, before=[[HOLDS]]
    ),
    Situation(
        "--lf where the test that failed is gone runs all",
        OK,
        FOUR_OF_FIVE,
        [HOLDS, "--lf"],
        GATE_HOLDS,
        before=[[HOLDS]],
        first_tests=ALL_PASS + PLAIN.format("0"),
    ),
    Situation("--ff runs all", OK, FOUR_OF_FIVE, [HOLDS, "--ff"], GATE_HOLDS, before=[[HOLDS]]),
]

SPREAD = ["-n", "2"]

SPREAD_OVER_WORKERS = [
    Situation("xdist: the gate holds", OK, FOUR_OF_FIVE, [HOLDS, *SPREAD], GATE_HOLDS),
    Situation(
        "xdist: the gate fails, a case has no answer, another crashes before its first call",
        FAILED,
        cases("a", "wrong", "boom") + cases("b", name="more", uses=", gone"),
        [HOLDS, *SPREAD],
        "gate: prompts/repeat.md 50.0% *: FAILED (1 of 2 cases passed, 2 errored*",
    ),
    Situation(
        "xdist: more samples decide that the gate holds",
        OK,
        TWENTY,
        [INTERVAL, "--promptopt-min-pass-rate=62%", "--promptopt-gate-samples=8", *SPREAD],
        GATE_HOLDS,
        files={"conftest.py": LUCKY},
    ),
    Situation(
        "xdist: -k leaves cases out, so no gate has more samples",
        OK,
        TWENTY,
        [INTERVAL, "--promptopt-min-pass-rate=99%", "--promptopt-gate-samples=8", "-k", "[a]", *SPREAD],
        NOT_DECIDED,
    ),
    Situation(
        "xdist: two marks ask for two rates, and a gate for more samples",
        USAGE,
        cases("a", mark=", min_pass_rate=0.5") + cases("b", mark=", min_pass_rate=0.6", name="two"),
        [INTERVAL, "--promptopt-gate-samples=8", *SPREAD],
        "*min_pass_rate*",
    ),
    Situation(
        "xdist: a worker dies in a test of no prompt",
        FAILED,
        cases("a", "wrong") + "\ndef test_dies():\n    import os; os._exit(1)\n",
        ["--promptopt-min-pass-rate=50%", "-n", "1"],
        GATE_HOLDS,
    ),
    Situation(
        "xdist: -x meets a failure of another test",
        STOPPED,
        cases("wrong", "b", "c") + PLAIN.format("0"),
        ["--promptopt-min-pass-rate=10%", "-x", *SPREAD],
    ),
    Situation(
        "xdist: -k leaves cases out", OK, FOUR_OF_FIVE, [MISSES, "-k", "[a] or [b]", *SPREAD], NOT_DECIDED
    ),
]

REPEATED = [
    Situation(
        "a case passes when it is run again, with another sample",
        OK,
        cases("a", "late"),
        [MISSES, "--reruns=2"],
        GATE_HOLDS,
        files={"conftest.py": LATE},
        needs="pytest_rerunfailures",
    ),
    Situation(
        "a case fails in each of its runs",
        FAILED,
        cases("a", "wrong"),
        [HOLDS, "--reruns=1"],
        GATE_FAILED,
        needs="pytest_rerunfailures",
    ),
    Situation(
        "a case has no answer in each of its runs",
        FAILED,
        cases("a", "boom"),
        [HOLDS, "--reruns=1"],
        "gate: *: holds (1 of 1 case passed, 1 errored*",
        needs="pytest_rerunfailures",
    ),
    Situation(
        "a case is repeated and passes in two of three samples",
        OK,
        cases("late"),
        ["--promptopt-min-pass-rate=66%", "--count=3"],
        GATE_HOLDS,
        files={"conftest.py": LATE},
        needs="pytest_repeat",
    ),
    Situation(
        "one of three samples is lost",
        OK,
        cases("a"),
        [HOLDS, "--promptopt-samples=3"],
        "promptopt: 1 sample of 1 case not answered, the others count: *",
        files={"conftest.py": LOSES},
    ),
    Situation(
        "one of three samples is lost, and a gate counts the others",
        FAILED,
        FOUR_OF_FIVE,
        [MISSES, "--promptopt-samples=3"],
        "gate: *: FAILED (4 of 5 cases passed, 5 samples not answered; *",
        files={"conftest.py": LOSES},
    ),
    Situation(
        "a case passes in two of three samples, without a gate",
        FAILED,
        cases("late"),
        ["--promptopt-samples=3"],
        files={"conftest.py": LATE},
    ),
    Situation(
        "two of three samples are enough for a case",
        OK,
        cases("late", mark=", samples=3, min_case_rate=0.6"),
        files={"conftest.py": LATE},
    ),
    Situation(
        "two of three samples are not enough for a gate",
        FAILED,
        cases("late", mark=", samples=3, min_pass_rate=0.7"),
        (),
        "gate: prompts/repeat.md 66.7% *: FAILED *",
        files={"conftest.py": LATE},
    ),
]

JUDGED = """
@pytest.mark.prompt("prompts/repeat.md")
def test_word(prompt, judge):
    assert judge(prompt(word="a"), "is short")
"""

REFUSED = [
    Situation(
        "two marks ask for different rates",
        USAGE,
        cases("a", mark=", min_pass_rate=0.5") + cases("a", mark=", min_pass_rate=0.6", name="more"),
        (),
        "*two different min_pass_rate*",
    ),
    Situation(
        "a rate is none", USAGE, ALL_PASS, ["--promptopt-min-pass-rate=most"], "*'most' is not a rate*"
    ),
    Situation(
        "a mark's rate is none",
        STOPPED,
        cases("a", mark=", min_pass_rate=2"),
        (),
        "*1 error during collection*",
    ),
    Situation("an option is unknown", USAGE, ALL_PASS, ["--promptopt-gates=on"]),
    Situation(
        "samples are to decide a gate that is never undecided",
        USAGE,
        ALL_PASS,
        [HOLDS, "--promptopt-gate-samples=4"],
    ),
    Situation(
        "a comparison is to fail the session, and there is none", USAGE, ALL_PASS, ["--promptopt-fail-on=any"]
    ),
    Situation("there is no baseline", USAGE, ALL_PASS, ["--promptopt-compare"]),
    Situation(
        "there are no labels to test a judge",
        USAGE,
        ALL_PASS,
        ["--promptopt-calibrate", "--promptopt-judge-model=demo"],
        "*there are no labels*",
    ),
    Situation(
        "a judge is tested on too few labels",
        FAILED,
        ALL_PASS,
        [
            "--promptopt-calibrate",
            "--promptopt-judge-model=demo",
            "-o",
            "promptopt_judge_labels=labels.jsonl",
        ],
        "*not certified: *",
        files={"labels.jsonl": '{"answer": "a", "good": true, "criterion": "is short"}\n'},
    ),
    Situation(
        "a judge that nobody has tested would decide",
        USAGE,
        JUDGED,
        [HOLDS, "--promptopt-judge-model=demo"],
    ),
    Situation("a named file is not there", USAGE, ALL_PASS, ["gone.py"]),
    Situation("a named test is not there", USAGE, ALL_PASS, ["test_it.py::gone"]),
]

SAVE, COMPARE = ["--promptopt-save-baseline"], ["--promptopt-compare", "--promptopt-min-pass-rate=1%"]

#: Another text, under which the model says one of the words twice.
BROKEN = {
    "conftest.py": CONFTEST
    + """
def said(request):
    text = request.messages[-1].content
    word = text.rpartition(": ")[2]
    return word * 2 if text.startswith("Please") and word == "b" else word
""",
    "prompts/repeat.md": "Please repeat: {{ word }}\n",
}

BASELINES = [
    Situation("a baseline is saved, and a case fails", FAILED, FOUR_OF_FIVE, SAVE),
    Situation("a baseline is saved, and the gate holds", OK, FOUR_OF_FIVE, [*SAVE, HOLDS]),
    Situation(
        "a baseline cannot be saved",
        USAGE,
        ALL_PASS,
        ["--promptopt-save-baseline=test_it.py/b.json"],
        "ERROR: --promptopt-save-baseline: test_it.py/b.json cannot be written: *",
    ),
    Situation(
        "a baseline is lost at the end",
        FAILED,
        ALL_PASS + "\ndef test_plain(pytestconfig):\n    (pytestconfig.rootpath / 'b.json').mkdir()\n",
        ["--promptopt-save-baseline=b.json"],
        "*was not written*",
    ),
    Situation(
        "nothing is worse than the baseline",
        OK,
        ALL_PASS,
        [*COMPARE, "--promptopt-fail-on=any"],
        before=[SAVE],
    ),
    Situation(
        "one of three samples is lost, and nothing is worse than the baseline",
        OK,
        ALL_PASS,
        [*COMPARE, "--promptopt-fail-on=any", "--promptopt-samples=3"],
        before=[SAVE],
        files={"conftest.py": LOSES},
    ),
    Situation(
        "no case can be compared",
        FAILED,
        ALL_PASS,
        [*COMPARE, "--promptopt-fail-on=significant", "--promptopt-model=house/other"],
        "compare: *FAILED: none of its cases can be compared*",
        before=[SAVE],
    ),
    Situation("a case is worse, which is shown only", OK, ALL_PASS, COMPARE, before=[SAVE], changed=BROKEN),
    Situation(
        "a case is worse, and any fails the session",
        FAILED,
        ALL_PASS,
        [*COMPARE, "--promptopt-fail-on=any"],
        "compare: *FAILED*",
        before=[SAVE],
        changed=BROKEN,
    ),
    Situation(
        "a case is worse, and a loss is not shown",
        OK,
        ALL_PASS,
        [*COMPARE, "--promptopt-fail-on=significant"],
        "compare: *no loss is shown*",
        before=[SAVE],
        changed=BROKEN,
    ),
    Situation(
        "a case failed before as well, without a gate",
        FAILED,
        FOUR_OF_FIVE,
        ["--promptopt-compare", "--promptopt-fail-on=any"],
        "compare: *no change*",
        before=[SAVE],
    ),
]

DESK_TESTS = TESTS.format(train=TRAIN, validation=VALIDATION, heldout=[])


def optimizing(
    name: str,
    ret: int,
    *args: str,
    said: str = "",
    more: str = "",
    tests: str = DESK_TESTS,
    prompt: str = WEAK,
) -> Situation:
    """A row with ``--optimize``: the weak prompt of `Desk` becomes a good one.

    :param more: of conftest.py.
    """
    files = {"conftest.py": SPY + more, "prompts/sort.md": prompt}
    mode = [] if "--optimize-dry-run" in args else ["--optimize"]
    return Situation(name, ret, tests, [*mode, *args], said, DEMO, files)


HOPELESS_TRAIN = TESTS.format(train=[*TRAIN, HOPELESS], validation=VALIDATION, heldout=[])
HOPELESS_HELDOUT = TESTS.format(train=TRAIN, validation=VALIDATION, heldout=HELDOUT)
ONCE = "--promptopt-max-iterations=1"
BROKEN_PIN = "(HERE / 'broken').write_text('unblock')\n"
EDITS = """
def pytest_promptopt_iteration_finished(iteration):
    (HERE / "prompts" / "sort.md").write_text("My own words: {{ message }}")
"""

OPTIMIZING = [
    optimizing("a prompt is improved", OK, said="prompts/sort.md: improved*"),
    optimizing(
        "a prompt is improved, and its gate holds", OK, HOLDS, said="gate: prompts/sort.md 100.0% *: holds *"
    ),
    optimizing("there is nothing to improve", OK, said="*left alone*", prompt=GOOD),
    optimizing("a case fails under the new text, too", FAILED, ONCE, tests=HOPELESS_TRAIN),
    optimizing(
        "a case fails under the new text, too, and its gate holds",
        OK,
        "--promptopt-max-iterations=3",
        HOLDS,
        tests=HOPELESS_TRAIN,
    ),
    optimizing(
        "a prompt is improved, and its gate fails",
        FAILED,
        ONCE,
        "--promptopt-min-pass-rate=100%",
        tests=HOPELESS_TRAIN,
    ),
    optimizing(
        "a held-out case fails under the new text", OK, said="*1 held-out failed*", tests=HOPELESS_HELDOUT
    ),
    optimizing(
        "a held-out case fails under the new text, which the gate counts",
        FAILED,
        "--promptopt-min-pass-rate=100%",
        tests=HOPELESS_HELDOUT,
    ),
    optimizing(
        "a dry run leaves the prompt as it is", FAILED, "--optimize-dry-run", said="*not written: dry run*"
    ),
    optimizing(
        "a dry run, and the prompt as it is passes its gate",
        OK,
        "--optimize-dry-run",
        "--promptopt-min-pass-rate=0",
    ),
    optimizing(
        "a prompt was edited meanwhile",
        FAILED,
        "--promptopt-min-pass-rate=0",
        said="*not written: *changed on disk*",
        more=EDITS,
    ),
    optimizing(
        "a hook breaks that is told of the end",
        FAILED,
        more=HOOK.format("run_finished(result)"),
        said="*ZeroDivisionError*",
    ),
    optimizing("a case has no answer", FAILED, "--promptopt-min-pass-rate=0", more=BROKEN_PIN),
    optimizing("the calls are used up before the search", FAILED, "--promptopt-max-calls=14"),
    optimizing("there is no run to go on with", USAGE, "--optimize-resume"),
    optimizing("no test has a prompt", USAGE, tests=PLAIN.format("1")),
    optimizing("a journal cannot be kept", USAGE, more="(HERE / '.promptopt').write_text('a file')\n"),
    optimizing("--lf would leave cases out", USAGE, "--lf"),
]

TABLE = [
    *WITHOUT_GATE,
    *GATES,
    *ERRORS,
    *BY_INTERVAL,
    *LIMITS,
    *STOPS,
    *PARTS,
    *SPREAD_OVER_WORKERS,
    *REPEATED,
    *REFUSED,
    *BASELINES,
    *OPTIMIZING,
]


@pytest.mark.parametrize("situation", TABLE, ids=lambda situation: situation.name)
def test_exit_status(pytester: pytest.Pytester, situation: Situation) -> None:
    if situation.needs:
        pytest.importorskip(situation.needs)
    project = Project(pytester)
    project.ini(*situation.ini)
    for name, text in situation.files.items():
        project.write(name, text)
    project.tests(situation.first_tests or situation.tests)
    for args in situation.before:
        run(project, *args)
    project.tests(situation.tests)
    for name, text in situation.changed.items():
        project.write(name, text)
    result = run(project, "--junit-xml=junit.xml", *situation.args)
    assert result.ret == situation.ret
    if situation.said:
        pytest.LineMatcher([*result.outlines, *result.errlines]).fnmatch_lines([situation.said])
    if result.ret in (OK, FAILED):
        [suite] = ET.parse(project.path / "junit.xml").getroot().iter("testsuite")
        red = [
            part.tag for each in suite.iter("testcase") for part in each if part.tag in ("failure", "error")
        ]
        assert (suite.get("failures"), suite.get("errors")) == (
            str(red.count("failure")),
            str(red.count("error")),
        )
        assert bool(red) is (result.ret == FAILED)


def run(project: Project, *args: str) -> pytest.RunResult:
    """In this process also where it is interrupted."""
    return project.pytester.runpytest_inprocess("-p", "no:asyncio", *args, no_reraise_ctrlc=True)
