"""What the journal of an earlier run knows: how it was begun, what it paid for, how it ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import ErrorKind, ModelError, SettingsError
from pytest_promptopt.journal import FILE_NAME, Event, JournalError, read_events
from pytest_promptopt.models.call_records import RecordedCall
from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.prompts.sources import file_of
from pytest_promptopt.records import Answer, Role, Spend

#: The first event of every journal, and the one that each continuation begins with.
OPENED, RESUMED = "opened", "resumed"

#: A search that one of these ended may go on: with a higher ceiling, a working key, a mended hook.
_GOES_ON = (HaltReason.BUDGET, HaltReason.REFUSED, HaltReason.ERROR, HaltReason.WORKERS)

#: These say that it ended, and decide nothing.
_ENDINGS = ("stop", "learned", "end", "notes", RESUMED)

#: A call that was paid for, and an answer that somebody had paid for before.
_ANSWERS = ("call", "known")

#: Errors that say nothing about the call itself, and those of code that may be mended by now.
_PASSING = (ErrorKind.BUDGET, ErrorKind.CANCELLED, ErrorKind.DEFECT)


@dataclass(frozen=True)
class PastRun:
    """A run on disk, whole or cut off. `events` has at least one."""

    folder: Path
    events: tuple[Event, ...]

    @classmethod
    def load(cls, folder: Path) -> PastRun:
        """Raises `JournalError`, and `OSError` when there is no journal."""
        events = tuple(read_events(folder / FILE_NAME))
        if not events or events[0].event != OPENED:
            raise JournalError(f"{folder / FILE_NAME}:1: a journal begins with the event {OPENED!r}")
        return cls(folder, events)

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def opened(self) -> Mapping[str, Any]:
        """How the run was begun: ``mode``, ``options`` given, ``selection`` of tests, ``fingerprint``."""
        return self.events[0].data

    @property
    def options(self) -> Mapping[str, str]:
        """What the command lines of its processes gave, the last word of each."""
        begun = [event.data["options"] for event in self.events if event.event in (OPENED, RESUMED)]
        found: Mapping[str, str] = begun[-1]
        return found

    @property
    def begun(self) -> datetime:
        return datetime.fromisoformat(self.events[0].time).astimezone()

    @property
    def processes(self) -> list[tuple[Event, ...]]:
        """The events of each process that worked on it, in order."""
        begun = [n for n, event in enumerate(self.events) if event.event in (OPENED, RESUMED)]
        ends = [*begun[1:], len(self.events)]
        return [self.events[start:end] for start, end in zip(begun, ends, strict=True)]

    @cached_property
    def end(self) -> Mapping[str, Any] | None:
        """The result of the last process that worked on it; None when that one was killed."""
        for event in reversed(self.events):
            if event.event == "end":
                return event.data
            if event.event in (OPENED, RESUMED):
                break
        return None

    @property
    def unfinished(self) -> bool:
        """Whether to go on has a point: it was killed, interrupted, or stopped by a ceiling or a provider."""
        if self.end is None:
            return True
        if self.end["interrupted"] or self.to_confirm:
            return True
        return any(may_go_on(prompt["stop"]) for prompt in self.end["prompts"])

    @property
    def to_confirm(self) -> bool:
        """Whether it has found a better text that more calls would probably confirm: nothing else is left.

        Nothing is when the search of no other prompt may go on.
        """
        prompts = self.end["prompts"] if self.end else ()
        due = [
            prompt
            for prompt in prompts
            if (prompt.get("confirmation") or {}).get("needed") and not prompt["accepted"]
        ]
        searched = {name for prompt in due for name in (prompt["prompt"], *prompt["pipeline"])}
        others = [prompt for prompt in prompts if prompt["prompt"] not in searched]
        return bool(due) and not any(may_go_on(prompt["stop"]) for prompt in others)

    @property
    def search_ceiling(self) -> int | None:
        """The ceiling on calls of the process that ended the search for such a text; None without one."""
        ceiling: int | None = None
        for event in self.events:
            if event.event == "start":
                ceiling = event.data["settings"]["max_calls"]
            if event.event == "confirmation" and event.data.get("needed"):
                break
        return ceiling

    def recorded_calls(self) -> dict[str, RecordedCall]:
        """By key: every answer that it paid for or took from the cache, and errors that a decision stands on.

        An error after the last decision is left out, so that its request is sent again.
        """
        found: dict[str, RecordedCall] = {}
        undecided: dict[str, RecordedCall] = {}
        for event in self.events:
            if event.event not in _ANSWERS:
                if event.event not in _ENDINGS:
                    found, undecided = {**undecided, **found}, {}
                continue
            key, end = event.data["key"], self._end_of(event)
            if end is None:
                continue
            if isinstance(end.end, Answer):
                found[key] = end
                undecided.pop(key, None)
            else:
                undecided[key] = end
        return found

    def _end_of(self, event: Event) -> RecordedCall | None:
        data = event.data
        try:
            calls = Spend(*data["spend"]).calls if event.event == "call" else 0
            if data["answer"] is not None:
                return RecordedCall(Answer.from_json(data["answer"]), calls)
            error = ModelError(ErrorKind(data["kind"]), data["error"], model=data["model"])
        except (KeyError, TypeError, ValueError) as problem:
            where = f"{self.folder / FILE_NAME}:{event.seq}"
            raise JournalError(f"{where}: not a call of this version: {problem!r}") from None
        return None if error.stops_run or error.kind in _PASSING else RecordedCall(error, calls)

    def spend(self) -> dict[Role, Spend]:
        """What its calls were charged, by role."""
        total = {role: Spend() for role in Role}
        for event in self.events:
            if event.event == "call":
                total[Role(event.data["role"])] += Spend(*event.data["spend"])
        return total

    def written(self) -> dict[str, set[str]]:
        """Which contents (sha256) the run put, or was about to put, into each file."""
        found: dict[str, set[str]] = {}
        for event in self.events:
            if event.event == "writing":
                found.setdefault(file_of(event.data["prompt"]), set()).add(event.data["sha256"])
        return found

    def originals(self) -> dict[str, bytes]:
        """The files as they were before the run, by name."""
        folder = self.folder / "original"
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }


def may_go_on(stop: str) -> bool:
    """Whether a search that ended so has decided nothing for good."""
    return stop in _GOES_ON


def run_folders(home: Path) -> list[Path]:
    """Those of all runs, the newest first: their names begin with the time.

    Raises `SettingsError` when they cannot be looked at, as those of another user.
    """
    runs = home / "runs"
    try:
        with os.scandir(runs) as entries:
            return sorted((runs / entry.name for entry in entries if entry.is_dir()), reverse=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"the runs in {runs} cannot be read: {error.strerror or error}") from None


def newest_run(home: Path, *, option: str) -> PastRun:
    """The run that was begun last. Raises as `find_run` does."""
    for folder in run_folders(home):
        if (folder / FILE_NAME).exists():  # else it never began
            return find_run(home, folder.name, option=option)
    raise SettingsError(f"{option}: there is no run in {home / 'runs'}; --optimize makes one")


def find_run(home: Path, name: str, *, option: str) -> PastRun:
    """The run called `name`. Raises `SettingsError` when there is none, `JournalError` when it is damaged."""
    if name not in (folder.name for folder in run_folders(home)):
        raise SettingsError(
            f"{option}: there is no run {name!r} in {home / 'runs'}; --promptopt-runs lists those that are "
            f"there, and the form is {option}=RUN"
        )
    try:
        return PastRun.load(home / "runs" / name)
    except OSError as error:
        raise SettingsError(f"{option}: the journal of run {name} cannot be read: {error}") from None


def newest_unfinished(home: Path) -> PastRun:
    """The run to continue when none is named. Raises `SettingsError` when there is none."""
    for folder in run_folders(home):
        if not (folder / FILE_NAME).exists():  # it never began
            continue
        try:
            run = PastRun.load(folder)
        except (JournalError, OSError) as error:
            raise SettingsError(
                f"--optimize-resume: the last run {folder.name} is damaged ({error}); to continue another "
                "one, name it with --optimize-resume=RUN, as --promptopt-runs lists them"
            ) from None
        if run.unfinished:
            return run
    raise SettingsError(
        f"--optimize-resume: no run in {home / 'runs'} was interrupted, killed or stopped by a ceiling; "
        "--promptopt-runs lists them, and --optimize-resume=RUN repeats one of them from its answers"
    )
