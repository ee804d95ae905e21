"""How often the confirmation is right, in worlds whose truth is known; a table of targets and measurements.

    python -m tests.benchmarks.confirmation [--runs 500] [--only TEXT]

Each run draws a search (the best of several candidates where the prompt has no effect, else one) and, if its
winner looks better than the original, confirms it with fresh answers. No model is asked. In the rows on power
every winner is one that looks better: what is shown is the share of these that is confirmed within the calls.
The columns *before* are the rule that this one replaced: three looks at two strata, those that had changed in
the search and all others (500 runs, +.10 2,000).

The rows *zero mean* have some cases that are fixed for sure and an equal loss spread over the others. Below
the first row its runs are taken for twenty runs each of one project: false claims must not come in clusters.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import comb, sqrt

from pytest_promptopt.optimizer.confirmation import IMPROVED, ConfirmationProgress
from tests.confirmation_world import Chances, confirmed

#: Alpha; chance adds to it what `allowed` says, at most about once in a hundred.
NONE = 0.05

#: Runs of one project.
REPEATS = 20


@dataclass(frozen=True)
class World:
    """A row: the chances of every case, and what share is to be confirmed.

    :param candidates: of which the best is confirmed, by one answer to each case.
    :param within: calls; with `ceiling` no more are there.
    :param before: the share and the median calls of the rule before.
    """

    name: str
    chances: Chances
    candidates: int = 1
    at_most: float = 1.0
    at_least: float = 0.0
    within: int = 1200
    ceiling: int | None = None
    begun: ConfirmationProgress = ConfirmationProgress(0)  # noqa: RUF009  # frozen
    parts: int = 1
    missing: float = 0.0
    before: tuple[float, int] | None = None

    def run(self, seed: int) -> tuple[bool, bool, int]:
        """Whether a winner was there and was confirmed, and the calls."""
        found, calls = confirmed(
            self.chances,
            seed=seed,
            candidates=self.candidates,
            ceiling=self.ceiling,
            begun=self.begun,
            parts=self.parts,
            missing=self.missing,
        )
        return found is not None, found is not None and found.verdict == IMPROVED, calls


def sure(fixed: int, broken: int, same: int, kept: float = 1.0) -> Chances:
    """With a model that always answers the same; the others keep passing with this chance."""
    return [(0.0, 1.0)] * fixed + [(1.0, 0.0)] * broken + [(1.0, kept)] * same


def zero(fixed: int, cases: int, before: float | None = None) -> World:
    chances = sure(fixed, 0, cases - fixed, 1 - fixed / (cases - fixed))
    old = None if before is None else (before, 400 if cases == 100 else 120)
    return World(f"zero mean: {fixed} of {cases} fixed", chances, 20, at_most=NONE, before=old)


def no_effect(name: str, chances: Chances, candidates: int = 20, **more: object) -> World:
    return World(f"no effect, {name}", chances, candidates, at_most=NONE, **more)  # type: ignore[arg-type]


WORLDS = (
    no_effect(".5, 60 cases", [(0.5, 0.5)] * 60, before=(0.014, 720)),
    no_effect(".5, 60 cases, 1 candidate", [(0.5, 0.5)] * 60, 1),
    no_effect(".9, 60 cases", [(0.9, 0.9)] * 60, before=(0.020, 336)),
    no_effect(".95, 60 cases", [(0.95, 0.95)] * 60),
    no_effect(".5, 10 cases", [(0.5, 0.5)] * 10, before=(0.024, 120)),
    no_effect(".97, 200 cases", [(0.97, 0.97)] * 200, 5, before=(0.006, 440)),
    no_effect("temperature 0 on half", [(0.0, 0.0), (0.5, 0.5)] * 30, before=(0.030, 524)),
    no_effect(".5, ceiling of 60", [(0.5, 0.5)] * 60, ceiling=60),
    no_effect(".5, went on from 60", [(0.5, 0.5)] * 60, begun=ConfirmationProgress(30, (14,))),
    no_effect(".5, a third missing", [(0.5, 0.5)] * 60, missing=0.33),
    no_effect("4 subtests each", [(0.5, 0.5)] * 60, parts=4),
    zero(1, 10, 0.315),
    zero(2, 10),
    zero(3, 10),
    zero(1, 30, 0.365),
    zero(2, 30),
    zero(3, 30),
    zero(10, 30),
    zero(1, 100, 0.375),
    zero(2, 100, 0.140),
    zero(3, 100, 0.040),
    zero(10, 100),
    World("zero mean: half sure, 50 cases", [*sure(12, 13, 0), *[(0.45, 0.49)] * 25], 5, at_most=NONE),
    World("zero mean: small rises, deep falls", [(0.5, 0.6)] * 54 + [(0.9, 0.0)] * 6, 5, NONE, parts=10),
    World("spread loss: 3 fixed, 97 to .95", sure(3, 0, 97, 0.95), 20, NONE, before=(0.004, 400)),
    World("spread loss: 3 fixed, 297 to .98", sure(3, 0, 297, 0.98), 5, NONE, before=(0.002, 422)),
    World("+.10 from .50, 100 cases", [(0.5, 0.6)] * 100, at_least=0.877, before=(0.907, 716)),
    World("+.10 from .70, 100 cases", [(0.7, 0.8)] * 100, at_least=0.865, within=900, before=(0.895, 552)),
    World("+.10 from .85, 100 cases", [(0.85, 0.95)] * 100, at_least=0.893, within=500, before=(0.923, 266)),
    World("+.30 from .50, 100 cases", [(0.5, 0.8)] * 100, at_least=0.99, before=(1.0, 200)),
    World("+.30 from .50, 75 cases", [(0.5, 0.8)] * 75, at_least=0.99, before=(1.0, 150)),
    World("+.30 from .50, 30 cases", [(0.5, 0.8)] * 30, at_least=0.99, before=(1.0, 240)),
    World("+.30 in 4 subtests, 75 cases", [(0.5, 0.8)] * 75, at_least=0.99, parts=4),
    World("+.20 from .40, 75 cases, 300 calls", [(0.4, 0.6)] * 75, at_least=0.87, ceiling=300),
    World("+.40 from .40, 75 cases, 60 calls", [(0.4, 0.8)] * 75, at_least=0.80, ceiling=60),
    World("40 of 75 fixed, temp. 0, 40 calls", sure(40, 0, 35), at_least=0.95, ceiling=40, before=(1.0, 150)),
    World("3 of 10 fixed, temperature 0", sure(3, 0, 7), at_least=1.0, before=(1.0, 26)),
    World("30 of 100 fixed, temperature 0", sure(30, 0, 70), at_least=1.0, before=(1.0, 200)),
    World("3 of 100 fixed, temperature 0", sure(3, 0, 97), at_least=1.0, before=(1.0, 206)),
    World("1 of 1 fixed, temperature 0", sure(1, 0, 0), at_least=1.0, before=(1.0, 12)),
    World("1 of 100 fixed, temperature 0", sure(1, 0, 99), at_least=1.0, before=(1.0, 210)),
    World("6 fixed, 3 broken of 60, temp. 0", sure(6, 3, 51), at_least=1.0, before=(1.0, 210)),
    World("12 fixed, 9 broken of 100, temp. 0", sure(12, 9, 79), at_least=1.0, before=(1.0, 662)),
)


def allowed(share: float, runs: int) -> float:
    """What is seen in so many runs where no more than `share` is true: of 2,000 at 5 % at most 123."""
    return share + 2.33 * sqrt(share * (1 - share) / runs)


def row(world: World, found: Sequence[tuple[bool, bool, int]], seconds: float) -> str:
    tried = sum(winner for winner, _, _ in found)
    written = sum(shown and calls <= world.within for _, shown, calls in found)
    # A loss is written or not in every run; power is about winners that a search would keep.
    share = written / (tried if world.at_least else len(found)) if tried else 0.0
    at_least, at_most = world.at_least, allowed(world.at_most, len(found))
    target = f">= {at_least:.1%}" if at_least else f"<= {at_most:.1%}"
    calls = [calls for winner, _, calls in found if winner] or [0]
    before = f"{world.before[0]:.1%}, {world.before[1]}" if world.before else ""
    missed = "" if at_least <= share <= at_most else "  MISSED"
    return (
        f"{world.name:<37}{tried:>6}{share:>9.1%}{target:>10}{statistics.median(calls):>8.0f}{max(calls):>6}"
        f"{before:>13}{seconds:>6.0f}{missed}"
    )


def as_projects(claims: Sequence[bool]) -> str:
    """The false claims of so many runs each of some projects."""
    projects = [sum(claims[start : start + REPEATS]) for start in range(0, len(claims), REPEATS)]
    share, count, tail = sum(claims) / len(claims), 0, 1.0
    while len(projects) * tail > 0.001:
        tail -= comb(REPEATS, count) * share**count * (1 - share) ** (REPEATS - count)
        count += 1
    return (
        f"  of {REPEATS} runs of one project {max(projects)} claim a gain in the worst of {len(projects)} "
        f"projects; chance has up to {count - 1} once in a thousand"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--only", default="", help="rows with this text in their name")
    options = parser.parse_args()
    print(
        f"{'world':<37}{'tried':>6}{'written':>9}{'target':>10}{'calls':>8}{'most':>6}{'before':>13}{'s':>6}"
    )
    with ProcessPoolExecutor(2) as pool:
        for world in WORLDS:
            if options.only in world.name:
                began = time.monotonic()
                found = [*pool.map(world.run, range(options.runs), chunksize=50)]
                print(row(world, found, time.monotonic() - began), flush=True)
                if world is WORLDS[0]:
                    print(as_projects([shown for _, shown, _ in found]))


if __name__ == "__main__":
    main()
