"""What was spent and what is reserved, in a file that all processes of a session or of a run share."""

from __future__ import annotations

import math
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from pytest_promptopt.records import Role, Spend
from pytest_promptopt.shared_database import SharedDatabase
from pytest_promptopt.single_flight import SingleFlight
from pytest_promptopt.unpatched import os

_BOOK = """
CREATE TABLE IF NOT EXISTS spend (
    role TEXT PRIMARY KEY, calls INTEGER DEFAULT 0, input_tokens INTEGER DEFAULT 0,
    output_tokens INTEGER DEFAULT 0, cost REAL DEFAULT 0, unpriced INTEGER DEFAULT 0
);
CREATE TABLE IF NOT EXISTS reserved (
    id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT, role TEXT, input_tokens INTEGER,
    output_tokens INTEGER, cost REAL
);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value);
"""

_CLOSE = """
UPDATE spend SET input_tokens = input_tokens + ?, output_tokens = output_tokens + ?, cost = cost + ?,
    unpriced = unpriced + ? WHERE role = ?
"""


class SharedTotals:
    """The book and whose reservations in it are in flight. Safe for threads and processes.

    :param path: of the file; None for an account of this process alone.

    Raises `OSError` or `sqlite3.Error` when the file cannot be used, as every use does.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        #: Whose reservations are this process's.
        self.owner = "f" + secrets.token_hex(7)  # never taken for a number
        self._owners: SingleFlight | None = None
        self._path = path
        self._database = SharedDatabase(path, _BOOK)
        with self._database.change() as book:
            for role in Role:
                book.execute("INSERT OR IGNORE INTO spend (role) VALUES (?)", (role,))
            for name in ("started", "seen"):
                book.execute("INSERT OR IGNORE INTO state VALUES (?, ?)", (name, clock()))
        if path is not None:
            self._owners = SingleFlight(path.with_name(f"{path.name}.owners"), warn=lambda said: None)
            self._owners.take(self.owner)  # for as long as this process lives

    @classmethod
    def continued(
        cls, path: Path | None, clock: Callable[[], float], before: Mapping[Role, Spend]
    ) -> SharedTotals:
        """Go on with what an earlier process left.

        What that one had reserved stays charged, since nobody knows how it ended; the time between does not
        count.

        :param before: the least that was spent; the file may have lost its last entries with the power.
        """
        account = cls(path, clock)
        try:
            with account._database.change() as book:
                _adopt(book, clock())
                for role, spend in before.items():
                    known = Spend(*map(max, astuple(spend_of(book, role)), astuple(spend)))
                    book.execute(
                        "UPDATE spend SET calls = ?, input_tokens = ?, output_tokens = ?, cost = ?, "
                        "unpriced = ? WHERE role = ?",
                        (*astuple(known), role),
                    )
        except BaseException:
            account.close()
            raise
        return account

    @property
    def path(self) -> str | None:
        return None if self._path is None else str(self._path)

    @property
    def exists(self) -> bool:
        """Whether its file is still there."""
        return self._path is None or os.access(self._path, os.F_OK)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with self._database.use() as book:
            yield book

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The book, for one change that is made whole or not at all; the session was alive by now."""
        with self._database.change() as book:
            yield book
            put(book, "seen", self._clock())

    def alive(self, owner: str) -> bool:
        """Whether the process of these reservations is there; its lock ends with it, also as a zombie."""
        if owner == self.owner or self._owners is None:
            return owner == self.owner
        if not self._owners.take(owner):
            return True
        self._owners.give(owner)
        return False

    def close(self) -> None:
        """Safe to call twice."""
        self._database.close()
        if self._owners is not None:
            self._owners.close()


def _adopt(book: sqlite3.Connection, now: float) -> None:
    for row in book.execute("SELECT role, input_tokens, output_tokens, cost FROM reserved").fetchall():
        role, input_tokens, output_tokens, cost = row
        charge(book, role, input_tokens, output_tokens, cost)
    book.execute("DELETE FROM reserved")
    elapsed = float(get(book, "seen", now)) - float(get(book, "started", now))
    for name, value in (
        ("started", now - elapsed),
        ("seen", now),
        ("breach", ""),
        ("held", ""),
        ("set_aside", 0),
    ):
        put(book, name, value)


def charge(
    book: sqlite3.Connection, role: Role, input_tokens: int, output_tokens: int, cost: float | None
) -> None:
    """Add what a call took, whose number was counted when it was reserved."""
    book.execute(_CLOSE, (input_tokens, output_tokens, cost or 0.0, cost is None, role))


def spend_of(book: sqlite3.Connection, role: Role) -> Spend:
    row = book.execute(
        "SELECT calls, input_tokens, output_tokens, cost, unpriced FROM spend WHERE role = ?", (role,)
    ).fetchone()
    return Spend(*row)


def total(book: sqlite3.Connection) -> Spend:
    row = book.execute(
        "SELECT SUM(calls), SUM(input_tokens), SUM(output_tokens), SUM(cost), SUM(unpriced) FROM spend"
    ).fetchone()
    return Spend(*row)


def outstanding(book: sqlite3.Connection, but: frozenset[int]) -> tuple[int, float]:
    """Tokens and dollars that are reserved, without the reservations `but`."""
    rows = book.execute("SELECT id, input_tokens + output_tokens, cost FROM reserved").fetchall()
    counted = [(tokens, cost or 0.0) for id, tokens, cost in rows if id not in but]
    return sum(tokens for tokens, _ in counted), math.fsum(cost for _, cost in counted)


def get(book: sqlite3.Connection, name: str, default: object) -> Any:
    row = book.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return default if row is None else row[0]


def put(book: sqlite3.Connection, name: str, value: object) -> None:
    book.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))
