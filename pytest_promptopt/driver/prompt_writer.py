"""Puts the texts that an optimization has found into the prompt files, or says where they are instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pytest_promptopt.errors import PromptConflictError, PromptFileError, SettingsError
from pytest_promptopt.journal import Journal, JournalError
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.prompts import PromptFile, check_writable, clear_strays, put_content, save_beside
from pytest_promptopt.results import RunResult
from pytest_promptopt.runs.fingerprint import digest
from pytest_promptopt.runs.interrupts import Interrupts
from pytest_promptopt.runs.past import may_go_on


@dataclass
class _RunFile:
    """A file as a run has found it, and the texts of it that the run has put into it.

    :param original: the bytes that all of them are put into.
    :param on_disk: the bytes that are in it now, as far as the run knows.
    :param texts: name of a prompt -> the prompt, and its text.
    """

    original: bytes
    on_disk: bytes
    texts: dict[str, tuple[PromptFile, str]] = field(default_factory=dict)

    def content(self, texts: Mapping[str, tuple[PromptFile, str]]) -> bytes:
        """The whole file with these texts; raises `PromptFileError`."""
        content = self.original
        for prompt, prose in texts.values():
            content = prompt.read_again(before=content).with_prose(prose).content()
        return content


class PromptWriter:
    """Writes the prompt files of one run. From the first write on it holds back Ctrl-C.

    Several prompts may stand in one file; each is written beside what was written of the others.

    :param prompts_in: the prompts of the cases that stand in the file of that name.
    :param reload: has the cases use what is in the file of that name now.
    """

    def __init__(
        self, prompts_in: Callable[[str], Iterable[PromptFile]], reload: Callable[[str], None]
    ) -> None:
        self._prompts_in = prompts_in
        self._reload = reload
        self._files: dict[str, _RunFile] = {}
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
            file = self._file(prompt)
            texts = {**file.texts, prompt.name: (prompt, prose)}
            content = file.content(texts)
            journal.check()  # else nobody could put the original back
            # Before the file is touched: what a run was killed over is known for its own.
            journal.append("writing", prompt=prompt.name, sha256=digest(content))
            self._put(prompt, file, content)
            file.texts = texts
        except (JournalError, PromptConflictError, PromptFileError, OSError) as error:
            self.unwritten.append(prompt.name)
            raise PromptConflictError(f"{error}; {self._kept(journal, prompt, content)}") from None
        finally:
            with suppress(PromptFileError):  # then the cases go on with the text that was read
                self._reload(prompt.file_name)

    def _file(self, prompt: PromptFile) -> _RunFile:
        """The file of a prompt; of a continued run, with the texts that this run wrote into it before."""
        if prompt.file_name not in self._files:
            file = _RunFile(prompt.original, prompt.on_disk)
            if file.original != file.on_disk:
                for each in self._prompts_in(prompt.file_name):
                    before, now = (each.read_again(before=b) for b in (file.original, file.on_disk))
                    if before.prose != now.prose:
                        file.texts[each.name] = (before, now.prose)
            self._files[prompt.file_name] = file
        return self._files[prompt.file_name]

    def _put(self, prompt: PromptFile, file: _RunFile, content: bytes) -> None:
        put_content(replace(prompt, on_disk=file.on_disk), content)
        file.on_disk = content

    def _kept(self, journal: Journal, prompt: PromptFile, content: bytes) -> str:
        """Where the text is now that cannot be put into its file, in words."""
        tag = f"optimized-{journal.run_id}"
        with suppress(OSError):
            return f"the new text is beside it, in {save_beside(prompt, content, tag=tag).name}"
        with suppress(OSError):
            place = journal.keep_original(f"{tag}/{prompt.file_name}", content)
            return f"the new text is in {place}"
        return "the new text is in the journal"

    def bring_to_disk(
        self, result: RunResult, files: Mapping[str, PromptFile], *, writing: bool
    ) -> RunResult:
        """What a continued run wrote before stays, unless it was decided otherwise this time."""
        notes = []
        for prompt in result.prompts:
            file = files[prompt.prompt]
            if prompt.prompt not in self._file(file).texts:
                continue
            decided = not (result.interrupted or may_go_on(prompt.stop))
            if decided and not prompt.written and writing:
                notes.append(self._put_back(file))
            elif not prompt.written:
                notes.append(f"{file.name} still holds the text that this run had written into it")
            self._reload(file.file_name)
        return replace(result, notes=(*result.notes, *notes))

    def _put_back(self, prompt: PromptFile) -> str:
        self.interrupts.hold()
        file = self._file(prompt)
        texts = {name: text for name, text in file.texts.items() if name != prompt.name}
        try:
            self._put(prompt, file, file.content(texts))
        except (PromptConflictError, PromptFileError, OSError) as error:
            return f"{prompt.name} still holds the text that this run had written into it: {error}"
        file.texts = texts
        return (
            f"{prompt.name} was put back as it was before the run, which this time does not confirm the gain"
        )
