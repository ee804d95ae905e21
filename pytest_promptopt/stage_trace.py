"""The way of a case through the stages of its pipeline: what went in, what came out, how it was graded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.records import Outcome, StageGrade
from pytest_promptopt.text import cut_middle, excerpt, one_line, plural

#: The narrowest line that still says something of a stage.
MIN_WIDTH = 40

#: Characters of an input or an output of a stage, in a report for programs.
MAX_STAGE_TEXT = 2_000


@dataclass(frozen=True)
class TracedStage:
    """One stage of a pipeline in one run of a case.

    :param prompt: path of its prompt file.
    :param inputs: the variables of its last call; `output`: that call's answer. Empty without a call.
    :param calls: how often the run called it.
    :param grade: None when the test gave it none.
    """

    prompt: str
    inputs: Mapping[str, str]
    output: str
    calls: int
    grade: StageGrade | None

    def to_json(self) -> dict[str, Any]:
        """It as plain data; a long input or output is cut."""
        return {
            "prompt": self.prompt,
            "calls": self.calls,
            "inputs": {name: cut_middle(text, MAX_STAGE_TEXT) for name, text in self.inputs.items()},
            "output": cut_middle(self.output, MAX_STAGE_TEXT),
            "grade": None if self.grade is None else self.grade.score,
            "why": "" if self.grade is None else self.grade.why,
        }


def stage_trace(outcome: Outcome | None) -> tuple[TracedStage, ...]:
    """The stages in the order of their first calls; none where one prompt was called and none was graded."""
    if outcome is None:
        return ()
    prompts = dict.fromkeys(
        [*(call.prompt for call in outcome.calls), *(grade.prompt for grade in outcome.grades)]
    )
    if len(prompts) < 2 and not outcome.grades:
        return ()
    return tuple(_stage(outcome, prompt) for prompt in prompts)


def _stage(outcome: Outcome, prompt: str) -> TracedStage:
    calls = [call for call in outcome.calls if call.prompt == prompt]
    inputs, output = (calls[-1].variables, calls[-1].words) if calls else ({}, "")
    return TracedStage(prompt, inputs, output, len(calls), outcome.grade_of(prompt))


def trace_lines(stages: Sequence[TracedStage], width: int) -> Iterator[str]:
    """A line of at most `width` characters for each stage: ``plan.md  0.25  add up -> sort (why)``."""
    width = max(width, MIN_WIDTH)
    names = [excerpt(stage.prompt, width // 3) for stage in stages]
    column = max(map(len, names), default=0)
    for name, stage in zip(names, stages, strict=True):
        start = f"{name:<{column}}  {grade_word(stage.grade):<4}  "
        yield excerpt(start + _way(stage, width - len(start)), width)


def grade_word(grade: StageGrade | None) -> str:
    """Its score in at most four characters; a dash for none."""
    return "-" if grade is None else f"{grade.score:.2g}"


def _way(stage: TracedStage, room: int) -> str:
    """Input, answer and the reasons of the grade; the input has the room that these leave."""
    why = f" ({one_line(stage.grade.why)})" if stage.grade is not None and stage.grade.why else ""
    if not stage.calls:
        return f"not called{why}"
    several = f" ({plural(stage.calls, 'call')})" if stage.calls > 1 else ""
    said = f"{excerpt(one_line(stage.output), room // 3) or '(nothing)'}{several}{why}"
    given = one_line(" · ".join(stage.inputs.values()))
    return f"{excerpt(given, max(room // 3, room - len(said) - 4))} -> {said}"
