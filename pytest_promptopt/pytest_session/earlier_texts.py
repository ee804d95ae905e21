"""`--promptopt-compare=git:REF`: the prompts as they were at a commit, answered by the cases of now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_promptopt.baselines.earlier_files import EarlierFiles
from pytest_promptopt.driver.case_engine import CaseEngine
from pytest_promptopt.errors import PromptFileError, SettingsError
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import CaseResult
from pytest_promptopt.replay.case_table import CaseTable


class EarlierTexts:
    """:ivar results: prompt -> what its cases have shown under the texts of the commit; a prompt is missing
    where none of its cases uses a text that has changed since.
    """

    def __init__(self, files: EarlierFiles, cases: CaseTable[Any, Any]) -> None:
        """Read the files before anything is asked. Raises `SettingsError`."""
        self._cases = cases
        self._now = {file.name: file for case in cases.values() for file in case.files.values()}
        self._ref = files.ref
        #: Prompt -> why there is nothing to compare it with.
        self._new: dict[str, str] = {}
        read: dict[str, PromptFile] = {}
        for name, file in self._now.items():
            found = _as_it_was(file, files)
            if isinstance(found, str):
                self._new[name] = found
            else:
                read[name] = found
        self._before = {
            name: file for name, file in read.items() if file.fingerprint != self._now[name].fingerprint
        }
        self.texts = {name: file.fingerprint for name, file in read.items()}
        self.models = {name: (file.front.model, self._now[name].front.model) for name, file in read.items()}
        self.results: dict[str, tuple[CaseResult, ...]] = {}

    def answer(self, engine: CaseEngine[Any], note: Callable[[str], None]) -> None:
        """Run the cases of all texts that have changed since, silently, with the texts as they were."""
        for name, why in sorted(self._new.items()):
            note(f"{name} is new: {why}, so there is nothing to compare it with")
        for name, (was, is_) in self.models.items():
            if was != is_:
                note(
                    f"{name}: its front matter named {was or 'no model'} at git:{self._ref} and names "
                    f"{is_ or 'none'} now: what is compared is both, text and model"
                )
        names = self._before.keys()
        changed = [case.id for case in self._cases.distinct if not names.isdisjoint(case.prompts)]
        if not changed:
            return
        try:
            for file in self._before.values():
                self._cases.use_file(file)
            results = engine.evaluate([Trial({}, tuple(changed))], lambda: None)[0]
        except StopRun as stopped:
            note(f"the prompts of git:{self._ref} could not be answered: {stopped.why}")
            return
        finally:
            for name in self._before:
                self._cases.use_file(self._now[name])
        for result in results:
            for prompt in result.case.prompts:
                self.results[prompt] = (*self.results.get(prompt, ()), result)


def _as_it_was(file: PromptFile, files: EarlierFiles) -> PromptFile | str:
    """The prompt at the commit, or why there is none. Raises `SettingsError` for a file that is none."""
    content = files.read(file.path)
    if content is None:
        return f"it is not in git:{files.ref}"
    try:
        return file.read_again(before=content)
    except PromptFileError as error:
        if file.name == file.file_name:
            raise SettingsError(f"git:{files.ref}: {error}") from None
        # A constant or a key may be new in a file that is not.
        return f"git:{files.ref} has none that can be read ({error})"
