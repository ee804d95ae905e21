"""A race of candidates against the incumbent: which one is run on which cases next, and when the race ends.

The next calls are spent where they are most likely to change the decision. What a batch of calls is worth is
its knowledge gradient (Frazier, Powell & Dayanik, SIAM J. Control Optim. 47, 2008): by how many cases the
best choice is expected to be better after the batch. It is computed for several sizes of the batch, since a
few calls may change nothing where more of them would (Frazier & Powell, Decis. Anal. 7, 2010). When no batch
is worth the price of its calls, the race is over. Batches have fixed sizes, so that what is decided depends
on the answers alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_promptopt.optimizer.acceptance import PROBABLY
from pytest_promptopt.optimizer.lead import Lead
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.records import EPSILON, CaseResult

#: Cases of a first batch; a later one has at most half as many as were run before.
BATCH = 6

#: A candidate that fixed none of so many failing cases is not run again.
HOPELESS = 8

#: A case with a lower rate fails: it may pass in part (subtests).
PASSED = 1 - EPSILON

#: A candidate runs together with the best one when its batch is worth at least this share of the best batch.
BESIDE = 0.5


@dataclass
class Runner:
    """One candidate in a race."""

    id: str
    posterior: RatePosterior


@dataclass(frozen=True)
class Move:
    """Which candidate is run on which cases next, and what these calls are worth.

    :param value: cases that the best choice is better after it, for each call.
    """

    runner: Runner
    cases: tuple[str, ...]
    value: float


class Race:
    """Decides who runs next.

    :param order: the training cases in the order in which they are run, by and large.
    :param incumbent: what is known of the text to beat.
    :param calls: calls that one run of a case takes.
    :param sideways: whether a candidate that fixes nothing may still win.
    """

    def __init__(
        self,
        runners: Sequence[Runner],
        incumbent: RatePosterior,
        order: Sequence[str],
        *,
        calls: float = 1.0,
        sideways: bool = False,
    ) -> None:
        self.runners = list(runners)
        self._incumbent = incumbent
        self._order = order
        self._calls = calls
        self._sideways = sideways
        #: Candidates that are not run on: what they answer to further cases is probably known.
        self.foreseen: set[str] = set()
        self._counted = {runner.id: len(runner.posterior.cases) for runner in runners}

    def leads(self) -> dict[str, Lead]:
        """How far each candidate is ahead of the incumbent."""
        return {runner.id: runner.posterior.lead(self._incumbent) for runner in self.runners}

    def moves(self, price: float) -> list[Move]:
        """The batches to run next, all at once, the best first; none when no batch is worth its calls.

        :param price: what a call could win elsewhere, in cases.
        """
        leads = self.leads()
        moves = [
            move
            for runner in self.runners
            if runner.id not in self.foreseen
            and not self._hopeless(runner)
            and (move := self._move(runner, leads)) is not None
        ]
        # What was asked for is looked at: that it may be worth it was decided before it was asked.
        worth = [move for move in moves if move.value > price or not self._looked_at(move.runner)]
        best = max((move.value for move in worth), default=0.0)
        chosen = [m for m in worth if m.value >= BESIDE * best or not self._looked_at(m.runner)]
        return sorted(chosen, key=lambda move: -move.value)

    def incumbent_move(self, moves: Sequence[Move], price: float) -> tuple[str, ...]:
        """The cases to run the incumbent on, before any of `moves`: the leader was run on them, it was not.

        None where that is worth less than the price, or than the best of the moves.
        """
        if not self.runners or not all(map(self._looked_at, self.runners)):
            return ()
        leads = self.leads()
        leader = max(self.runners, key=lambda runner: leads[runner.id].mean)
        spared = set(self._incumbent.unrun).intersection(leader.posterior.known)
        cases = tuple(case for case in self._order if case in spared)
        moved = math.sqrt(math.fsum(map(self._incumbent.foreseeable_alone, cases)))
        lead = leads[leader.id]
        value = _gain(self._at_stake(lead, lead.mean), moved) / max(1.0, len(cases) * self._calls)
        return cases if value > max([price, *(move.value for move in moves)]) else ()

    def _at_stake(self, lead: Lead, ahead: float) -> float:
        """What is to be won by learning more of a candidate that is `ahead` of all others.

        What may not be taken yet wins nothing as it is: then all that it has ahead is still to be won.
        """
        return -ahead if lead.chance < PROBABLY else abs(ahead)

    def _looked_at(self, runner: Runner) -> bool:
        """Whether it was run, be it without an answer: a case that gave none is counted no more."""
        return bool(runner.posterior.known) or len(runner.posterior.cases) < self._counted[runner.id]

    def _move(self, runner: Runner, leads: dict[str, Lead]) -> Move | None:
        """The next batch of one candidate, valued by the best size of a batch from here."""
        unrun = runner.posterior.unrun
        if not unrun:
            return None
        lead = leads[runner.id]
        rivals = [each.mean for id, each in leads.items() if id != runner.id and each.chance >= PROBABLY]
        ahead = lead.mean - max([0.0, *rivals])
        at_stake = self._at_stake(lead, ahead)
        queue = telling_order(runner.posterior, self._order, self._incumbent)
        first = min(len(queue), max(BATCH, len(runner.posterior.known) // 2))
        value, size = 0.0, first
        while True:
            moved = math.sqrt(runner.posterior.foreseeable(queue[:size]))
            value = max(value, _gain(at_stake, moved) / (size * self._calls))
            if size == len(queue):
                break
            size = min(len(queue), 2 * size)
        return Move(runner, tuple(queue[:first]), value)

    def _hopeless(self, runner: Runner) -> bool:
        if self._sideways:
            return False
        failing = [(before, after) for _, before, after in runner.posterior.pairs() if before < PASSED]
        open_cases = sum(_fails(runner.posterior, case) for case in runner.posterior.unrun)
        fixed = sum(after > before for before, after in failing)
        return not fixed and bool(failing) and (len(failing) >= HOPELESS or not open_cases)


def _fails(posterior: RatePosterior, case: str) -> bool:
    """Whether the text that it was made from fails a case: as measured, else as estimated."""
    rate = posterior.base.known.get(case) if posterior.base else None
    return posterior.before(case) < 0.5 if rate is None else rate < PASSED


def in_turns(results: Sequence[CaseResult], *, seed: str) -> list[str]:
    """The cases of `results` in an order that takes the labels in turn, drawn anew for each seed."""
    rng = random.Random(seed)
    groups: dict[str, list[str]] = {}
    for result in sorted(results, key=lambda result: result.case.id):
        groups.setdefault(_label(result), []).append(result.case.id)
    places: list[tuple[float, str]] = []
    for members in groups.values():
        rng.shuffle(members)
        start = rng.random()
        places += [((place + start) / len(members), case) for place, case in enumerate(members)]
    return [case for _, case in sorted(places)]


def _label(result: CaseResult) -> str:
    """What is expected of a case, as far as it is known: cases of one label are spread over a race."""
    for outcome in result.counted:
        if outcome.failure is not None and outcome.failure.expected is not None:
            return str(outcome.failure.expected)
        if outcome.calls:
            return outcome.calls[-1].text
    return ""


def telling_order(posterior: RatePosterior, order: Sequence[str], incumbent: RatePosterior) -> list[str]:
    """The cases that a candidate was not run on, the most informative first.

    Cases that its base passes and cases that it fails come in turns, each as often as what is not known
    of them weighs; first those that the incumbent was run on, where the two can be compared.
    """
    groups: tuple[list[str], list[str]] = ([], [])
    unrun = set(posterior.unrun)
    for case in (case for case in order if case in unrun):
        groups[posterior.before(case) < 0.5].append(case)
    for group in groups:
        group.sort(key=lambda case: case not in incumbent.known)
    weighs = posterior.weights()
    # However little may be broken, a text is not judged by its fixes alone.
    weights = [max(weight, max(weighs) / 5, 1e-9) for weight in weighs]
    queue: list[str] = []
    taken = [0, 0]
    while any(taken[side] < len(groups[side]) for side in (0, 1)):
        open_sides = [side for side in (0, 1) if taken[side] < len(groups[side])]
        side = max(open_sides, key=lambda side: (weights[side] / (taken[side] + 1), side))
        queue.append(groups[side][taken[side]])
        taken[side] += 1
    return queue


def _gain(distance: float, moved: float) -> float:
    """What a normal step of the difference of two means wins, `distance` away from changing the choice.

    Below 0 the choice is changed unless the step speaks against it.
    """
    if moved <= 0:
        return 0.0
    far = distance / moved
    density = math.exp(-far * far / 2) / math.sqrt(2 * math.pi)
    return moved * (density - far * 0.5 * math.erfc(far / math.sqrt(2)))
