"""What the user can do when a session is over: go on after Ctrl-C, see and undo what was written."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_promptopt.results import RunResult
from pytest_promptopt.settings import CacheMode, Settings

#: Seconds that git may take to say whether it knows a file.
PATIENCE = 5.0


def selection(config: pytest.Config) -> str:
    """How the command line chose among all tests; empty when it did not."""
    option = config.getoption
    given = [(f"-{flag}", option(name)) for flag, name in (("k", "keyword"), ("m", "markexpr"))]
    chosen = [part for flag, value in given if value for part in (flag, value)]
    return shlex.join([*chosen, *option("file_or_dir")])


def next_steps(
    config: pytest.Config, settings: Settings, run: RunResult | None, *, interrupted: bool
) -> Iterator[str]:
    """A line for each thing to do.

    :param run: what `--optimize` did; None without it.
    :param interrupted: whether Ctrl-C has ended the session.
    """
    if run is not None:
        yield from _after_write(run, settings.rootdir, config.invocation_params.dir)
    if not interrupted:
        return
    if run is not None and run.interrupted and run.id:
        chosen = selection(config)
        yield f"continue: pytest {chosen}{' ' * bool(chosen)}--optimize-resume={run.id}"
    elif settings.cache is CacheMode.USE:
        yield "continue: run the same command again; the answers that were paid for come from the cache"
    else:
        yield f"continue: run the same command again; --promptopt-cache={settings.cache} asks everything anew"


def _after_write(run: RunResult, rootdir: Path, here: Path) -> Iterator[str]:
    """:param here: where the user is, whose commands these are."""
    names = dict.fromkeys(each.prompt.partition("::")[0] for each in run.prompts if each.written)
    if not names:
        return
    written = [_seen_from(here, rootdir / name) for name in names]
    see = f"git diff -- {shlex.join(written)}" if _git_shows(written, here) else ""
    yield f"see it:   {see or f'pytest --promptopt-show={run.id}'}"
    yield f"undo it:  pytest --promptopt-restore={run.id}"


def _seen_from(here: Path, path: Path) -> str:
    with suppress(ValueError):  # Windows: it is on another drive
        return os.path.relpath(path, here)
    return str(path)


def _git_shows(files: Sequence[str], here: Path) -> bool:
    """Whether git has them as they were before: then it shows what has changed."""
    command = ["git", "diff", "--quiet", "--", *files]
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, cwd=here, capture_output=True, timeout=PATIENCE, check=False)
        return done.returncode == 1
    return False
