"""What every step of a run works with; a search gets a `SearchContext` in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_promptopt.errors import ModelError
from pytest_promptopt.journal import Journal
from pytest_promptopt.optimizer.call_budget import CallBudget
from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.foreign_errors import ForeignErrors
from pytest_promptopt.optimizer.halting import HaltReason, Phase
from pytest_promptopt.optimizer.protocols import Ask, Evaluator, StopRun
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.verdict_model import Taught
from pytest_promptopt.records import Role, Spend
from pytest_promptopt.settings import Settings
from pytest_promptopt.unpatched import time


def prepare_nothing(phase: Phase) -> None:
    """Nothing is to be done before a phase."""


@dataclass(frozen=True)
class RunContext:
    """Who runs the cases, who answers requests, what was decided and what it cost.

    :param evaluator: runs all cases, those that are held out included.
    :param journal: None when none is kept.
    :param spend: what was paid so far in the whole session, by role.
    :param call_budget: what the ceiling on calls leaves.
    :param prepare_phase: makes ready for a phase that begins: what only the phase before it was forbidden is
        allowed again, and models that had refused are asked again.
    :param clock: counts seconds, from any moment on: how long iterations and the run take.
    :param model_defects: what models of the user's own have raised since it was last called.
    :param taught: what earlier runs taught of new texts, by the names of each group's
        prompts; filled in by the run.
    :param references: of each case the one with the model that a migration leaves, which decides nothing.
    :param foreign_errors: what went wrong in code that is not ours; filled in by the run.
    """

    evaluator: Evaluator
    ask: Ask
    settings: Settings
    hooks: SearchHooks
    journal: Journal | None
    spend: Callable[[], Mapping[Role, Spend]]
    call_budget: CallBudget = field(default_factory=CallBudget)
    prepare_phase: Callable[[Phase], None] = prepare_nothing
    clock: Callable[[], float] = time.monotonic
    model_defects: Callable[[], Sequence[ModelError]] = tuple
    taught: Mapping[tuple[str, ...], Taught] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    foreign_errors: ForeignErrors = field(default_factory=ForeignErrors)

    def enter_phase(self, phase: Phase, prompts: Sequence[str]) -> None:
        """Begin a phase for the prompts of these names: make ready for it, then tell the observers."""
        self.prepare_phase(phase)
        self.hooks.progress(phase, tuple(prompts))

    def record(self, event: str, **data: Any) -> None:
        """Write an event to the journal, if one is kept."""
        if self.journal is not None:
            self.journal.append(event, **data)

    def record_results(self, version: str, results: Results) -> None:
        """Journal the rate of every case under a candidate (``0`` is the original), null without one."""
        rates = {result.case.id: result.rate for result in results}
        self.record("results", candidate=version, rates=rates)

    def note_model_defects(self) -> list[str]:
        """Keep what models of the user's own have raised; the new sentences."""
        # Each says by itself what is wrong, and where; a test that met it too is not to blame.
        found = [error.with_traceback(None) for error in self.model_defects()]
        return [self.foreign_errors.note("a model", error) for error in found]

    def stop_at_model_defect(self) -> None:
        """Raises `StopRun` if a model of the user's own has raised: that ends a search."""
        if said := self.note_model_defects():
            raise StopRun(HaltReason.ERROR, said[0])

    def paid(self) -> Spend:
        """What was paid so far, all roles together."""
        return sum(self.spend().values(), Spend())
