"""What a search has learned, for the optimizer: bounded, and written from what was measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

#: The last iterations told in full.
RECENT_ITERATIONS = 3

#: Characters of all older lessons together (about 150 tokens): what moved most stays.
MAX_OLDER = 600

#: Characters of one lesson told in full, and of an older one.
MAX_LESSON = 320
MAX_OLDER_LESSON = 160


@dataclass(frozen=True)
class Lesson:
    """What one candidate taught.

    :param gain: change of the pass rate, as a share; None when it was not run.
    :param measured: what was measured, or why it was not run, in a few words; names no case.
    :param reason: the optimizer's own words.
    :param direction: the line of attack it was told to take; empty when it was made of other candidates.
    """

    accepted: bool
    gain: float | None
    measured: str
    reason: str
    direction: str

    def short(self) -> str:
        said = f": {self.reason}" if self.reason else ""
        return _cut(f"{self._mark} {self.measured}{said}", MAX_OLDER_LESSON)

    def full(self) -> str:
        said = f" It said: {self.reason}" if self.reason else ""
        measured = self.measured.rstrip(".")
        told = f" It was told: {self.direction}" if self.direction else ""
        return _cut(f"{self._mark} {measured}.{told}{said}", MAX_LESSON)

    @property
    def _mark(self) -> str:
        return "✓" if self.accepted else "✗"


@dataclass
class Memory:
    """The lessons about one prompt: the last iterations in full, of the older ones the most telling."""

    _older: list[Lesson] = field(default_factory=list)
    _recent: deque[tuple[int, tuple[Lesson, ...]]] = field(default_factory=deque)

    def remember(self, iteration: int, lessons: Sequence[Lesson]) -> None:
        self._recent.append((iteration, tuple(lessons)))
        if len(self._recent) > RECENT_ITERATIONS:
            self._older += self._recent.popleft()[1]

    def lines(self) -> tuple[str, ...]:
        """All that is told, older lessons first."""
        older = {lesson.short(): abs(lesson.gain or 0.0) for lesson in self._older}
        room, kept = MAX_OLDER, set()
        for text in sorted(older, key=lambda text: -older[text]):
            room -= len(text)
            if room >= 0:
                kept.add(text)
        recent = (f"iteration {number}: {lesson.full()}" for number, told in self._recent for lesson in told)
        return (*(text for text in older if text in kept), *recent)


def _cut(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
