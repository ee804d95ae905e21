"""What a search may use of a run; nothing here leads to held-out cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol

from pytest_promptopt.errors import ModelError
from pytest_promptopt.optimizer.call_budget import CallBudget
from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.foreign_errors import STRATEGY
from pytest_promptopt.optimizer.halting import DECIDING, HaltReason, Phase, Stop
from pytest_promptopt.optimizer.opaque_callables import drop_opaque, make_opaque
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.protocols import Ask
from pytest_promptopt.optimizer.redaction import keep_text
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.screening import ScreeningEvaluator
from pytest_promptopt.optimizer.search_evaluator import SearchEvaluator
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.verdict_model import Taught
from pytest_promptopt.records import Answer, Request, Role, Spend
from pytest_promptopt.settings import Settings


class Record(Protocol):
    """Writes an event to the journal, if one is kept."""

    def __call__(self, event: str, **data: Any) -> None:
        """:param data: JSON-like."""


class SearchCallBudget:
    """What the ceiling on calls leaves a search, and what of it is kept for judging the text that it finds.

    :ivar left: how many calls the ceiling leaves, those kept for later included; None without a ceiling.
    :ivar available: how many may be spent now; None without a ceiling.
    :ivar affords: whether so many may be spent now.
    """

    def __init__(self, call_budget: CallBudget, group: tuple[str, ...]) -> None:
        self.left = make_opaque(lambda: call_budget.left())
        self.available = make_opaque(call_budget.available)
        self.affords = make_opaque(call_budget.affords)
        self._reserved = make_opaque(lambda: call_budget.reserved(group))
        self._total_reserved = make_opaque(lambda: call_budget.total_reserved)
        self._reserve = make_opaque(partial(_reserve, call_budget, group))

    @property
    def reserved(self) -> int:
        """Calls that are kept for judging this search's text."""
        return self._reserved()

    @property
    def total_reserved(self) -> int:
        """Calls that are kept for all that comes later, other searches and the held-out cases included."""
        return self._total_reserved()

    def stop_below(self, least: int) -> Stop | None:
        """The end of a search whose next iteration takes so many calls at least, if fewer may be spent."""
        free, kept = self.available(), self.total_reserved
        if free is None or free >= least:
            return None
        return Stop(
            HaltReason.BUDGET,
            f"{free} calls are left for the search, and the next iteration takes {least} at least"
            + f"; {kept} are kept for judging the result" * bool(kept),
        )

    def reserve(self, calls: int) -> None:
        """Keep so many calls for judging this search's text; 0 gives them back. No others can be given back.

        Raises `ValueError` for less than 0.
        """
        self._reserve(calls)


def _reserve(call_budget: CallBudget, group: tuple[str, ...], calls: int) -> None:
    if calls < 0:
        raise ValueError(f"{calls} calls cannot be kept; accepted: 0 or more")
    call_budget.reserve(group, calls)


@dataclass(frozen=True)
class SearchContext:
    """All that a search may use of a run. From nothing here is there a way to a held-out case, the journal or
    the cache.

    :param evaluator: runs training and validation cases of the group.
    :param ask: sends requests to models.
    :param hooks: the decisions that can be replaced from outside, and the observers.
    :param spend: what was paid so far in the whole session, by role; `paid` all roles together.
    :param clock: counts seconds, from any moment on.
    :param told: what earlier runs taught of new texts of this group; None when there is nothing.
    :param record: writes an event to the journal, if one is kept.
    :param record_results: journals the rate of every case under a candidate (``0`` is the original).
    :param note_error: keeps what went wrong in the strategy's own code, which ends no run; the sentence about
        it.
    :param enter_phase: begins the training or the validation phase.
    """

    evaluator: SearchEvaluator
    ask: Ask
    settings: Settings
    hooks: SearchHooks
    call_budget: SearchCallBudget
    spend: Callable[[], Mapping[Role, Spend]]
    paid: Callable[[], Spend]
    clock: Callable[[], float]
    told: Taught | None
    record: Record
    record_results: Callable[[str, Results], None]
    note_error: Callable[[BaseException], str]
    enter_phase: Callable[[Phase], None]

    @classmethod
    def of(cls, run: RunContext, group: PromptGroup, evaluator: ScreeningEvaluator) -> SearchContext:
        """The front of `run` for the search of one group.

        :param evaluator: runs the cases of the group.
        """
        return cls(
            evaluator=SearchEvaluator(group, evaluator, check=run.stop_at_model_defect),
            ask=make_opaque(partial(_ask, run)),
            settings=run.settings,
            hooks=_opaque_hooks(run.hooks),
            call_budget=SearchCallBudget(run.call_budget, group.names),
            spend=make_opaque(run.spend),
            paid=make_opaque(run.paid),
            clock=make_opaque(run.clock),
            told=run.taught.get(group.names),
            record=make_opaque(run.record),
            record_results=make_opaque(run.record_results),
            note_error=make_opaque(partial(run.foreign_errors.note, STRATEGY)),
            enter_phase=make_opaque(partial(_enter_phase, run, group)),
        )


def end_search(context: SearchContext) -> None:
    """Cut `context` off from its run: a plugin may keep what its hook was handed, and would keep the session.

    Whoever asks through it later gets a `RuntimeError`.
    """
    for part in (context, context.evaluator, context.call_budget, context.hooks):
        for each in vars(part).values():
            drop_opaque(each)


def _ask(run: RunContext, requests: Sequence[Request]) -> list[Answer | ModelError]:
    answers = run.ask(requests)
    run.stop_at_model_defect()
    return answers


def _opaque_hooks(hooks: SearchHooks) -> SearchHooks:
    """`hooks` behind which nothing can be seen; one that is left out stays so."""
    given = {field.name: getattr(hooks, field.name) for field in fields(hooks)}
    return replace(
        hooks,
        **{
            name: make_opaque(hook)
            for name, hook in given.items()
            if hook is not None and hook is not keep_text
        },
    )


def _enter_phase(run: RunContext, group: PromptGroup, phase: Phase) -> None:
    if phase not in DECIDING:
        accepted = " or ".join(repr(each.value) for each in DECIDING)
        raise ValueError(f"a search cannot enter the phase {str(phase)!r}; accepted: {accepted}")
    run.enter_phase(phase, [prompt.name for prompt in group.prompts])
