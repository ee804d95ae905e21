"""The end of all searches of a run: their texts are judged and written, under one ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pytest_promptopt.optimizer.finalizer import Finalizer, Write
from pytest_promptopt.optimizer.halting import Phase
from pytest_promptopt.optimizer.migration import measure_migration
from pytest_promptopt.optimizer.protocols import StopRun
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.scoring_calls import SCORING


def finalize_searches(
    finalizers: Sequence[Finalizer], context: RunContext, run: str, write: Write | None
) -> None:
    """End all searches: spared cases, confirmation, held-out, files. Raises `KeyboardInterrupt`.

    :param run: the id of the run.
    """
    for finalizer in finalizers:
        context.call_budget.reserve(finalizer.group_names, 0)
    context.call_budget.reserve(SCORING, sum(finalizer.heldout_scoring_calls for finalizer in finalizers))
    for finalizer in finalizers:
        finalizer.contain(finalizer.run_spared_cases)
    due = [finalizer for finalizer in finalizers if finalizer.may_be_written]
    for number, finalizer in enumerate(due):
        context.call_budget.reserve(SCORING, sum(each.heldout_scoring_calls for each in due))
        finalizer.contain(partial(finalizer.confirm, run, share=len(due) - number))
    for finalizer in due:
        context.call_budget.reserve(SCORING, sum(each.heldout_scoring_calls for each in due))
        finalizer.contain(finalizer.catch_up)
    context.call_budget.reserve(SCORING, 0)
    score_heldout(due, context)
    measure_migration(finalizers, context)
    for finalizer in finalizers:
        finalizer.contain(partial(finalizer.write, write))


def score_heldout(finalizers: Sequence[Finalizer], context: RunContext) -> None:
    """Score the held-out cases of all changed groups, once, under the original and the final texts."""
    due = [finalizer for finalizer in finalizers if finalizer.heldout_trials]
    if not due:
        return
    try:
        context.enter_phase(Phase.HELDOUT, [p.name for finalizer in due for p in finalizer.changed])
        measured = context.evaluator.evaluate(
            [trial for finalizer in due for trial in finalizer.heldout_trials]
        )
    except StopRun as stopped:
        for finalizer in due:
            finalizer.notes.append(f"the held-out cases could not be run: {stopped.why}")
        return
    for finalizer, before, after in zip(due, measured[::2], measured[1::2], strict=True):
        finalizer.contain(partial(finalizer.take_heldout_results, before, after))
