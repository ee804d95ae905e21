"""A session that is over leaves nothing behind in its process: an IDE or a test suite may run hundreds."""

from __future__ import annotations

import sys

import pytest

from tests.acceptance.projects import Project

#: Several sessions in one process, and how many of them are still there after each.
SEVERAL = """
import contextlib, gc, io, os, sys, pytest

for arguments in (sys.argv[1:] for _ in range(2)):
    known = set(sys.modules)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = pytest.main(["-p", "no:cacheprovider", *arguments])
    for name in set(sys.modules) - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(os.getcwd()):
            del sys.modules[name]
    for name in ("last_value", "last_traceback", "last_type", "last_exc"):
        vars(sys).pop(name, None)  # of a failed test, kept for a debugger
    gc.collect()
    print(int(status), sum(type(each) is pytest.Config for each in gc.get_objects()))
"""

TESTS = """
from dataclasses import dataclass

@dataclass
class Said:
    word: str

def look_up(word: str) -> str:
    "Looks a word up."
    return word

@pytest.mark.parametrize("word", ["a", "b", "c", "d", "wrong"])
@pytest.mark.prompt("prompts/repeat.md")
def test_word(prompt, judge, word):
    expected = {"wrong": "right"}.get(word, word)
    assert prompt(word=word, response_schema=Said, tools=[look_up]) == expected

@pytest.mark.parametrize("word", ["a", "wrong"])
@pytest.mark.prompt("prompts/repeat.md")
def test_judged(prompt, judge, word):
    answer = prompt(word=word)
    if word == "never":
        assert judge(answer, str(answer))
    assert answer == word
"""


@pytest.mark.parametrize(
    "options",
    [
        ("--promptopt-cache=off",),
        ("--optimize", "--promptopt-optimizer-model=house/writer"),
    ],
    ids=["plain", "optimize"],
)
def test_sessions_of_one_process_are_freed(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    project = Project(pytester, "promptopt_judge_model = house/judge")
    project.tests(TESTS)
    project.write("several.py", SEVERAL)
    result = pytester.run(sys.executable, "several.py", *options)
    assert result.outlines == ["1 1"] * 2, "the last session alone may still be there"
