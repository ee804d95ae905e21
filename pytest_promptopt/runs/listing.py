"""All runs of a project as a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_promptopt.journal import JournalError
from pytest_promptopt.records import Spend
from pytest_promptopt.reports.wording import cost, table
from pytest_promptopt.runs.lock import running_run_id
from pytest_promptopt.runs.past import PastRun, run_folders
from pytest_promptopt.text import printable


def run_lines(home: Path) -> list[str]:
    """A line for each run, the newest first, with what became of its prompts."""
    rows = [_row(folder, running_run_id(home)) for folder in run_folders(home)]
    if not rows:
        return [f"no runs in {home / 'runs'}"]
    return table([("run", "begun", "state", "calls", "cost", "prompts"), *rows], right=[3])


def _row(folder: Path, at_work: str) -> tuple[str, ...]:
    try:
        run = PastRun.load(folder)
        spend = sum(run.spend().values(), Spend())
    except (JournalError, OSError, KeyError, TypeError, ValueError) as error:
        return folder.name, "", "damaged", "", "", printable(str(error))
    state = state_of(run, at_work)
    prompts = ", ".join(_prompts(run))
    return run.id, f"{run.begun:%Y-%m-%d %H:%M}", state, f"{spend.calls:,}", cost(spend), printable(prompts)


def state_of(run: PastRun, at_work: str) -> str:
    """How it ended, in a word or two.

    :param at_work: the id of the run that is not over; empty without one.
    """
    if run.id == at_work:
        return "at work"
    if run.end is None:
        return "killed"
    return "interrupted" if run.end["interrupted"] else "stopped" if run.unfinished else "finished"


def _prompts(run: PastRun) -> Iterator[str]:
    if run.end is None:
        yield from run.opened["fingerprint"]["prompts"]
        return
    for prompt in run.end["prompts"]:
        yield f"{prompt['prompt']}: {prompt['outcome']}{', written' * bool(prompt['written'])}"
