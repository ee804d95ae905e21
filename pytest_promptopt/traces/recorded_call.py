"""What an export tells: calls of models as they were recorded, and what was said of their answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pytest_promptopt.records import Message


class Opinion(StrEnum):
    """What a person has said of an answer."""

    RIGHT = "right"
    WRONG = "wrong"
    #: Something was said, and nobody knows what it means: a number of an unknown scale, an unknown word.
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Feedback:
    """One score, label, annotation or correction.

    :param name: of the score, as the tool calls it.
    :param by_person: whether a person gave it; a model's or a program's opinion makes no answer right.
    :param span: the id of the span that it is about; empty where it is about all of `trace`.
    :param value: a number, if it has one.
    :param label: a word, if it has one.
    :param is_switch: whether the number is known to be one of 0 and 1.
    :param correction: what the answer should have been; None where nobody has written it.
    """

    name: str
    by_person: bool
    span: str = ""
    trace: str = ""
    value: float | None = None
    label: str = ""
    is_switch: bool = False
    correction: str | None = None
    explanation: str = ""


@dataclass(frozen=True)
class RecordedCall:
    """One request to a model, with its answer.

    :param messages: its texts in order; a message of several texts is several of them. Empty where the
        contents were not recorded.
    :param answer: the text; None where none was recorded.
    :param incomplete: why `messages` is less than what was sent, in a sentence; empty where it is all.
    :param span: its id; empty where it has none, as `trace` may be.
    :param where: ``file:line``.
    """

    messages: tuple[Message, ...]
    answer: str | None
    span: str = ""
    trace: str = ""
    model: str = ""
    incomplete: str = ""
    where: str = ""


@dataclass
class Export:
    """All that was found in exports.

    :param formats: how the tools call them, in the order of their appearance.
    :param traces: of every span, also of those that are no calls of a model, the id of its trace.
    :param others: how many are no calls of a model.
    """

    calls: list[RecordedCall] = field(default_factory=list)
    feedback: list[Feedback] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)
    traces: dict[str, str] = field(default_factory=dict)
    others: int = 0

    def note_format(self, name: str) -> None:
        """Remember that a value of this format was there."""
        if name not in self.formats:
            self.formats.append(name)
