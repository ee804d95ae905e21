"""How often a judge with a bias is caught, and one without refused; a table of targets and measurements.

    python -m tests.benchmarks.judge_bias [--draws 2000] [--labels 200]

Every judge is right in 95 of 100 answers or pairs. One with a bias goes by length in 30 % of them instead: it
passes the answers that are longer than most, or prefers the longer of two. `caught` is the share of draws in
which a test of bias rejects such a judge, `refused` the same of a judge without a bias (of pairs: for length
or for position). The worlds are `tests/judge_world.py`. In the rows without a target, the labels hold too few
answers that would show the bias, or the judge goes by length in fewer of them.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable

from pytest_promptopt.grading.judge_bias import length_bias, length_bias_of_pairs, position_bias
from tests.judge_world import AnswerWorld, PairWorld

ACCURACY, BIASED = 0.95, 0.30
CAUGHT, REFUSED = 0.80, 0.06

#: Worlds, and whether a judge must be caught there as often as in the first.
ANSWERS = {
    "as many good as bad": (AnswerWorld(), True),
    "good ones longer by 1 sd": (AnswerWorld(longer=1), True),
    "good ones longer by 2 sd": (AnswerWorld(longer=2), True),
    "good ones shorter by 1 sd": (AnswerWorld(longer=-1), True),
    "85 % good": (AnswerWorld(good=0.85), True),
    "85 % good, longer by 1 sd": (AnswerWorld(good=0.85, longer=1), True),
    "15 % good, shorter by 1 sd": (AnswerWorld(good=0.15, longer=-1), True),
    "passes the longest quarter": (AnswerWorld(limit=0.75), False),
    "the same, good ones shorter by 1 sd": (AnswerWorld(limit=0.75, longer=-1), False),
}
PAIRS = {
    "better one longer in 50 %": (PairWorld(), True),
    "better one longer in 30 %": (PairWorld(longer=0.3), True),
    "better one longer in 70 %": (PairWorld(longer=0.7), True),
    "better one longer in 90 %": (PairWorld(longer=0.9), False),
    "better one longer in 10 %": (PairWorld(longer=0.1), False),
    "goes by length from 1.5 times on": (PairWorld(much=1.5), False),
}


def rejected_answers(world: AnswerWorld, rng: random.Random, labels: int, biased: float, short: bool) -> bool:
    return length_bias(world.draw(rng, labels, accuracy=ACCURACY, biased=biased, prefers_short=short)).rejects


def rejected_pairs(world: PairWorld, rng: random.Random, labels: int, biased: float, short: bool) -> bool:
    compared, orders = world.draw(rng, labels, accuracy=ACCURACY, biased=biased, prefers_short=short)
    return length_bias_of_pairs(compared).rejects or position_bias(orders).rejects


def share(rejected: Callable[[random.Random], bool], draws: int) -> float:
    """The share of seeded draws in which a judge is rejected."""
    rng = random.Random(0)
    return sum(rejected(rng) for _ in range(draws)) / draws


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--labels", type=int, default=200)
    args = parser.parse_args()
    held = True
    print(f"{args.labels} labels, {args.draws:,} draws: long caught, short caught, refused without a bias")
    for title, worlds, rejected in (
        ("answers", ANSWERS, rejected_answers),
        ("pairs", PAIRS, rejected_pairs),
    ):
        for name, (world, must) in worlds.items():
            long, short, refused = (
                share(lambda rng: rejected(world, rng, args.labels, biased, is_short), args.draws)  # noqa: B023
                for biased, is_short in ((BIASED, False), (BIASED, True), (0.0, False))
            )
            holds = refused <= REFUSED and (not must or min(long, short) >= CAUGHT)
            held = held and holds
            print(
                f"{title:8} {name:36} {long:6.1%} {short:6.1%} {refused:6.2%}  "
                f"{'' if holds else 'MISSED'}{'' if must else '(no target for caught)'}",
                flush=True,
            )
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
