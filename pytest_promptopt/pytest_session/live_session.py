"""A session's cases while they run: a screen below pytest's own lines, or now and then a line of a log.

Nothing is shown in the first two seconds, nor under ``-q``, nor where another plugin writes the progress.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from pytest_promptopt.pytest_engine import terminal_internals
from pytest_promptopt.pytest_engine.outcomes import from_json
from pytest_promptopt.pytest_engine.report_data import read_data
from pytest_promptopt.pytest_session.running_figures import RunningCases, RunningFigures
from pytest_promptopt.records import Case, CaseResult, Spend, Split
from pytest_promptopt.reports.live_wording import (
    CallFigures,
    CheckFigures,
    TimeLeft,
    check_line,
    check_parts,
    packed,
)
from pytest_promptopt.reports.screen import Log, PassingStream, Place, Screen, is_terminal, moves_cursor
from pytest_promptopt.unpatched import time

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pytest_promptopt.pytest_session.case_runner import CaseRunner
    from pytest_promptopt.pytest_session.paid_calls import PaidCalls

#: The name of the plugin.
LIVE = "promptopt-live"

#: Seconds before anything is shown on a terminal: most runs are over by then.
SHOW_AFTER = 2.0

#: Seconds between two screens, and between two lines of a log.
SHOW_EVERY = 0.25
LINE_EVERY = 30.0

#: Columns of the bar.
BAR_WIDTH = 30
LEAST_BAR_WIDTH = 10


def is_watched(config: pytest.Config) -> bool:
    """Whether anybody wants to see how it goes: not under ``-q``, and not where another plugin shows it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return type(reporter) is pytest.TerminalReporter and reporter.verbosity >= 0


