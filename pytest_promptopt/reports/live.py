"""Progress while ``--optimize`` runs: a live display on a terminal, one line per iteration elsewhere."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

from pytest_promptopt.records import Spend, Split
from pytest_promptopt.reports.wording import caught_up, cost, count_examples, duration, percent
from pytest_promptopt.results import (
    CandidateResult,
    CandidateVerdict,
    CatchUp,
    Foresight,
    Iteration,
    SplitScore,
)
from pytest_promptopt.text import excerpt, plural, printable
from pytest_promptopt.unpatched import time

if TYPE_CHECKING:
    from rich.console import RenderableType

UPDATES_PER_SECOND = 8

#: The longest reason why a candidate was refused.
MAX_REASON_WIDTH = 120


class Progress(Protocol):
    """Watches a refinement; cannot steer it and never raises for what it is shown.

    Everything but `calls` comes from the main thread; `calls` may come from any. Who calls `started` calls
    `finished` in a ``finally``: the terminal's cursor is hidden in between.
    """

    def started(self, prompts: Sequence[str], cases: int) -> None:
        """Refinement begins, with this many cases for all prompts together."""

    def phase(self, name: str, prompts: tuple[str, ...]) -> None:
        """A `Phase` of the search begins for these prompts."""

    def measured(self, scores: Sequence[SplitScore]) -> None:
        """The pass rates that a search starts from."""

    def iteration(self, iteration: Iteration) -> None:
        """An iteration ended."""

    def caught_up(self, found: CatchUp) -> None:
        """Cases that the best text was spared so far were run."""

    def calls(self, in_flight: int, done: int, spend: Spend) -> None:
        """Answers now waited for, calls made and what the run paid so far, all roles together."""

    def note(self, line: str) -> None:
        """Something to say that is no news of a search; whoever writes past the display is overwritten."""

    def finished(self) -> None:
        """Refinement ended, however it did. May be called again."""


def progress_for(stream: TextIO, is_terminal: bool) -> Progress:
    """The progress that fits `stream`; a terminal that cannot move its cursor (``TERM=dumb``) gets lines."""
    if is_terminal and os.environ.get("TERM", "") not in ("dumb", "unknown"):
        return LiveProgress(stream)
    return LineProgress(stream)


def phase_line(name: str, prompts: Sequence[str]) -> str:
    """What the lines of the next iterations are about."""
    return f"{_named(prompts)}: {'held-out' if name == Split.HELDOUT else printable(name)}"


def _named(prompts: Sequence[str]) -> str:
    return ", ".join(map(printable, prompts))


def measured_line(scores: Sequence[SplitScore]) -> str:
    """``before: 27.8% of 72 training cases, 25.9% of 27 validation cases``."""
    parts = []
    for score in scores:
        kind = "training" if score.split is Split.TRAIN else printable(score.split)
        counted = plural(score.cases - score.errored, f"{kind} case")
        rate = f"{percent(score.before)} of {counted}" if score.before is not None else f"no {kind} case"
        remarks = [f"{score.errored} errored"] * bool(score.errored)
        remarks += [count_examples(score.examples)] * bool(score.examples)
        parts.append(rate + f" ({'; '.join(remarks)})" * bool(remarks))
    return f"  before: {', '.join(parts) or 'all cases are held out'}"


def iteration_line(iteration: Iteration, *, prompts: tuple[str, ...]) -> str:
    """What one iteration tried and what came of it, on one line.

    :param prompts: those of its phase; when it rewrites only some of them, these are named.
    """
    count = Counter(candidate.verdict for candidate in iteration.candidates)
    worse = sum(_fell_in_training(c, iteration) for c in iteration.candidates)
    parts = [
        percent(rate) + " accepted" * (c.verdict is CandidateVerdict.ACCEPTED)
        for c in iteration.candidates
        if (rate := _rate(c, iteration)) is not None and not _fell_in_training(c, iteration)
    ]
    merged, refused = count[CandidateVerdict.MERGED], count[CandidateVerdict.REFUSED]
    parts += [f"{merged} merged"] * bool(merged)
    parts += [f"{worse} worse in training"] * bool(worse)
    parts += [f"{refused} refused"] * bool(refused)
    tried = ", ".join(parts) or "no candidate"
    name = f", {_named(iteration.prompts)}" * (iteration.prompts not in ((), prompts))
    rates = dict.fromkeys(percent(rate) for rate in (iteration.before, iteration.best) if rate is not None)
    best = f"best {' -> '.join(rates)} ({_interval(iteration)}"
    return (
        f"  iteration {iteration.number}{name}: {best}tried {tried}; "
        f"{plural(iteration.spend.calls, 'call')}, {cost(iteration.spend)}, {duration(iteration.elapsed)})"
    )


def refusal_lines(iteration: Iteration) -> list[str]:
    """Why candidates were refused, a line for each reason: ``2.1, 2.3 refused: it was tried before``."""
    reasons: dict[str, list[str]] = {}
    for candidate in iteration.candidates:
        if candidate.verdict is CandidateVerdict.REFUSED:
            reasons.setdefault(candidate.why, []).append(printable(candidate.id))
    return [f"    {', '.join(ids)} refused: {excerpt(why, MAX_REASON_WIDTH)}" for why, ids in reasons.items()]


def _rate(candidate: CandidateResult, iteration: Iteration) -> float | None:
    """Its rate; where `best` is expected only, the accepted one has that rate as well."""
    taken = _expected(iteration) and candidate.verdict is CandidateVerdict.ACCEPTED
    return iteration.best if taken else candidate.rate


def _expected(iteration: Iteration) -> Foresight | None:
    """What `best` rests on, if it was not run on all cases."""
    found = iteration.foresight
    return found if found is not None and found.run < found.cases else None


def _interval(iteration: Iteration) -> str:
    """``60-89%, 18 of 50 cases run; ``: how far the rate may be off; empty where it was measured."""
    found = _expected(iteration)
    if found is None:
        return ""
    return (
        f"{100 * found.low:.0f}-{100 * found.high:.0f}%, {found.run} of {plural(found.cases, 'case')} run; "
    )


def _fell_in_training(candidate: CandidateResult, iteration: Iteration) -> bool:
    """Whether it was given up before it got to the cases that `best` is about."""
    return iteration.phase == Split.VALIDATION and candidate.split is Split.TRAIN


def _short(candidate: CandidateResult, iteration: Iteration) -> str:
    known = _rate(candidate, iteration)
    rate = "" if known is None else f" {percent(known)}"
    verdict = "worse in training" if _fell_in_training(candidate, iteration) else candidate.verdict
    return f"{printable(candidate.id)}{rate} {printable(verdict)}"


class SilentProgress:
    """Shows nothing."""

    def started(self, prompts: Sequence[str], cases: int) -> None: ...
    def phase(self, name: str, prompts: tuple[str, ...]) -> None: ...
    def measured(self, scores: Sequence[SplitScore]) -> None: ...
    def iteration(self, iteration: Iteration) -> None: ...
    def caught_up(self, found: CatchUp) -> None: ...
    def calls(self, in_flight: int, done: int, spend: Spend) -> None: ...
    def note(self, line: str) -> None: ...
    def finished(self) -> None: ...


class LineProgress:
    """One line for each phase and iteration; for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last_phase: tuple[str, tuple[str, ...]] = ("", ())
        #: Of the last iteration for the prompts of this phase; 0 before.
        self._number = 0

    def started(self, prompts: Sequence[str], cases: int) -> None:
        self._write(f"refining {plural(len(prompts), 'prompt')} with {plural(cases, 'case')}")

    def phase(self, name: str, prompts: tuple[str, ...]) -> None:
        if (name, prompts) != self._last_phase:
            if prompts != self._last_phase[1]:
                self._number = 0
            self._last_phase = (name, prompts)
            self._write(phase_line(name, prompts))

    def measured(self, scores: Sequence[SplitScore]) -> None:
        self._write(measured_line(scores))

    def iteration(self, iteration: Iteration) -> None:
        self._number = iteration.number
        self._write(iteration_line(iteration, prompts=self._last_phase[1]))
        for line in refusal_lines(iteration):
            self._write(line)

    def caught_up(self, found: CatchUp) -> None:
        after = f"after iteration {self._number}: " * bool(self._number)
        self._write(f"  {after}{caught_up(found)}")

    def calls(self, in_flight: int, done: int, spend: Spend) -> None:
        """Not shown: a log wants no line per call."""

    def note(self, line: str) -> None:
        self._write(printable(line))

    def finished(self) -> None:
        self._stream.flush()

    def _write(self, line: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self._stream.flush()


class LiveProgress(LineProgress):
    """The same lines, and below them a display that renews itself a few times a second and then is gone."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(_own_stream(stream))
        self._owned = self._stream is not stream
        self._began = time.monotonic()
        self._iteration: Iteration | None = None
        self._calls = (0, 0, Spend())
        self._console = Console(file=self._stream, force_terminal=True, highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._display,
            refresh_per_second=UPDATES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def started(self, prompts: Sequence[str], cases: int) -> None:
        self._began = time.monotonic()
        super().started(prompts, cases)
        self._live.start()

    def phase(self, name: str, prompts: tuple[str, ...]) -> None:
        if (name, prompts) != self._last_phase:
            self._iteration = None  # first: the display, in its own thread, shows no phase with another's
        super().phase(name, prompts)

    def iteration(self, iteration: Iteration) -> None:
        self._iteration = iteration
        super().iteration(iteration)

    def calls(self, in_flight: int, done: int, spend: Spend) -> None:
        self._calls = (in_flight, done, spend)

    def finished(self) -> None:
        try:
            self._live.stop()
        finally:
            if self._owned:
                self._stream.close()

    def _write(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text(line), soft_wrap=True)

    def _display(self) -> RenderableType:
        from rich.text import Text

        self._follow_size()
        in_flight, done, spend = self._calls
        phase, iteration = self._last_phase, self._iteration
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(phase_line(*phase) if any(phase) else "refining", style="bold")
        if iteration is not None:
            text.append(f", last tried in iteration {iteration.number}:")
            for candidate in iteration.candidates:
                style = {CandidateVerdict.ACCEPTED: "green", CandidateVerdict.REFUSED: "dim"}.get(
                    candidate.verdict, ""
                )
                words = f"\n  {_short(candidate, iteration):<30}{excerpt(candidate.direction, 100)}"
                text.append(words, style=style)
        text.append(
            f"\n  waiting for {plural(in_flight, 'answer')}, {plural(done, 'call')} made, {cost(spend)}, "
        )
        text.append(duration(time.monotonic() - self._began))
        return text

    def _follow_size(self) -> None:
        """rich asks the standard streams for the size, which pytest redirects while a test runs."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return
        if size.columns and size.lines:
            self._console.size = size


def _own_stream(stream: TextIO) -> TextIO:
    """A stream of our own to the same terminal.

    While a test runs, pytest's capture points file descriptor 1 at a temporary file; what the refreshing
    thread wrote there would miss the terminal and soil the test's captured output.
    """
    stream.flush()
    try:
        copy = os.dup(stream.fileno())
    except (OSError, ValueError):
        return stream
    return os.fdopen(copy, "w", encoding=stream.encoding, errors="backslashreplace")
