"""Which differences between models does the table name? Simulated suites whose truth is known.

    python -m tests.benchmarks.model_table [--runs 500]

Each run is one suite of 200 cases under three models, compared as `pytest --promptopt-model=a,b,c` does.
`real` is how often a difference that exists is named (its power): of either pair, of both, of one or more.
`false` is how often one is named that does not exist, or the wrong way round; of all pairs of a run together
it may be alpha at most, and the benchmark fails where chance hardly explains more.

* independent: every answer is a toss of its own. A difference of 10 points over 200 such pairs is named in
  about every second run at best: a single exact test at alpha .05 has a power near .53 there.
* alike: what is hard for one model is hard for the others. Fewer pairs differ, so the same difference is
  seen more often.
* samples: as `independent`, each case three times; the test is the paired permutation test.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from typing import NamedTuple

from pytest_promptopt.model_comparison import ModelDifference, compare_models
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.statistics import sign_test

PROMPT, CASES, ALPHA = "route.md", 200, 0.05
MODELS = ("house/a", "house/b", "house/c")


class World(NamedTuple):
    """The true rates of the models.

    :param alike: the share of the cases whose verdicts hang on one toss for all models.
    :param samples: of each case.
    """

    name: str
    rates: tuple[float, float, float]
    alike: float = 0.0
    samples: int = 1


WORLDS = (
    World("independent", (0.6, 0.7, 0.7)),
    World("half alike", (0.6, 0.7, 0.7), alike=0.5),
    World("alike, 80 %", (0.6, 0.7, 0.7), alike=0.8),
    World("3 samples", (0.6, 0.7, 0.7), samples=3),
    World("all equal", (0.7, 0.7, 0.7)),
    World("all equal, 3 samples", (0.7, 0.7, 0.7), samples=3),
    World("20 points", (0.5, 0.7, 0.7)),
)


class Named(NamedTuple):
    """What the table of one run names."""

    real: frozenset[tuple[str, str]]
    false: frozenset[tuple[str, str]]


def suite(world: World, luck: random.Random, cases: int = CASES) -> PromptCheck:
    """One run of a suite under three models."""
    results = []
    for number in range(cases):
        alike = luck.random() < world.alike
        tosses = [luck.random() for _ in range(world.samples)]
        for model, rate in zip(MODELS, world.rates, strict=True):
            id = f"test_it.py::test_route[{number}-{model}]"
            case = Case(id, (PROMPT,), Split.TRAIN, models=(model,), pair=f"test_it.py::test_route[{number}]")
            drawn = tosses if alike else [luck.random() for _ in range(world.samples)]
            results.append(CaseResult(case, tuple(_outcome(id, toss < rate) for toss in drawn)))
    return PromptCheck.of(PROMPT, tuple(results))


def _outcome(case: str, passed: bool) -> Outcome:
    return Outcome(case, Status.PASSED if passed else Status.FAILED, float(passed))


def named(world: World, found: Sequence[ModelDifference], alpha: float = ALPHA) -> Named:
    """The differences that are named: those that exist, in their direction, and the others."""
    rates = dict(zip(MODELS, world.rates, strict=True))
    told = [(each.first, each.second) for each in found if each.is_shown(alpha)]
    real = {pair for pair in told if rates[pair[0]] > rates[pair[1]]}
    return Named(frozenset(real), frozenset(told) - real)


def measure(world: World, runs: int, seed: int = 0) -> list[Named]:
    """What the tables of so many runs name."""
    luck = random.Random(f"{world.name}-{seed}")
    compared = (compare_models([suite(world, luck)])[0] for _ in range(runs))
    return [named(world, each.differences) for each in compared]


def most_by_chance(runs: int, alpha: float = ALPHA) -> int:
    """More false ones come about once in a thousand times where each run errs with the chance alpha."""
    luck, count = 1.0, 0
    chance = (1 - alpha) ** runs
    while luck > 0.001:
        luck -= chance
        chance *= (runs - count) / (count + 1) * alpha / (1 - alpha)
        count += 1
    return count - 1


def single_test_power(rate: float, other: float, cases: int = CASES, alpha: float = ALPHA) -> float:
    """The power of one exact two-sided sign test of two models whose answers are independent."""
    up, down = other * (1 - rate), rate * (1 - other)
    total, chance = 0.0, (1 - up - down) ** cases
    for changed in range(cases + 1):
        least = next((n for n in range(changed + 1) if 2 * sign_test(n, changed - n) <= alpha), None)
        if least is not None:
            share, tail = up / (up + down), 0.0
            one = (1 - share) ** changed
            for better in range(changed + 1):
                tail += one * (better >= least)
                one *= (changed - better) / (better + 1) * share / (1 - share)
            total += chance * tail
        chance *= (cases - changed) / (changed + 1) * (up + down) / (1 - up - down)
    return total


def row(world: World, found: Sequence[Named]) -> str:
    """A line of the table."""
    runs, pairs = len(found), sum(a > b for a in world.rates for b in world.rates)
    power = "-" * 3
    if pairs:
        either = sum(len(each.real) for each in found) / (runs * pairs)
        some = sum(bool(each.real) for each in found) / runs
        power = f"{either:.2f} a pair, {sum(len(each.real) == pairs for each in found) / runs:.2f} all, "
        power += f"{some:.2f} some"
    false = sum(bool(each.false) for each in found)
    return f"{world.name:<22}{power:<36}{false:>4} of {runs} ({false / runs:.3f})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=500)
    runs = parser.parse_args(arguments).runs
    print(f"{runs} runs, {CASES} cases, alpha {ALPHA}; at most {most_by_chance(runs)} false ones a row")
    print(f"one exact test alone, .60 and .70, independent: power {single_test_power(0.6, 0.7):.2f}\n")
    print(f"{'world':<22}{'real':<36}false")
    failed = False
    for world in WORLDS:
        found = measure(world, runs)
        print(row(world, found), flush=True)
        failed |= sum(bool(each.false) for each in found) > most_by_chance(runs)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
