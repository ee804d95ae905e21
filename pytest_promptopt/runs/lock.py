"""One run at a time in a project."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.project_dir import ensure_home, process_exists


class RunLock:
    """Held by the process that works on the prompts of a project; it goes with it, however it ends.

    :param home: the project's `.promptopt`.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._holder = home / "running.json"
        self._lock: Any = None

    def acquire(self, run: str) -> None:
        """Raises `SettingsError` that names the run that holds it, `OSError` when no file can be made."""
        import filelock

        lock = filelock.FileLock(ensure_home(self._home) / "run.lock", timeout=0, mode=0o600)
        try:
            lock.acquire()
        except (
            NotImplementedError
        ):  # a file system without locks: whoever starts two runs there is on his own
            return
        except filelock.Timeout:
            other = describe_holder(self._home) or "another run"
            raise SettingsError(
                f"{other} is at work on the prompts of this project; wait for "
                "its end, or end it and continue it with --optimize-resume"
            ) from None
        self._lock = lock
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        self._holder.write_text(json.dumps({"run": run, "process": os.getpid(), "since": now}))

    def release(self) -> None:
        """Safe to call twice."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(OSError):
                self._holder.unlink()
            lock.release()


def running_run_id(home: Path) -> str:
    """The id of the run that is at work; empty when there is none."""
    note = _note(home)
    return str(note["run"]) if note and process_exists(int(note["process"])) else ""


def describe_holder(home: Path) -> str:
    """``run 20261121-153412-ab12 (process 4711, since ...)``; empty when nobody left a note."""
    note = _note(home)
    return "run {run} (process {process}, since {since})".format_map(note) if note else ""


def _note(home: Path) -> dict[str, Any]:
    try:
        note = json.loads((home / "running.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) and {"run", "process", "since"} <= note.keys() else {}
