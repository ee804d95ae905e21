"""``--promptopt-runs``, ``--promptopt-show``, ``--promptopt-restore`` and ``--promptopt-import``."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.runs.listing import run_lines
from pytest_promptopt.runs.lock import RunLock, running_run_id
from pytest_promptopt.runs.past import find_run, newest_run
from pytest_promptopt.runs.restoring import restore_prompts
from pytest_promptopt.settings import Settings, home_of


def list_runs(rootdir: Path, out: TextIO) -> None:
    """Write the table of all runs."""
    out.write("\n".join(run_lines(home_of(rootdir))) + "\n")


def show_run(name: str | None, rootdir: Path, out: TextIO) -> None:
    """Write the page of a run, say where it is, and open it where somebody can see it.

    :param name: None for the run that was begun last.

    Raises `SettingsError` when there is no such run or its page cannot be written, `JournalError` for a
    damaged one.
    """
    from pytest_promptopt.runs.showing import PAGE, may_open, open_page, write_page

    option, home = "--promptopt-show", home_of(rootdir)
    run = newest_run(home, option=option) if name is None else find_run(home, name, option=option)
    try:
        path = write_page(run, rootdir, at_work=running_run_id(home))
    except OSError as error:
        why = error.strerror or error
        raise SettingsError(f"{option}: the page {run.folder / PAGE} cannot be written: {why}") from None
    out.write(f"{path}\n")
    out.flush()
    if may_open(out):
        open_page(path)


def import_cases(path: Path, settings: Settings, out: TextIO) -> None:
    """Write another program's cases as files of ours. Raises `SettingsError` before anything is written."""
    from pytest_promptopt.suites.promptfoo.importing import import_file

    import_file(path, settings.rootdir, out, embedding_model=settings.embedder)


def restore_run(name: str, rootdir: Path, out: TextIO) -> bool:
    """Put the prompt files of a run back, and write what became of each; whether none was refused.

    Raises `SettingsError` when there is no such run or one is at work, `JournalError` for a damaged one.
    """
    home = home_of(rootdir)
    run = find_run(home, name, option="--promptopt-restore")
    lock = RunLock(home)
    lock.acquire(f"--promptopt-restore {name}")
    try:
        done = list(restore_prompts(run, rootdir=rootdir))
    finally:
        lock.release()
    out.writelines(f"{each.prompt}: {each.said}\n" for each in done)
    return not any(each.refused for each in done)
