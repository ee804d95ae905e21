"""The run as it lies on disk: its lock, its journal, the files as they were, its account."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_promptopt.budget import Ledger
from pytest_promptopt.errors import ModelError, PromptoptError, SettingsError
from pytest_promptopt.evaluation.case import PromptCase
from pytest_promptopt.home import ensure_home
from pytest_promptopt.journal import FILE_NAME, Journal
from pytest_promptopt.models.caller import Paid
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Answer, Role, Spend
from pytest_promptopt.runs.fingerprint import differences, digest, fingerprint
from pytest_promptopt.runs.lock import RunLock
from pytest_promptopt.runs.past import OPENED, RESUMED, PastRun, find
from pytest_promptopt.runs.restoring import take_back
from pytest_promptopt.settings import Settings


class RunRecord:
    """A new run, or one that is continued. Nobody else works on the project's prompts until `close`.

    :param selection: how the cases were chosen, in words; empty when all were.
    """

    def __init__(self, settings: Settings, *, selection: str = "") -> None:
        """Raises `SettingsError` when another run is at work or the run to continue is not there."""
        self._settings = settings
        self._selection = selection
        self._journal: Journal | None = None
        if settings.resume and settings.comparing:
            raise SettingsError(
                "--optimize-resume: a comparison of strategies cannot be continued; run it again, it finds "
                "its answers in the cache"
            )
        self._lock = RunLock(settings.home)
        self.past: PastRun | None = None
        #: What decides the run, once `stands_on` has taken note of it.
        self.fingerprint: Mapping[str, Any] = {}
        now = datetime.now(UTC)
        self.id = settings.resume or f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03}"
        try:
            self._lock.acquire(self.id)
        except OSError as error:
            raise SettingsError(f"no journal of the run can be kept: {error}") from None
        if settings.resume:
            try:
                self.past = find(settings.home, settings.resume, option="--optimize-resume")
            except PromptoptError:
                self.close()
                raise

    def stands_on(self, cases: Iterable[PromptCase]) -> None:
        """Take note of what decides the run. Raises `SettingsError` with what changed since it was begun."""
        self.fingerprint = self._fingerprint_of(list(cases))
        if self.past is None:
            return
        reasons = list(differences(self.past.opened["fingerprint"], self.fingerprint))
        if reasons:
            chosen = self.past.opened["selection"]
            hint = f"; it was begun with {chosen}" * bool(chosen and chosen != self._selection)
            raise SettingsError(
                f"--optimize-resume: run {self.id} cannot be continued: {'; '.join(reasons)}{hint}. To begin "
                "anew, run --optimize: it finds its answers in the cache"
            )

    def _fingerprint_of(self, cases: list[PromptCase]) -> dict[str, Any]:
        files = {file.name: file for case in cases for file in case.files.values()}
        models: dict[str, set[str]] = {name: set() for name in files}
        for case in cases:
            for file in case.files.values():
                models[file.name].add(case.model_of(file))
        tests = {case.item.path for case in cases}
        return fingerprint(
            prompts={name: self._base(file) for name, file in files.items()},
            tests={self._relative(path): path for path in tests},
            cases=[case.case for case in cases],
            models={name: ", ".join(sorted(each)) for name, each in models.items()}
            | {"the optimizer": self._settings.optimizer_model},
            settings=self._settings,
        )

    def _base(self, file: PromptFile) -> bytes:
        """What the run found in the file: what it has written itself by now is no change."""
        if self.past is not None and digest(file.original) in self.past.written().get(file.name, ()):
            return self.past.originals().get(file.name, file.original)
        return file.original

    def _relative(self, path: Path) -> str:
        root = self._settings.rootdir
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)

    def take_back(self) -> list[str]:
        """Put prompt files that the run has written back, to go its way once more; their names."""
        return [] if self.past is None else take_back(self.past, rootdir=self._settings.rootdir)

    def open(self, files: Mapping[str, PromptFile], ledger: Ledger) -> Journal:
        """Begin or go on with journal and account. Raises `SettingsError` when the disk refuses."""
        folder = ensure_home(self._settings.home) / "runs" / self.id
        try:
            self._journal = self._continued(folder) if self.past is not None else self._begun(folder, files)
            ledger.move(folder / "ledger.db", self._spent())
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(f"no journal of the run can be kept: {error}") from None
        return self._journal

    def open_part(self, files: Mapping[str, PromptFile], strategy: str) -> Journal:
        """Begin the journal of one of several strategies that are compared; raises as `open` does."""
        part = f"{self.id}-{re.sub(r'[^a-z0-9]+', '-', strategy.lower())}"
        self._end_journal()
        try:
            self._journal = self._begun(ensure_home(self._settings.home) / "runs" / part, files)
        except OSError as error:
            raise SettingsError(f"no journal of the run can be kept: {error}") from None
        return self._journal

    def _begun(self, folder: Path, files: Mapping[str, PromptFile]) -> Journal:
        journal = Journal.create(folder, folder.name)
        for file in files.values():
            journal.keep_original(file.name, file.original)
        journal.append(
            OPENED,
            mode=self._settings.mode,
            options=dict(self._settings.options),
            selection=self._selection,
            fingerprint=self.fingerprint,
        )
        return journal

    def _continued(self, folder: Path) -> Journal:
        journal = Journal.reopen(folder / FILE_NAME)
        journal.append(RESUMED, mode=self._settings.mode, options=dict(self._settings.options))
        return journal

    def _spent(self) -> dict[Role, Spend]:
        return {} if self.past is None else self.past.spend()

    def known(self) -> dict[str, Answer | ModelError]:
        """What the earlier processes of the run were answered, by key."""
        return {} if self.past is None else self.past.known()

    def settled(self, paid: Paid) -> None:
        """Journal a settled model call, from whatever thread; raises `JournalError`."""
        if self._journal is not None:
            self._journal.append(
                "call",
                key=paid.request.key,
                role=paid.role,
                model=paid.request.model,
                sample=paid.request.sample,
                attempts=paid.attempts,
                answer=None if paid.answer is None else paid.answer.to_json(),
                error=None if paid.error is None else str(paid.error),
                kind=None if paid.error is None else paid.error.kind,
                spend=astuple(paid.spend),
            )

    def close(self) -> None:
        """End the journal and let others work on the prompts."""
        self._end_journal()
        self._lock.release()

    def _end_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
