"""Is the gain more than noise? Fresh answers under the original and the winner, case by case.

The best of many candidates was chosen by the answers that made it the best, so these answers prove nothing.
The first answers of the original prove nothing either: the failing cases were chosen by them. Here both texts
get answers that no other step and no other run has seen, in pairs on the same case. There is one exception:
where the search did not run the winner on a case, the answer that it has to give there in any case serves
for the first pair, since nothing was chosen by it. What is to be shown is that *the
pass rate over all train and validation cases, each with the same weight, rises*.

All cases are asked in one order drawn for this run, over and over; nothing of the search decides about it.
After every few pairs the results are looked at (an interim analysis), and two tests share alpha:

* The sign test over all pairs so far (`SignLooks`), with most of alpha. What its looks may err grows with the
  pairs that were asked, up to a number of them that is fixed before the first: so a large gain is shown
  after a handful, and the end of the calls loses nothing.
* That everything repeats itself (`repeated_gain_p`), with the rest: with a model that always answers the
  same a small gain among many cases is shown after a few rounds, though some cases got worse.

How sure that is. If neither text is better on any case, the sign test is exact. Where some cases win and
others lose so that the rate does not rise, it is exact for cases drawn with replacement, since a pair is then
better no more often than worse. Cases asked in turn vary less than that; no proof is known to us, and in some
2,000 such worlds, the extreme ones among them (some cases sure to win, some to lose, the others all alike),
none was confirmed more often than the coin flip, within the accuracy of a simulation. The second test is
proved for every such world.

Rates between 0 and 1 (scores of a judge, subtests): such a pair is won or lost with the chance of its
difference, by a coin of our own (a randomized sign test). Then a pair is won as much more often than lost as
the mean rate is higher, so all of this holds of mean rates, however they are spread. A permutation test of
the differences would take fewer pairs, but it is exact only for differences that are spread alike in both
directions: a text that is a little better often and much worse now and then, and no better on average, would
pass it more often than it may.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from pytest_promptopt.optimizer.acceptance import compare
from pytest_promptopt.optimizer.alpha_spending import AlphaSpending, planned_looks
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.confirmation_power import (
    STEP,
    calls_each,
    detectable_gain,
    foreseen_calls,
    least_pairs,
    most_pairs,
    pairs_for,
)
from pytest_promptopt.optimizer.prompt_groups import SEARCHED, PromptGroup
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.verdict_model import Taught
from pytest_promptopt.records import EPSILON, CaseResult, Overlay
from pytest_promptopt.results import Confirmation, ConfirmationVerdict
from pytest_promptopt.statistics import SIGN_TEST, SignLooks, repeated_gain_p

#: What a confirmation may say.
IMPROVED, NOT_SHOWN = ConfirmationVerdict.IMPROVED, ConfirmationVerdict.NOT_SHOWN
WORSE = ConfirmationVerdict.WORSE

#: The names of its tests besides `SIGN_TEST`, which is randomized where rates are between 0 and 1.
RANDOMIZED_SIGN_TEST, REPEATED_RESULTS_TEST = f"randomized {SIGN_TEST}", "test of repeated results"

#: No other step asks for a sample of this number or above; each confirmation has so many of its own.
FIRST_SAMPLE = 1_000_000
SAMPLES_OF_A_RUN = 10_000

#: The part of alpha for the test of repeated results: enough for one more passing case, six times in a row.
REPEATS = 0.14


@dataclass(frozen=True)
class ConfirmationProgress:
    """A confirmation that an earlier process of this run has begun.

    :param limit: the pairs that it was planned with.
    :param looked: after how many pairs it was looked at besides the planned looks, when the calls ended.
    """

    limit: int
    looked: tuple[int, ...] = ()


@dataclass(frozen=True)
class EarlierRuns:
    """What happened before this process began.

    :param confirmations: how often earlier runs have asked fresh answers of these train and validation cases.
    :param heldout: how often earlier runs have scored these held-out cases.
    :param begun: the confirmations of this run, by the number of their first sample.
    :param taught: what earlier runs taught of new texts, see `verdict_model.sum_taught`.
    """

    confirmations: int = 0
    heldout: int = 0
    begun: Mapping[int, ConfirmationProgress] = field(default_factory=dict)
    taught: Taught = field(default_factory=dict)


def first_sample_number(run: str, winner: Overlay) -> int:
    """The number of the first sample for these texts in this run, and in the processes that continue it."""
    name = json.dumps([run, dict(winner)], sort_keys=True)
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    return FIRST_SAMPLE + SAMPLES_OF_A_RUN * number


class PairTally:
    """The pairs that came in.

    :ivar better: how many answers are better under the new text; `worse` likewise. `won` and `lost` of them
        count for the sign test.
    :ivar graded: whether a rate changed by less than a whole case.
    """

    def __init__(self, cases: Sequence[str]) -> None:
        self.better = self.worse = self.won = self.lost = self.pairs = 0
        self.graded = False
        self._gains: dict[str, list[float]] = {case: [] for case in cases}
        self._first: dict[str, tuple[float, float]] = {}
        self._same = True

    def add(self, before: CaseResult, after: CaseResult, toss: Callable[[], float]) -> None:
        """Count a pair, if both texts have a result.

        :param toss: draws a number below 1, for a gain that is none of a whole case.
        """
        old, new = before.rate, after.rate
        if old is None or new is None:
            return
        case, gain = before.case.id, new - old
        self._same &= self._first.setdefault(case, (old, new)) == (old, new)
        self._gains[case].append(gain)
        self.pairs += 1
        self.better += gain > EPSILON
        self.worse += gain < -EPSILON
        part = EPSILON < abs(gain) < 1 - EPSILON
        self.graded |= part
        coin = toss() if part else 0.5
        self.won += coin < gain
        self.lost += coin < -gain

    @property
    def estimate(self) -> float:
        """The gain over all cases that were asked, each with the same weight."""
        known = [math.fsum(gains) / len(gains) for gains in self._gains.values() if gains]
        return math.fsum(known) / len(known) if known else 0.0

    def repetition_p_value(self, side: int) -> float:
        """The p-value of a gain (side 1) or a loss (-1) by what repeats itself."""
        rounds = min(map(len, self._gains.values()), default=0) if self._same else 0
        return repeated_gain_p(side * math.fsum(new - old for old, new in self._first.values()), rounds)


class ConfirmationTest:
    """The confirmation of one winner.

    `originals` are the fresh results under the original, one for each pair asked for; `pairs` are those of
    which both sides are fresh; `caught_up` are those of the winner on cases that it was spared, by case.

    :param first: the first sample number that is this confirmation's own.
    :param served: what the winner answered to cases that it was spared in the search.
    :param spared: the cases that it was not run on to this day: their first pairs do it.
    :param share: one of so many prompts, or groups of them, that are still to be confirmed by what is left.
    :param begun: what an earlier process of this run has planned and looked at.
    """

    def __init__(
        self,
        group: PromptGroup,
        original: EvaluatedCandidate,
        winner: EvaluatedCandidate,
        context: RunContext,
        *,
        first: int,
        served: Iterable[CaseResult] = (),
        spared: Collection[str] = (),
        share: int = 1,
        begun: ConfirmationProgress = ConfirmationProgress(0),
    ) -> None:
        self._group = group
        self._winner = winner
        self._context = context
        self._first = first
        self._share = share
        self._begun = begun
        #: After how many pairs there was a look besides the planned ones, in all processes of the run.
        self._looked = [*begun.looked]
        self._alpha = context.settings.alpha
        self._seed = f"{context.settings.seed}-{first}"
        # A case that is skipped or has no answer would hide that all the others repeat themselves.
        known = [result for result in original.evidence(*SEARCHED) if result.rate is not None]
        self._cases = [result.case.id for result in known]
        self._place = {case.id: place for place, case in enumerate(group.cases)}
        gains = compare(known, winner.evidence(*SEARCHED))
        random.Random(f"{self._seed}-confirmation").shuffle(self._cases)
        self._each = calls_each(group, known)
        self._foreseen = foreseen_calls(gains.cases, gains.won, gains.lost, self._alpha, each=self._each)
        self._served = {result.case.id: result for result in served if _is_single_fresh_answer(result)}
        single = {case.id for case in group.cases if case.samples == 1}
        self._spared = single.intersection(spared)
        self._most = most_pairs(len(self._cases), self._alpha)
        self._asked = 0
        self._tally = PairTally(self._cases)
        self._gain, self._loss = SignLooks(), SignLooks()
        self.originals: list[CaseResult] = []
        self.caught_up: dict[str, CaseResult] = {}
        self.pairs: list[tuple[CaseResult, CaseResult]] = []

    def run(self) -> Confirmation:
        """Look at growing pairs until they show a gain or a loss, or cannot. Raises `KeyboardInterrupt`."""
        if not self._cases:
            return self._result(0, "every case with a result stands in a text as an example")
        paid = self._context.paid().calls
        limit = self._begun.limit or self._affordable()
        if limit < least_pairs(self._alpha):
            return self._result(0, "the ceiling leaves too few calls for it")
        self._account = AlphaSpending(self._alpha, limit, self._most)
        self._planned_looks = planned_looks(limit, self._most)
        self._pairs = self._order()
        self._note(())
        why = ""
        try:
            while self._verdict() is NOT_SHOWN and not self._hopeless() and self._asked < self._most:
                if self._asked and not self._tally.pairs:
                    why = f"none of {self._asked} pairs of fresh answers has a result"
                    break
                end = self._next_look()
                if end == self._asked:
                    why = "the ceiling on calls is reached"
                    break
                self._ask(self._pairs[self._asked : end])
        except StopRun as stopped:
            why = stopped.why
        return self._result(self._context.paid().calls - paid, why)

    # --------------------------------------------------------------------------------------------- the plan

    def _affordable(self) -> int:
        """How many further pairs the ceiling leaves, up to the most that are asked."""
        free, pairs = self._context.call_budget.available(), self._most - self._asked
        if free is None:
            return pairs
        paid, size = 0.0, len(self._cases)
        for number in range(pairs):
            place = self._asked + number
            served = place < size and self._cases[place] in self._served
            paid += (2 - served) * self._each
            if paid > free / self._share:
                return number
        return pairs

    def _order(self) -> list[tuple[int, str]]:
        """All pairs that may be asked, as sample number and case.

        Up to each look in the order of the suite, in which they are sent: so what came in before a stop is a
        beginning of this list.
        """
        size, found = len(self._cases), list[tuple[int, str]]()
        for start, end in pairwise([0, *self._planned_looks]):
            pairs = [(self._first + n // size, self._cases[n % size]) for n in range(start, end)]
            found += sorted(pairs, key=lambda pair: (self._place[pair[1]], pair[0]))
        return found

    def _next_look(self) -> int:
        """The last pair to ask for before the next look; the calls for the planned pairs are reserved."""
        end = min(end for end in (*self._planned_looks, *self._begun.looked) if end > self._asked)
        if self._asked >= self._account.limit:
            most = self._asked + self._affordable()
            if self._asked < most < end:
                self._note([most])
            end = min(end, most)
        return end

    def _hopeless(self) -> bool:
        """Whether the winner is not ahead after half of the planned pairs."""
        return 2 * self._asked >= self._account.limit and self._tally.won <= self._tally.lost

    def _note(self, looked: Sequence[int]) -> None:
        """Journal what a later process of this run has to keep to, with these further looks."""
        names = [prompt.name for prompt in self._group.prompts]
        self._looked += looked
        self._context.record(
            "confirming", prompts=names, sample=self._first, limit=self._account.limit, looked=self._looked
        )

    # ------------------------------------------------------------------------------------------ the evidence

    def _ask(self, wanted: Sequence[tuple[int, str]]) -> None:
        """Get these pairs, all at once, count them and look; raises `StopRun` after what came in."""
        try:
            self._count(wanted)
        except StopRun:
            came = self._count_until_stop(wanted)
            if came:
                self._note([self._asked + came])
                self._interim_analysis(came)
            raise
        self._interim_analysis(len(wanted))

    def _count_until_stop(self, wanted: Sequence[tuple[int, str]]) -> int:
        """Count the pairs up to the first that did not come in; how many these are."""
        for number, pair in enumerate(wanted):
            try:
                self._count([pair])
            except StopRun:
                return number
        return len(wanted)

    def _count(self, wanted: Sequence[tuple[int, str]]) -> None:
        by_sample: dict[int, list[str]] = {}
        for sample, case in wanted:
            by_sample.setdefault(sample, []).append(case)
        served = self._served | self._catch_up(by_sample.get(self._first, ()))
        trials: list[Trial] = []
        for sample, cases in by_sample.items():
            asked = tuple(case for case in cases if sample != self._first or case not in served)
            trials += [Trial({}, tuple(cases), (sample,)), Trial(self._winner.overlay, asked, (sample,))]
        measured = iter(self._context.evaluator.evaluate([trial for trial in trials if trial.cases]))
        for before, after in zip(trials[::2], trials[1::2], strict=True):
            results = next(measured)
            self.originals += results
            fresh = {r.case.id: r for r in (next(measured) if after.cases else ())}
            new = served | fresh
            self.pairs += [(each, fresh[each.case.id]) for each in results if each.case.id in fresh]
            for result in results:
                toss = partial(self._toss, f"{before.samples}-{result.case.id}")
                self._tally.add(result, new[result.case.id], toss)

    def _catch_up(self, cases: Sequence[str]) -> dict[str, CaseResult]:
        """Run the winner on those of `cases` that it was spared, once; the results that serve for a pair."""
        spared = tuple(case for case in cases if case in self._spared and case not in self.caught_up)
        if spared:
            (results,) = self._context.evaluator.evaluate([Trial(self._winner.overlay, spared)])
            self.caught_up |= {result.case.id: result for result in results}
        return {case: result for case, result in self.caught_up.items() if _is_single_fresh_answer(result)}

    def _toss(self, pair: str) -> float:
        return random.Random(f"{self._seed}-{pair}").random()

    def _interim_analysis(self, came: int) -> None:
        self._asked += came
        allowed, tally = self._account.allowed(self._asked), self._tally
        self._gain.look(tally.won, tally.lost, allowed)
        self._loss.look(tally.lost, tally.won, allowed)

    def _verdict(self) -> ConfirmationVerdict:
        for verdict, looks, side in ((IMPROVED, self._gain, 1), (WORSE, self._loss, -1)):
            shown = looks.shown or self._tally.repetition_p_value(side) <= self._alpha * REPEATS
            if shown and side * self._tally.estimate > EPSILON:
                return verdict
        return NOT_SHOWN

    # ------------------------------------------------------------------------------------------- the account

    def _p(self) -> tuple[float, str]:
        """The smallest alpha at which this look would have shown a gain, and by which test; 1.0 for none."""
        tally = self._tally
        signs = RANDOMIZED_SIGN_TEST if tally.graded else SIGN_TEST
        if not self._asked or tally.estimate <= EPSILON:
            return 1.0, signs
        by_signs = min(1.0, self._gain.p * self._alpha / self._account.allowed(self._asked))
        by_repeats = tally.repetition_p_value(1) / REPEATS
        return (by_repeats, REPEATED_RESULTS_TEST) if by_repeats < by_signs else (by_signs, signs)

    def _needed(self) -> int:
        """How many more calls will show the gain, if pairs go on to differ as they did; 0 if none will."""
        tally = self._tally
        if not tally.pairs:
            return self._foreseen
        gain, differing = (tally.won - tally.lost) / tally.pairs, (tally.won + tally.lost) / tally.pairs
        if gain <= 0 or tally.estimate <= EPSILON:
            return 0
        pairs = max(pairs_for(gain, differing, self._alpha), self._asked + STEP)
        return math.ceil((pairs - self._asked) * 2 * self._each) if pairs <= self._most else 0

    def _result(self, calls: int, why: str) -> Confirmation:
        tally, verdict = self._tally, self._verdict()
        differing = (tally.won + tally.lost) / max(1, tally.pairs)
        p, test = self._p()
        return Confirmation(
            verdict=verdict,
            estimate=tally.estimate,
            p=p,
            pairs=tally.pairs,
            better=tally.better,
            worse=tally.worse,
            calls=calls,
            detectable=detectable_gain(tally.pairs, self._alpha, differing=differing)
            if tally.pairs
            else None,
            why=why,
            needed=self._needed() if verdict is NOT_SHOWN else 0,
            test=test,
        )


def _is_single_fresh_answer(result: CaseResult) -> bool:
    """Whether it can be one side of a pair: a single answer that no earlier run has seen."""
    if len(result.outcomes) != 1:
        return False
    # An embedding is the same every time, so one that is known is no answer that was seen before.
    return not any(call.cached for call in result.outcomes[0].all_calls if not call.embeds)


def explain_unconfirmed(confirmation: Confirmation) -> str:
    """Why a winner is not confirmed, in a sentence."""
    if confirmation.verdict is WORSE:
        return "fresh answers show it to be worse than the original"
    if confirmation.why:
        return f"the gain could not be confirmed: {confirmation.why}"
    return "fresh answers do not show that the gain is more than noise"
