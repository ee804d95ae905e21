"""The judge of a session: whom it asks, with which prompt, and what it may decide."""

from __future__ import annotations

from pytest_promptopt.grading.judge_prompts import JudgePrompt
from pytest_promptopt.pytest_engine.suspending_engine import CaseRun
from pytest_promptopt.replay.judge_calls import CaseJudge, RunAsker
from pytest_promptopt.settings import Settings


class SessionJudge:
    """Makes the judge of each run of a case."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read: tuple[object, JudgePrompt] | None = None

    def of(self, run: CaseRun, *, decides: bool) -> CaseJudge:
        """Raises `PromptoptError` when there is no judge.

        :param decides: whether its verdicts decide what is written, or whether a gate holds.
        """
        prompt = self._prompt()
        own = next((file for file in run.files.values() if file.name == prompt.name), None)
        judge = self.judge(prompt if own is None else JudgePrompt(own), RunAsker(run, prompt.name))
        return CaseJudge(run, judge, lambda criterion: None)
