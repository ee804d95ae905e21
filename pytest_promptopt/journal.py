"""The journal of a run: one JSON line per event, on disk before the run goes on."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.records import SCHEMA_VERSION

FILE_NAME = "journal.jsonl"


class JournalError(PromptoptError):
    """A journal cannot be used. Reads ``file:line: what is wrong``."""


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

    def __init__(self, path: Path, run_id: str, descriptor: int) -> None:
        self.path = path
        self.run_id = run_id
        self._descriptor = descriptor
        self._lock = Lock()
        self._seq = 0

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
        return cls(path, run_id, descriptor)

    def append(self, event: str, **data: Any) -> None:
        """Write one event whole or not at all. Raises `TypeError` when `data` is not JSON-like."""
        with self._lock:
            body = {
                "seq": self._seq + 1,
                "run": self.run_id,
                "event": event,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "schema": SCHEMA_VERSION,
                "data": data,
            }
            line = json.dumps({**body, "checksum": _checksum(body)}) + "\n"
            self._write(line.encode())
            self._seq += 1

    def _write(self, line: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
            os.fsync(self._descriptor)
        except BaseException:  # a full disk: half a line would make everything after it unreadable
            os.ftruncate(self._descriptor, size)
            raise

    def keep_original(self, name: str, content: bytes) -> Path:
        """Copy a prompt file as it was before the run to ``original/<name>`` in the run's folder.

        :param name: the prompt's rootdir-relative path; parts that lead out of the run's folder are dropped.
        """
        parts = [part for part in Path(name).parts if part not in ("..", Path(name).anchor)]
        copy = self.path.parent.joinpath("original", *parts)
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy.write_bytes(content)
        return copy

    def close(self) -> None:
        """Release the file; safe to call twice."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def read(path: Path) -> list[Event]:
    """All events of a journal, in order.

    A last line torn by a kill (it has no newline) is left out. Anything else that `Journal.append` did
    not write (bad JSON, a wrong checksum, a gap, another schema) raises `JournalError` with file and line.
    """
    *lines, _torn = path.read_bytes().split(b"\n")
    events: list[Event] = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(_parse(line, number))
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(f"{path}:{number}: not an event of a journal: {error}") from None
    return events


def _parse(line: bytes, number: int) -> Event:
    body = json.loads(line)
    if not isinstance(body, dict):
        raise ValueError(f"expected a JSON object, got {type(body).__name__}")
    if body.pop("checksum", None) != _checksum(body):
        raise ValueError("the checksum does not fit, so the line was changed")
    if body["seq"] != number:
        raise ValueError(f"expected event {number}, found event {body['seq']}")
    if body["schema"] != SCHEMA_VERSION:
        raise ValueError(f"written in schema {body['schema']}, this version reads schema {SCHEMA_VERSION}")
    return Event(**body)


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
