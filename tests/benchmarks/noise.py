"""How often a whole run claims a gain where no prompt has any effect; a table of limits and measurements.

    python -m tests.benchmarks.noise [--quick] [--only NAME] [--sessions 5]

A run is `run_optimization` with an evaluator that tosses coins and an optimizer that writes words at random:
60 training cases (or 40 and 20 validation cases), 40 held-out ones, at most six iterations of three
candidates.

* coin flip: each answer has a toss of its own. The confirmation must see through it: `written` is limited.
* wording luck: one toss for each text and case, which fresh answers repeat. There the confirmation *cannot*
  tell: what it confirms is true of these very cases, for good, and only of them. So it has no limit, and what
  is limited is the claim of the held-out cases, `carries over`.
* wording luck, some turned: each case has a verdict of its own, and every text turns a share of them round,
  as with models whose answers hang on the wording. One text then says much of another, and not all.
* judge at random: each answer gets a score that says nothing of it, any from 0 to 1 or one of five grades.
  From .7 on the case passes, below that it earns the score.

`held-out` is the mean difference that the runs reported on held-out cases, `unseen` that of the text on disk
on 200 cases that no run had: both over all runs, 0 where nothing was scored or written, with the distance
from 0 in standard errors. `kept` is as `held-out`, but 0 for all that was not written. Where texts are
written often it is above 0 by selection, since falls beyond chance are not written: it has no limit there.

The sessions are real ones, `pytest --optimize` on a test that tosses a coin, or has a judge grade at random.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.coin_project import PROMPT, make_coin_project
from tests.noise_world import Claims, Noise, Scores, claims, noisy_cases, quarters, uniform

#: The most false claims in so many runs.
LIMITS = {100: 11, 2000: 122}

#: The most false writes in five sessions: chance brings more once in thirty thousand times.
SESSIONS_LIMIT = 3


class World(NamedTuple):
    """A row; with `wording` the verdict is a fixed function of text and case."""

    name: str
    chance: float
    wording: bool
    runs: int = 100
    train: int = 60
    validation: int = 0
    flipped: float | None = None
    judged: Scores | None = None


WORLDS = (
    World("coin flip, .5", 0.5, wording=False),
    World("coin flip, .9", 0.9, wording=False),
    World("coin flip, .5, validation", 0.5, wording=False, train=40, validation=20),
    World("wording luck, .5", 0.5, wording=True, runs=2000),
    World("wording luck, .9", 0.9, wording=True, runs=2000),
    World("wording luck, .5, validation", 0.5, wording=True, train=40, validation=20),
    World("wording luck, .03 turned", 0.5, wording=True, train=40, validation=20, flipped=0.03),
    World("wording luck, .2 turned", 0.5, wording=True, train=40, validation=20, flipped=0.2),
    World("wording luck, .35 turned", 0.5, wording=True, train=40, validation=20, flipped=0.35),
    World("wording luck, .9, .2 turned", 0.9, wording=True, train=40, validation=20, flipped=0.2),
    World("judge at random", 0.5, wording=False, runs=2000, judged=uniform),
    World("judge at random, 5 grades", 0.5, wording=False, runs=2000, judged=quarters),
)

COLUMNS = ("runs", "limit", "confirmed", "written", "carries", "held-out", "kept", "unseen", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="100 runs of every world")
    parser.add_argument("--sessions", type=int, default=5)
    parser.add_argument("--only", default="", help="the rows whose names hold this")
    given = parser.parse_args()
    print(_row("world", COLUMNS))
    for world in WORLDS:
        if given.only in world.name:
            measure(world, 100 if given.quick else world.runs)
    for chance in (0.5, 0.9, None) if given.sessions else ():
        if given.only in _kind(chance):
            sessions(chance, given.sessions)


def measure(world: World, runs: int) -> None:
    """Print a row."""
    began = time.monotonic()
    with ProcessPoolExecutor() as pool:
        made = list(pool.map(partial(claims_in, world), range(runs), chunksize=5))
    limit = LIMITS[runs]
    written, carries = sum(run.written for run in made), sum(run.carries for run in made)
    differences = {
        "held-out": [run.heldout for run in made],
        "kept": [run.heldout * run.written for run in made],
        "unseen": [run.unseen for run in made],
    }
    missed = [f"carries over > {limit}"] * (carries > limit)
    missed += [f"written > {limit}"] * (written > limit and not world.wording)
    missed += [
        f"{name} beyond 2 standard errors"
        for name, each in differences.items()
        if abs(distance(each)) > 2 and not (world.wording and name == "kept")
    ]
    cells = [str(count) for count in (runs, limit, sum(run.confirmed for run in made), written, carries)]
    cells += [f"{statistics.mean(each):+.5f} ({distance(each):+.1f})" for each in differences.values()]
    cells.append(f"{time.monotonic() - began:.0f}")
    print(_row(world.name, cells) + f"  MISSED: {missed}" * bool(missed), flush=True)


def claims_in(world: World, seed: int) -> Claims:
    """Of one run."""
    noise = Noise(
        noisy_cases(world.train, world.validation, heldout=40),
        chance=world.chance,
        wording=world.wording,
        flipped=world.flipped,
        judged=world.judged,
        seed=seed,
    )
    return claims(noise, candidates=3, max_iterations=6)


def _row(name: str, cells: Sequence[str]) -> str:
    widths = (6, 7, 11, 9, 9, 17, 17, 17, 9)
    return f"{name:<29}" + "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def distance(differences: Sequence[float]) -> float:
    """Of the mean from 0, in standard errors; 0 when nothing differs."""
    spread = statistics.stdev(differences)
    return statistics.mean(differences) / (spread / len(differences) ** 0.5) if spread else 0.0


def _kind(chance: float | None) -> str:
    return "judge at random" if chance is None else f"coin flip, {chance}"


def sessions(chance: float | None, count: int) -> None:
    """Optimize coin tosses in real sessions and print what came of it.

    :param chance: None has a judge at random grade each answer.
    """
    began = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(partial(session, chance), range(count)))
    winners, written = sum(claim.fresh for claim in found), sum(claim.written for claim in found)
    carries = sum(claim.carries for claim in found)
    missed = "  MISSED" if written > LIMITS.get(count, SESSIONS_LIMIT) else ""
    print(
        f"{count} sessions of pytest --optimize, {_kind(chance)}: {winners} had a winner, {written} wrote "
        f"it, {carries} said that it carries over, {time.monotonic() - began:.0f} seconds{missed}",
        flush=True,
    )


def session(chance: float | None, seed: int) -> Claims:
    """One `pytest --optimize` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = make_coin_project(Path(folder), cases=60, heldout=40, chance=chance, seed=seed)
        command = [sys.executable, "-m", "pytest", "--optimize", "-qq", "--promptopt-report=report.json"]
        done = subprocess.run(
            [*command, f"--promptopt-seed={seed}", "--promptopt-trust-judge"],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
        )
        if done.returncode not in (0, 1):
            raise SystemExit(done.stdout + done.stderr)
        (prompt,) = json.loads(Path(folder, "report.json").read_text(encoding="utf-8"))["run"]["prompts"]
        written = path.read_text() != PROMPT
    heldout = next((s for s in prompt["scores"] if s["split"] == "heldout" and s["after"] is not None), None)
    return Claims(
        fresh=prompt["confirmation"] is not None,
        confirmed=prompt["outcome"] == "improved",
        written=written,
        carries=heldout is not None and heldout["p_better"] <= 0.05,
        heldout=heldout["after"] - heldout["before"] if heldout else 0.0,
        unseen=0.0,
    )


def environment() -> dict[str, str]:
    """The model of the project lies in the tests of this repository."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


if __name__ == "__main__":
    main()
