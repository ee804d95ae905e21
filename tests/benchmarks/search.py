"""What a search costs, and what each of its parts contributes, in a world with hidden rules.

    python -m tests.benchmarks.search [--budgets 300,1000] [--seeds 30]

The first table has a row with all parts on and one with each part switched off, for each budget of target
calls: the median held-out pass rate over the seeds (with the quartiles), the median number of target calls
that the search made, and of optimizer tokens, counted as characters / 4. The suite has 50 training and 25
validation cases. The second table is for larger suites: the median number of target calls until the incumbent
has 95 % of the held-out rate that the search ends with.

The world is `tests/rule_world.py`. Its numbers are made up: the tables compare parts with each other, and
versions of the search; they say nothing of a real model.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple
from unittest.mock import patch

from pytest_promptopt.optimizer.proposal.directions import DIRECTIONS, Directions
from pytest_promptopt.optimizer.race import Move, Race
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.settings import Accept
from tests.refine_world import watched
from tests.rule_world import START, Rules, messages

#: Training cases of the suites in the second table, and the calls that a search may make there.
SIZES = (50, 200, 1000)
SIZES_BUDGET = 3000


def all_at_once(self: Race, price: float) -> list[Move]:
    """Run every candidate on all cases."""
    return [Move(runner, runner.posterior.unrun, 1.0) for runner in self.runners if runner.posterior.unrun]


def one_direction(self: Directions, prose: str, suited: Sequence[str], count: int) -> tuple[str, ...]:
    return DIRECTIONS[:1] * count


#: What is put in the place of each part to switch it off; merging is off by a policy.
PARTS: dict[str, dict[str, object]] = {
    "all parts": {},
    "no merging": {},
    "no ablation": {"strategies.refine.candidate_source.find_harmful_passage": lambda *_: None},
    "no racing": {"optimizer.race.Race.moves": all_at_once},
    "no price": {"strategies.refine.economy.Economy.price": lambda self, prospects, free: self.floor},
    "no learning": {"optimizer.verdict_model.VerdictModel.learn": lambda *_: None},
    "no memory": {"optimizer.proposal.requests.memory_sections": lambda *_: iter(())},
    "no directions": {"optimizer.proposal.directions.Directions.take": one_direction},
    "no guards": {"optimizer.proposal.briefs.Briefing.guarded": lambda *_: ()},
}


class Run(NamedTuple):
    """What one search found and cost.

    :param rate: the pass rate of its text on held-out cases.
    :param calls: target calls; `soon`: those until the incumbent had 95 % of the final rate.
    :param tokens: of the optimizer, in and out.
    """

    rate: float
    calls: int
    soon: int
    tokens: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budgets", default="300,1000", help="target calls of a search, with commas between")
    parser.add_argument("--seeds", type=int, default=30, help="two at least")
    given = parser.parse_args()
    if given.seeds < 2:
        parser.error(f"--seeds is a number from 2 on, not {given.seeds}")
    began = time.monotonic()
    for budget in map(int, given.budgets.split(",")):
        print(row(f"{budget} calls", "held-out", "quartiles", "calls", "tokens"))
        for part in PARTS:
            runs = [search(part, budget, seed) for seed in range(given.seeds)]
            low, middle, high = statistics.quantiles([run.rate for run in runs], n=4)
            calls, tokens = (
                statistics.median(each) for each in ([r.calls for r in runs], [r.tokens for r in runs])
            )
            print(
                row(part, f"{middle:.1%}", f"{low:.1%} to {high:.1%}", f"{calls:.0f}", f"{tokens:.0f}"),
                flush=True,
            )
        print()
    print(row("training cases", "held-out", "calls", "until 95 %", "tokens"))
    for size in SIZES:
        runs = [search("all parts", SIZES_BUDGET, seed, size) for seed in range(given.seeds)]
        rate, calls, soon, tokens = (statistics.median(column) for column in zip(*runs, strict=True))
        print(row(str(size), f"{rate:.1%}", f"{calls:.0f}", f"{soon:.0f}", f"{tokens:.0f}"), flush=True)
    print(f"\n{time.monotonic() - began:.0f} seconds")


def row(name: str, *cells: str) -> str:
    return f"{name:<16}" + "".join(cell.rjust(18) for cell in cells)


def search(part: str, budget: int, seed: int, train: int = 50) -> Run:
    """Search once with a part switched off."""
    world = Rules(messages(train, 25, seed), seed=seed, budget=budget)
    curve: list[tuple[int, float]] = []

    world.strategy = watched(
        lambda best, _: curve.append((world.calls, world.rate(best.overlay.get("route.md", START))))
    )
    merging = {"merge": None} if part == "no merging" else {}
    world.hooks = SearchHooks(progress=world.progress, **merging)  # type: ignore[arg-type]
    with ExitStack() as off:
        for name, replacement in PARTS[part].items():
            off.enter_context(patch(f"pytest_promptopt.{name}", replacement))
        # One call in all pays for no confirmation, and the best is written without one.
        world.result(seed=seed, candidates=3, max_iterations=20, max_calls=1, accept=Accept.BEST)
    rate = world.rate(world.written.get("route.md", START))
    soon = next((calls for calls, reached in curve if reached >= 0.95 * rate), world.calls)
    return Run(rate, world.calls, soon, world.characters // 4)


if __name__ == "__main__":
    main()
