"""Does `--promptopt-mutate` name the instructions that no test notices? Of 20 planted ones, 10 are tested.

    python -m tests.benchmarks.mutation --worlds 50

`flip` is how often a run of a case ends the other way round by luck, `needed by` how many of the cases test
an instruction. `missed` is how many of the 10 tested ones are named as unnoticed, or left open, on average;
`named` how many of the 10 untested ones are named as noticed, or left open. `one at most` is the share of
worlds with at most one mistake of both kinds. Asked where answers do not vary: at most one mistake, at no
more than two runs for each case and instruction.
"""

from __future__ import annotations

import argparse
import sys

from pytest_promptopt.mutation.findings import Notice
from tests.mutation_world import Planted

#: Cases, how many of them test an instruction, flip rate.
WORLDS = (
    *((40, per, flip) for per in (1, 2, 4) for flip in (0.0, 0.02, 0.05, 0.1)),
    *((12, per, flip) for per in (1, 3) for flip in (0.0, 0.05)),
    *((150, 5, flip) for flip in (0.0, 0.05, 0.1)),
)


def mistakes(world: Planted) -> tuple[int, int]:
    """How many tested ones were missed, and how many untested ones were named."""
    found = world.findings()
    missed = sum(found[n].verdict is not Notice.NOTICED for n in world.tested)
    others = [each for number, each in enumerate(found) if number not in world.tested]
    return missed, sum(each.verdict is not Notice.UNNOTICED for each in others)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=50)
    parser.add_argument("--flip", type=float, help="only this rate")
    parser.add_argument("--obeyed", type=float, default=0.0, help="how often a case passes without its rule")
    args = parser.parse_args()
    bad = False
    print(f"20 instructions, 10 of them tested; {args.worlds} worlds each")
    print(
        f"{'cases':>6}{'needed by':>11}{'flip':>7}{'missed':>8}{'named':>7}{'one at most':>13}{'runs':>7}"
        f"{'most':>7}"
    )
    for cases, per, flip in WORLDS:
        if args.flip is not None and flip != args.flip:
            continue
        worlds = [Planted(20, cases, per, flip, args.obeyed, seed) for seed in range(args.worlds)]
        made = [mistakes(world) for world in worlds]
        runs = [world.runs_per_case for world in worlds]
        missed, named = (sum(side) / len(made) for side in zip(*made, strict=True))
        good = sum(sum(each) <= 1 for each in made) / len(made)
        print(
            f"{cases:>6}{per:>11}{flip:>7.0%}{missed:>8.2f}{named:>7.2f}{good:>13.0%}"
            f"{sum(runs) / len(runs):>7.2f}{max(runs):>7.2f}"
        )
        bad |= max(runs) > 2 or (not flip and not args.obeyed and good < 1)
    print("WRONG: more than one mistake where answers do not vary, or too many runs" if bad else "as asked")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
