"""Somebody watches a refinement, on a terminal or in a log."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_promptopt.records import Spend, Split
from pytest_promptopt.reports.live import (
    LineProgress,
    LiveProgress,
    iteration_line,
    measured_line,
    progress_for,
    refusal_lines,
)
from pytest_promptopt.reports.live_wording import CallFigures
from pytest_promptopt.results import (
    CandidateResult,
    CandidateVerdict,
    CatchUp,
    Foresight,
    Iteration,
    SplitScore,
)

ROUTE = "prompts/route.md"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def candidate(number: str, rate: float | None, verdict: CandidateVerdict) -> CandidateResult:
    return CandidateResult(number, (ROUTE,), "state the \x1b[31moutput format", "clearer", rate, verdict, "")


ITERATION = Iteration(
    number=2,
    phase="training",
    prompts=(ROUTE,),
    candidates=(
        candidate("2.1", 0.725, CandidateVerdict.ACCEPTED),
        candidate("2.2", 0.5, CandidateVerdict.REJECTED),
        replace(candidate("2.3", None, CandidateVerdict.REFUSED), why="It was tried before."),
    ),
    best=0.725,
    spend=Spend(calls=312, cost=0.42),
    elapsed=41.2,
)
CALLS = CallFigures(in_flight=41, longest=3.0, made=300, spend=Spend(calls=300, cost=0.4), cached=0.25)
BEFORE = "  before: 27.8% of 72 training cases, 25.9% of 27 validation cases"
REFUSAL = "    2.3 refused: It was tried before."
LINE = "  iteration 2: best 72.5% (tried 72.5% accepted, 50.0%, 1 refused; 312 calls, $0.4200, 41.2s)"


@pytest.fixture
def terminal_file() -> Iterator[io.TextIOWrapper]:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        yield file


def written(file: io.TextIOWrapper) -> str:
    file.seek(0)
    return file.read()


def score(split: Split, cases: int, before: float | None, *, errored: int = 0) -> SplitScore:
    return SplitScore(split, cases, before, None, errored=errored)


def watch(progress: LiveProgress | LineProgress) -> None:
    progress.started([ROUTE, "prompts/tone.md"], 60)
    progress.phase("training", (ROUTE,))
    progress.phase("training", (ROUTE,))
    progress.measured([score(Split.TRAIN, 72, 0.278), score(Split.VALIDATION, 27, 0.259)])
    progress.calls(CALLS, (18, 72))
    progress.iteration(ITERATION)


def test_an_iteration_fits_one_line() -> None:
    assert iteration_line(ITERATION, prompts=(ROUTE,)) == LINE


def test_a_rate_that_is_expected_has_its_interval_and_how_much_was_run() -> None:
    """The accepted candidate is this text: it has no second rate."""
    expected = replace(
        ITERATION,
        before=0.62,
        best=0.752,
        foresight=Foresight(0.752, 0.598, 0.891, 0.08, run=18, cases=50),
        candidates=(
            candidate("2.1", 0.69, CandidateVerdict.ACCEPTED),
            candidate("2.2", 0.5, CandidateVerdict.REJECTED),
        ),
    )
    line = iteration_line(expected, prompts=(ROUTE,))
    assert line.startswith(
        "  iteration 2: best 62.0% -> 75.2% (60-89%, 18 of 50 cases run; "
        "tried 75.2% accepted, 50.0%; 312 calls"
    )


def test_a_rate_that_was_measured_has_no_interval() -> None:
    measured = Foresight(0.725, 0.725, 0.725, 0.0, run=40, cases=40)
    assert iteration_line(replace(ITERATION, foresight=measured), prompts=(ROUTE,)) == LINE


def test_refusals_have_their_reason_each_on_a_line() -> None:
    lost, again = "It lost the variable {{ ticket }}.", "It was tried\nbefore."
    tried = [
        replace(candidate(f"2.{number}", None, CandidateVerdict.REFUSED), why=why)
        for number, why in enumerate((lost, again, lost), 1)
    ]
    refused = replace(ITERATION, candidates=(*tried, candidate("2.4", 0.5, CandidateVerdict.REJECTED)))
    assert refusal_lines(refused) == [
        "    2.1, 2.3 refused: It lost the variable {{ ticket }}.",
        r"    2.2 refused: It was tried\nbefore.",
    ]
    log = io.StringIO()
    LineProgress(log).iteration(refused)
    assert len(log.getvalue().splitlines()) == 3
    long = replace(ITERATION, candidates=(replace(tried[0], why="why " * 500),))
    (line,) = refusal_lines(long)
    assert len(line) < 150


def test_of_several_that_were_accepted_each_has_its_rate() -> None:
    parents = (
        candidate("2.1", 0.725, CandidateVerdict.ACCEPTED),
        candidate("2.2", 0.5, CandidateVerdict.ACCEPTED),
    )
    line = iteration_line(replace(ITERATION, candidates=parents), prompts=(ROUTE,))
    assert "(tried 72.5% accepted, 50.0% accepted; " in line


def test_a_gain_is_shown_from_what_the_iteration_began_with() -> None:
    """What came out on the cases not run yet may have lowered it since the iteration before."""
    line = iteration_line(replace(ITERATION, before=0.6), prompts=(ROUTE,))
    assert line.startswith("  iteration 2: best 60.0% -> 72.5% (")
    assert iteration_line(replace(ITERATION, before=0.725), prompts=(ROUTE,)) == LINE


def test_the_start_is_the_rate_of_the_cases_that_have_a_result() -> None:
    some, none = score(Split.TRAIN, 3, 0.5, errored=1), score(Split.VALIDATION, 2, None, errored=2)
    assert measured_line([]) == "  before: all cases are held out"
    assert measured_line([some, none]) == (
        "  before: 50.0% of 2 training cases (1 errored), no validation case (2 errored)"
    )
    assert measured_line([replace(some, examples=6)]) == (
        "  before: 50.0% of 2 training cases (1 errored; 6 are examples, each run without its own)"
    )


def test_of_several_prompts_the_rewritten_one_is_named() -> None:
    line = iteration_line(ITERATION, prompts=(ROUTE, "prompts/tone.md"))
    assert line.startswith("  iteration 2, prompts/route.md: best 72.5%")


def test_a_rate_on_training_cases_never_stands_among_those_on_validation_cases() -> None:
    fell = replace(candidate("7.1", 0.97, CandidateVerdict.REJECTED), split=Split.TRAIN)
    tried = replace(candidate("7.2", 0.7, CandidateVerdict.REJECTED), split=Split.VALIDATION)
    line = iteration_line(replace(ITERATION, phase="validation", candidates=(fell, tried)), prompts=(ROUTE,))
    assert "(tried 70.0%, 1 worse in training; " in line
    training = iteration_line(replace(ITERATION, candidates=(fell,)), prompts=(ROUTE,))
    assert "(tried 97.0%; " in training


def test_an_iteration_without_candidates_says_so() -> None:
    nothing = Iteration(1, "training", (ROUTE,), (), 0.5, Spend(), 1.0)
    assert "best 50.0% (tried no candidate; 0 calls" in iteration_line(nothing, prompts=(ROUTE,))


def test_a_log_gets_a_line_for_each_phase_and_iteration() -> None:
    log = io.StringIO()
    progress = LineProgress(log)
    watch(progress)
    progress.finished()
    assert log.getvalue().splitlines() == [
        "refining 2 prompts with 60 cases",
        "prompts/route.md: training",
        BEFORE,
        LINE,
        REFUSAL,
    ]


def test_cases_that_were_spared_are_told_of_when_they_were_run() -> None:
    log = io.StringIO()
    progress = LineProgress(log)
    progress.phase("training", (ROUTE,))
    progress.caught_up(CatchUp(1, 1.0, 0, 1))
    progress.iteration(ITERATION)
    progress.caught_up(CatchUp(17, 71 / 72, 1, 17))
    progress.phase("confirmation", (ROUTE,))
    progress.caught_up(CatchUp(2, None, 2, 0))
    progress.phase("confirmation", ("prompts/other.md",))
    progress.caught_up(CatchUp(2, 0.5, 2, 2))
    assert [line for line in log.getvalue().splitlines() if "made up" in line] == [
        "  1 case made up: 100.0% (0 fail; 1 call)",
        "  after iteration 2: 17 cases made up: 98.6% (1 fails; 17 calls)",
        "  after iteration 2: 2 cases made up: unknown (2 fail; 0 calls)",
        "  2 cases made up: 50.0% (2 fail; 2 calls)",
    ]


def test_a_note_is_a_line_of_its_own(terminal_file: io.TextIOWrapper) -> None:
    progress = LiveProgress(terminal_file)
    watch(progress)
    progress.note("promptopt: strategy \x1b[2Kevolve")
    progress.finished()
    assert "promptopt: strategy \\x1b[2Kevolve\n" in written(terminal_file)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_hears_of_calls_only_when_nothing_else_is_said_for_half_a_minute() -> None:
    log, clock = io.StringIO(), Clock()
    progress = LineProgress(log, clock)
    progress.started([ROUTE], 72)
    for clock.now in (10.0, 29.0):
        progress.calls(CALLS, (18, 72))
    progress.phase("training", (ROUTE,))
    for clock.now in (58.0, 59.0, 60.0, 88.0, 89.5):
        progress.calls(CALLS, (18, 72))
    assert log.getvalue().splitlines()[2:] == [
        "  18 of 72 runs done, waiting for 41 answers, the first for 3.0s, 300 calls made, $0.4000, "
        f"25.0% of answers from the cache, {so_far} so far"
        for so_far in ("59.0s", "1m 30s")
    ]


def test_each_strategy_has_its_heading_and_nothing_of_the_one_before(
    terminal_file: io.TextIOWrapper,
) -> None:
    clock = Clock()
    progress = LiveProgress(terminal_file, clock)
    progress.strategy("refine", 1, 2)
    watch(progress)
    clock.now = 2.0
    assert str(progress._display()).splitlines()[:2] == [
        "strategy refine (1 of 2)",
        "prompts/route.md: training, best 72.5%, last tried in iteration 2:",
    ]
    assert "the first for 5.0s" in str(progress._display()), "it has waited on since that was told"
    progress.strategy("evolve", 2, 2)
    assert str(progress._display()).splitlines()[:2] == ["strategy evolve (2 of 2)", "refining"]
    progress.phase("training", (ROUTE,))
    assert str(progress._display()).splitlines()[1] == "prompts/route.md: training"
    progress.finished()
    assert written(terminal_file).count("promptopt: strategy evolve\n") == 1


def test_a_display_that_cannot_be_drawn_ends_nothing(
    terminal_file: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = LiveProgress(terminal_file)
    monkeypatch.setattr(progress, "_screen", lambda: 1 / 0)
    watch(progress)
    progress.finished()
    assert REFUSAL in written(terminal_file)


def test_the_last_phase_is_called_held_out() -> None:
    log = io.StringIO()
    LineProgress(log).phase("heldout", (ROUTE,))
    assert log.getvalue() == "prompts/route.md: held-out\n"


def test_a_log_in_ascii_is_no_reason_to_stop() -> None:
    raw = io.BytesIO()
    progress = LineProgress(io.TextIOWrapper(raw, encoding="ascii"))
    progress.phase("training", ("prompts/für.md",))
    assert raw.getvalue() == b"prompts/f\\xfcr.md: training" + os.linesep.encode()


def test_a_terminal_keeps_the_lines_and_loses_the_display(terminal_file: io.TextIOWrapper) -> None:
    progress = LiveProgress(terminal_file)
    watch(progress)
    progress.finished()
    screen = written(terminal_file)
    assert "refining 2 prompts with 60 cases" in screen
    assert BEFORE in screen
    assert "1 refused; 312 calls,\n" in screen, "a line breaks between words"
    assert "      $0.4200, 41.2s)\n" in screen
    assert screen.count("prompts/route.md: training") >= 2, "a line that stays, and the title of the display"
    assert ", last tried in iteration 2:" in screen
    assert "18 of 72 runs done, waiting for 41 answers, the first for 3.0s," in screen
    assert "300 calls made, $0.4000, 25.0% of answers from the cache, 0.0s so far" in screen
    assert r"state the \x1b[31moutput format" in screen
    assert screen.rindex("\x1b[2K") > screen.rindex("waiting for")


def test_the_cursor_comes_back_whatever_happens(terminal_file: io.TextIOWrapper) -> None:
    progress = LiveProgress(terminal_file)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 -- the way every caller has to write it
        try:
            progress.started([ROUTE], 1)
            raise KeyboardInterrupt
        finally:
            progress.finished()
    screen = written(terminal_file)
    assert screen.rindex(SHOW) > screen.rindex(HIDE)


def test_finishing_twice_or_before_the_start_is_harmless(terminal_file: io.TextIOWrapper) -> None:
    progress = LiveProgress(terminal_file)
    progress.finished()
    progress.finished()
    assert HIDE not in written(terminal_file)


def test_the_display_writes_past_what_pytest_captures(tmp_path: Path) -> None:
    script = """
import os, sys, tempfile, time
from pytest_promptopt.records import Spend
from pytest_promptopt.reports.live import LiveProgress
from pytest_promptopt.reports.live_wording import CallFigures

progress = LiveProgress(sys.stdout)
progress.started(["prompts/route.md"], 3)
saved, captured = os.dup(1), tempfile.TemporaryFile()
os.dup2(captured.fileno(), 1)
progress.calls(CallFigures(in_flight=7, made=5), (0, 0))
time.sleep(0.5)
os.dup2(saved, 1)
progress.finished()
captured.seek(0)
sys.exit(1 if captured.read() else 0)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "waiting for 7 answers, the first for " in run.stdout
    updates = len(re.findall("waiting for 7 answers", run.stdout))
    assert updates <= 6, "more than eight updates a second"


def test_only_a_terminal_that_can_move_its_cursor_is_live(
    terminal_file: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    live = progress_for(terminal_file, True)
    live.finished()
    assert isinstance(live, LiveProgress)
    assert isinstance(progress_for(terminal_file, False), LineProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_for(terminal_file, True), LineProgress)
