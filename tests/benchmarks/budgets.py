"""What small ceilings buy when every call counts: first scoring, search, confirmation and optimizer.

    python -m tests.benchmarks.budgets [--ceilings 150,300,600] [--seeds 30] [--flipped 0.03]

A suite of 50 training and 25 validation cases takes 75 calls before anything is tried. The first table is
the world of hidden rules (`tests/rule_world.py`): the median held-out rate, apart from chance, of the text
that is *written* (of the original where none is), of the one that was found, and what was spent. The second
has coin tosses, on which no text has any effect: there at most one run in twenty may write something.
"""

from __future__ import annotations

import argparse
import statistics
from typing import NamedTuple

from pytest_promptopt.records import Role
from tests.paid_world import paid_noise, paid_rules
from tests.rule_world import START

#: Chances of the coin tosses.
CHANCES = (0.5, 0.9)


class Bought(NamedTuple):
    """One run: held-out rates of the text written and of the one found, and what they cost."""

    written: float
    found: float
    wrote: bool
    calls: int
    requests: int
    tokens: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ceilings", default="150,300,600", help="calls in all, with commas between")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--flipped", type=float, default=0.03, help="share of verdicts that come out wrong")
    given = parser.parse_args()
    ceilings = list(map(int, given.ceilings.split(",")))
    print(row("rules", "written", "mean", "runs that write", "found", "calls", "requests", "tokens"))
    for ceiling in ceilings:
        runs = [bought(ceiling, seed, given.flipped) for seed in range(given.seeds)]
        written, found, _, calls, requests, tokens = map(statistics.median, zip(*runs, strict=True))
        mean, share = (statistics.mean(each) for each in ([r.written for r in runs], [r.wrote for r in runs]))
        rates = (f"{written:.1%}", f"{mean:.1%}", f"{share:.0%}", f"{found:.1%}")
        print(
            row(f"{ceiling} calls", *rates, *(f"{each:.0f}" for each in (calls, requests, tokens))),
            flush=True,
        )
    print("\n" + row("coin toss", *(f"{chance}: false" for chance in CHANCES)))
    for ceiling in ceilings:
        false = (sum(claimed(ceiling, seed, chance) for seed in range(given.seeds)) for chance in CHANCES)
        print(row(f"{ceiling} calls", *(f"{count} of {given.seeds}" for count in false)), flush=True)


def row(name: str, *cells: str) -> str:
    return f"{name:<12}" + "".join(cell.rjust(17) for cell in cells)


def bought(ceiling: int, seed: int, flipped: float) -> Bought:
    world = paid_rules(ceiling, seed, flipped=flipped)
    result = world.result(seed=seed, candidates=3, max_iterations=20, max_calls=ceiling)
    return Bought(
        world.rate(world.written.get("route.md", START)),
        world.rate(result.after),
        result.written,
        sum(world.made.values()),
        world.made[Role.OPTIMIZER],
        world.characters // 4,
    )


def claimed(ceiling: int, seed: int, chance: float) -> bool:
    """Whether a run wrote a text where none has an effect."""
    world = paid_noise(ceiling, seed, chance=chance)
    return world.result(seed=seed, candidates=3, max_iterations=20, max_calls=ceiling).written


if __name__ == "__main__":
    main()
