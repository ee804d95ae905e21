"""The seam between a run and the way it searches: who proposes texts knows nothing of what judges them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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


class Strategy(Protocol):
    """A way to search."""

    def __call__(self, group: PromptGroup, context: SearchContext) -> GroupSearch:
        """The search for one group, not begun; all that it evaluates and asks goes through `context`."""
