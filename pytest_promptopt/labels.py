"""What a person says of answers: labels, which a judge is tested with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pytest_promptopt.records import Split

#: Single answers, or pairs of which one answer is better: two tasks, and a judge is tested for each.
Kind = Literal["answers", "pairs"]


@dataclass(frozen=True)
class Label:
    """An answer, and whether a person calls it good. Labels are equal that say the same.

    :param split: which step of an optimization of the judge's own prompt may see it; None when any may.
    :param where: ``file:line``.
    :param id: as given, else made of the content; no two labels of a file have the same.
    """

    answer: str
    criterion: str
    good: bool
    reference: str | None
    context: str | None
    split: Split | None = field(compare=False)
    where: str = field(compare=False)
    id: str = field(compare=False)

    @property
    def kind(self) -> Kind:
        return "answers"

    @property
    def expected(self) -> str:
        """What a judge has to decide: ``good`` or ``bad``."""
        return "good" if self.good else "bad"


@dataclass(frozen=True)
class PairLabel:
    """Two answers to the same question, and which of them a person calls the better one."""

    a: str
    b: str
    criterion: str
    better: Literal["a", "b"]
    reference: str | None
    context: str | None
    split: Split | None = field(compare=False)
    where: str = field(compare=False)
    id: str = field(compare=False)

    @property
    def kind(self) -> Kind:
        return "pairs"

    @property
    def expected(self) -> str:
        """What a judge has to decide: ``a`` or ``b``."""
        return self.better


AnyLabel = Label | PairLabel
