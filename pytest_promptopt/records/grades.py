"""Grades that a test gives to single stages of a pipeline. They decide nothing: the last assert does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StageGrade:
    """How good one stage of a pipeline was in one run of a case, as the test says.

    :param prompt: path of the stage's prompt file, as in `Call.prompt`.
    :param score: from 0 (wrong) to 1 (right).
    :param why: the reasons of the test, in a few words; empty when it gave none.
    """

    prompt: str
    score: float
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StageGrade:
        """The same grade from what `to_json` has written; raises KeyError."""
        return cls(data["prompt"], data["score"], data["why"])
