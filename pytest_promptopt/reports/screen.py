"""Places for what is true just now: a few lines below a terminal's cursor, or a line of a log now and then.

pytest goes on to write to the same stream. So it writes through a `PassingStream`, which moves what stands on
the screen out of the way. Nothing here raises: a run must not end because its progress cannot be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from pytest_promptopt.unpatched import os

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: What terminals do: erase all after the cursor; go down a line, and make one at the bottom; remember where
#: the cursor is, and go back there.
ERASE, DOWN, SAVE, BACK = "\x1b[J", "\x1bD", "\x1b7", "\x1b8"

#: Lines of a terminal that are left to others.
SPARED_LINES = 2


def own_stream(stream: TextIO) -> TextIO:
    """A stream of our own to the same terminal or file; `stream` itself where there is no other one.

    While a test runs, pytest's capture points file descriptor 1 at a temporary file; what is written there
    would miss the terminal and soil the test's captured output.
    """
    try:
        stream.flush()
        copy = os.dup(stream.fileno())
    except (OSError, ValueError):
        return stream
    return os.fdopen(copy, "w", encoding=stream.encoding, errors="backslashreplace")


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def moves_cursor() -> bool:
    """Whether the terminal can take lines back: one that says it is dumb cannot."""
    if os.environ.get("TERM", "") in ("dumb", "unknown"):
        return False
    return os.name != "nt" or _windows_moves_cursor()


def _windows_moves_cursor() -> bool:
    from rich.console import detect_legacy_windows

    return not detect_legacy_windows()


class Place(Protocol):
    """Where something can be shown that others write to as well; safe for threads."""

    def writing(self, text: str, write: Callable[[], int]) -> int:
        """Have others `write` this text there, and return what that returns."""


class PassingStream:
    """Stands for a stream that leads to a place; all but writing is done by the stream itself."""

    def __init__(self, stream: Any, place: Place) -> None:
        self.stream = stream
        self._place = place

    def write(self, text: str) -> int:
        def write() -> int:
            written: int = self.stream.write(text)
            return written

        return self._place.writing(text, write)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Screen:
    """A few lines below the cursor of a terminal. The cursor stays where whoever writes there has left it, so
    a line that is not finished goes on where it was, and what others write erases nothing of their own.
    """

    def __init__(self, stream: TextIO, *, colored: bool) -> None:
        self._theirs = stream
        self._own = own_stream(stream)
        self._colored = colored
        self._lock = RLock()
        #: What draws the lines that stand; empty while none do.
        self._drawn = ""

    @cached_property
    def _console(self) -> Console:
        """rich is imported when there is something to show."""
        from rich.console import Console

        colors: Literal["auto"] | None = "auto" if self._colored else None
        return Console(file=self._own, force_terminal=True, highlight=False, color_system=colors)

    def show(self, make: Callable[[int], Sequence[RenderableType]]) -> None:
        """Draw lines in the place of those that stand there.

        :param make: makes them for so many columns.
        """
        with self._lock, suppress(Exception):
            columns, lines = self._size()
            self._drawn = self._drawing(make(columns)[: max(0, lines - SPARED_LINES)], columns)
            if self._drawn:
                self._theirs.flush()
                self._write(self._drawn)

    def clear(self) -> None:
        """Leave nothing behind."""
        with self._lock, suppress(Exception):
            if self._drawn:
                self._drawn = ""
                self._write(ERASE)

    def close(self) -> None:
        self.clear()
        if self._own is not self._theirs:
            with suppress(OSError, ValueError):
                self._own.close()

    def writing(self, text: str, write: Callable[[], int]) -> int:
        with self._lock:
            # What does not end a line goes above the lines here, and erases nothing.
            with self._out_of_the_way(bool(self._drawn) and "\n" in text):
                written = write()
                if self._drawn:
                    self._theirs.flush()
            return written

    @contextmanager
    def _out_of_the_way(self, needed: bool) -> Iterator[None]:
        if needed:
            with suppress(Exception):
                self._write(ERASE)
        yield
        if needed:
            with suppress(Exception):
                self._theirs.flush()
                self._write(self._drawn)

    def _drawing(self, lines: Sequence[RenderableType], columns: int) -> str:
        if not lines:
            return ""
        with self._console.capture() as captured:
            for line in lines:
                self._console.print(line, no_wrap=True, overflow="ellipsis", width=columns)
        shown = captured.get().splitlines()
        room = ERASE + DOWN * len(shown) + f"\x1b[{len(shown)}A" + SAVE
        return room + "".join(f"\r\x1b[B{line}" for line in shown) + BACK

    def _size(self) -> tuple[int, int]:
        """Columns that can be written without a new line, and lines.

        rich would ask the standard streams, which pytest redirects.
        """
        with suppress(OSError, ValueError):
            size = os.get_terminal_size(self._own.fileno())
            if size.columns and size.lines:
                self._console.size = size
        return self._console.width - 1, self._console.height

    def _write(self, text: str) -> None:
        self._own.write(text)
        self._own.flush()


class Log:
    """A line now and then, between those that others write."""

    def __init__(self, stream: TextIO) -> None:
        self._theirs = stream
        self._own = own_stream(stream)
        self._lock = RLock()
        #: Whether others have ended the line that they have written last.
        self._ended = False

    def say(self, line: str) -> None:
        """Write a line; one that others have not finished ends before it."""
        with self._lock, suppress(Exception):
            self._theirs.flush()
            encoding = self._own.encoding or "utf-8"
            told = line.encode(encoding, "backslashreplace").decode(encoding)
            self._own.write("\n" * (not self._ended) + told + "\n")
            self._own.flush()
            self._ended = True

    def close(self) -> None:
        if self._own is not self._theirs:
            with suppress(OSError, ValueError):
                self._own.close()

    def writing(self, text: str, write: Callable[[], int]) -> int:
        with self._lock:
            written = write()
            if text:
                self._ended = text.endswith("\n")
            return written
