"""How often a judge with a bias is caught, and one without refused; a table of targets and measurements.

    python -m tests.benchmarks.judge_bias [--draws 2000] [--labels 200] [--only TEXT]

Every judge is right in 95 of 100 answers or pairs. One with a bias goes by length in 30 % of them instead: it
passes the answers that are longer than most, or prefers the longer of two. `caught` is the share of draws in
which a test of bias rejects such a judge, `refused` the same of a judge without a bias (of pairs: for length
or for position). The worlds are `tests/judge_world.py`. In the rows without a target, the labels hold too few
answers that would show the bias, or the judge goes by length in fewer of them; so it is with a judge that
prefers short ones (the second figure) where good ones are long.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass

from pytest_promptopt.grading.judge_bias import length_bias, length_bias_of_pairs, position_bias
from tests.judge_world import AnswerWorld, PairWorld

ACCURACY, BIASED = 0.95, 0.30
CAUGHT, REFUSED = 0.80, 0.06

#: Worlds, and whether a judge that prefers long answers must be caught there.
WORLDS: dict[str, tuple[AnswerWorld | PairWorld, bool]] = {
    "answers: as many good as bad": (AnswerWorld(), True),
    "answers: good ones longer by 1 sd": (AnswerWorld(longer=1), True),
    "answers: good ones longer by 2 sd": (AnswerWorld(longer=2), True),
    "answers: good ones shorter by 1 sd": (AnswerWorld(longer=-1), True),
    "answers: 85 % good": (AnswerWorld(good=0.85), True),
    "answers: 85 % good, longer by 1 sd": (AnswerWorld(good=0.85, longer=1), True),
    "answers: 15 % good, shorter by 1 sd": (AnswerWorld(good=0.15, longer=-1), True),
    "answers: the longest quarter passes": (AnswerWorld(limit=0.75), False),
    "answers: the same, good ones shorter by 1 sd": (AnswerWorld(limit=0.75, longer=-1), False),
    "pairs: better one longer in 50 %": (PairWorld(), True),
    "pairs: better one longer in 30 %": (PairWorld(longer=0.3), True),
    "pairs: better one longer in 70 %": (PairWorld(longer=0.7), True),
    "pairs: better one longer in 90 %": (PairWorld(longer=0.9), False),
    "pairs: better one longer in 10 %": (PairWorld(longer=0.1), False),
    "pairs: goes by length from 1.5 times on": (PairWorld(much=1.5), False),
}


@dataclass(frozen=True)
class Judge:
    """Draws verdicts of a judge and tests them for bias."""

    world: AnswerWorld | PairWorld
    labels: int
    biased: float = 0.0
    prefers_short: bool = False

    def is_rejected(self, rng: random.Random) -> bool:
        if isinstance(self.world, AnswerWorld):
            return length_bias(
                self.world.draw(
                    rng,
                    self.labels,
                    accuracy=ACCURACY,
                    biased=self.biased,
                    prefers_short=self.prefers_short,
                )
            ).rejects
        compared, orders = self.world.draw(
            rng, self.labels, accuracy=ACCURACY, biased=self.biased, prefers_short=self.prefers_short
        )
        return length_bias_of_pairs(compared).rejects or position_bias(orders).rejects

    def rejected(self, draws: int) -> float:
        """The share of seeded draws in which it is rejected."""
        rng = random.Random(0)
        return sum(self.is_rejected(rng) for _ in range(draws)) / draws


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--only", default="", help="rows with this text in their name")
    args = parser.parse_args()
    held = True
    print(
        f"{args.labels} labels, {args.draws:,} draws: long caught, short caught, refused without a bias",
        flush=True,
    )
    for name, (world, must) in WORLDS.items():
        if args.only not in name:
            continue
        long = Judge(world, args.labels, BIASED).rejected(args.draws)
        short = Judge(world, args.labels, BIASED, prefers_short=True).rejected(args.draws)
        refused = Judge(world, args.labels).rejected(args.draws)
        holds = refused <= REFUSED and (not must or long >= CAUGHT)
        held = held and holds
        note = "MISSED" if not holds else "" if must else "(no target)"
        print(f"{name:45} {long:6.1%} {short:6.1%} {refused:6.2%}  {note}", flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
