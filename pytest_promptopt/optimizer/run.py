"""One optimization run, top down: search every group of prompts, confirm, score held-out, write, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace

from pytest_promptopt.optimizer.confirmation import EarlierRuns
from pytest_promptopt.optimizer.confirmation_power import judging_calls, usual_calls
from pytest_promptopt.optimizer.containment import contained_context
from pytest_promptopt.optimizer.finalization import finalize_searches
from pytest_promptopt.optimizer.finalizer import Finalizer, Write
from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.optimizer.leave_one_out import leaving_one_out
from pytest_promptopt.optimizer.migration import migration_calls
from pytest_promptopt.optimizer.prompt_groups import SEARCHED, PromptGroup, connected_groups
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.scoring_calls import SCORING, heldout_scoring_calls
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.optimizer.supervised_search import SupervisedSearch
from pytest_promptopt.records import Split
from pytest_promptopt.results import PromptOutcome, PromptResult, RunResult


def run_optimization(
    prompts: Sequence[Prompt],
    context: RunContext,
    strategy: Strategy,
    *,
    write: Write | None = None,
    heldout: Collection[str] | None = None,
    history: Callable[[PromptGroup], EarlierRuns] = lambda group: EarlierRuns(),
) -> RunResult:
    """Refine `prompts` until every search has ended; the result says what became of each.

    Once it is begun it raises nothing: `StopRun` and Ctrl-C end the run with the best that was accepted so
    far, and after Ctrl-C nothing is written. Whatever else is raised, by a hook, a strategy or a model of the
    user's own, ends the search as a ceiling does, stands in the result's `errors`, and does other groups of
    prompts no harm.
    `settings.max_iterations` counts for each group.

    :param strategy: how each group of prompts is searched; `settings.strategy` is its name.
    :param write: puts a text on disk, raises `PromptConflictError` when the file changed since it was read;
        None for a dry run.
    :param heldout: the held-out cases that are scored; None for all.
    :param history: what earlier runs have asked and taught, and earlier processes of this one.
    """
    started = context.clock()
    context = leaving_one_out(contained_context(context), prompts)
    groups = connected_groups(prompts, context.evaluator.cases)
    earlier = {group.names: history(group) for group in groups}
    context = replace(context, taught={names: each.taught for names, each in earlier.items()})
    _record_start(context, prompts)
    _keep_for_scoring(context, heldout)
    searches = [SupervisedSearch(strategy, group, context) for group in groups]
    for number, search in enumerate(searches):
        _share_out(context, [later.group for later in searches[number:]])
        search.run()
        _keep_for_judging(context, search)
        if search.interrupted:
            break
    interrupted = any(search.interrupted for search in searches)
    finalizers = [
        Finalizer(search, search.context, heldout=heldout, history=earlier[search.group.names])
        for search in searches
    ]
    if not interrupted:
        try:
            finalize_searches(finalizers, context, _run_id(context) or f"seed {context.settings.seed}", write)
        except KeyboardInterrupt:
            interrupted = True
    context.note_model_defects()  # in a confirmation, or a scoring, one takes nothing but its own answer
    by_name = {result.prompt: result for finalizer in finalizers for result in _account(finalizer, context)}
    result = RunResult(
        id=_run_id(context),
        prompts=tuple(by_name[prompt.name] for prompt in prompts),
        spend=dict(context.spend()),
        elapsed=context.clock() - started,
        interrupted=interrupted,
        journal=str(context.journal.path) if context.journal else "",
        strategy=context.settings.strategy[0],
        errors=tuple(context.foreign_errors.told),
    )
    return _recorded(context, result)


def _run_id(context: RunContext) -> str:
    """Empty without a journal."""
    return context.journal.run_id if context.journal else ""


def _account(finalizer: Finalizer, context: RunContext) -> Sequence[PromptResult]:
    """What became of the prompts of a group, also if a strategy has left what nothing can be made of."""
    try:
        return list(finalizer.results())
    except Exception as error:
        said = context.foreign_errors.note("the account of a search", error)
        unchanged = PromptOutcome.UNCHANGED
        return [
            PromptResult(prompt.name, prompt.prose, prompt.prose, unchanged, HaltReason.ERROR, said, ())
            for prompt in finalizer.prompts
        ]


def _recorded(context: RunContext, result: RunResult) -> RunResult:
    """Journal the end, in whatever form it can be; the result says if it cannot."""
    try:
        try:
            context.record("end", **asdict(result))
        except (TypeError, ValueError):  # a strategy has put what is no JSON into it
            context.record("end", **json.loads(json.dumps(asdict(result), default=repr)))
    except Exception as error:
        context.foreign_errors.note("the journal", error)
    return replace(result, errors=tuple(context.foreign_errors.told))


def _keep_for_scoring(context: RunContext, heldout: Collection[str] | None) -> None:
    """What the held-out cases take, as far as it is known before the search."""
    scored = [
        case
        for case in context.evaluator.cases
        if case.split is Split.HELDOUT and (heldout is None or case.id in heldout)
    ]
    context.call_budget.reserve(SCORING, migration_calls(heldout_scoring_calls(scored), context))


def _share_out(context: RunContext, groups: Sequence[PromptGroup]) -> None:
    """Of what is left the first of `groups` may spend a share, by its cases; the others' is kept for them.

    Of the first one's share no more is kept than confirming a usual gain takes.
    """
    call_budget, alpha = context.call_budget, context.settings.alpha
    free, cases = call_budget.available(), [len(group.ids(*SEARCHED)) for group in groups]
    if free is None:  # there may be another ceiling than on calls
        for group in groups:
            call_budget.reserve(group.names, usual_calls([group], None, alpha))
        return
    free += sum(call_budget.reserved(group.names) for group in groups)
    own, *others = (free * count // max(1, sum(cases)) for count in cases)
    for group, share in zip(groups[1:], others, strict=True):
        call_budget.reserve(group.names, share)
    call_budget.reserve(groups[0].names, usual_calls(groups[:1], own, alpha))


def _keep_for_judging(context: RunContext, search: SupervisedSearch) -> None:
    """Of what was kept for a search that is over keep what judging its text takes: nobody else spends it."""
    call_budget, names = context.call_budget, search.group.names
    kept, free = call_budget.reserved(names), call_budget.available()
    calls = 0
    if search.final.overlay:
        calls = judging_calls(search.group, search.original, search.final, context.settings.alpha)
    call_budget.reserve(names, calls if free is None else min(calls, free + kept))


def _record_start(context: RunContext, prompts: Sequence[Prompt]) -> None:
    settings = context.settings
    context.record(
        "start",
        prompts={prompt.name: prompt.prose for prompt in prompts},
        cases=[asdict(case) for case in context.evaluator.cases],
        settings={name: _plain(value) for name, value in asdict(settings).items()},
        told=[{"prompts": names, "taught": taught} for names, taught in context.taught.items()],
    )


def _plain(value: object) -> object:
    """Settings hold paths; a journal holds JSON."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)
