"""The journal of a run: one JSON line per event, on disk before the run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from json import dumps, loads
from pathlib import Path
from threading import Lock
from typing import Any

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.file_writing import sync_folder, write_synced
from pytest_promptopt.unpatched import datetime, os

#: Raised by one whenever the form of a line changes; this version reads no journal of another schema.
JOURNAL_SCHEMA = 1

FILE_NAME = "journal.jsonl"


class JournalError(PromptoptError):
    """A journal cannot be used or written. Reads ``file:line: what is wrong``."""


@dataclass(frozen=True)
class Event:
    """One line of a journal. `seq` counts from 1 without gaps; `time` is UTC in ISO 8601."""

    seq: int
    run: str
    event: str
    time: str
    schema: int
    data: dict[str, Any]


class Journal:
    """Append-only record of one run; `append` may be called from any thread.

    An event is flushed and fsynced before `append` returns: ``kill -9`` at any later point does not lose it.
    """

    def __init__(self, path: Path, run_id: str, descriptor: int, *, seq: int = 0) -> None:
        self.path = path
        self.run_id = run_id
        self._descriptor = descriptor
        self._lock = Lock()
        self._seq = seq

    @classmethod
    def create(cls, folder: Path, run_id: str) -> Journal:
        """Start the journal of a new run in its own `folder`, readable by its owner only.

        Raises `JournalError` if the folder holds a journal already.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / FILE_NAME
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:
            raise JournalError(f"{path}: this run has a journal already") from None
        for created in (folder, folder.parent):
            sync_folder(created)
        return cls(path, run_id, descriptor)

    @classmethod
    def reopen(cls, path: Path) -> Journal:
        """Go on with the journal of an earlier process; what a kill left of its last line is cut off.

        Raises `JournalError` as `read_events` does, and when there is no event.
        """
        events, whole = _scan(path)
        if not events:
            raise JournalError(f"{path}: there is no event in it")
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.ftruncate(descriptor, whole)
        return cls(path, events[0].run, descriptor, seq=len(events))

    def append(self, event: str, *, sync: bool = True, **data: Any) -> None:
        """Write one event whole or not at all.

        :param sync: wait for the disk; else the next event that does takes this one along, and only a loss of
            power before it loses it.

        Raises `TypeError` when `data` is not JSON-like, `JournalError` when the disk refuses.
        """
        with self._lock:
            body = {
                "seq": self._seq + 1,
                "run": self.run_id,
                "event": event,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "schema": JOURNAL_SCHEMA,
                "data": data,
            }
            line = dumps({**body, "checksum": _checksum(body)}) + "\n"
            try:
                self._write(line.encode(), sync)
            except OSError as error:
                raise JournalError(f"{self.path}: cannot be written: {error}") from None

    def _write(self, line: bytes, sync: bool) -> None:
        size, seq = os.fstat(self._descriptor).st_size, self._seq
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
            if sync:
                os.fsync(self._descriptor)
            self._seq = seq + 1
        except BaseException:
            # A full disk, Ctrl-C: half a line, or a number given twice, would make the journal unreadable.
            self._seq = seq
            os.ftruncate(self._descriptor, size)
            raise

    def check(self) -> None:
        """Raises `JournalError` when somebody has removed it meanwhile, with the originals beside it."""
        try:
            there = os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except OSError:
            there = False
        if not there:
            raise JournalError(f"{self.path}: was removed or replaced during the run")

    def keep_original(self, name: str, content: bytes) -> Path:
        """Copy a prompt file as it was before the run to ``original/<name>`` in the run's folder.

        :param name: the prompt's rootdir-relative path; parts that lead out of the run's folder are dropped.
        """
        parts = [part for part in Path(name).parts if part not in ("..", Path(name).anchor)]
        copy = self.path.parent.joinpath("original", *parts)
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_synced(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), content)
        return copy

    def close(self) -> None:
        """Release the file; safe to call twice."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def read_events(path: Path) -> list[Event]:
    """All events of a journal, in order.

    A last line that a kill or a loss of power left torn is left out. Anything else that `Journal.append` did
    not write (bad JSON, a wrong checksum, a gap, another schema) raises `JournalError` with file and line.
    """
    return _scan(path)[0]


class _NotWhole(ValueError):
    """A line is not what was written, as a loss of power may leave the last one."""


def _scan(path: Path) -> tuple[list[Event], int]:
    """The events and how many bytes they take."""
    *lines, _torn = path.read_bytes().split(b"\n")
    events: list[Event] = []
    size = 0
    for number, line in enumerate(lines, 1):
        try:
            events.append(_parse(line, number))
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, _NotWhole) and number == len(lines):
                break
            raise JournalError(f"{path}:{number}: not an event of a journal: {error}") from None
        size += len(line) + 1
    return events, size


def _parse(line: bytes, number: int) -> Event:
    try:
        # What is no UTF-8 is seen by its checksum; it must not hide that two lines have become one.
        body = loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        if "Extra data" in str(error):  # two lines in one: the first was on disk before the second began
            raise
        raise _NotWhole(str(error)) from None
    if not isinstance(body, dict):
        raise _NotWhole(f"expected a JSON object, got {type(body).__name__}")
    if body.pop("checksum", None) != _checksum(body):
        raise _NotWhole("the checksum does not fit, so the line was changed")
    if body["seq"] != number:
        raise ValueError(f"expected event {number}, found event {body['seq']}")
    if body["schema"] != JOURNAL_SCHEMA:
        raise ValueError(f"written in schema {body['schema']}, this version reads schema {JOURNAL_SCHEMA}")
    return Event(**body)


def _checksum(body: dict[str, Any]) -> str:
    return sha256(dumps(body, sort_keys=True).encode()).hexdigest()[:16]
