"""Several strategies side by side: the same cases, texts and seed, and equal shares of every ceiling."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.journal import Journal
from pytest_promptopt.optimizer import run
from pytest_promptopt.optimizer.call_budget import CallBudget
from pytest_promptopt.optimizer.confirmation import EarlierRuns
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.results import RunResult
from pytest_promptopt.settings import Settings
from pytest_promptopt.strategies.metered_evaluator import MeteredEvaluator


def share_ceilings(settings: Settings) -> Settings:
    """The settings of each strategy of a comparison: an equal share of every ceiling."""
    count = len(settings.strategy)
    return replace(
        settings,
        max_calls=settings.max_calls and settings.max_calls // count,
        max_tokens=settings.max_tokens and settings.max_tokens // count,
        max_cost=settings.max_cost and settings.max_cost / count,
        max_time=settings.max_time and settings.max_time / count,
    )


def compare_strategies(
    strategies: Mapping[str, Strategy],
    prompts: Sequence[Prompt],
    context: RunContext,
    *,
    heldout: Collection[str],
    history: Callable[[PromptGroup], EarlierRuns],
    open_journal: Callable[[str], Journal | None],
) -> RunResult:
    """Run the strategies one after the other; nothing is written, and none learns of another.

    Ctrl-C ends the comparison; what was found by then is in the result.

    :param context: of all of them; each gets its share of it, and a journal of its own.
    :param heldout: the held-out cases that are scored.
    :param history: what earlier runs have asked.
    :param open_journal: starts the journal of a strategy.
    """
    started = context.clock()
    own = share_ceilings(context.settings)
    runs: list[RunResult] = []
    errors: list[str] = []
    for name, strategy in strategies.items():
        try:
            journal = open_journal(name)
        except PromptoptError as error:
            if not runs:
                raise
            errors.append(f"strategy {name} was not begun: {error}")
            break
        part = _metered_context(context, replace(own, strategy=(name,)), journal)
        runs.append(run.run_optimization(prompts, part, strategy, heldout=heldout, history=history))
        if runs[-1].interrupted:
            break
    return RunResult(
        id="",
        prompts=(),
        spend=dict(context.spend()),
        elapsed=context.clock() - started,
        interrupted=runs[-1].interrupted,
        strategy=",".join(strategies),
        compared=tuple(runs),
        errors=tuple(errors),
    )


def _metered_context(context: RunContext, own: Settings, journal: Journal | None) -> RunContext:
    """`context` for one strategy: it pays for every answer that it gets, up to its own ceilings."""
    meter = MeteredEvaluator(
        context.evaluator,
        context.ask,
        max_calls=own.max_calls,
        max_tokens=own.max_tokens,
        max_cost=own.max_cost,
        max_time=own.max_time,
        clock=context.clock,
    )
    return replace(
        context,
        evaluator=meter,
        ask=meter.ask,
        settings=own,
        journal=journal,
        spend=meter.spend,
        call_budget=CallBudget(meter.left, tell=meter.reserve_for_scoring),
    )
