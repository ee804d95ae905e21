"""A few lines below the cursor of a terminal, and others that write to it as well."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator, Sequence

import pytest
from rich.console import RenderableType
from rich.text import Text

from pytest_promptopt.reports.screen import ERASE, Log, PassingStream, Screen, moves_cursor
from pytest_promptopt.unpatched import os
from tests.terminals import lines_left


@pytest.fixture
def terminal() -> Iterator[io.TextIOWrapper]:
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as file:
        yield file


def written(file: io.TextIOWrapper) -> str:
    file.seek(0)
    found = file.read()
    file.seek(0, io.SEEK_END)  # a copy of its descriptor writes on where it is
    return found


@pytest.fixture
def screen(terminal: io.TextIOWrapper) -> Iterator[Screen]:
    opened = Screen(terminal, colored=False)
    yield opened
    opened.close()


def words(*lines: str) -> Sequence[RenderableType]:
    return [Text(line) for line in lines]


def test_lines_stand_below_a_line_that_is_not_finished_and_go_without_a_trace(
    terminal: io.TextIOWrapper, screen: Screen
) -> None:
    pytest_writes = PassingStream(terminal, screen)
    pytest_writes.write("test_a.py ..")
    screen.show(lambda columns: words("2 of 9 cases done", "waiting"))
    assert lines_left(written(terminal)) == ["test_a.py ..", "2 of 9 cases done", "waiting"]
    pytest_writes.write(".")
    screen.show(lambda columns: words("3 of 9 cases done"))
    assert lines_left(written(terminal)) == ["test_a.py ...", "3 of 9 cases done", ""]
    pytest_writes.write(" [100%]\n")
    assert lines_left(written(terminal)) == ["test_a.py ... [100%]", "", "3 of 9 cases done"]
    screen.close()
    pytest_writes.write("== 9 passed ==\n")
    assert [line for line in lines_left(written(terminal)) if line] == [
        "test_a.py ... [100%]",
        "== 9 passed ==",
    ]


def test_what_takes_no_line_end_costs_no_new_drawing(terminal: io.TextIOWrapper, screen: Screen) -> None:
    dots = PassingStream(terminal, screen)
    screen.show(lambda columns: words("a case"))
    for _ in range(10):
        dots.write(".")
    assert written(terminal).count("a case") == 1
    assert lines_left(written(terminal)) == ["..........", "a case"]


def test_nothing_is_drawn_before_there_is_something_to_show(
    terminal: io.TextIOWrapper, screen: Screen
) -> None:
    PassingStream(terminal, screen).writelines(["a\n", "b\n"])
    screen.clear()
    screen.close()
    assert written(terminal) == "a\nb\n"


def test_only_a_terminal_with_colors_gets_them(terminal: io.TextIOWrapper, screen: Screen) -> None:
    screen.show(lambda columns: [Text("plain", style="bold red")])
    assert "m" not in written(terminal).replace("plain", "")


def test_a_long_line_is_cut_at_the_edge(
    terminal: io.TextIOWrapper, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((20, 5)))
    seen: list[int] = []

    def make(columns: int) -> Sequence[RenderableType]:
        seen.append(columns)
        return words("1234567890123456789012345", "b", "c", "d", "e")

    screen.show(make)
    assert seen == [19]
    assert lines_left(written(terminal)) == ["", "123456789012345678…", "b", "c"], (
        "two lines are left to others"
    )


def test_what_cannot_be_drawn_ends_nothing(terminal: io.TextIOWrapper, screen: Screen) -> None:
    def broken(columns: int) -> Sequence[RenderableType]:
        raise ValueError("no figures")

    stream = PassingStream(terminal, screen)
    screen.show(broken)
    screen.show(lambda columns: words("a"))
    screen._own.close()
    screen.show(lambda columns: words("b"))
    assert stream.write("one\n") == 4
    screen.clear()
    screen.close()
    assert written(terminal).endswith("one\n")


def test_the_error_of_who_writes_is_theirs(terminal: io.TextIOWrapper, screen: Screen) -> None:
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    screen.show(lambda columns: words("a"))
    with pytest.raises(UnicodeEncodeError):
        PassingStream(ascii_only, screen).write("für\n")
    assert written(terminal).count(ERASE) == 2


def test_all_but_writing_is_done_by_the_stream_itself(terminal: io.TextIOWrapper, screen: Screen) -> None:
    passing = PassingStream(terminal, screen)
    assert passing.fileno() == terminal.fileno()
    assert passing.encoding == "utf-8"


def test_a_line_of_a_log_ends_one_that_is_not_finished() -> None:
    stream = io.StringIO()
    log = Log(stream)
    dots = PassingStream(stream, log)
    dots.write("test_a.py ..")
    log.say("promptopt: 2 of 9 cases done")
    log.say("promptopt: 2 of 9 cases done")
    dots.write(".\n")
    log.say("promptopt: 3 of 9 cases done")
    log.close()
    assert stream.getvalue().splitlines() == [
        "test_a.py ..",
        "promptopt: 2 of 9 cases done",
        "promptopt: 2 of 9 cases done",
        ".",
        "promptopt: 3 of 9 cases done",
    ]


def test_a_log_that_is_closed_ends_nothing() -> None:
    stream = io.StringIO()
    log = Log(stream)
    stream.close()
    log.say("promptopt: 2 of 9 cases done")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked, not TERM alone")
def test_a_dumb_terminal_takes_no_line_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert moves_cursor()
    monkeypatch.setenv("TERM", "dumb")
    assert not moves_cursor()
