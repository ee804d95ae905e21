"""Runs the search of any strategy, whose code may raise anything, and checks what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.foreign_errors import STRATEGY
from pytest_promptopt.optimizer.halting import HaltReason, Stop
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.protocols import StopRun
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.screening import ScreeningEvaluator
from pytest_promptopt.optimizer.search_context import SearchContext, end_search
from pytest_promptopt.optimizer.search_state import NOT_BEGUN, NOT_MEASURED, STOPPED_BY_USER
from pytest_promptopt.optimizer.strategy import GroupSearch, Strategy
from pytest_promptopt.records import CaseResult, Split
from pytest_promptopt.results import Iteration, StageAtFault

T = TypeVar("T")


class SupervisedSearch:
    """A `GroupSearch` that always gives a result and raises nothing, whatever the search inside it does.

    The one inside gets neither the group nor the context of this one, which know held-out cases.

    :ivar group: the prompts with the cases that were searched.
    :ivar heldout: the other cases of these prompts.
    """

    def __init__(self, strategy: Strategy, group: PromptGroup, context: RunContext) -> None:
        self.group = group.searched()
        self.heldout = tuple(case for case in group.cases if case.split is Split.HELDOUT)
        self.names = [prompt.name for prompt in group.prompts]
        self.screen = ScreeningEvaluator(context.evaluator, group.prompts)
        self.context = replace(context, evaluator=self.screen)
        self.original = self.final = NOT_MEASURED
        self.iterations: Sequence[Iteration] = ()
        self.notes: list[str] = []
        self.stop = NOT_BEGUN
        self.at_fault: tuple[StageAtFault, ...] = ()
        self._strategy = strategy

    @property
    def interrupted(self) -> bool:
        return self.stop.halt == HaltReason.INTERRUPTED

    def run(self) -> None:
        """Search, then take over what was found."""
        context = SearchContext.of(self.context, self.group, self.screen)
        try:
            self._run(context)
        finally:
            end_search(context)

    def _run(self, context: SearchContext) -> None:
        begun: list[GroupSearch] = []
        if not self._do(lambda: begun.append(self._strategy(self.group, context))):
            return
        (search,) = begun
        if self._do(search.run):
            self._do(lambda: self._take_stop(search))
        self._do(lambda: self._take_texts(search))
        self._do(lambda: self._take_account(search))

    def _do(self, step: Callable[[], object]) -> bool:
        """Do `step`; whether it ended without an error. An error ends the search."""
        try:
            step()
        except KeyboardInterrupt:
            self.stop = STOPPED_BY_USER
        except StopRun as stopped:
            self.stop = Stop(stopped.halt, stopped.why)
        except BaseException as error:
            self.stop = Stop(HaltReason.ERROR, self.context.foreign_errors.note(STRATEGY, error))
        else:
            return True
        return False

    def _take_stop(self, search: GroupSearch) -> None:
        stop = _instance(search.stop, Stop, "stop")
        interrupted = search.interrupted is True or stop.halt == HaltReason.INTERRUPTED
        self.stop = Stop(HaltReason.INTERRUPTED if interrupted else str(stop.halt), str(stop.why))

    def _take_texts(self, search: GroupSearch) -> None:
        self.original = self.final = _version(search.original, "original", self.group)
        final = _version(search.final, "final", self.group)
        if why := self.screen.refusal(final.overlay):
            self.notes.append(f"candidate {final.id} was refused at last: {why}")
        else:
            self.final = final

    def _take_account(self, search: GroupSearch) -> None:
        self.notes += [str(note) for note in search.notes]
        self.iterations = tuple(_instance(each, Iteration, "iterations") for each in search.iterations)
        if isinstance(search, BaseSearch):
            self.at_fault = search.at_fault


def _version(found: object, name: str, group: PromptGroup) -> EvaluatedCandidate:
    version = _instance(found, EvaluatedCandidate, name)
    own = {case.id: case.split for case in group.cases}
    for split in Split:
        for result in version.evidence(split):
            case = _instance(result, CaseResult, f"{name}.results").case
            if not own.get(case.id) == case.split == split:
                raise PromptoptError(
                    f"the strategy's search has a result of {case.id!r} as one of the {split} cases in "
                    f"`{name}.results`; accepted: results of its own cases, by their split"
                )
    if version.posterior is not None:
        _instance(version.posterior, RatePosterior, f"{name}.posterior")
    return replace(version, id=str(version.id), overlay=dict(version.overlay))


def _instance(found: object, kind: type[T], name: str) -> T:
    if not isinstance(found, kind):
        raise PromptoptError(
            f"the strategy's search has {type(found).__name__} for `{name}`; accepted: {kind.__name__}"
        )
    return found
