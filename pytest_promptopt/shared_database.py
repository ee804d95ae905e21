"""An SQLite file that many processes use at once, under a lock that only its owner can drop."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from sqlite3 import connect

from pytest_promptopt.unpatched import fcntl, os, time

#: Seconds to wait for another process; one use takes some microseconds, one change some milliseconds.
LOCK_TIMEOUT = 30.0

#: Seconds between two looks whether the other process is through.
PAUSE = 0.0005


class SharedDatabase:
    """One connection, used by one thread of one process at a time.

    SQLite's own locks belong to the process and are all gone once it closes any descriptor of the file, as a
    test does that copies its project (sqlite.org/howtocorrupt.html, 2.2). So every use is under ``flock``
    too, which belongs to a descriptor that nobody else has, and nothing is in force between two uses: there
    is no write-ahead log, whose index lives in memory that processes share. Where there is no ``flock``
    (Windows, some network file systems) SQLite's own locks have to do.

    :param path: created for its owner only; None for one in memory.

    Raises `OSError` or `sqlite3.Error` when the file cannot be used, as `use` and `change` do.
    """

    def __init__(self, path: Path | None, schema: str) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._process = os.getpid()
        self._descriptor = -1
        self._flocks = False
        self.connection: sqlite3.Connection
        try:
            self._open(path, schema)
        except BaseException:
            self._release()
            raise

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """The connection, while no other thread or process has it."""
        if os.getpid() != self._process:
            raise sqlite3.OperationalError("it was opened before this process was forked")
        with self._lock:
            if self._flocks and not self._depth:
                self._wait()
            self._depth += 1
            try:
                yield self.connection
            finally:
                self._depth -= 1
                if self._flocks and not self._depth:
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """`use` for what is written whole or not at all."""
        with self.use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # some errors have rolled it back already
                    connection.execute("ROLLBACK")
                raise

    def flush(self) -> None:
        """Have all changes so far outlast a loss of power."""
        with suppress(OSError):
            if self._descriptor >= 0:
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Safe to call twice; in a forked child it does nothing, since the file is its parent's."""
        if os.getpid() == self._process:
            with self._lock:
                self._release()

    def __del__(self) -> None:
        self.close()  # Python 3.13 warns of a connection that nobody closed

    def _release(self) -> None:
        with suppress(AttributeError):  # when it could not be opened
            self.connection.close()
        descriptor, self._descriptor, self._flocks = self._descriptor, -1, False
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self, path: Path | None, schema: str) -> None:
        if path is not None:
            # SQLite gives its side files the mode of the database, so this makes them the owner's as well.
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        self._flocks = path is not None and self._can_flock()
        try:
            self.connection = connect(
                path or ":memory:", timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            self.connection.execute("PRAGMA journal_mode = TRUNCATE")
            # `kill -9` loses nothing; a loss of power may damage the file, unless it comes after `flush`. To
            # wait for the disk at every change would take longer than all the rest.
            self.connection.execute("PRAGMA synchronous = OFF")
            self.connection.executescript(schema)
        finally:
            if self._flocks:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _can_flock(self) -> bool:
        """Take the lock, if there is one."""
        if fcntl is None:
            return False
        try:
            self._wait()
        except OSError:
            return False
        return True

    def _wait(self) -> None:
        end = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                return fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise sqlite3.OperationalError("another process keeps it locked") from None
            time.sleep(PAUSE)
