"""What a judge judges with: all that decides its verdicts, whoever asks for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from pytest_promptopt.grading.judge_prompts import JudgePrompt
from pytest_promptopt.grading.rubrics import Rubric, rubric_of
from pytest_promptopt.verdicts import THRESHOLD


@dataclass(frozen=True)
class JudgeSetup:
    """A model with the prompts that it is asked with.

    :param model: who is asked, ``provider/model`` or ``demo``.
    :param prompt: that grades one answer.
    :param comparing: that compares two answers.
    :param folders: where the path of a rubric file may begin, the nearest first: of the test, rootdir.
    """

    model: str
    prompt: JudgePrompt
    comparing: JudgePrompt
    threshold: float = THRESHOLD
    folders: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The path of its prompt."""
        return self.prompt.name

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of its prompts with their parameters, and of its model."""
        parts = [self.prompt.fingerprint, self.comparing.fingerprint, self.model]
        return sha256(json.dumps(parts).encode()).hexdigest()

    def rubric(self, criterion: str) -> Rubric:
        """The criterion as a rubric: the text of its file when it is the path of one, else itself."""
        return rubric_of(criterion, self.folders)
