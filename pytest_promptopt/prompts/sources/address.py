"""How a prompt is named: a file, or a file and what is meant in it, ``app/triage.py::PROMPT``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Between the file and what is meant in it, as in pytest's own node ids.
SEPARATOR = "::"


@dataclass(frozen=True)
class Address:
    """Where a prompt stands.

    :param path: the file.
    :param inner: what is meant in it: a constant, a key; empty for the text of the whole file.
    """

    path: Path
    inner: str = ""

    @classmethod
    def parse(cls, given: Address | str | Path) -> Address:
        """``app/triage.py::PROMPT``, or a path."""
        if isinstance(given, Address):
            return given
        path, _, inner = str(given).partition(SEPARATOR)
        return cls(Path(path), inner.strip())

    def __str__(self) -> str:
        return with_inner(str(self.path), self.inner)

    def below(self, folder: Path) -> Address:
        """The same with a relative path taken from `folder`."""
        return Address(folder / self.path, self.inner)


def with_inner(file: str, inner: str) -> str:
    """The name of a prompt in `file`."""
    return f"{file}{SEPARATOR}{inner}" if inner else file


def file_of(name: str) -> str:
    """The file that a prompt of this name stands in."""
    return name.partition(SEPARATOR)[0]
