"""One sample of one case on its way to an outcome, and what its restarts tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.records import Outcome, Overlay, Role
from pytest_promptopt.replay.run import C, Run

#: So many restarts in a row without a further known answer mean that a case asks something else every time.
MAX_STALLED = 3


class ReplayError(PromptoptError):
    """A case asks something else in every run, so its answers can never be found again."""


@dataclass(eq=False)
class PendingSample(Generic[C]):
    """One sample of one case under one overlay, until it is decided."""

    case: C
    overlay: Overlay = field(default_factory=dict)
    sample: int = 0
    #: What is said in the place of the model, by the key of the request.
    answers: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    waiting: set[str] = field(default_factory=set)
    #: Calls that the last suspended run had answered, and that the next one will have.
    answered: int = -1
    expected: int = 0
    stalled: int = 0
    asked_before: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    outcome: Outcome | None = None
    error: PromptoptError | None = None
    #: Whose model that is of: the judge's, or the one for embeddings; None for any other.
    failed_role: Role | None = None
    #: Why it cannot be replayed.
    refusal: ReplayError | None = None
    #: The prompt was used: called, or its text or path read.
    reached: bool = False

    def restarted(self, run: Run[Any]) -> ReplayError | None:
        """Take note of a suspended run; the error when this case can never be replayed."""
        self.stalled = self.stalled + 1 if run.answered <= self.answered else 0
        self.answered = max(self.answered, run.answered)
        self.expected = run.answered + len(run.missing)
        asked = [*run.asked, *run.asked_otherwise, *run.asked_of_judge]
        before, self.asked_before = self.asked_before, asked
        if self.stalled < MAX_STALLED:
            return None
        return ReplayError(
            f"{self.case.case.id}: asks something else in every run, so its answers cannot be found again"
            f"{_first_difference(before, asked)}; make it repeatable (a fixed seed or date)"
            f"{self.case.waiting_hint}"
        )


def _first_difference(
    before: Sequence[tuple[str, Mapping[str, str]]], now: Sequence[tuple[str, Mapping[str, str]]]
) -> str:
    for position, ((prompt, old), (_, new)) in enumerate(zip(before, now, strict=False), start=1):
        for name in {**old, **new}:
            if old.get(name) != new.get(name):
                values = f"{old.get(name)!r:.60} and then {new.get(name)!r:.60}"
                return f": call {position} of {prompt} was given {name} = {values}"
    return ""
