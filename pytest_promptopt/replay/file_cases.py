"""A case of a file as a test runs it: the prompt is asked, and the answer is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_promptopt.replay.prompt_calls import Prompt
from pytest_promptopt.suites.file_case import FileCase

if TYPE_CHECKING:
    from pytest_promptopt.replay.judge_calls import CaseJudge


def ask_and_check(prompt: Prompt, case: FileCase, judge: CaseJudge | None = None) -> None:
    """Raises `CheckFailed` when the answer is not what the case asks for.

    Inputs that the prompt has no variable for are for the checks alone.
    """
    __tracebackhide__ = True
    variables = {name: value for name, value in case.inputs.items() if name in prompt.variables}
    answer = prompt(messages=case.messages, **variables)
    case.check(answer, judge)
