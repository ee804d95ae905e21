"""The interface between a run and a way to search: what proposes texts knows nothing of what judges them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.halting import Stop
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.results import Iteration


class GroupSearch(Protocol):
    """The search for better texts of one group of prompts.

    It sees training and validation cases only. Confirmation, held-out cases, writing and reports come after
    it and are the same for every strategy, and so are ceilings: `StopRun` of the evaluator or of `ask` ends
    the search with what it has.
    """

    @property
    def group(self) -> PromptGroup: ...

    @property
    def names(self) -> list[str]:
        """The names of the group's prompts."""

    @property
    def original(self) -> EvaluatedCandidate:
        """The texts as they were, with the id ``0`` and their results on the cases searched."""

    @property
    def final(self) -> EvaluatedCandidate:
        """The best texts found, with results on the same cases; `original` when none is better."""

    @property
    def iterations(self) -> Sequence[Iteration]: ...

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know besides, in sentences."""

    @property
    def stop(self) -> Stop:
        """Why it ended, or that it was not begun."""

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it, or the run before it began."""

    def run(self) -> None:
        """Search until a halting rule, a ceiling or Ctrl-C ends it; raises neither `StopRun` nor
        `KeyboardInterrupt`."""


@dataclass(frozen=True)
class ScoringNeeds:
    """What a strategy needs of a run, declared so that it can be planned for before the first call.

    The defaults hold for one that declares nothing: every candidate is run on all training cases, the best
    text on the validation cases when the search is over.

    :param optimizer_model: whether it cannot do without a model that writes.
    :param foresight: whether its candidates are run on a part of the training cases, as far as that decides;
        the best text is run on the others when the search is over.
    :param validation_each_iteration: whether validation cases decide in every iteration, so that the best
        text was run on them when the search is over.
    """

    optimizer_model: bool = True
    foresight: bool = False
    validation_each_iteration: bool = False


class Strategy(Protocol):
    """A way to search; it may have an attribute `scoring_needs`."""

    def __call__(self, group: PromptGroup, context: SearchContext) -> GroupSearch:
        """The search for one group, not begun; all that it evaluates and asks goes through `context`."""


def scoring_needs(strategy: Strategy) -> ScoringNeeds:
    """What `strategy` declares. Raises `SettingsError` when that is something else."""
    found: object = getattr(strategy, "scoring_needs", ScoringNeeds())
    if not isinstance(found, ScoringNeeds):
        name = getattr(strategy, "__name__", type(strategy).__name__)
        raise SettingsError(
            f"the strategy {name}: `scoring_needs` is {type(found).__name__}; accepted: ScoringNeeds, or no "
            "such attribute"
        )
    return found
