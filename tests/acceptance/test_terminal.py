"""What is left on a real terminal after the live display has come and gone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.desk import DEMO, TESTS, TRAIN, VALIDATION, WEAK
from tests.acceptance.projects import Project
from tests.terminals import lines_left

pty = pytest.importorskip("pty", reason="needs a terminal")


def on_a_terminal(folder: Path, *args: str) -> list[str]:
    return lines_left(written_to_a_terminal(folder, *args))


def written_to_a_terminal(folder: Path, *args: str) -> str:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "LINES": "60"}
    command = [sys.executable, "-m", "pytest", "-p", "no:asyncio", *args]
    run = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave, close_fds=True
    )
    os.close(slave)
    written = b""
    try:
        while part := os.read(master, 65536):
            written += part
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(master)
    assert run.wait(60) in (0, 1), written.decode()
    return written.decode()


def test_each_strategy_of_a_comparison_has_its_heading(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "sort.md").write_text(WEAK, encoding="utf-8")
    tests = "import pytest\n" + TESTS.format(train=TRAIN, validation=VALIDATION, heldout=[])
    (tmp_path / "test_sort.py").write_text(tests, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("\n".join(("[pytest]", *DEMO)), encoding="utf-8")
    shown = on_a_terminal(tmp_path, "--optimize-dry-run", "--promptopt-strategy=refine,evolve", "--tb=no")
    assert [line for line in shown if line.startswith("promptopt: strategy ")] == [
        "promptopt: strategy refine",
        "promptopt: strategy evolve",
    ]


SHOWN_AT_ONCE = """
from pytest_promptopt.pytest_session import live_session, running_figures

live_session.SHOW_AFTER = live_session.SHOW_EVERY = running_figures.TELL_EVERY = 0.0

def pytest_unconfigure():
    import sys
    print("rich:", "rich" in sys.modules)
"""
CHECK = """
import pytest

def test_plain():
    pass

@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", "abcdefgh")
def test_word(prompt, word):
    print(f"<{word}>")
    assert prompt(word=word) == word

def test_plain_as_well():
    pass
"""


@pytest.fixture
def words(pytester: pytest.Pytester) -> Path:
    project = Project(pytester)
    project.append("conftest.py", SHOWN_AT_ONCE)
    project.write("test_words.py", CHECK)
    return project.path


SCREEN = re.compile(
    r"\d of 8 cases done.*waiting for \d+ answers?, the first for [\d.]+s, \d+ calls? made", re.DOTALL
)


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        ((), ["test_words.py .......... [100%]"]),
        (
            ("-v",),
            [f"test_words.py::test_word[{word}] PASSED [ {n + 2}0%]" for n, word in enumerate("abcdefgh")],
        ),
        (("-s",), ["test_words.py .<a>", *(f".<{word}>" for word in "bcdefgh"), ".."]),
        (("-n", "1"), [".......... [100%]"]),
    ],
    ids=["dots", "verbose", "no-capture", "xdist"],
)
def test_the_screen_of_a_check_tears_nothing_and_leaves_nothing(
    words: Path, args: tuple[str, ...], lines: list[str]
) -> None:
    written = written_to_a_terminal(words, "--promptopt-model=house/slow", *args)
    assert SCREEN.search(written)
    shown = [" ".join(line.split()) for line in lines_left(written)]
    assert [line for line in shown if line in lines] == lines
    assert not [line for line in shown if "cases done" in line or "waiting for" in line]
    assert shown[-2:] == ["rich: True", ""]


def test_without_a_screen_nothing_of_it_is_loaded(words: Path) -> None:
    conftest = words / "conftest.py"
    conftest.write_text(conftest.read_text("utf-8").replace("= 0.0", "= 60.0"), "utf-8")
    shown = on_a_terminal(words, "-p", "no:hypothesispytest")
    assert "rich: False" in shown


def test_what_a_test_prints_past_the_capture_is_torn_by_nothing(words: Path) -> None:
    tests = CHECK.replace("(prompt, word)", "(prompt, word, capsys)").replace(
        "    print(", "    with capsys.disabled():\n        print("
    )
    (words / "test_words.py").write_text(tests, encoding="utf-8")
    written = written_to_a_terminal(words, "--promptopt-model=house/slow")
    assert SCREEN.search(written)
    shown = "\n".join(lines_left(written))
    assert {f"<{word}>" for word in "abcdefgh"} <= set(re.findall("<.>", shown))
    assert "case" not in shown.replace("cases: 8 train", "").partition("model calls")[0]
    assert "━" not in shown
