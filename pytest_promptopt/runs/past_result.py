"""The result of an earlier run, from its journal alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_promptopt.journal import FILE_NAME, Event, JournalError
from pytest_promptopt.records import Role, Spend
from pytest_promptopt.results import RunResult
from pytest_promptopt.runs.cut_off_result import cut_off_result
from pytest_promptopt.runs.past import OPENED, RESUMED, PastRun
from pytest_promptopt.runs.stored_values import read_value
from pytest_promptopt.text import shown_path

#: Events that are no decision: a process with many of the others has come far.
_NO_DECISION = ("call", "known", OPENED, RESUMED)


def past_result(run: PastRun, rootdir: Path) -> RunResult:
    """What the run told when it ended; of one that was cut off what was known by then.

    A run that was continued goes the same way once more, so the process that came furthest has the most to
    tell. Raises `JournalError` that names the line which this version cannot read.
    """
    process = _furthest(run)
    end = next((event for event in reversed(process) if event.event == "end"), None)
    try:
        result = cut_off_result(run, process) if end is None else _told(run, process, end)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        where = f"{run.folder / FILE_NAME}:{(end or process[0]).seq}"
        raise JournalError(f"{where}: not what a run of this version tells: {error}") from None
    if end is not None and run.end is None:
        note = "a later process of this run was killed, or is at work; this is what was known before it"
        result = replace(result, notes=(*result.notes, note))
    # The folder may have been moved, with the whole project.
    return replace(result, id=run.id, journal=shown_path(run.folder / FILE_NAME, rootdir))


def settings_of(run: PastRun) -> dict[str, Any]:
    """The settings of its last process, as a journal holds them; empty when no search was begun."""
    started = [event.data["settings"] for event in run.events if event.event == "start"]
    found: dict[str, Any] = started[-1] if started else {}
    return found


def _furthest(run: PastRun) -> Sequence[Event]:
    processes = run.processes
    if run.end is not None:
        return processes[-1]
    decisions = [sum(event.event not in _NO_DECISION for event in process) for process in processes]
    return processes[max(range(len(processes)), key=lambda number: (decisions[number], number))]


def _told(run: PastRun, process: Sequence[Event], end: Event) -> RunResult:
    """The result as the process told it, with what became known after that."""
    result = read_value(RunResult, end.data)
    later = (event.data["notes"] for event in process if event.event == "notes" and event.seq > end.seq)
    notes = next(later, result.notes)
    return replace(result, notes=tuple(map(str, notes)), spend=_spend(run, result, end))


def _spend(run: PastRun, result: RunResult, end: Event) -> dict[Role, Spend]:
    """With the calls of pytest's own loop after the search.

    Of one of several strategies that are compared it is what it would have paid alone: no other calls count.
    """
    spend = {role: result.spend.get(role, Spend()) for role in Role}
    if len(run.opened["fingerprint"].get("settings", {}).get("strategy", ())) > 1:
        return spend
    for event in run.events:
        if event.event == "call" and event.seq > end.seq:
            spend[Role(event.data["role"])] += Spend(*event.data["spend"])
    return spend
