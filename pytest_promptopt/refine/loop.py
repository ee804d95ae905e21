"""One optimization run, top down: search every group of prompts, confirm, score held-out, write, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from pytest_promptopt.captured import time
from pytest_promptopt.journal import Journal
from pytest_promptopt.records import Role, Spend
from pytest_promptopt.refine.confirmation import planned_pairs
from pytest_promptopt.refine.ending import Ending, Write, score_heldout
from pytest_promptopt.refine.evaluator import Evaluator, Prompt
from pytest_promptopt.refine.groups import connected
from pytest_promptopt.refine.policies import Policies
from pytest_promptopt.refine.proposer import Ask
from pytest_promptopt.refine.search import Search
from pytest_promptopt.refine.strategy import Strategy
from pytest_promptopt.refine.surroundings import Surroundings
from pytest_promptopt.results import RunResult
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
    left: Callable[[], int | None] = lambda: None,
    strategy: Strategy = Search,
) -> RunResult:
    """Refine `prompts` until every search has ended; the result says what became of each.

    Never raises `StopRun` or `KeyboardInterrupt`: both end the run with the best that was accepted so far,
    and after an interrupt nothing is written. `settings.max_iterations` counts for each group of prompts.

    :param journal: None to keep none.
    :param spend: what was paid so far in the whole session, by role.
    :param write: puts a text on disk, raises `PromptConflictError` when the file changed since it was read;
        None for a dry run.
    :param left: how many calls the ceiling leaves for the search; None without one.
    :param strategy: how each group of prompts is searched; `settings.strategy` is its name.
    """
    started = time.monotonic()
    around = Surroundings(evaluator, ask, settings, policies, journal, spend, left)
    _record_start(around, prompts)
    searches = [strategy(group, around) for group in connected(prompts, evaluator.cases)]
    for search in searches:
        search.run()
        if search.interrupted:
            break
    interrupted = any(search.interrupted for search in searches)
    endings = [Ending(search, around) for search in searches]
    if not interrupted:
        try:
            groups = [search.group for search in searches]
            pairs = planned_pairs(groups, settings.max_calls, settings.alpha)
            for ending, planned in zip(endings, pairs, strict=True):
                ending.confirm(planned)
            score_heldout(endings, around)
            for ending in endings:
                ending.write(write)
        except KeyboardInterrupt:
            interrupted = True
    by_name = {result.prompt: result for ending in endings for result in ending.results()}
    result = RunResult(
        id=journal.run_id if journal else "",
        prompts=tuple(by_name[prompt.name] for prompt in prompts),
        spend=dict(spend()),
        elapsed=time.monotonic() - started,
        interrupted=interrupted,
        journal=str(journal.path) if journal else "",
        strategy=settings.strategy[0],
    )
    around.record("end", **asdict(result))
    return result


def _record_start(around: Surroundings, prompts: Sequence[Prompt]) -> None:
    settings = around.settings
    around.record(
        "start",
        prompts={prompt.name: prompt.prose for prompt in prompts},
        cases=[asdict(case) for case in around.evaluator.cases],
        settings={name: _plain(value) for name, value in asdict(settings).items()},
    )


def _plain(value: object) -> object:
    """Settings hold paths; a journal holds JSON."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)
