"""Puts the texts that an optimization has found into the prompt files, or says where they are instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from pytest_promptopt.errors import PromptConflictError, PromptFileError, SettingsError
from pytest_promptopt.journal import Journal, JournalError
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.prompts import (
    PromptFile,
    check_writable,
    clear_strays,
    put_content,
    save_beside,
    write_prose,
)
from pytest_promptopt.results import RunResult
from pytest_promptopt.runs.fingerprint import digest
from pytest_promptopt.runs.interrupts import Interrupts
from pytest_promptopt.runs.past import may_go_on


class PromptWriter:
    """Writes the prompt files of one run. From the first write on it holds back Ctrl-C.

    :param reload: has the cases use what is in the prompt file of that name now.
    """

    def __init__(self, reload: Callable[[str], None]) -> None:
        self._reload = reload
        self.interrupts = Interrupts()
        #: Prompts with a better text that could not be put into their files.
        self.unwritten: list[str] = []

    def check(self, files: Iterable[PromptFile]) -> None:
        """Raises `SettingsError` for a file that cannot be rewritten."""
        for file in files:
            try:
                check_writable(file)
                clear_strays(file)
            except OSError as error:
                raise SettingsError(f"{file.name}: cannot be rewritten: {error}") from None

    def write(self, journal: Journal, prompt: Prompt, prose: str) -> None:
        """Raises `PromptConflictError` that says where the text is instead."""
        assert isinstance(prompt, PromptFile)
        self.interrupts.hold()
        content = prompt.with_prose(prose).content()
        try:
            journal.check()  # else nobody could put the original back
            # Before the file is touched: what a run was killed over is known for its own.
            journal.append("writing", prompt=prompt.name, sha256=digest(content))
            write_prose(prompt, prose)
        except (JournalError, PromptConflictError, PromptFileError, OSError) as error:
            self.unwritten.append(prompt.name)
            raise PromptConflictError(f"{error}; {self._kept(journal, prompt, prose)}") from None
        finally:
            with suppress(PromptFileError):  # then the cases go on with the text that was read
                self._reload(prompt.name)

    def _kept(self, journal: Journal, prompt: PromptFile, prose: str) -> str:
        """Where the text is now that cannot be put into its file, in words."""
        tag = f"optimized-{journal.run_id}"
        with suppress(OSError):
            return f"the new text is beside it, in {save_beside(prompt, prose, tag=tag).name}"
        with suppress(OSError):
            place = journal.keep_original(f"{tag}/{prompt.name}", prompt.with_prose(prose).content())
            return f"the new text is in {place}"
        return "the new text is in the journal"

    def bring_to_disk(
        self, result: RunResult, files: Mapping[str, PromptFile], *, writing: bool
    ) -> RunResult:
        """What a continued run wrote before stays, unless it was decided otherwise this time."""
        notes = []
        for prompt in result.prompts:
            file = files[prompt.prompt]
            if file.original == file.on_disk:
                continue
            decided = not (result.interrupted or may_go_on(prompt.stop))
            if decided and not prompt.written and writing:
                notes.append(self._put_back(file))
            elif not prompt.written:
                notes.append(f"{file.name} still holds the text that this run had written into it")
            self._reload(file.name)
        return replace(result, notes=(*result.notes, *notes))

    def _put_back(self, file: PromptFile) -> str:
        self.interrupts.hold()
        try:
            put_content(file, file.original)
        except (PromptConflictError, PromptFileError, OSError) as error:
            return f"{file.name} still holds the text that this run had written into it: {error}"
        return f"{file.name} was put back as it was before the run, which this time does not confirm the gain"
