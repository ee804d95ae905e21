"""How often does a comparison with a baseline raise a false alarm, and how often does it see a regression?

    python -m tests.benchmarks.regression_power [--runs 500] [--peer FOLDER]

Each run is a suite of 200 cases, measured twice: the baseline at a pass rate of .90, and the present text,
which is 0, 5 or 10 points worse. `significant` is how often `--promptopt-fail-on=significant` fails the
session, `any` how often `any` does. Where nothing became worse these are false alarms: those of `significant`
may be alpha (.05) at most, and the benchmark fails where chance hardly explains more.

* alike: every case passes with the chance .90; answers are tosses of their own.
* mixed: cases are sure to different degrees (a beta distribution with the mean .90). A regression takes the
  same share of all of them.
* steady: nine of ten cases always pass, the others never; a regression breaks some of them for good. Nothing
  flips by itself, so what is seen is the regression alone.
* 3 samples: as `mixed`, each case three times; the test is the paired permutation test.

With `--peer`, the folder that pytest-probability is unpacked in (``pip download``, ``unzip``), its regression
gate judges the same outcomes: `interval` is its verdict FAIL with ``--prob-margin=0``, by the bootstrap that
is its default, over the first `--peer-runs` runs; `p` is a change to the worse whose two-sided p-value is at
most alpha.
"""

from __future__ import annotations

import argparse
import importlib
import math
import random
import sys
from collections.abc import Sequence
from statistics import mean
from typing import NamedTuple

from pytest_promptopt.baselines.compare_rule import CompareRule
from pytest_promptopt.baselines.comparison import compare_measured
from pytest_promptopt.baselines.measured import Measured
from pytest_promptopt.settings import FailOn
from pytest_promptopt.statistics import sign_test

CASES, RATE, ALPHA = 200, 0.90, 0.05
LOSSES = (0.0, 0.05, 0.10)


class World(NamedTuple):
    """:param sure: how close the chances of the cases are to each other; 0 for cases that never flip."""

    name: str
    sure: float
    samples: int = 1


WORLDS = (
    World("alike", float("inf")),
    World("mixed", 2.0),
    World("steady", 0.0),
    World("3 samples", 2.0, 3),
)


class Failed(NamedTuple):
    """How often the session fails, of all runs; the last two are the peer's."""

    significant: float
    any: float
    interval: float = math.nan
    p: float = math.nan


class Peer:
    """The regression gate of pytest-probability."""

    def __init__(self, folder: str) -> None:
        sys.path.insert(0, folder)
        self._plugin = importlib.import_module("pytest_probability.plugin")
        self._stats = importlib.import_module("pytest_probability.stats")

    def p(self, before: Sequence[Measured], after: Sequence[Measured]) -> bool:
        """Whether its test shows a change to the worse."""
        changes = [mean(now.scores) - mean(was.scores) for was, now in zip(before, after, strict=True)]
        p, _ = self._stats.sign_flip_test(changes)
        return bool(sum(changes) < 0 and p <= ALPHA)

    def interval(self, before: Sequence[Measured], after: Sequence[Measured]) -> bool:
        """Whether its gate fails at a margin of 0."""
        rates = [(mean(was.scores), mean(now.scores)) for was, now in zip(before, after, strict=True)]
        means = self._stats.bootstrap(rates, self._plugin._mean_difference)
        ends = self._stats.percentile_interval(means, 1 - ALPHA)
        return bool(self._plugin.margin_verdict(ends, 0.0) == self._plugin.FAIL)


def chances(world: World, luck: random.Random) -> list[float]:
    """The chance of each case to pass under the text before."""
    if world.sure == 0.0:
        return [float(number < RATE * CASES) for number in range(CASES)]
    if world.sure == float("inf"):
        return [RATE] * CASES
    return [luck.betavariate(RATE * world.sure, (1 - RATE) * world.sure) for _ in range(CASES)]


def measured(world: World, found: Sequence[float], luck: random.Random) -> list[Measured]:
    """One run of the suite."""
    return [
        Measured(
            "route.md",
            f"test_it.py::test_route[{number}]",
            "house/one",
            tuple(float(luck.random() < chance) for _ in range(world.samples)),
        )
        for number, chance in enumerate(found)
    ]


def worse(world: World, found: Sequence[float], loss: float, luck: random.Random) -> list[float]:
    """The chances under a text that loses so much of the mean rate."""
    if world.sure == 0.0:
        passing = [number for number, chance in enumerate(found) if chance]
        lost = set(luck.sample(passing, round(loss * CASES)))
        return [0.0 if number in lost else chance for number, chance in enumerate(found)]
    return [chance * (1 - loss / RATE) for chance in found]


def failures(
    world: World, loss: float, runs: int, seed: int = 0, *, peer: Peer | None = None, peer_runs: int = 0
) -> Failed:
    """How often a session fails whose text is so much worse."""
    luck = random.Random(f"{world.name} {loss} {seed}")
    rules = [CompareRule(fail_on, ALPHA) for fail_on in (FailOn.SIGNIFICANT, FailOn.ANY)]
    counted, of_peer = [0, 0], [0, 0]
    for run in range(runs):
        chance = chances(world, luck)
        lower = worse(world, chance, loss, luck)
        before, after = measured(world, chance, luck), measured(world, lower, luck)
        [found] = compare_measured(before, after)
        for number, rule in enumerate(rules):
            counted[number] += bool(rule.why_failed(found))
        if peer is not None:
            of_peer[0] += run < peer_runs and peer.interval(before, after)
            of_peer[1] += peer.p(before, after)
    ours = [count / runs for count in counted]
    return Failed(*ours, *([] if peer is None else [of_peer[0] / min(peer_runs, runs), of_peer[1] / runs]))


def hardly_chance(rate: float, runs: int, allowed: float = ALPHA) -> bool:
    """Whether so many false alarms come with a chance below one in a thousand at the allowed rate."""
    return rate > allowed + 3.1 * math.sqrt(allowed * (1 - allowed) / runs)


def main(runs: int, peer: Peer | None = None, peer_runs: int = 0) -> int:
    print(f"{CASES} cases, pass rate {RATE:.2f}, {runs} runs each, alpha {ALPHA}")
    beside = "" if peer is None else f" {'interval':>9} {'p':>7}"
    print(f"{'suite':<10} {'loss':>5} {'significant':>12} {'any':>7}{beside}")
    bad = []
    for world in WORLDS:
        for loss in LOSSES:
            found = failures(world, loss, runs, peer=peer, peer_runs=peer_runs)
            beside = "" if peer is None else f" {found.interval:>9.1%} {found.p:>7.1%}"
            print(
                f"{world.name:<10} {100 * loss:>4.0f}  {found.significant:>11.1%} {found.any:>7.1%}{beside}"
            )
            if not loss and hardly_chance(found.significant, runs):
                bad.append(world.name)
    least = next(count for count in range(1, 99) if sign_test(count, 0) <= ALPHA)
    print(f"the smallest loss that can be shown where nothing flips: {100 * least / CASES:.1f} points")
    if bad:
        print(f"too many false alarms: {', '.join(bad)}")
    return bool(bad)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--peer", help="the folder that pytest-probability is unpacked in")
    parser.add_argument("--peer-runs", type=int, default=100)
    given = parser.parse_args()
    sys.exit(main(given.runs, given.peer and Peer(given.peer), given.peer_runs))
