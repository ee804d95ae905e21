"""What a host of an optimization brings: its cases, and an engine that runs them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import CaseResult
from pytest_promptopt.replay.prompt_calls import CallingCase
from pytest_promptopt.replay.withheld_cases import WithheldCases


class DrivenCase(CallingCase, Protocol):
    """A case of a run: a frozen dataclass, of which `case` and `files` are replaced."""

    @property
    def values(self) -> Mapping[str, Any]:
        """What the case is about, by name."""

    def model_of(self, file: PromptFile) -> str:
        """The model that answers `file`. Raises `SettingsError` when none is named."""


K = TypeVar("K", bound=Hashable)
D = TypeVar("D", bound=DrivenCase)


class CaseEngine(Protocol[K]):
    """Runs the cases of a host."""

    @property
    def client(self) -> ModelClient: ...

    @property
    def withheld(self) -> WithheldCases: ...

    def probe(self) -> dict[K, frozenset[str]]:
        """The keys of the calls of each case under the files as they are, up to its first unknown answer.

        Asks no model anything.
        """

    def evaluate(self, trials: Sequence[Trial], progress: Callable[[], None]) -> list[tuple[CaseResult, ...]]:
        """All cases of all trials; `progress` is called again and again meanwhile. May raise `StopRun`."""
