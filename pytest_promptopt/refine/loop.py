"""One optimization run, top down: search every group of prompts, confirm, score held-out, write, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace

from pytest_promptopt.captured import time
from pytest_promptopt.journal import Journal
from pytest_promptopt.records import Role, Spend, Split
from pytest_promptopt.refine.attended import Attended
from pytest_promptopt.refine.confirmation import History
from pytest_promptopt.refine.ending import SCORING, Ending, Write, close, scoring_calls
from pytest_promptopt.refine.evaluator import Evaluator, Prompt
from pytest_promptopt.refine.frame import SEARCHED
from pytest_promptopt.refine.groups import Group, connected
from pytest_promptopt.refine.halting import Halt
from pytest_promptopt.refine.mishaps import Mishaps
from pytest_promptopt.refine.policies import Policies
from pytest_promptopt.refine.power import judging_calls, usual_calls
from pytest_promptopt.refine.proposer import Ask
from pytest_promptopt.refine.purse import Purse
from pytest_promptopt.refine.seams import Contained, contained
from pytest_promptopt.refine.search import Search
from pytest_promptopt.refine.strategy import Strategy
from pytest_promptopt.refine.surroundings import Surroundings
from pytest_promptopt.results import PromptResult, RunResult
from pytest_promptopt.settings import Settings


def run(
    prompts: Sequence[Prompt],
    evaluator: Evaluator,
    ask: Ask,
    settings: Settings,
    journal: Journal | None,
    policies: Policies,
    *,
    spend: Callable[[], Mapping[Role, Spend]],
    write: Write | None,
    purse: Purse | None = None,
    strategy: Strategy = Search,
    heldout: Collection[str] | None = None,
    history: Callable[[Group], History] = lambda group: History(),
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
    groups = connected(prompts, evaluator.cases)
    earlier = {group.key: history(group) for group in groups}
    around = _surroundings(evaluator, ask, settings, policies, journal, spend, purse or Purse())
    around = replace(around, told={key: each.told for key, each in earlier.items()})
    _record_start(around, prompts)
    _keep_for_scoring(around, heldout)
    searches = [Attended(strategy, group, around) for group in groups]
    for number, search in enumerate(searches):
        _share_out(around, [later.group for later in searches[number:]])
        search.run()
        _keep_for_judging(around, search)
        if search.interrupted:
            break
    interrupted = any(search.interrupted for search in searches)
    endings = [
        Ending(search, search.around, heldout=heldout, history=earlier[search.group.key])
        for search in searches
    ]
    if not interrupted:
        try:
            close(endings, around, journal.run_id if journal else f"seed {settings.seed}", write)
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
    policies: Policies,
    journal: Journal | None,
    spend: Callable[[], Mapping[Role, Spend]],
    purse: Purse,
) -> Surroundings:
    """Evaluator, `ask` and policies as they are, but for what they raise."""
    mishaps = Mishaps(settings.rootdir, journal.append if journal else None)
    return Surroundings(
        Contained(evaluator, mishaps),
        mishaps.contained("asking the optimizer", ask),
        settings,
        contained(policies, mishaps),
        journal,
        spend,
        purse,
        mishaps,
    )


def _account(ending: Ending, around: Surroundings) -> Sequence[PromptResult]:
    """What became of the prompts of a group, also if a strategy has left what nothing can be made of."""
    try:
        return list(ending.results())
    except Exception as error:
        said = around.mishaps.note("the account of a search", error)
        return [
            PromptResult(prompt.name, prompt.prose, prompt.prose, "unchanged", Halt.ERROR, said, ())
            for prompt in ending.prompts
        ]


def _recorded(around: Surroundings, result: RunResult) -> RunResult:
    """Journal the end, in whatever form it can be; the result says if it cannot."""
    try:
        try:
            around.record("end", **asdict(result))
        except (TypeError, ValueError):  # a strategy has put what is no JSON into it
            around.record("end", **json.loads(json.dumps(asdict(result), default=repr)))
    except Exception as error:
        around.mishaps.note("the journal", error)
    return replace(result, errors=tuple(around.mishaps.told))


def _keep_for_scoring(around: Surroundings, heldout: Collection[str] | None) -> None:
    """What the held-out cases take, as far as it is known before the search."""
    scored = [
        case
        for case in around.evaluator.cases
        if case.split is Split.HELDOUT and (heldout is None or case.id in heldout)
    ]
    around.purse.keep(SCORING, scoring_calls(scored))


def _share_out(around: Surroundings, groups: Sequence[Group]) -> None:
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


def _keep_for_judging(around: Surroundings, search: Attended) -> None:
    """Of what was kept for a search that is over keep what judging its text takes: nobody else spends it."""
    purse, key = around.purse, search.group.key
    kept, free = purse.kept(key), purse.free()
    calls = 0
    if search.final.overlay:
        calls = judging_calls(search.group, search.original, search.final, around.settings.alpha)
    purse.keep(key, calls if free is None else min(calls, free + kept))


def _record_start(around: Surroundings, prompts: Sequence[Prompt]) -> None:
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
