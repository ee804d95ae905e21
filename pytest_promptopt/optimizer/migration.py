"""A migration to another model: what both texts do with the old one, on held-out cases.

The search, its confirmation and all that decides are about the new model alone. What the old one answers is
told to the user, who may have to run both for a while, and to nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_promptopt.optimizer.acceptance import score_split
from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.records import Overlay, Split
from pytest_promptopt.results import Migration, ModelChange, SplitScore

if TYPE_CHECKING:
    from pytest_promptopt.optimizer.finalizer import Finalizer


def migration_calls(calls: int, context: RunContext) -> int:
    """The calls that scoring held-out cases takes, which in a migration the old model answers as well."""
    return 2 * calls if context.references else calls


def measure_migration(finalizers: Sequence[Finalizer], context: RunContext) -> None:
    """Score held-out cases with both models, under the text as it was, and the new one if there is one."""
    measure = context.foreign_errors.contained("measuring the old model", _measure)
    for finalizer in finalizers if context.references else ():
        try:
            measure(finalizer, context)
        except StopRun as stopped:
            finalizer.notes.append(
                f"the old model could not be measured on the held-out cases: {stopped.why}"
            )


def _measure(finalizer: Finalizer, context: RunContext) -> None:
    references, settings = context.references, context.settings
    cases = [case for case in finalizer.heldout if case in references]
    old_cases = [references[case] for case in cases]
    before, after = finalizer.scored_heldout
    old_before = _scored(context, {}, old_cases)
    before = before or _scored(context, {}, cases)
    old_after = _scored(context, finalizer.final.overlay, old_cases) if after else ()
    finalizer.migration = Migration(
        ModelChange(settings.from_model or "", _change(old_before, old_after)),
        ModelChange(settings.model or "", _change(before, after)),
    )
    context.record("migration", prompts=finalizer.group_names, cases=cases)
    context.record_results("0", old_before)
    context.record_results(finalizer.final.id, old_after)


def _scored(context: RunContext, overlay: Overlay, cases: Sequence[str]) -> Results:
    return context.evaluator.evaluate([Trial(overlay, tuple(cases))])[0] if cases else ()


def _change(before: Results, after: Results) -> tuple[SplitScore, ...]:
    return (score_split(Split.HELDOUT, len(before), before, after),) if before else ()
