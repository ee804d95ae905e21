"""Progress while ``--optimize`` runs: a live display on a terminal, one line per iteration elsewhere."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TextIO

from pytest_promptopt.records import Split
from pytest_promptopt.reports.live_wording import CallFigures, TimeLeft, packed, run_parts
from pytest_promptopt.reports.screen import moves_cursor, own_stream
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
from pytest_promptopt.unpatched import os, time

if TYPE_CHECKING:
    from rich.console import RenderableType

UPDATES_PER_SECOND = 8

#: Seconds after which a log says how it is, if nothing else was said.
LINE_EVERY = 30.0

#: The longest reason why a candidate was refused.
MAX_REASON_WIDTH = 120


class Progress(Protocol):
    """Watches a refinement; cannot steer it and never raises for what it is shown.

    Who calls `started` calls `finished` in a ``finally``: the terminal's cursor is hidden in between.
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

    def strategy(self, name: str, number: int, count: int) -> None:
        """The next one of so many strategies begins; nothing of the one before it holds any more."""

    def calls(self, calls: CallFigures, step: tuple[int, int]) -> None:
        """The calls of the run at this moment, all roles together; told a few times a second.

        :param step: of what the search has asked for: how many runs of cases are decided, of how many.
        """

    def note(self, line: str) -> None:
        """Something to say that is no news of a search; whoever writes past the display is overwritten."""

    def finished(self) -> None:
        """Refinement ended, however it did. May be called again."""


def progress_for(stream: TextIO, is_terminal: bool) -> Progress:
    """The progress that fits `stream`; a terminal that cannot move its cursor (``TERM=dumb``) gets lines."""
    if is_terminal and moves_cursor():
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
    def strategy(self, name: str, number: int, count: int) -> None: ...
    def calls(self, calls: CallFigures, step: tuple[int, int]) -> None: ...
    def note(self, line: str) -> None: ...
    def finished(self) -> None: ...


class LineProgress:
    """One line for each phase and iteration, and one for each half minute in which nothing is said; for logs.

    :param clock: counts seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._began = self._said = clock()
        self._left = TimeLeft()
        self._last_phase: tuple[str, tuple[str, ...]] = ("", ())
        #: Of the last iteration for the prompts of this phase; 0 before.
        self._number = 0

    def started(self, prompts: Sequence[str], cases: int) -> None:
        self._began = self._clock()
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

    def strategy(self, name: str, number: int, count: int) -> None:
        self._last_phase, self._number = ("", ()), 0
        self.note(f"promptopt: strategy {name}")

    def calls(self, calls: CallFigures, step: tuple[int, int]) -> None:
        if self._clock() >= self._said + LINE_EVERY:
            self._write(f"  {', '.join(self._parts(calls, step))}")

    def _parts(self, calls: CallFigures, step: tuple[int, int]) -> list[str]:
        now = self._clock()
        return run_parts(calls, step, now - self._began, self._left.estimate(now, *step))

    def note(self, line: str) -> None:
        self._write(printable(line))

    def finished(self) -> None:
        self._stream.flush()

    def _write(self, line: str) -> None:
        self._said = self._clock()
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self._stream.flush()


class LiveProgress(LineProgress):
    """The same lines, and below them a display that renews itself a few times a second and then is gone."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(own_stream(stream), clock)
        self._owned = self._stream is not stream
        self._heading = ""
        #: The pass rate that the search stands at.
        self._best: float | None = None
        self._iteration: Iteration | None = None
        self._calls, self._step, self._told = CallFigures(), (0, 0), self._began
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
        super().started(prompts, cases)
        self._live.start()

    def strategy(self, name: str, number: int, count: int) -> None:
        self._heading = f"strategy {name} ({number} of {count})"
        self._iteration = self._best = None
        super().strategy(name, number, count)

    def phase(self, name: str, prompts: tuple[str, ...]) -> None:
        if (name, prompts) != self._last_phase:
            # First: the display, in its own thread, shows no phase with another's.
            self._iteration = self._best = None
        super().phase(name, prompts)

    def iteration(self, iteration: Iteration) -> None:
        self._iteration, self._best = iteration, iteration.best
        super().iteration(iteration)

    def calls(self, calls: CallFigures, step: tuple[int, int]) -> None:
        self._calls, self._step, self._told = calls, step, self._clock()

    def finished(self) -> None:
        try:
            self._live.stop()
        finally:
            if self._owned:
                self._stream.close()

    def _write(self, line: str) -> None:
        from rich.text import Text

        self._said = self._clock()
        self._follow_size()
        indent = len(line) - len(line.lstrip())
        for part in textwrap.wrap(
            line,
            max(self._console.width - 1, 20),
            subsequent_indent=" " * (indent + 4),
            break_long_words=False,
            break_on_hyphens=False,
        ):
            self._console.print(Text(part), soft_wrap=True)

    def _display(self) -> RenderableType:
        """In a thread of rich's, which must not raise there."""
        from rich.text import Text

        try:
            return self._screen()
        except Exception:
            return Text()

    def _screen(self) -> RenderableType:
        from rich.text import Text

        self._follow_size()
        phase, iteration, best = self._last_phase, self._iteration, self._best
        text = Text(no_wrap=True, overflow="ellipsis")
        if self._heading:
            text.append(f"{printable(self._heading)}\n", style="bold")
        text.append(phase_line(*phase) if any(phase) else "refining", style="bold")
        if best is not None:
            text.append(f", best {percent(best)}")
        if iteration is not None:
            text.append(f", last tried in iteration {iteration.number}:")
            for candidate in iteration.candidates:
                style = {CandidateVerdict.ACCEPTED: "green", CandidateVerdict.REFUSED: "dim"}.get(
                    candidate.verdict, ""
                )
                words = f"\n  {_short(candidate, iteration):<30}{excerpt(candidate.direction, 100)}"
                text.append(words, style=style)
        calls = self._calls
        if calls.in_flight:  # it has grown since
            calls = replace(calls, longest=calls.longest + self._clock() - self._told)
        for line in packed(self._parts(calls, self._step), self._console.width - 3):
            text.append(f"\n  {line}")
        return text

    def _follow_size(self) -> None:
        """rich asks the standard streams for the size, which pytest redirects while a test runs."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return
        if size.columns and size.lines:
            self._console.size = size
