"""Paid answers on disk, shared by all processes that work in one project."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pytest_promptopt.captured import os
from pytest_promptopt.flights import Flights
from pytest_promptopt.home import ensure_home
from pytest_promptopt.records import Answer

_T = TypeVar("_T")

#: Seconds to wait for another process's write; one takes a fraction of a millisecond.
LOCK_TIMEOUT = 10.0

#: SQLite's words for a file that is not, or no longer, a database.
_DAMAGE = ("not a database", "malformed", "no such table", "no such column")


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
        self._store: Any = None
        self._opened: tuple[int, int] | None = None  # which file the store has open
        self._readable = True
        self._writable = True
        self._flights: Flights | None = None

    def get(self, key: str) -> Answer | None:
        """The stored answer; None when there is none that can be used."""
        if not self._readable:
            return None
        try:
            if self._store is None and _identity(self._database) is None:
                return None
            text = self._healed(lambda store: store.get(key))
            return None if text is None else Answer.from_json(json.loads(text))
        except (OSError, sqlite3.Error) as error:
            if self._writable:
                self._warn(f"the response cache {self._folder} cannot be read and is not used: {error}")
            self._readable = self._writable = False
        except Exception:  # a foreign row, another version's answer, a busy database: all of them are a miss
            pass
        return None

    def put(self, key: str, answer: Answer) -> None:
        """Store an answer, or say once why answers are not stored."""
        if not self._writable:
            return
        text = json.dumps(answer.to_json())
        try:
            if self._store is not None and _identity(self._database) != self._opened:
                self._warn(f"the response cache {self._folder} was removed meanwhile; it starts empty")
                self._drop()
                if self._flights is not None:
                    self._flights.close()  # its locks are in a file that nobody else sees
            self._healed(lambda store: store.set(key, text))
        except Exception as error:
            self._writable = False
            reason = str(error) or "another process keeps it locked"
            self._warn(f"answers are not stored in the response cache {self._folder}: {reason}")

    @contextmanager
    def flight(self, key: str) -> Iterator[bool]:
        """Try to become the one process that asks for `key`; yields whether this one is.

        Does not wait. The lock goes with its owner, also by ``kill -9``. Where locks do not work everybody is
        the one: an answer may then be paid twice, but none is lost.
        """
        if self._flights is None:
            with suppress(OSError):
                self._make_folder()
            self._flights = Flights(self._folder / "flights.lock", warn=self._warn)
        if not self._flights.take(key):
            yield False
            return
        try:
            yield True
        finally:
            self._flights.give(key)

    def prepare(self) -> None:
        """Open the database, if that works, before anybody needs it."""
        with suppress(OSError, sqlite3.Error):
            self._open()

    def leave(self) -> None:
        """Close the connection of the calling thread; to be called by every thread that ends."""
        if self._store is not None:
            self._store.close()

    def close(self) -> None:
        """Close the database; a later `get` or `put` opens it again."""
        with self._lock:
            self._drop()
            if self._flights is not None:
                self._flights.close()

    def _healed(self, use: Callable[[Any], _T]) -> _T:
        """`use` on the open store; once more on an empty one when the database turns out to be damaged."""
        try:
            return use(self._open())
        except sqlite3.DatabaseError as error:
            if not any(words in str(error) for words in _DAMAGE):
                raise
            self._set_aside(str(error))
            return use(self._open())

    def _open(self) -> Any:
        if self._store is None:
            with self._lock:
                if self._store is None:
                    self._store = self._connect()
        return self._store

    def _connect(self) -> Any:
        from diskcache import Cache

        from pytest_promptopt.textdisk import TextDisk

        self._make_folder()
        # SQLite gives its side files the mode of the database, so this makes them the owner's as well.
        with suppress(PermissionError):
            os.close(os.open(self._database, os.O_CREAT | os.O_RDWR, 0o600))
        self._opened = _identity(self._database)
        return Cache(
            str(self._folder),
            disk=TextDisk,
            timeout=LOCK_TIMEOUT,
            eviction_policy="none",
            cull_limit=0,
            statistics=0,
            tag_index=0,
        )

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
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.replace(f"{self._database}{suffix}", f"{aside}{suffix}")
            # Still locked, so that whoever waits for its turn to repair finds nothing to do.
            self._store = self._connect()
            self._warn(f"the response cache was damaged ({reason}); set aside as {aside}, it starts empty")

    def _drop(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None when there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _intact(database: Path) -> bool:
    try:
        connection = sqlite3.connect(database)
        try:
            return connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",) and bool(
                connection.execute("SELECT name FROM sqlite_master WHERE name = 'Cache'").fetchone()
            )
        finally:
            connection.close()
    except sqlite3.Error:
        return False
