"""Worlds where no prompt has any effect: every gain that a run claims there is a false one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import NamedTuple

from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.records import EPSILON, CaseResult, Outcome, Request, Split
from pytest_promptopt.reports.evidence_wording import heldout_verdict
from tests.refine_world import HELDOUT, SETTINGS, TRAIN, VALIDATION, FakePrompt, Need, World

#: Any two of these a candidate may be made of; what they say plays no part.
WORDS = [
    first + second for first in ("ba", "do", "ki", "lu", "me", "ra", "so", "ti") for second in "fghlmnprstvw"
]

#: Cases that no run has, to see what the text on disk is really worth.
UNSEEN = 200

#: The score that a judged test asks for: from here on the case passes, below the score is what it earns.
ENOUGH = 0.7

#: The score that a judge who looks at nothing gives, by a number from 0 to 1.
Scores = Callable[[float], float]


def uniform(toss: float) -> float:
    return toss


def quarters(toss: float) -> float:
    """One of five grades."""
    return int(5 * toss) / 4


@dataclass
class Noise(World):
    """The evaluator tosses a coin for every text, case and sample; the optimizer writes words at random.

    :param chance: that a case passes.
    :param wording: one toss for a text and a case, which every further sample repeats.
    :param flipped: with it each case has a verdict of its own, by `chance`, and every text turns this share
        of them round, for good; so a text says much of another.
    :param samples: of each case in the search.
    :param judged: the cases are judged, and the judge gives such scores, at random.
    """

    needs: Sequence[Need] = ()
    chance: float = 0.5
    wording: bool = False
    flipped: float | None = None
    samples: int = 1
    judged: Scores | None = None
    seed: int = 0
    rng: random.Random = field(init=False)
    outcomes: dict[tuple[str, float], Outcome] = field(default_factory=dict)

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
        key = need.id, self.score(text, need.id, sample)
        if key not in self.outcomes:
            passed = key[1] >= 1 - EPSILON
            ran = replace(need, rule="" if passed else "unheard").run({"route.md": ""})
            self.outcomes[key] = replace(ran, score=key[1])
        return replace(self.outcomes[key], sample=sample)

    def score(self, text: str, case: str, sample: int = 0) -> float:
        """What a case earns: 1.0 when it passes."""
        if self.flipped is not None:
            return float((self._toss(case) < self.chance) != (self._toss(text, case) < self.flipped))
        toss = self._toss(text, case, 0 if self.wording else sample)
        if self.judged is None:
            return float(toss < self.chance)
        score = self.judged(toss)
        return 1.0 if score >= ENOUGH else score

    def _toss(self, *key: object) -> float:
        """A fixed number from 0 to 1."""
        digest = blake2b(repr((self.seed, *key)).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / (1 << 64)

    def unseen(self, text: str) -> float:
        """The pass rate of cases that no run has."""
        return sum(self.score(text, f"unseen-{number}") for number in range(UNSEEN)) / UNSEEN


#: The word that makes answers better in a `Judged` world.
SOUND = "sound"


@dataclass
class Judged(Noise):
    """Every answer earns a part, and none passes; a text with the word `SOUND` raises all scores.

    :param low: about what a case earns without it; `high` with it.
    :param spread: how far scores differ, by chance.
    :param found: how often a new text has the word.
    """

    low: float = 0.4
    high: float = 0.8
    spread: float = 0.2
    found: float = 0.25

    def at_random(self, request: Request) -> str:
        words = super().at_random(request)
        return f"{words} {SOUND}" if self.rng.random() < self.found else words

    def score(self, text: str, case: str, sample: int = 0) -> float:
        toss = self._toss(text, case, 0 if self.wording else sample)
        return (self.high if SOUND in text else self.low) + self.spread * (toss - 0.5)


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
