"""The judge of a session: whom it asks, with which prompt, and what it may decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_promptopt.errors import NoModelError, PromptoptError
from pytest_promptopt.grading.judge import Asker, Judge
from pytest_promptopt.grading.judge_prompts import JudgePrompt, comparing_prompt, grading_prompt
from pytest_promptopt.models.registry import canonical_name
from pytest_promptopt.pytest_engine.suspending_engine import CaseRun
from pytest_promptopt.replay.judge_calls import CaseJudge, RunAsker
from pytest_promptopt.settings import Settings
from pytest_promptopt.unpatched import os


class SessionJudge:
    """Makes the judge of each run of a case."""

    def __init__(self, settings: Settings, *, note: Callable[[str], None]) -> None:
        """:param note: told in a sentence what the user should know."""
        self._settings = settings
        self._note = note
        self._read: tuple[object, JudgePrompt] | None = None
        self._comparing = comparing_prompt(rootdir=settings.rootdir)

    def of(self, run: CaseRun, *, decides: bool) -> CaseJudge:
        """The judge as a test uses it. Raises `PromptoptError` when there is none.

        :param decides: whether its verdicts decide what is written, or whether a gate holds.
        """
        try:
            return self._of(run, decides=decides)
        except PromptoptError as error:  # says nothing about the answers
            run.error = error
            raise

    def _of(self, run: CaseRun, *, decides: bool) -> CaseJudge:
        prompt = self.prompt()
        own = next((file for file in run.files.values() if file.name == prompt.name), None)
        judge = self.judge(
            RunAsker(run, prompt.name),
            folder=run.case.item.path.parent,
            prompt=prompt if own is None else JudgePrompt(own),
        )
        return CaseJudge(run, judge, lambda criterion: None)

    def judge(self, asker: Asker, *, folder: Path | None = None, prompt: JudgePrompt | None = None) -> Judge:
        """The judge of this session. Raises `NoModelError` when nobody says which model it is.

        :param folder: where paths of rubrics may begin, besides rootdir.
        :param prompt: a candidate in the place of its prompt.
        """
        settings = self._settings
        prompt = prompt or self.prompt()
        model = settings.judge_model or prompt.file.front.model
        if model is None:
            raise NoModelError(
                "the judge has no model; set --promptopt-judge-model=PROVIDER/MODEL (ini "
                "promptopt_judge_model) or `model:` in the front matter of its prompt; `demo` needs no key"
            )
        folders = (settings.rootdir,) if folder is None else (folder, settings.rootdir)
        return Judge(
            asker,
            canonical_name(model),
            prompt,
            self._comparing,
            threshold=settings.judge_threshold,
            folders=tuple(dict.fromkeys(folders)),
        )

    def prompt(self) -> JudgePrompt:
        """The judge's prompt as it is on disk, which an optimization of it may have just changed."""
        path = self._settings.judge_prompt
        place = None if path is None else self._settings.rootdir / path
        try:
            status = None if place is None else os.stat(place)
        except OSError:
            status = None  # reading it says what is wrong
        version = None if status is None else (status.st_mtime_ns, status.st_size)
        if self._read is None or self._read[0] != version:
            self._read = version, grading_prompt(place, rootdir=self._settings.rootdir)
        return self._read[1]
