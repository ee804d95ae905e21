"""The one account that all xdist workers of a session share; the controller lends it and takes it away."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_promptopt.budget import Ledger
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.home import ensure_home
from pytest_promptopt.settings import Settings

#: In a worker's input: the path of the account.
KEY = "promptopt_ledger"

#: Seconds after which an account belongs to a session that was killed.
ABANDONED = 7 * 86_400


def ledger_of(config: pytest.Config, settings: Settings) -> Ledger:
    """The account of this process: a worker's is that of all workers, if there is a ceiling."""
    given: str | None = getattr(config, "workerinput", {}).get(KEY)
    return Ledger(
        max_calls=settings.max_calls,
        max_tokens=settings.max_tokens,
        max_cost=settings.max_cost,
        max_time=settings.max_time,
        path=None if given is None else Path(given),
    )


def lend(settings: Settings, session: str) -> Path | None:
    """Where the workers of the session keep their account; None when no ceiling needs one.

    Raises `SettingsError` when no file can be made there.
    """
    if {settings.max_calls, settings.max_tokens, settings.max_cost, settings.max_time} == {None}:
        return None
    try:
        folder = ensure_home(settings.home) / "ledgers"
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.iterdir():
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    except OSError as error:
        raise SettingsError(f"no account of what the workers spend can be kept: {error}") from None
    return folder / f"{session}.db"


def take_away(path: Path) -> None:
    """Remove an account, and the folder with the last of them."""
    with suppress(OSError):
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        path.parent.rmdir()
