"""What a critique of the worst answers is worth where tests name no answer, in a world with hidden rules.

    python -m tests.benchmarks.critiques [--ceilings 300] [--seeds 24]

No failure says what would have been right. From a case that fails a writer finds the rule that is missing
with one chance, a critic with another; a writer takes over what a critic says. Now and then a critic suggests
something harmful, as often as a writer does. A ceiling holds for all calls. A row says for a writer and a
critic, without critiques and with them: the mean held-out pass rate and the difference with its 95 %
interval, the mean of target calls, requests and optimizer tokens (characters / 4), and in how many runs the
incumbent came to the goal, after how many calls in the median.

The chances are made up: the table says how much better than a writer a critic must be, and nothing of any
model.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.proposal.quoting import CRITIQUE
from pytest_promptopt.records import Answer, Failure, Outcome, Request, Role
from pytest_promptopt.settings import CritiqueMode
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.paid_world import PaidRules
from tests.refine_world import Need, answer, watched
from tests.rule_world import HARMFUL, HARMS, START, messages, section, stated

#: Chances of writer and critic.
PAIRS = ((0.03, 0.0), (0.03, 0.03), (0.03, 0.1), (0.03, 0.3), (0.1, 0.1), (0.1, 0.3))
#: The held-out pass rate that an incumbent is to reach.
GOAL = 0.6
#: Suggestions of a critique.
MOST = 4


@dataclass
class ThinRules(PaidRules):
    """Hidden rules behind tests that name no answer.

    :param writer: the chance that a writer finds a rule from a failing case; `critic` that of a critic.
    :param reached: the calls until the incumbent came to the goal; None when it did not.
    """

    writer: float = 0.0
    critic: float = 0.0
    reached: int | None = field(default=None)

    def _outcome(self, need: Need, passed: bool) -> Outcome:
        outcome = super()._outcome(need, passed)
        if outcome.failure is None:
            return outcome
        return replace(outcome, failure=Failure("AssertionError", "", "t.py:1", constraint="is_good(answer)"))

    def _insight(self, direction: str, rule: str) -> float:
        return self.writer

    def reply(self, request: Request) -> Answer:
        asked = request.messages[1].content
        if "<critique>" not in asked:
            return super().reply(request)
        known = stated(section("current_prompt", asked), "Mind")
        cases = re.findall(r'input: "(\S+) about', section("failures", asked))
        missing = [rule for case in cases for rule in self._rules(case) if rule not in known]
        found = [rule for rule in missing if self.rng.random() < self.critic]
        lines = [f"SUGGESTION (high, rules): Mind {rule}." for rule in dict.fromkeys(found)][:MOST]
        if self.rng.random() < HARMFUL:
            lines.append(f"SUGGESTION (medium, style): Never {self.rng.choice(HARMS)}.")
        told = "<critique>\n" + "\n".join(lines or ["ISSUE: they are bad."]) + "\n</critique>"
        self.characters += len(asked) + len(told)
        return answer(told)

    def _improved(self, asked: str, guarded: Sequence[str], safe: Collection[str]) -> str:
        """What a writer finds by itself, and what it was told."""
        text, said = super()._improved(asked, guarded, safe), section(CRITIQUE, asked)
        told = [f"{verb} {word}." for verb in ("Mind", "Never") for word in stated(said, verb)]
        return text.replace(
            "\nThis is", "".join(f"\n{each}" for each in told if each not in text) + "\nThis is"
        )


@dataclass(frozen=True)
class Run:
    """What one search found and cost."""

    rate: float
    target: int
    requests: int
    tokens: int
    reached: int | None


def search(mode: CritiqueMode, ceiling: int, seed: int, writer: float, critic: float) -> Run:
    """Search once."""
    world = ThinRules(
        messages(50, 25, seed), ceiling=ceiling, seed=seed, budget=10**9, writer=writer, critic=critic
    )
    world.left = world.remaining

    def look(best: EvaluatedCandidate, _: RefineSearch) -> None:
        if world.reached is None and world.rate(best.overlay.get("route.md", START)) >= GOAL:
            world.reached = ceiling - world.remaining()

    world.strategy = watched(look)
    text = world.result(critique=mode, candidates=3, max_iterations=20).after
    made = world.made
    return Run(
        world.rate(text), made[Role.TARGET], made[Role.OPTIMIZER], world.characters // 4, world.reached
    )


def row(off: Sequence[Run], on: Sequence[Run]) -> str:
    """One row of the table: without critiques, then with them."""
    gains = [100 * (two.rate - one.rate) for one, two in zip(off, on, strict=True)]
    spread = 1.96 * statistics.stdev(gains) / len(gains) ** 0.5
    cells = [
        " -> ".join(f"{100 * statistics.mean(run.rate for run in runs):.1f}%" for runs in (off, on)),
        f"{statistics.mean(gains):+.1f} ± {spread:.1f}",
    ]
    for name in ("target", "requests", "tokens"):
        cells.append(
            " -> ".join(f"{statistics.mean(getattr(run, name) for run in runs):.0f}" for runs in (off, on))
        )
    for runs in (off, on):
        reached = [run.reached for run in runs if run.reached is not None]
        after = f" after {statistics.median(reached):.0f}" if reached else ""
        cells.append(f"{len(reached)} of {len(runs)}{after}")
    return "".join(cell.rjust(20) for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ceilings", default="300", help="on all calls, with commas between")
    parser.add_argument("--seeds", type=int, default=24, help="two at least")
    given = parser.parse_args()
    if given.seeds < 2:
        parser.error(f"--seeds is a number from 2 on, not {given.seeds}")
    names = ("held-out", "points", "target", "requests", "tokens", f"{GOAL:.0%} without", f"{GOAL:.0%} with")
    for ceiling in map(int, given.ceilings.split(",")):
        print(f"{ceiling:<6} writer critic" + "".join(name.rjust(20) for name in names))
        for writer, critic in PAIRS:
            off, on = (
                [search(mode, ceiling, seed, writer, critic) for seed in range(given.seeds)]
                for mode in (CritiqueMode.OFF, CritiqueMode.AUTO)
            )
            print(f"{'':<6} {writer:>6} {critic:>6}{row(off, on)}", flush=True)


if __name__ == "__main__":
    main()
