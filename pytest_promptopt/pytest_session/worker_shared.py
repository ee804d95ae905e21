"""What all xdist workers of a session share; the controller lends it and takes it away.

One account, so that a ceiling is one for all of them, and the answers that they have paid for where the cache
is not used: a worker fetches answers before it knows which cases it will be given.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.project_dir import ensure_home
from pytest_promptopt.records import Answer
from pytest_promptopt.response_cache import ResponseCache
from pytest_promptopt.settings import CacheMode, Settings

#: In a worker's input: the folder of what its session shares.
KEY = "promptopt_session"

#: Seconds after which a folder belongs to a session that was killed.
ABANDONED = 7 * 86_400


def ledger_of(config: pytest.Config, settings: Settings) -> Ledger:
    """The account of this process: a worker's is that of all workers, if there is a ceiling."""
    folder = _lent(config)
    if folder is None or not _needs_account(settings):
        return open_ledger(settings, None)
    return open_ledger(settings, _ledger_in(folder))


def open_ledger(settings: Settings, path: Path | None) -> Ledger:
    """An account under the ceilings of the session, in the file `path` or in memory."""
    return Ledger(
        max_calls=settings.max_calls,
        max_tokens=settings.max_tokens,
        max_cost=settings.max_cost,
        max_time=settings.max_time,
        path=path,
    )


def cache_of(
    config: pytest.Config, settings: Settings, warn: Callable[[str], None]
) -> tuple[ResponseCache | None, bool]:
    """Where answers are looked for and stored, and whether those that are there are not to be taken."""
    stored = ResponseCache(settings.home / "cache", warn=warn)
    folder = _lent(config)
    if settings.cache is CacheMode.USE or folder is None:
        return None if settings.cache is CacheMode.OFF else stored, settings.cache is CacheMode.REFRESH
    also = stored if settings.cache is CacheMode.REFRESH else None
    return SessionCache(folder / "answers", warn=warn, also=also), False


class SessionCache(ResponseCache):
    """Answers that the workers of this session have paid for, none of an earlier one.

    :param also: where they are stored for later sessions; None for nowhere.
    """

    def __init__(self, folder: Path, *, warn: Callable[[str], None], also: ResponseCache | None) -> None:
        super().__init__(folder, warn=warn)
        self._also = also

    def put(self, key: str, answer: Answer) -> None:
        super().put(key, answer)
        if self._also is not None:
            self._also.put(key, answer)

    def close(self) -> None:
        super().close()
        if self._also is not None:
            self._also.close()


def lend(settings: Settings, session: str) -> Path | None:
    """Where the workers of the session keep what they share; None when there is nothing.

    Raises `SettingsError` when an account is needed and none can be kept.
    """
    if not _needs_account(settings) and settings.cache is CacheMode.USE:
        return None
    folder = settings.home / "sessions" / session
    try:
        folder_of_all = ensure_home(settings.home) / "sessions"
        folder_of_all.mkdir(mode=0o700, exist_ok=True)
        for left in folder_of_all.iterdir():
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if _needs_account(settings):
            Ledger(path=_ledger_in(folder)).close()
    except (OSError, sqlite3.Error) as error:
        if not _needs_account(settings):  # some answers are paid twice, but all are had
            return None
        raise SettingsError(
            f"no account of what the workers spend can be kept in {folder}: {error}; run without -n, or "
            "without a ceiling"
        ) from None
    return folder


def keep_in_lent(ledger: Ledger, worker_input: Mapping[str, Any]) -> str:
    """Have the controller's account be that of the workers, if one was lent to them.

    :return: what the user should know, in a sentence; empty for nothing.
    """
    folder = worker_input.get(KEY)
    path = None if folder is None else _ledger_in(Path(folder))
    return ledger.move(path) if path is not None and path.exists() else ""


def take_away(folder: Path) -> None:
    """Remove what was lent, and the folder with the last of it."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def _lent(config: pytest.Config) -> Path | None:
    given: str | None = getattr(config, "workerinput", {}).get(KEY)
    return None if given is None else Path(given)


def _ledger_in(folder: Path) -> Path:
    return folder / "ledger.db"


def _needs_account(settings: Settings) -> bool:
    """Whether ceilings must be shared; when optimizing, the account is that of the run, on the controller."""
    return not settings.optimizing and {
        settings.max_calls,
        settings.max_tokens,
        settings.max_cost,
        settings.max_time,
    } != {None}
