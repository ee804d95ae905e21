"""Who runs the cases of an optimization run: this process, or xdist's workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.records import CaseResult
from pytest_promptopt.replay.case_table import K
from pytest_promptopt.replay.withheld_cases import WithheldCases


class CaseEngine(Protocol[K]):
    """Runs cases with the prompt files that they have at that time."""

    @property
    def client(self) -> ModelClient:
        """Makes all calls of the cases, but for those that a test has exchanged something for."""

    @property
    def withheld(self) -> WithheldCases: ...

    @property
    def step(self) -> tuple[int, int]:
        """How many samples of the evaluation under way are decided, of how many; 0 of 0 between two."""

    def probe(self) -> Mapping[K, frozenset[str]]:
        """The keys of the calls of each case under the files as they are, up to its first unknown answer.

        Asks no model anything.
        """

    def evaluate(self, trials: Sequence[Trial], progress: Callable[[], None]) -> list[tuple[CaseResult, ...]]:
        """All cases of all trials; raises `StopRun` when no call is possible, or no case uses its prompt.

        :param progress: called again and again meanwhile.
        """
