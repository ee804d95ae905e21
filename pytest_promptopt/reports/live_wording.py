"""What is said of cases and calls while they are under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pytest_promptopt.records import Spend
from pytest_promptopt.reports.wording import cost, duration, percent
from pytest_promptopt.text import plural

#: Seconds that an estimate looks back: long enough for slow calls, short enough to forget what was cached.
LOOKS_BACK = 60.0

#: Cases that must have ended meanwhile; of fewer nothing can be foreseen.
LEAST_CASES = 5


@dataclass(frozen=True)
class CallFigures:
    """Model calls at one moment.

    :param in_flight: sent, and not answered yet.
    :param longest: for how many seconds the first of them has been.
    :param made: calls that were made.
    :param spend: what was paid.
    :param cached: the part of all answers that came from the cache; None while there is no answer.
    """

    in_flight: int = 0
    longest: float = 0.0
    made: int = 0
    spend: Spend = Spend()  # noqa: RUF009  # frozen
    cached: float | None = None


@dataclass(frozen=True)
class CheckFigures:
    """A check at one moment.

    :param done: cases that were reported.
    :param rate: the pass rate of those; None while it is unknown.
    :param ahead: samples that are asked before any case is reported: how many are decided, of how many.
    :param elapsed: seconds since it began.
    :param left: seconds that it will take; None when nobody can say.
    """

    done: int
    cases: int
    rate: float | None
    calls: CallFigures
    ahead: tuple[int, int] = (0, 0)
    elapsed: float = 0.0
    left: float | None = None


class TimeLeft:
    """How long the rest will take, by how long the last cases took."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._everything = 0

    def estimate(self, now: float, done: int, everything: int) -> float | None:
        """Seconds from now on; None when too little has ended to say.

        :param done: of `everything`. It is called again and again.
        """
        seen = self._seen
        if everything != self._everything or (seen and done < seen[-1][1]):  # something else has begun
            seen.clear()
            self._everything = everything
        if not seen or now >= seen[-1][0] + 1.0:
            seen.append((now, done))
        while len(seen) > 1 and now - seen[1][0] >= LOOKS_BACK:
            seen.popleft()
        began, before = seen[0]
        ended, seconds = done - before, now - began
        if ended < LEAST_CASES or seconds <= 0:
            return None
        return (everything - done) * seconds / ended


def check_parts(figures: CheckFigures) -> tuple[list[str], list[str]]:
    """What is done, and by which calls, each in short parts of a sentence."""
    decided, asked = figures.ahead
    done = [f"{figures.done:,} of {plural(figures.cases, 'case')} done"]
    if asked and not figures.done:
        done = [f"asking ahead: {decided:,} of {plural(asked, 'sample')} done"]
    if figures.rate is not None:
        done.append(f"{percent(figures.rate)} pass")
    return done, [*call_parts(figures.calls), *time_parts(figures.elapsed, figures.left)]


def call_parts(calls: CallFigures) -> Iterator[str]:
    """``waiting for 50 answers``, ``the first for 12.3s``, ``132 calls made``, ``$0.0132``, and the cache."""
    if calls.in_flight:
        yield f"waiting for {plural(calls.in_flight, 'answer')}"
        yield f"the first for {duration(calls.longest)}"
    else:
        yield "waiting for no answer"
    yield f"{plural(calls.made, 'call')} made"
    if calls.made:
        yield cost(calls.spend)
    if calls.cached is not None:
        yield f"{percent(calls.cached)} of answers from the cache"


def time_parts(elapsed: float, left: float | None) -> list[str]:
    """``14.2s so far``, ``about 21s left``."""
    rest = (
        []
        if left is None or left < 0.5
        else [f"about {f'{left:.0f}s' if left < 59.5 else duration(left)} left"]
    )
    return [f"{duration(elapsed)} so far", *rest]


def packed(parts: Iterable[str], width: int) -> list[str]:
    """Parts with commas between them, in as few lines as have room for them; no part is cut in two."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f", {part}"
        else:
            lines[-1:] = [*(f"{line}," for line in lines[-1:]), part]
    return lines


def run_parts(calls: CallFigures, step: tuple[int, int], elapsed: float, left: float | None) -> list[str]:
    """An optimization at one moment, in short parts of a sentence.

    :param step: of what the search has asked for: how many runs of cases are decided, of how many.
    :param left: seconds that this will take.
    """
    decided, asked = step
    runs = [f"{decided:,} of {plural(asked, 'run')} done"] * bool(asked)
    until = [f"{each} of this step" for each in time_parts(elapsed, left)[1:]]
    return [*runs, *call_parts(calls), *time_parts(elapsed, left)[:1], *until]


def check_line(figures: CheckFigures) -> str:
    """A check at one moment, for a log."""
    done, calls = check_parts(figures)
    return f"promptopt: {', '.join([*done, *calls])}"
