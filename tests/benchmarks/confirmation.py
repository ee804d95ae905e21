"""How often the confirmation is right, in worlds whose truth is known; a table of targets and measurements.

    python -m tests.benchmarks.confirmation [--runs 2000]

Each run draws a search (the best of several candidates where the prompt has no effect, else one) and, if its
winner looks better than the original, confirms it with fresh answers. No model is asked. In the rows on power
every winner is one that looks better: what is shown is the share of these that is confirmed within the calls.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

from pytest_promptopt.refine.confirmation import IMPROVED
from tests.confirmation_world import confirmed


class World(NamedTuple):
    """A row: the chances of every case, how many candidates are tried, and what share is to be confirmed."""

    name: str
    chances: Sequence[tuple[float, float]]
    candidates: int
    at_most: float = 1.0
    at_least: float = 0.0
    within: int = 1200


WORLDS = (
    World("no effect, .5, 60 cases", [(0.5, 0.5)] * 60, 20, at_most=0.061),
    World("no effect, .9, 60 cases", [(0.9, 0.9)] * 60, 20, at_most=0.061),
    World("no effect, .5, 10 cases", [(0.5, 0.5)] * 10, 20, at_most=0.061),
    World("no effect, .97, 200 cases", [(0.97, 0.97)] * 200, 5, at_most=0.061),
    World("no effect, temperature 0 on half", [(0.0, 0.0), (0.5, 0.5)] * 30, 20, at_most=0.061),
    World("spread loss: 3 fixed, 97 to .95", [(0.0, 1.0)] * 3 + [(1.0, 0.95)] * 97, 1, at_most=0.05),
    World("spread loss, best of 20", [(0.0, 1.0)] * 3 + [(1.0, 0.95)] * 97, 20, at_most=0.05),
    World("spread loss: 3 fixed, 297 to .98", [(0.0, 1.0)] * 3 + [(1.0, 0.98)] * 297, 5, at_most=0.05),
    World("+.10 from .50, 100 cases", [(0.5, 0.6)] * 100, 1, at_least=0.87, within=1200),
    World("+.10 from .70, 100 cases", [(0.7, 0.8)] * 100, 1, at_least=0.87, within=900),
    World("+.10 from .85, 100 cases", [(0.85, 0.95)] * 100, 1, at_least=0.87, within=500),
    World("3 of 10 fixed, temperature 0", [(0.0, 1.0)] * 3 + [(1.0, 1.0)] * 7, 1, at_least=1.0),
    World("1 of 1 fixed, temperature 0", [(0.0, 1.0)], 1, at_least=1.0),
    World("1 of 100 fixed, temperature 0", [(0.0, 1.0)] + [(1.0, 1.0)] * 99, 1, at_least=1.0),
    World(
        "6 fixed, 3 broken of 60, temp. 0",
        [(0.0, 1.0)] * 6 + [(1.0, 0.0)] * 3 + [(1.0, 1.0)] * 51,
        1,
        at_least=1.0,
    ),
    World(
        "12 fixed, 9 broken of 100, temp. 0",
        [(0.0, 1.0)] * 12 + [(1.0, 0.0)] * 9 + [(0.0, 0.0)] * 79,
        1,
        at_least=1.0,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000)
    runs: int = parser.parse_args().runs
    print(
        f"{'world':<36}{'tried':>6}{'written':>9}{'target':>9}{'calls: median':>15}{'most':>6}{'seconds':>9}"
    )
    for world in WORLDS:
        began = time.monotonic()
        searched = [confirmed(world.chances, seed=seed, candidates=world.candidates) for seed in range(runs)]
        asked = [(found, calls) for found, calls in searched if found is not None]
        written = sum(found.verdict == IMPROVED and calls <= world.within for found, calls in asked)
        # A loss is written or not in every run; power is about winners that a search would keep.
        share = written / (len(asked) if world.at_least else runs)
        target = f">= {world.at_least:.0%}" if world.at_least else f"<= {world.at_most:.1%}"
        fails = "" if world.at_least <= share <= world.at_most else "  MISSED"
        calls = [calls for _, calls in asked] or [0]
        print(
            f"{world.name:<36}{len(asked):>6}{share:>9.1%}{target:>9}{statistics.median(calls):>15.0f}"
            f"{max(calls):>6}{time.monotonic() - began:>9.1f}{fails}",
            flush=True,
        )


if __name__ == "__main__":
    main()
