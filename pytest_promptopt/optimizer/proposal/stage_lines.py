"""What a request tells of a prompt that is one stage of a pipeline: its own answer, and its own grade."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_promptopt.failures import FailedCase
from pytest_promptopt.failures.failure_context import OWN_ANSWER
from pytest_promptopt.optimizer.proposal.quoting import quote_text, quote_value


def lines_of_stage(case: FailedCase) -> Iterator[str]:
    """What else is told of a case is of the last stage, or of the one that the check compares."""
    if case.stage_answer:
        yield f"answer of this stage: {quote_value(case.stage_answer)}"
    if case.grade is not None:
        why = f", {quote_text(case.grade.why)}" if case.grade.why else ""
        yield f"grade of this stage, from 0 to 1: {case.grade.score:.2g}{why}"


def is_own_answer(difference: str) -> bool:
    """Whether a line of a case's difference only says what the stage has answered."""
    return difference.startswith(OWN_ANSWER)
