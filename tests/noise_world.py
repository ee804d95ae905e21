"""Worlds where no prompt has any effect: every gain that a run claims there is a false one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import NamedTuple

from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.records import CaseResult, Outcome, Request, Split
from pytest_promptopt.reports.optimization import heldout_verdict
from tests.refine_world import HELDOUT, SETTINGS, TRAIN, VALIDATION, FakePrompt, Need, World

#: Any two of these a candidate may be made of; what they say plays no part.
WORDS = [
    first + second for first in ("ba", "do", "ki", "lu", "me", "ra", "so", "ti") for second in "fghlmnprstvw"
]

#: Cases that no run has, to see what the text on disk is really worth.
UNSEEN = 200


@dataclass
class Noise(World):
    """The evaluator tosses a coin for every text, case and sample; the optimizer writes words at random.

    :param chance: that a case passes.
    :param wording: one toss for a text and a case, which every further sample repeats.
    :param flipped: with it each case has a verdict of its own, by `chance`, and every text turns this share
        of them round, for good; so a text says much of another.
    :param samples: of each case in the search.
    """

    needs: Sequence[Need] = ()
    chance: float = 0.5
    wording: bool = False
    flipped: float | None = None
    samples: int = 1
    seed: int = 0
    rng: random.Random = field(init=False)
    outcomes: dict[tuple[str, bool], Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.replies = self.at_random

    def at_random(self, request: Request) -> str:
        return " ".join(self.rng.choices(WORDS, k=20))

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        needs = [need for need in self.needs if need.id in set(trial.cases)]
        samples = trial.samples or tuple(range(self.samples))
        text = trial.overlay.get("route.md", FakePrompt().prose)
        return tuple(
            CaseResult(
                replace(need.record(), samples=self.samples),
                tuple(self._outcome(need, text, sample) for sample in samples),
            )
            for need in needs
        )

    def _outcome(self, need: Need, text: str, sample: int) -> Outcome:
        key = need.id, self.passes(text, need.id, sample)
        if key not in self.outcomes:
            self.outcomes[key] = replace(need, rule="" if key[1] else "unheard").run({"route.md": ""})
        return replace(self.outcomes[key], sample=sample)

    def passes(self, text: str, case: str, sample: int = 0) -> bool:
        if self.flipped is None:
            return self._toss(text, case, 0 if self.wording else sample) < self.chance
        return (self._toss(case) < self.chance) != (self._toss(text, case) < self.flipped)

    def _toss(self, *key: object) -> float:
        """A fixed number from 0 to 1."""
        digest = blake2b(repr((self.seed, *key)).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / (1 << 64)

    def unseen(self, text: str) -> float:
        """The pass rate of cases that no run has."""
        return sum(self.passes(text, f"unseen-{number}") for number in range(UNSEEN)) / UNSEEN


def noisy_cases(train: int, validation: int = 0, heldout: int = 0) -> list[Need]:
    """So many cases of each split, which all expect the same."""
    counts = {TRAIN: train, VALIDATION: validation, HELDOUT: heldout}
    return [
        Need(f"{split}-{number}", "", split, expected="label")
        for split in counts
        for number in range(counts[split])
    ]


class Claims(NamedTuple):
    """What one run claimed, and what it left on disk.

    :param fresh: whether fresh answers were asked; `confirmed`: whether they showed a gain.
    :param carries: whether it said that the gain carries over to held-out cases.
    :param heldout: the difference that it reported on held-out cases; 0 when it did not score them.
    :param unseen: the difference of the text on disk on cases that the run did not have.
    """

    fresh: bool
    confirmed: bool
    written: bool
    carries: bool
    heldout: float
    unseen: float


def claims(world: Noise, **settings: float) -> Claims:
    """Run it whole and look at what it says."""
    result = world.result(seed=world.seed, **settings)
    alpha = settings.get("alpha", SETTINGS.alpha)
    heldout = [s for s in result.scores if s.split is Split.HELDOUT and s.before is not None]
    return Claims(
        fresh=result.confirmation is not None,
        confirmed=result.confirmation is not None and result.confirmation.verdict == "improved",
        written=result.written,
        carries=any(heldout_verdict(score, alpha).startswith("the gain carries over") for score in heldout),
        heldout=sum((score.after or 0.0) - (score.before or 0.0) for score in heldout),
        unseen=world.unseen(result.after) - world.unseen(result.before) if result.written else 0.0,
    )
