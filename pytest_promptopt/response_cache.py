"""Paid answers on disk, shared by all processes that work in one project."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from json import dumps, loads
from pathlib import Path
from typing import TypeVar

from pytest_promptopt.project_dir import ensure_home
from pytest_promptopt.records import Answer
from pytest_promptopt.shared_database import SharedDatabase
from pytest_promptopt.single_flight import SingleFlight
from pytest_promptopt.unpatched import os, time

_T = TypeVar("_T")

#: SQLite's words for a file that is not, or no longer, a database.
_DAMAGE = ("not a database", "malformed", "no such table", "no such column", "no column named")

#: Of diskcache 5, which earlier versions kept their answers with.
_TABLE = """
CREATE TABLE IF NOT EXISTS Cache (
    rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL, access_time REAL,
    access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0, filename TEXT,
    value BLOB
);
CREATE UNIQUE INDEX IF NOT EXISTS Cache_key_raw ON Cache (key, raw);
"""

#: Whatever is no plain text inside the database is of another writer: a pickle could run code.
_PLAIN = "raw = 1 AND mode = 1 AND filename IS NULL AND typeof(value) = 'text'"
_GET = f"SELECT value FROM Cache WHERE key = ? AND {_PLAIN}"
_ALL = f"SELECT key, value FROM Cache NOT INDEXED WHERE {_PLAIN} AND typeof(key) = 'text'"
_PUT = "INSERT OR REPLACE INTO Cache (key, raw, mode, store_time, value) VALUES (?, 1, 1, ?, ?)"


class ResponseCache:
    """Answers by `Request.key`. Never in the way: what goes wrong with the disk is warned of once.

    Nothing is created before the first `put` or `flight`. A damaged database is renamed, never deleted. Safe
    for threads and processes. Answers cost money, so none is ever evicted.

    :param folder: created for the owner only, and its home (see `ensure_home`) if that is missing.
    :param warn: told in one sentence why answers are not stored or not found.
    """

    def __init__(self, folder: Path, *, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._database = folder / "cache.db"
        self._warn = warn
        self._lock = threading.RLock()
        self._store: SharedDatabase | None = None
        self._opened: tuple[int, int] | None = None  # which file the store has open
        self._readable = True
        self._writable = True
        self._flights: SingleFlight | None = None

    def get(self, key: str) -> Answer | None:
        """The stored answer; None when there is none that can be used."""
        if not self._readable:
            return None
        try:
            if self._store is None and _identity(self._database) is None:
                return None
            text = self._healed(lambda store: _read(store, key))
            return None if text is None else Answer.from_json(loads(text))
        except (OSError, sqlite3.Error) as error:
            if self._writable:
                self._warn(f"the response cache {self._folder} cannot be read and is not used: {error}")
            self._readable = self._writable = False
        except Exception:  # a foreign row, another version's answer: both are a miss
            pass
        return None

    def prepare(self) -> None:
        """Open the database now: when the first answer comes, connections may have taken all descriptors."""
        with suppress(Exception):  # whoever stores an answer says why it cannot be
            self._healed(lambda store: None)

    def put(self, key: str, answer: Answer) -> None:
        """Store an answer, or say once why answers are not stored."""
        if not self._writable:
            return
        row = (key, time.time(), dumps(answer.to_json()))
        try:
            if self._store is not None and _identity(self._database) != self._opened:
                self._warn(f"the response cache {self._folder} was removed meanwhile; it starts empty")
                self._drop()
                if self._flights is not None:
                    self._flights.close()  # its locks are in a file that nobody else sees
            self._healed(lambda store: _write(store, [row]))
        except Exception as error:
            self._writable = False
            self._warn(f"answers are not stored in the response cache {self._folder}: {error}")

    @contextmanager
    def flight(self, key: str) -> Iterator[bool]:
        """Try to become the one process that asks for `key`; yields whether this one is.

        Does not wait. The lock goes with its owner, also by ``kill -9``. Where locks do not work everybody is
        the one: an answer may then be paid twice, but none is lost.
        """
        if self._flights is None:
            with suppress(OSError):
                self._make_folder()
            self._flights = SingleFlight(self._folder / "flights.lock", warn=self._warn)
        if not self._flights.take(key):
            yield False
            return
        try:
            yield True
        finally:
            self._flights.give(key)

    def close(self) -> None:
        """Close the database; a later `get` or `put` opens it again."""
        with self._lock:
            self._drop()
            if self._flights is not None:
                self._flights.close()

    def _healed(self, use: Callable[[SharedDatabase], _T]) -> _T:
        """`use` on the open store; once more on an empty one when the database turns out to be damaged."""
        try:
            return use(self._open())
        except sqlite3.DatabaseError as error:
            if not any(words in str(error) for words in _DAMAGE):
                raise
            self._set_aside(str(error))
            return use(self._open())

    def _open(self) -> SharedDatabase:
        if self._store is None:
            with self._lock:
                if self._store is None:
                    self._store = self._connect()
        return self._store

    def _connect(self) -> SharedDatabase:
        self._make_folder()
        store = SharedDatabase(self._database, _TABLE)
        self._opened = _identity(self._database)
        return store

    def _make_folder(self) -> None:
        if _identity(self._folder) is None:
            ensure_home(self._folder.parent)
            os.makedirs(self._folder, mode=0o700, exist_ok=True)

    def _set_aside(self, reason: str) -> None:
        import filelock

        with self._lock, filelock.FileLock(self._folder / "repair.lock", mode=0o600):
            self._drop()
            if _intact(self._database):
                return  # another process or thread was here first
            aside = self._database.with_name(f"cache.db.damaged-{time.time_ns()}")
            for suffix in ("", "-journal", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.replace(f"{self._database}{suffix}", f"{aside}{suffix}")
            # Still locked, so that whoever waits for its turn to repair finds nothing to do.
            self._store = self._connect()
            saved = dict(_readable(aside))
            _write(self._store, ((key, time.time(), text) for key, text in saved.items()))
            begins = f"begins with the {len(saved):,} answers that could be read" if saved else "starts empty"
            self._warn(f"the response cache was damaged ({reason}); set aside as {aside}, it {begins}")

    def _drop(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.flush()
            store.close()


def _read(store: SharedDatabase, key: str) -> str | None:
    with store.use() as connection:
        row = connection.execute(_GET, (key,)).fetchone()
    return None if row is None else row[0]


def _write(store: SharedDatabase, rows: Iterable[tuple[str, float, str]]) -> None:
    with store.change() as connection:
        connection.executemany(_PUT, rows)


def _readable(damaged: Path) -> Iterator[tuple[str, str]]:
    """What comes before and after the damaged place of a database."""
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(damaged)) as connection:
            yield from connection.execute(f"{_ALL} ORDER BY rowid {order}")


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None when there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _intact(database: Path) -> bool:
    try:
        store = SharedDatabase(database, _TABLE)
        with store.use() as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
        store.close()
    except sqlite3.Error:
        return False
    return bool(found == ("ok",))