class LiveSession:
    """Registered as a plugin where the cases run in this process.

    :param count_cached: how many answers came from the cache, by the keys of those that were paid for.
    :param clock: counts seconds.
    """

    def __init__(
        self,
        config: pytest.Config,
        count_cached: Callable[[Set[str]], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._count_cached = count_cached
        self._clock = clock
        self._began = clock()
        self._next = self._began
        self._thread = threading.get_ident()
        self._lock = threading.RLock()
        self._done: set[str] = set()
        #: By item, its rate and its weight.
        self._rates: dict[str, tuple[float, float]] = {}
        self._left = TimeLeft()
        self._runner: CaseRunner | None = None
        self._own: RunningCases | None = None
        #: By worker, what it has told, and when.
        self._workers: dict[object, tuple[RunningFigures, float]] = {}
        self._paid_by_workers: set[str] = set()
        #: What this process pays for its workers; None where they pay for themselves.
        self.pays: PaidCalls | None = None
        self._place: Screen | Log | None = None
        self._exchanged: list[tuple[Any, str, PassingStream]] = []
        self._over = False

    # ----------------------------------------------------------------------------------- who tells what

    def watch(self, runner: CaseRunner) -> None:
        """The cases run here: whoever waits for their answers has this shown again and again."""
        self._runner, self._own = runner, RunningCases(runner)
        runner.client.while_waiting = self._look
        self._open()

    def hear(self, worker: object, told: Mapping[str, Any]) -> None:
        """A worker tells its figures; in any thread."""
        with self._lock, suppress(Exception):
            if self._over:
                return
            data = dict(told)
            self._paid_by_workers.update(data.pop("keys"))
            self._workers[worker] = RunningFigures.from_json(data), self._clock()
            if self._place is None:
                self._open()
            self._show()

    def lost(self, worker: object) -> None:
        """A worker is gone: it waits for nothing any more."""
        with self._lock:
            if worker in self._workers:
                figures, heard = self._workers[worker]
                self._workers[worker] = replace(figures, in_flight=0), heard

    def note(self, report: pytest.TestReport) -> None:
        """A case is about to be reported."""
        data = read_data(report)
        if (case := data.get("case")) and not case.get("reference"):
            outcomes = tuple(map(from_json, data["outcomes"]))
            rate = CaseResult(Case(case["id"], (), Split(case["split"])), outcomes).rate
            with self._lock:
                self._done.add(case["id"])
                if rate is not None:
                    self._rates[report.nodeid] = rate, case["weight"]

    def noted(self) -> None:
        """It was reported."""
        if self._own is not None:
            self._look()

    # ------------------------------------------------------------------------------------- what is shown

    def _look(self) -> None:
        """Show how it is, if it is time and nothing else goes on in the thread of the tests."""
        if threading.get_ident() == self._thread:
            with self._lock:
                self._show()

    def _show(self) -> None:
        now = self._clock()
        if self._over or self._place is None or now < self._next:
            return
        with suppress(Exception):  # a run must not end because its progress cannot be shown
            if isinstance(self._place, Log):
                self._next = now + LINE_EVERY
                self._place.say(check_line(self._figures(now)))
            else:
                self._next = now + SHOW_EVERY
                figures = self._figures(now)
                self._place.show(lambda columns: screen_lines(figures, columns))

    def _figures(self, now: float) -> CheckFigures:
        told = [(each, now - heard) for each, heard in self._workers.values()]
        paid = self._paid_by_workers
        if self._own is not None:
            told, paid = [(self._own.figures, 0.0)], self._own.paid_keys
        made = sum(each.made for each, _ in told)
        spend = sum((each.spend for each, _ in told), Spend())
        if self.pays is not None:
            made, spend, paid = made + self.pays.calls, spend + self.pays.spend, paid | self.pays.keys
        cached = self._count_cached(paid)
        cases = max((each.cases for each, _ in told), default=0)
        weights = sum(weight for _, weight in self._rates.values())
        passed = sum(rate * weight for rate, weight in self._rates.values())
        return CheckFigures(
            done=len(self._done),
            cases=max(cases, len(self._done)),
            rate=passed / weights if weights else None,
            calls=CallFigures(
                in_flight=sum(each.in_flight for each, _ in told),
                longest=max((each.longest + age for each, age in told if each.in_flight), default=0.0),
                made=made,
                spend=replace(spend, calls=made),
                cached=cached / (cached + made) if cached + made else None,
            ),
            ahead=told[0][0].ahead if len(told) == 1 else (0, 0),
            elapsed=now - self._began,
            left=self._left.estimate(now, len(self._done), cases),
        )

    # -------------------------------------------------------------------------------------- where and when

    def _open(self) -> None:
        """Have pytest write through us, so that nothing it says is torn."""
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        stream: TextIO = getattr(*terminal_internals.terminal_place(reporter))
        if is_terminal(stream) and moves_cursor():
            self._place = Screen(stream, colored=reporter.hasmarkup)
            self._next = self._began + SHOW_AFTER
            places = [
                terminal_internals.terminal_place(reporter),
                *terminal_internals.open_streams(self._config),
                *terminal_internals.uncaptured_streams(self._config),
            ]
        else:
            self._place = Log(stream)
            self._next = self._began + LINE_EVERY
            places = [terminal_internals.terminal_place(reporter)]
        for holder, name in places:
            self._exchange(holder, name, self._place)

    def _exchange(self, holder: Any, name: str, place: Place) -> None:
        passing = PassingStream(getattr(holder, name), place)
        self._exchanged.append((holder, name, passing))
        setattr(holder, name, passing)

    def clear(self) -> None:
        """Take the screen away until there is news."""
        with self._lock:
            if isinstance(self._place, Screen):
                self._place.clear()

    def close(self) -> None:
        """Nothing more is shown."""
        with self._lock:
            self._over = True
            if self._runner is not None:
                self._runner.client.while_waiting = lambda: None
            self.clear()
            for holder, name, passing in reversed(self._exchanged):
                if getattr(holder, name) is passing:
                    setattr(holder, name, passing.stream)
            own = [passing for _, _, passing in self._exchanged]
            for name in ("stdout", "stderr"):  # as capturing has put them there
                if (stream := getattr(sys, name)) in own:
                    setattr(sys, name, stream.stream)
            self._exchanged.clear()
            if self._place is not None:
                self._place.close()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """After an optimization the check begins here."""
        if self._runner is not None and self._runner.settings.optimizing:
            self._began = self._clock()
            self._next = self._began + (SHOW_AFTER if isinstance(self._place, Screen) else LINE_EVERY)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """A test that is not ours has the terminal for itself, once no call of ours is in flight."""
        if self._runner is not None and item not in self._runner.cases:
            self.clear()
        return (yield)

    def pytest_enter_pdb(self) -> None:
        """And so has a debugger."""
        self.clear()
        self._next = float("inf")

    def pytest_leave_pdb(self) -> None:
        self._next = self._clock()


def screen_lines(figures: CheckFigures, columns: int) -> Sequence[RenderableType]:
    """A check at one moment, in so many columns."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done, calls = check_parts(figures)
    first, *more = packed(done, columns)
    lines: list[RenderableType] = [Text(first, style="bold")]
    whole, part = figures.cases, figures.done
    if not part:
        part, whole = figures.ahead if figures.ahead[1] else (part, whole)
    room = min(BAR_WIDTH, columns - len(first) - 2)
    if room >= LEAST_BAR_WIDTH and not more:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_row(lines[0], ProgressBar(whole, part, width=room))
        lines = [grid]
    return [*lines, *map(Text, more), *map(Text, packed(calls, columns))]
