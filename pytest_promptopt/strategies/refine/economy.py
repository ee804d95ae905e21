"""What an iteration is worth, learned from earlier ones; what a call is worth, and when a search ends.

The gain of an iteration is measured as a share of the cases that failed before it. Later
iterations count more, since what is left is harder.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple

#: Before an iteration was made, it is expected to win this share of what fails; the weight of one iteration.
SHARE = 0.25
#: An iteration counts so much less than the one after it.
FADING = 0.7


#: Before an iteration was made it is expected to take so many times its first batches.
OVERRUN = 2.0

_STANDARD = NormalDist()


class Prospect(NamedTuple):
    """What may be done next: the cases it is expected to win, the calls it is expected to take."""

    gain: float
    calls: float

    @property
    def rate(self) -> float:
        return self.gain / self.calls


@dataclass
class Payoff:
    """What the tries of one kind have won so far.

    :param share: what is expected of the first one.
    """

    share: float = SHARE
    _won: float = 0.0
    _weight: float = 0.0
    _before: float = 1.0
    tries: int = 0

    def note(self, won: float) -> None:
        """A try won this share of what there was to win; below 0 counts as nothing."""
        self._won = FADING * self._won + max(0.0, won)
        self._weight = FADING * self._weight + 1
        self._before *= FADING
        self.tries += 1

    @property
    def expected(self) -> float:
        """The share that the next try is expected to win."""
        return (self._before * self.share + self._won) / (self._before + self._weight)


@dataclass
class Economy:
    """What calls win in one search.

    :param floor: a call that wins less, in cases, is not made.
    :param cost: calls that the first iteration is expected to take.
    :param stage: the prompt that the next iteration rewrites, and `stages` what those for each have won.
    """

    floor: float
    cost: float
    stage: str = ""
    stages: dict[str, Payoff] = field(default_factory=dict)
    _paid: float = 0.0
    _foreseen: float = 0.0
    _made: float = 0.0

    @property
    def iterations(self) -> Payoff:
        """What iterations for the next stage have won: one that wins nothing says little of another stage."""
        return self.stages.setdefault(self.stage, Payoff())

    def note(self, won: float, calls: int, foreseen: float, stages: Collection[str] = ()) -> None:
        """An iteration won this share of what failed, for so many calls; it takes `foreseen` at least.

        :param stages: the prompts that it rewrote.
        """
        for stage in stages or (self.stage,):
            self.stages.setdefault(stage, Payoff()).note(won)
        self._paid, self._made = FADING * self._paid + calls, FADING * self._made + 1
        self._foreseen = FADING * self._foreseen + foreseen

    @property
    def overrun(self) -> float:
        """How many times the least that it takes an iteration is expected to take."""
        return (OVERRUN * self.cost + self._paid) / (self.cost + self._foreseen)

    @property
    def expected_cost(self) -> float:
        """Calls that the next iteration is expected to take."""
        return max(1.0, (self.cost + self._paid) / (1 + self._made))

    def gain(self, failing: float) -> float:
        """Cases that the next iteration is expected to win, of so many that fail."""
        return self.iterations.expected * failing

    def pays(self, failing: float, least: float) -> bool:
        """Whether the next iteration is expected to win enough for its calls.

        :param least: cases that a call must win at least.
        """
        return self.gain(failing) >= least * self.expected_cost

    def price(self, prospects: Sequence[Prospect], free: int | None) -> float:
        """What a call spent now would win elsewhere, in cases: in the last iteration that can be paid for.

        :param free: calls that are left for the search; None without a ceiling.
        """
        if free is None:
            return self.floor
        best = max(prospects, key=lambda prospect: prospect.rate)
        further = max(0.0, free / (best.calls * self.overrun) - 1)
        fading = float((1 - self.iterations.expected / 2) ** further)
        return max(self.floor, best.rate / self.overrun * fading)


def expected_best(count: int, mean: float, apart: float) -> float:
    """What the best of so many candidates is expected to win, if one that wins nothing is not taken.

    :param mean: what one is expected to win; `apart` the standard deviation by which they differ.
    """
    if apart < 1e-9:
        return max(0.0, mean)
    # The highest of normal numbers, about (Blom, Statistical Estimates, 1958).
    rank = _STANDARD.inv_cdf((count - 0.375) / (count + 0.25))
    highest, spread = mean + apart * rank, apart / math.sqrt(1 + 0.45 * (count - 1))
    far = highest / spread
    return highest * _STANDARD.cdf(far) + spread * _STANDARD.pdf(far)
