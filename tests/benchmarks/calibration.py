"""Is the rate that a search shows the rate that its text has? A row for each world, and one for all.

    python -m tests.benchmarks.calibration [--seeds 20] [--ceilings 300,1000]

Whenever a text becomes best, the rate shown (of all training cases, foreseen where they were not run) is
compared with the rate on all training cases, which costs nothing here. The worlds are `tests/rule_world.py`
with three shares of texts and cases that come out the other way round, and `tests/noise_world.py`, where no
text has any effect but luck; each under ceilings of so many calls in all.

| column | what | asked |
|---|---|---|
| events | texts that became best | 300 in all |
| bias | mean of shown minus true, in points | within 2 |
| spread | standard deviation of the errors, each over its own | .8 to 1.2 |
| held | share of 90 % intervals with the truth in them | 86 to 94 % |
| run | median share of the training cases that were run | 60 % at most |

`spread` and `held` are of texts that were not run on all cases.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from pytest_promptopt.records import Overlay, Split
from tests.foresight import Calibration, Shown, watching
from tests.paid_world import PaidNoise, PaidRules, paid_noise, paid_rules
from tests.refine_world import FakePrompt
from tests.rule_world import START

FLIPPED = (0.03, 0.2, 0.35)


def rules(flipped: float) -> Callable[[int, int], list[Shown]]:
    def searched(ceiling: int, seed: int) -> list[Shown]:
        world = paid_rules(ceiling, seed, flipped=flipped)
        training = [need for need in world.needs if need.split is Split.TRAIN]

        def truth(overlay: Overlay) -> float:
            text = overlay.get("route.md", START)
            return sum(world.passes(text, need) for need in training) / len(training)

        return _run(world, truth)

    return searched


def luck(flipped: float) -> Callable[[int, int], list[Shown]]:
    def searched(ceiling: int, seed: int) -> list[Shown]:
        world = paid_noise(ceiling, seed, chance=0.5)
        world.flipped = flipped
        training = [need for need in world.needs if need.split is Split.TRAIN]

        def truth(overlay: Overlay) -> float:
            text = overlay.get("route.md", FakePrompt().prose)
            return sum(world.score(text, need.id) for need in training) / len(training)

        return _run(world, truth)

    return searched


def _run(world: PaidRules | PaidNoise, truth: Callable[[Overlay], float]) -> list[Shown]:
    world.strategy, seen = watching(truth)
    world.result(seed=world.seed, candidates=3, max_iterations=20, max_calls=world.ceiling)
    return seen


WORLDS = {
    **{f"rules, {flipped:.0%} turned": rules(flipped) for flipped in FLIPPED},
    **{f"no effect, {flipped:.0%} turned": luck(flipped) for flipped in FLIPPED[1:]},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--ceilings", default="300,1000")
    given = parser.parse_args()
    print(f"{'world':<26}" + "".join(f"{name:>9}" for name in ("events", "bias", "spread", "held", "run")))
    every: list[Shown] = []
    for name, searched in WORLDS.items():
        ceilings = map(int, given.ceilings.split(","))
        shown = [
            each for ceiling in ceilings for seed in range(given.seeds) for each in searched(ceiling, seed)
        ]
        print(row(name, shown), flush=True)
        every += shown
    print(row("all", every))


def row(name: str, shown: Sequence[Shown]) -> str:
    if not shown:
        return f"{name:<26}{0:>9}"
    found = Calibration.of(shown)
    cells = (
        str(found.events),
        f"{100 * found.bias:+.1f}",
        "-" if found.spread is None else f"{found.spread:.2f}",
        "-" if found.held is None else f"{found.held:.0%}",
        f"{found.share:.0%}",
    )
    return f"{name:<26}" + "".join(f"{cell:>9}" for cell in cells)


if __name__ == "__main__":
    main()
