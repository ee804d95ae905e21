"""A case as an optimization sees it: a test of this process or of a worker, or a case of a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Case, Request


class SearchedCase(Protocol):
    """A frozen dataclass with at least these fields and properties."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def case(self) -> Case: ...

    @property
    def files(self) -> Mapping[str, PromptFile]:
        """Its prompt files by stage; a single prompt's stage is ``""``."""

    @property
    def frozen(self) -> frozenset[str]:
        """The names of its prompt files that are never rewritten."""

    @property
    def path(self) -> Path | None:
        """The file that it is written in; None for one that stands in none."""

    @property
    def identity(self) -> str:
        """What makes it this case, as text."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The values that the test is parametrized with."""

    def model_of(self, file: PromptFile) -> str:
        """The model that answers `file`. Raises `SettingsError` when none is named."""

    def bare_request(self, file: PromptFile) -> Request:
        """A request of its calls without messages: whom it asks, and how. Raises `SettingsError`."""
