"""One optimization run, top down: search every group of prompts, confirm, score held-out, write, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace

from pytest_promptopt.captured import time
from pytest_promptopt.journal import Journal
from pytest_promptopt.optimizer.base_search import SEARCHED
from pytest_promptopt.optimizer.call_budget import CallBudget
from pytest_promptopt.optimizer.confirmation import EarlierRuns
from pytest_promptopt.optimizer.confirmation_power import judging_calls, usual_calls
from pytest_promptopt.optimizer.containment import ContainedEvaluator, contained
from pytest_promptopt.optimizer.context import RunContext
from pytest_promptopt.optimizer.finalizer import SCORING, Finalizer, Write, finalize_searches, scoring_calls
from pytest_promptopt.optimizer.foreign_errors import ForeignErrors
from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.optimizer.prompt_groups import PromptGroup, connected_groups
from pytest_promptopt.optimizer.proposal.proposer import Ask
from pytest_promptopt.optimizer.protocols import Evaluator, Prompt
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.optimizer.supervised_search import SupervisedSearch
from pytest_promptopt.records import Role, Spend, Split
from pytest_promptopt.results import PromptResult, RunResult
from pytest_promptopt.settings import Settings
from pytest_promptopt.strategies.refine.search import RefineSearch


def run_optimization(
    prompts: Sequence[Prompt],
    evaluator: Evaluator,
    ask: Ask,
    settings: Settings,
    journal: Journal | None,
    policies: SearchHooks,
    *,
    spend: Callable[[], Mapping[Role, Spend]],
    write: Write | None,
    purse: CallBudget | None = None,
    strategy: Strategy = RefineSearch,
    heldout: Collection[str] | None = None,
    history: Callable[[PromptGroup], EarlierRuns] = lambda group: EarlierRuns(),
) -> RunResult:
    """Refine `prompts` until every search has ended; the result says what became of each.

    Once it is begun it raises nothing: `StopRun` and Ctrl-C end the run with the best that was accepted so
    far, and after Ctrl-C nothing is written. Whatever else is raised, by a hook, a strategy or a model, ends
    the search as a ceiling does, stands in the result's `errors`, and does other groups of prompts no harm.
    `settings.max_iterations` counts for each group.

    :param journal: None to keep none.
    :param spend: what was paid so far in the whole session, by role.
    :param write: puts a text on disk, raises `PromptConflictError` when the file changed since it was read;
        None for a dry run.
    :param purse: what the ceiling leaves, and what of it is kept for the end; None without a ceiling.
    :param strategy: how each group of prompts is searched; `settings.strategy` is its name.
    :param heldout: the held-out cases that are scored; None for all.
    :param history: what earlier runs have asked and taught, and earlier processes of this one.
    """
    started = time.monotonic()
    groups = connected_groups(prompts, evaluator.cases)
    earlier = {group.key: history(group) for group in groups}
    around = _surroundings(evaluator, ask, settings, policies, journal, spend, purse or CallBudget())
    around = replace(around, told={key: each.told for key, each in earlier.items()})
    _record_start(around, prompts)
    _keep_for_scoring(around, heldout)
    searches = [SupervisedSearch(strategy, group, around) for group in groups]
    for number, search in enumerate(searches):
        _share_out(around, [later.group for later in searches[number:]])
        search.run()
        _keep_for_judging(around, search)
        if search.interrupted:
            break
    interrupted = any(search.interrupted for search in searches)
    endings = [
        Finalizer(search, search.around, heldout=heldout, history=earlier[search.group.key])
        for search in searches
    ]
    if not interrupted:
        try:
            finalize_searches(endings, around, journal.run_id if journal else f"seed {settings.seed}", write)
        except KeyboardInterrupt:
            interrupted = True
    by_name = {result.prompt: result for ending in endings for result in _account(ending, around)}
    result = RunResult(
        id=journal.run_id if journal else "",
        prompts=tuple(by_name[prompt.name] for prompt in prompts),
        spend=dict(spend()),
        elapsed=time.monotonic() - started,
        interrupted=interrupted,
        journal=str(journal.path) if journal else "",
        strategy=settings.strategy[0],
        errors=tuple(around.mishaps.told),
    )
    return _recorded(around, result)


def _surroundings(
    evaluator: Evaluator,
    ask: Ask,
    settings: Settings,
    policies: SearchHooks,
    journal: Journal | None,
    spend: Callable[[], Mapping[Role, Spend]],
    purse: CallBudget,
) -> RunContext:
    """Evaluator, `ask` and policies as they are, but for what they raise."""
    mishaps = ForeignErrors(settings.rootdir, journal.append if journal else None)
    return RunContext(
        ContainedEvaluator(evaluator, mishaps),
        mishaps.contained("asking the optimizer", ask),
        settings,
        contained(policies, mishaps),
        journal,
        spend,
        purse,
        mishaps,
    )


def _account(ending: Finalizer, around: RunContext) -> Sequence[PromptResult]:
    """What became of the prompts of a group, also if a strategy has left what nothing can be made of."""
    try:
        return list(ending.results())
    except Exception as error:
        said = around.mishaps.note("the account of a search", error)
        return [
            PromptResult(prompt.name, prompt.prose, prompt.prose, "unchanged", HaltReason.ERROR, said, ())
            for prompt in ending.prompts
        ]


def _recorded(around: RunContext, result: RunResult) -> RunResult:
    """Journal the end, in whatever form it can be; the result says if it cannot."""
    try:
        try:
            around.record("end", **asdict(result))
        except (TypeError, ValueError):  # a strategy has put what is no JSON into it
            around.record("end", **json.loads(json.dumps(asdict(result), default=repr)))
    except Exception as error:
        around.mishaps.note("the journal", error)
    return replace(result, errors=tuple(around.mishaps.told))


def _keep_for_scoring(around: RunContext, heldout: Collection[str] | None) -> None:
    """What the held-out cases take, as far as it is known before the search."""
    scored = [
        case
        for case in around.evaluator.cases
        if case.split is Split.HELDOUT and (heldout is None or case.id in heldout)
    ]
    around.purse.keep(SCORING, scoring_calls(scored))


def _share_out(around: RunContext, groups: Sequence[PromptGroup]) -> None:
    """Of what is left the first of `groups` may spend a share, by its cases; the others' is kept for them.

    Of the first one's share no more is kept than confirming a usual gain takes.
    """
    purse, alpha = around.purse, around.settings.alpha
    free, cases = purse.free(), [len(group.ids(*SEARCHED)) for group in groups]
    if free is None:  # there may be another ceiling than on calls
        for group in groups:
            purse.keep(group.key, usual_calls([group], None, alpha))
        return
    free += sum(purse.kept(group.key) for group in groups)
    own, *others = (free * count // max(1, sum(cases)) for count in cases)
    for group, share in zip(groups[1:], others, strict=True):
        purse.keep(group.key, share)
    purse.keep(groups[0].key, usual_calls(groups[:1], own, alpha))


def _keep_for_judging(around: RunContext, search: SupervisedSearch) -> None:
    """Of what was kept for a search that is over keep what judging its text takes: nobody else spends it."""
    purse, key = around.purse, search.group.key
    kept, free = purse.kept(key), purse.free()
    calls = 0
    if search.final.overlay:
        calls = judging_calls(search.group, search.original, search.final, around.settings.alpha)
    purse.keep(key, calls if free is None else min(calls, free + kept))


def _record_start(around: RunContext, prompts: Sequence[Prompt]) -> None:
    settings = around.settings
    around.record(
        "start",
        prompts={prompt.name: prompt.prose for prompt in prompts},
        cases=[asdict(case) for case in around.evaluator.cases],
        settings={name: _plain(value) for name, value in asdict(settings).items()},
        told=around.told,
    )


def _plain(value: object) -> object:
    """Settings hold paths; a journal holds JSON."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)
