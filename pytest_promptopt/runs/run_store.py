"""The run as it lies on disk: its lock, its journal, the files as they were, its account."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.journal import FILE_NAME, Journal, JournalError
from pytest_promptopt.models.call_records import PaidCall, RecordedCall
from pytest_promptopt.project_dir import ensure_home
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Answer, Request, Role, Spend
from pytest_promptopt.replay.searched_case import SearchedCase
from pytest_promptopt.runs.fingerprint import digest, fingerprint, other_code, reasons_not_to_continue
from pytest_promptopt.runs.lock import RunLock
from pytest_promptopt.runs.past import OPENED, RESUMED, PastRun, find_run
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import shown_path


class RunStore:
    """A new run, or one that is continued. Nobody else works on the project's prompts until `close`.

    :param selection: how the cases were chosen, in words; empty when all were.
    """

    def __init__(self, settings: Settings, *, selection: str = "") -> None:
        """Raises `SettingsError` when another run is at work or the run to continue is not there."""
        self._settings = settings
        self._selection = selection
        self._journal: Journal | None = None
        #: Answers of the cache that were looked at before there was a journal.
        self._early: dict[str, Answer] = {}
        if settings.resume and settings.comparing:
            raise SettingsError(
                "--optimize-resume: a comparison of strategies cannot be continued; run it again, it finds "
                "its answers in the cache"
            )
        self._lock = RunLock(settings.home)
        self.past: PastRun | None = None
        #: What decides the run, once `stands_on` has taken note of it.
        self.fingerprint: Mapping[str, Any] = {}
        self.id = settings.resume or _new_id(settings.home)
        #: What the user should know of how the run was begun or gone on with.
        self.notes: list[str] = []
        try:
            self._lock.acquire(self.id)
        except OSError as error:
            raise SettingsError(f"no journal of the run can be kept: {error}") from None
        if settings.resume:
            try:
                self.past = find_run(settings.home, settings.resume, option="--optimize-resume")
            except PromptoptError:
                self.close()
                raise

    def stands_on(self, cases: Iterable[SearchedCase], code: Iterable[Path]) -> None:
        """Take note of what decides the run. Raises `SettingsError` with what changed since it was begun.

        :param code: the files of the project that the tests have imported.
        """
        self.fingerprint = self._fingerprint_of(list(cases), code)
        if self.past is None:
            return
        begun = self.past.opened["fingerprint"]
        reasons = list(reasons_not_to_continue(begun, self.fingerprint))
        if reasons:
            chosen = self.past.opened["selection"]
            hint = f"; it was begun with {chosen}" * bool(chosen and chosen != self._selection)
            raise SettingsError(
                f"--optimize-resume: run {self.id} cannot be continued: {'; '.join(reasons)}{hint}. To begin "
                "anew, run --optimize: it finds its answers in the cache"
            )
        if said := other_code(begun, self.fingerprint):
            self.notes.append(said)

    def _fingerprint_of(self, cases: list[SearchedCase], code: Iterable[Path]) -> dict[str, Any]:
        files = {file.name: file for case in cases for file in case.files.values()}
        models: dict[str, set[str]] = {name: set() for name in files}
        for case in cases:
            for file in case.files.values():
                models[file.name].add(case.model_of(file))
        tests = {case.path for case in cases if case.path is not None}
        # A constant of a test file, or of what it imports: what the run writes there is no change.
        sources = {file.path: self._base(file) for file in files.values()}
        return fingerprint(
            prompts={name: self._base(file) for name, file in files.items()},
            tests={self._relative(path): sources.get(path) or path.read_bytes() for path in tests},
            cases=[case.case for case in cases],
            inputs={case.case.id: case.identity for case in cases},
            code={self._relative(path): path for path in code if path not in tests and path not in sources},
            models={name: ", ".join(sorted(each)) for name, each in models.items()}
            | {"the optimizer": self._settings.optimizer_model},
            settings=self._settings,
        )

    def _base(self, file: PromptFile) -> bytes:
        """What the run found in the file: what it has written itself by now is no change."""
        if self.past is not None and digest(file.original) in self.past.written().get(file.file_name, ()):
            return self.past.originals().get(file.file_name, file.original)
        return file.original

    def _relative(self, path: Path) -> str:
        return shown_path(path, self._settings.rootdir)

    def originals(self) -> dict[str, bytes]:
        """What was in the prompt files before the run, which goes its way once more from there."""
        return {} if self.past is None else self.past.originals()

    def open(self, files: Mapping[str, PromptFile], ledger: Ledger) -> Journal:
        """Begin or go on with journal and account. Raises `SettingsError` when the disk refuses."""
        folder = ensure_home(self._settings.home) / "runs" / self.id
        try:
            self._journal = self._continued(folder) if self.past is not None else self._begun(folder, files)
            if said := ledger.move(folder / "ledger.db", self._spent()):
                self.notes.append(said)
        except (OSError, JournalError) as error:
            raise SettingsError(f"no journal of the run can be kept: {error}") from None
        for key in self._early.keys() - self.recorded_calls().keys():
            self._journal.append("known", sync=False, key=key, answer=self._early[key].to_json())
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
            journal.keep_original(file.file_name, file.original)
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

    def recorded_calls(self) -> dict[str, RecordedCall]:
        """What the earlier processes of the run were answered, by key."""
        return {} if self.past is None else self.past.recorded_calls()

    def settled(self, paid: PaidCall) -> None:
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

    def journal_cached_answer(self, request: Request, answer: Answer) -> None:
        """Journal an answer that somebody else has paid; raises `JournalError`.

        The next decision brings it to the disk; until then nothing stands on it.
        """
        if self._journal is None:
            self._early[request.key] = answer
        else:
            self._journal.append("known", sync=False, key=request.key, answer=answer.to_json())

    def close(self) -> None:
        """End the journal and let others work on the prompts."""
        self._end_journal()
        self._lock.release()

    def _end_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()


def _new_id(home: Path) -> str:
    """After the time, since runs are listed by it; a clock that stands still must not give one id twice."""
    now = datetime.now(UTC)
    stem = f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03}"
    taken = {path.name for path in (home / "runs").glob(f"{stem}*")}
    names = (f"{stem}-{number}" if number > 1 else stem for number in count(1))
    return next(name for name in names if name not in taken)
