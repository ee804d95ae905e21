"""The strategy `refine`: one group of prompts, from the first evaluation to the best text found."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from pytest_promptopt.evidence import wilson
from pytest_promptopt.records import CaseResult, Split, pass_rate
from pytest_promptopt.refine.acceptance import EPSILON, compare, foreseen, holds, rank
from pytest_promptopt.refine.attempts import ACCEPTED, MERGED, REJECTED, Attempt, Version, undecided
from pytest_promptopt.refine.briefs import Briefing
from pytest_promptopt.refine.checks import Passages, inputs
from pytest_promptopt.refine.confirmation import foreseen_calls, least_pairs
from pytest_promptopt.refine.demonstrating import Demonstrating
from pytest_promptopt.refine.economy import SHARE, Economy, Payoff, Prospect, best_of
from pytest_promptopt.refine.evaluator import StopRun, Trial
from pytest_promptopt.refine.examples import shown_by
from pytest_promptopt.refine.frame import SEARCHED, SearchFrame
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.halting import DECIDING, Halt, Phase, Stop
from pytest_promptopt.refine.labels import balanced_accuracy
from pytest_promptopt.refine.outlook import Outlook, outlook_of
from pytest_promptopt.refine.posterior import RATES, Kind, Learning
from pytest_promptopt.refine.race import BATCH, Move, Race, Runner, telling_order
from pytest_promptopt.refine.shares import ENOUGH_CASES
from pytest_promptopt.refine.surroundings import Surroundings
from pytest_promptopt.refine.workshop import Workshop

#: Of more training cases than this the search begins with a sample: a large suite need not cost more.
LARGE = 200
SCREEN = 100

#: The share of a case's calls that a text is expected to be run on when it becomes the best.
RUN_SHARE = 0.6

#: At most one in so many calls is kept for confirming, however small the gain is so far.
MOST_SHARE = 3

#: A candidate is run on so many cases before it becomes the incumbent.
LOOK = 24

#: Cases that a search for a passage to blame is expected to run.
BLAMING = 20

#: To find failing cases the incumbent is run where it passes less likely than this.
LIKELY = 0.75

#: Of the cases that another candidate fixes beyond the best one, this share is expected of a merged text.
MERGED_SHARE = 0.5
#: Of the cases that a candidate breaks, this share is expected of a text without the passage to blame.
CURED_SHARE = 0.25


class Search(SearchFrame):
    """Refines one group of prompts: training phase, then validation phase. `best` is the incumbent."""

    def __init__(self, group: Group, around: Surroundings) -> None:
        super().__init__(group, around)
        self._accepted: list[Version] = []
        self._briefing = Briefing(group, around.settings, around.policies)
        self._workshop = Workshop(self, self._briefing)
        self._learning = Learning(around.told.get(group.key))
        self._merging, self._curing = Payoff(MERGED_SHARE), Payoff(CURED_SHARE)
        self._demonstrating = Demonstrating(self)
        self._ways = {Kind.REWRITE: Payoff(), Kind.EXAMPLES: Payoff()}
        self._escaping = False
        self._examined: set[tuple[str, ...]] = set()
        self._calls_per_case = 1.0
        training = list(group.ids(Split.TRAIN))
        self._waiting: list[str] = []
        if len(training) > LARGE:
            random.Random(f"{around.settings.seed}-screen").shuffle(training)
            self._waiting = training[SCREEN:]

    # ------------------------------------------------------------------------------------------------- phases

    def search(self) -> Stop:
        """Training, then validation; the stop is that of the last phase with an iteration."""
        stop = self._iterate_until_halted(Phase.TRAINING)
        while self._waiting and stop.halt in (Halt.TARGET, Halt.PLATEAU) and self._widen():
            stop = self._iterate_until_halted(Phase.TRAINING)
        self._note_screen()
        # Under a ceiling that is reached nothing more is chosen: so what the text answers to the validation
        # cases, at the end, serves for its confirmation.
        if stop.halt == Halt.BUDGET or pass_rate(self.original.results[Split.VALIDATION]) is None:
            return stop
        self.enter(Phase.VALIDATION)
        self._validate()
        made = len(self.iterations)
        later = self._iterate_until_halted(Phase.VALIDATION)
        return later if len(self.iterations) > made else stop

    def conclude(self) -> None:
        """Journal what was learned. Where no case may get worse, make sure of the training cases."""
        self.around.record("learned", prompts=self.names, rates=RATES, taught=self._learning.taught())
        self.around.purse.keep(self.group.key, 0)
        if not self.around.settings.no_regressions:
            return
        with suppress(StopRun):
            self._run_incumbent(self.best.owed)
        if self.best.owed:
            self.notes.append(f"candidate {self.best.id} was not run on {len(self.best.owed)} training cases")
        whole = [each for each in self._accepted if not each.owed and not self.regressions(each)]
        self.best = (whole or [self.original])[-1]

    def begin(self) -> Stop | None:
        needless = super().begin()
        results = self.original.evidence(*SEARCHED)
        answers = sum(len(outcome.calls) for result in results for outcome in result.outcomes)
        # Counted in answers, known or paid for, so that a run that is gone on with decides the same.
        self._calls_per_case = max(1.0, answers / max(1, len(results)))
        shown = self._shown(self.original)
        rates = {
            result.case.id: result.rate
            for result in self.original.results[Split.TRAIN]
            if result.rate is not None and result.case.id not in shown
        }
        self.original = self.best = replace(self.original, outlook=outlook_of(rates, self._learning))
        if needless is None and not rates:
            return Stop(
                Halt.NO_EVIDENCE, "every training case with a result stands in the prompt as an example"
            )
        settings = self.around.settings
        first = settings.candidates + 1 + RUN_SHARE * len(rates) * self._calls_per_case
        self._economy = Economy(floor=settings.least_gain / 100 * len(rates) / 100, cost=first)
        purse = self.around.purse
        self._least_confirmation = purse.kept(self.group.key)
        own = (purse.free() or 0) + self._least_confirmation
        self._most_confirmation = max(self._least_confirmation, own // MOST_SHARE)
        self._set_aside()
        return needless

    def searched(self) -> Sequence[str]:
        waiting = set(self._waiting)
        return [case for case in super().searched() if case not in waiting]

    def _widen(self) -> bool:
        """Take as many training cases again into the search; whether they show more to mend."""
        count = len(self.original.results[Split.TRAIN])
        block, self._waiting = self._waiting[:count], self._waiting[count:]
        versions = [self.original] if self.best is self.original else [self.original, self.best]
        measured = self.evaluate([version.overlay for version in versions], block)
        for version, results in zip(versions, measured, strict=True):
            self.around.record_results(version.id, results)
        rates = {result.case.id: result.rate for result in measured[0] if result.rate is not None}
        wider: list[Version] = []
        for version, results in zip(versions, measured, strict=True):  # the original first: it is the base
            assert version.outlook is not None
            shown = self._shown(version) if wider else ()
            version.outlook.widen(case for case in rates if case not in shown)
            wider.append(version.ran(results))
            self.original = wider[0]
        self.best = wider[-1]
        self._rates = []  # those so far are of fewer cases
        self.checks.training = Passages(inputs(self.original.results[Split.TRAIN]))
        return any(result.failing is not None for result in measured[-1])

    def _note_screen(self) -> None:
        """Say how much the cases searched tell of all."""
        if not self._waiting:
            return
        cases = self.best.foresight.cases
        low, high = wilson(self.best.rate, self.best.foresight.run)
        self.notes.append(
            f"searched with {cases} of {cases + len(self._waiting)} training cases, drawn at "
            f"random: the pass rate on all of them is between {low:.0%} and {high:.0%} (95 % interval)"
        )

    def _iterate_until_halted(self, phase: Phase) -> Stop:
        """Iterate until a rule says stop, also of what the incumbent owed; a plateau allows one escape."""
        escaped = False
        while True:
            self._give_way()
            self._set_aside()
            unpaid = self._unpaid(phase)
            stop = self.halted(phase, self.best) or unpaid
            out_of_calls = unpaid is not None and unpaid.halt == Halt.BUDGET
            escape = stop is not None and stop.halt == Halt.PLATEAU and not escaped and not out_of_calls
            if stop and stop.halt == Halt.TARGET and self.best.owed and self._fits(len(self.best.owed)):
                self._run_incumbent(self.best.owed)
                continue
            if stop and not escape:
                return stop
            self._escaping, escaped = escape, escaped or escape
            runs, count = self.screen.runs, self._worth_asking()
            least = self._prospects()[max(0, count - 1)].calls
            if phase is Phase.TRAINING:
                self._look_for_failures(count)
                # That may show that there are none: no request for nothing.
                if not (self._failing() or self.best.owed) and (stop := self.halted(phase, self.best)):
                    return stop
            incumbent, failing = self.best.id, self._open(phase)
            attempts = self._iterate(phase, count)
            if self.best.id == incumbent and phase is Phase.TRAINING:
                self._recover()
            won = (failing - self._open(phase)) / failing if failing else 0.0
            asked = sum(attempt.kind in (Kind.REWRITE, Kind.MERGE) for attempt in attempts)
            self._economy.note(won, asked + self._calls_for(self.screen.runs - runs), least)

    def _give_way(self) -> None:
        """An incumbent that cannot be rendered for a further case gives way to the one before it."""
        if self.screen.refusal(self.best.overlay):
            self._accepted = [each for each in self._accepted if not self.screen.refusal(each.overlay)]
            self.best = (self._accepted or [self.original])[-1]

    def _open(self, phase: Phase) -> float:
        """How many cases of this phase the incumbent is expected to fail."""
        if phase is Phase.TRAINING:
            assert self.best.outlook is not None
            return self._open_of(self.best.outlook)
        results = [r.rate for r in self.best.evidence(Split.VALIDATION) if r.rate is not None]
        return len(results) - math.fsum(results)

    def _unpaid(self, phase: Phase) -> Stop | None:
        """Why no further iteration is made that the ceiling, or what it would win, does not pay for."""
        economy, free = self._economy, self.around.purse.free()
        least = 1 + self._calls_for(min(ENOUGH_CASES, len(self.group.ids(Split.TRAIN))))
        if free is not None and free < least:
            return Stop(
                Halt.BUDGET,
                f"{free} calls are left for the search, and the next iteration takes {least} at least"
                + f"; {self.around.purse.aside} are kept for judging the result"
                * bool(self.around.purse.aside),
            )
        failing = self._open(phase)
        if self.iterations and not economy.pays(failing):
            points = 100 * economy.gain(failing) / max(1, self.best.foresight.cases)
            return Stop(
                Halt.RETURNS,
                f"the next iteration is expected to win {points:.1f} points for "
                f"{economy.expected_cost:.0f} calls, less than {self.around.settings.least_gain:g} for 100",
            )
        return None

    # ------------------------------------------------------------------------------------------------- calls

    def _calls_for(self, runs: float) -> int:
        return math.ceil(runs * self._calls_per_case)

    def _fits(self, runs: int, *, requests: int = 0) -> bool:
        """Whether the ceiling leaves calls to run so many cases, and for these requests to the optimizer."""
        return self.around.purse.affords(requests + self._calls_for(runs))

    def _set_aside(self) -> None:
        """Keep what judging the best text takes."""
        if self.around.purse.left() is not None:
            self.around.purse.keep(self.group.key, self._judging(self.best))

    def _judging(self, version: Version) -> int:
        """Calls that judging a text takes: where it was not run, and fresh answers."""
        further = len(self.group.ids(Split.VALIDATION))
        training = version.foresight.cases
        if version is self.original:
            spared, calls = (1 - RUN_SHARE) * training + further, self._least_confirmation
        else:
            spared = len(version.spared(self.group))
            share = (training + further) / max(1, training)
            fixed, broken = (share * count for count in self._gained(version))
            each, alpha = self._calls_per_case, self.around.settings.alpha
            calls = foreseen_calls(training + further, fixed, broken, alpha, each=each, spared=spared)
            calls = min(calls or self._least_confirmation, self._most_confirmation)
        return self._calls_for(spared) + calls

    def _least_judging(self, version: Version) -> int:
        """Calls without which a text cannot be judged at all, however good it is."""
        fresh = 2 * least_pairs(self.around.settings.alpha)
        return self._calls_for(len(version.spared(self.group)) + fresh)

    def _gained(self, version: Version) -> tuple[float, float]:
        """How many training cases a text is expected to fix and to break of the original's."""
        if version is self.original or version.outlook is None or self.original.outlook is None:
            return 0.0, 0.0
        pairs = [
            (self.original.outlook.chance(case), version.outlook.chance(case))
            for case in version.outlook.cases
        ]
        fixed = math.fsum(max(0.0, after - before) for before, after in pairs)
        return fixed, math.fsum(max(0.0, before - after) for before, after in pairs)

    def _price(self) -> float:
        """What a call would win elsewhere, in cases."""
        return self._economy.price(self._prospects(), self.around.purse.free())

    # ---------------------------------------------------------------------------------------------- iteration

    def _iterate(self, phase: Phase, count: int) -> list[Attempt]:
        """Ask for candidates, run them, merge what fixes different cases, keep the best if it is better."""
        number = len(self.iterations) + 1
        hurried = self._hurried()
        attempts = self._workshop.proposed(
            number, phase, self.best, most=count, escape=self._escaping, hurried=hurried
        )
        if hurried:
            self._join(attempts)
        drawn = self._worth_drawing(max(count, 2))
        attempts += self._demonstrating.drawn(number, len(attempts) + 1, self.best, drawn)
        self._decide(attempts, phase)
        return attempts

    def _decide(self, attempts: list[Attempt], phase: Phase) -> None:
        """Judge candidates and end the iteration; raises `StopRun` after that, if one cut it off."""
        cut_off: StopRun | None = None
        try:
            self._judge(undecided(attempts), attempts, phase)
        except StopRun as stopped:
            cut_off = stopped
        self._keep_best(attempts, phase)
        self._briefing.learn(len(self.iterations) + 1, attempts)
        self.finished(phase, attempts, self.best)
        if cut_off:
            raise cut_off

    def _join(self, attempts: list[Attempt]) -> None:
        """Put the first texts for different prompts together: alone one may show nothing; calls are few."""
        first = {attempt.prompts[0]: attempt for attempt in reversed(undecided(attempts))}
        parts = sorted(first.values(), key=attempts.index)
        joined = self._workshop.merged(self._next_id(attempts), parts, self.best)
        if joined is None:
            return
        attempts.append(joined)
        for part in parts if not joined.verdict else ():
            part.decide(MERGED, f"it is part of candidate {joined.id}")

    def _prospects(self) -> list[Prospect]:
        """What asking for 1, 2, ... candidates promises: cases won, and calls.

        A first batch tells the candidates apart as far as is known of new texts; the best is kept if it is
        better than the incumbent.
        """
        assert self.best.outlook is not None
        new = Outlook(self.best.outlook.cases, self._learning, base=self.best.outlook)
        mean = new.lead(self.best.outlook).mean
        apart = math.sqrt(new.foreseeable(self._order()[:BATCH]))
        look, each = ENOUGH_CASES * self._calls_per_case, 1 + BATCH * self._calls_per_case
        return [
            Prospect(best_of(count, mean, apart), look + count * each)
            for count in range(1, self.around.settings.candidates + 1)
        ]

    def _worth_asking(self) -> int:
        """How many candidates to ask for: where their gain less the price of their calls is highest."""
        if not self.around.settings.writing:
            return 0
        price, prospects = self._price(), self._prospects()
        worth = [prospect.gain - price * prospect.calls for prospect in prospects]
        return worth.index(max(worth)) + 1

    def _worth_drawing(self, most: int) -> int:
        """How many sets of examples to try beside: as many as they have paid.

        Where calls are short they wait until rewriting has paid little.
        """
        examples, rewrites = self._ways[Kind.EXAMPLES], self._ways[Kind.REWRITE]
        if not examples.tries:
            paid_little = rewrites.expected < SHARE / 2 or not self.around.settings.writing
            return int(paid_little or not self._short())
        paid, other = examples.expected**2, rewrites.expected**2 * self.around.settings.writing
        return round(most * paid / (paid + other))

    def _short(self) -> bool:
        """Whether calls are so few that they go first where they win most."""
        return self._price() > 2 * self._economy.floor

    def _next_id(self, attempts: Sequence[Attempt]) -> str:
        return f"{len(self.iterations) + 1}.{len(attempts) + 1}"

    def _hurried(self) -> bool:
        """Whether the ceiling leaves too little for every prompt of a pipeline to have its turn."""
        turns = len(self.group.prompts)
        return turns > 1 and not self._fits(turns * self.best.foresight.cases)

    def _look_for_failures(self, requests: int) -> None:
        """Run the incumbent where it probably fails, until there is enough for so many requests."""
        outlook = self.best.outlook
        assert outlook is not None
        wanted = ENOUGH_CASES * requests
        while (missing := wanted - len(self._failing())) > 0:
            order = sorted(outlook.unrun, key=outlook.chance)
            likely = [case for case in order if outlook.chance(case) < LIKELY] or order[:missing] * (
                not self._failing()
            )
            wanted_now = missing if self._fits(missing) or self._failing() else ENOUGH_CASES
            if not likely or not self._run_incumbent(likely[:wanted_now]):
                return

    def _run_incumbent(self, cases: Sequence[str]) -> bool:
        """Run the incumbent on further training cases, if there are any and calls for them."""
        if not cases or not self._fits(len(cases)):
            return False
        paid = self.around.paid()
        (results,) = self.evaluate([self.best.overlay], cases)
        self.around.record_results(self.best.id, results)
        before = self.best
        self.best = before.ran(results)
        if not self.best.owed:
            self.made_up(results, self.best, paid)
        self._accepted = [self.best if each is before else each for each in self._accepted]
        self._set_aside()
        return True

    def _failing(self) -> list[str]:
        """The training cases that the incumbent was seen to fail, those that the original passes first."""
        failing = [r.case.id for r in self.best.evidence(Split.TRAIN) if r.failing is not None]
        passed = {r.case.id for r in self.original.evidence(Split.TRAIN) if r.failing is None}
        return sorted(failing, key=lambda case: case not in passed)

    def _recover(self) -> None:
        """Take out of the incumbent the passage to blame for cases that it fails; once for the same cases."""
        failing = self._failing()
        examined = (self.best.id, *failing)
        if self.best is self.original or len(failing) < 2 or examined in self._examined:
            return
        if not self._worth_curing(len(failing)):
            return
        if len(self.iterations) >= self.around.settings.max_iterations:
            return
        self._examined.add(examined)
        self.begun(Phase.TRAINING, self.best)
        cured = self._workshop.recovered(self._next_id([]), self.best, failing)
        if cured is None:
            self._curing.note(0.0)
            return
        before = self._open(Phase.TRAINING)
        self._decide([cured], Phase.TRAINING)
        self._curing.note((before - self._open(Phase.TRAINING)) / max(1.0, before))

    def _worth_curing(self, broken: int) -> bool:
        """Whether a search for the passage to blame for so many failing cases promises more than it costs."""
        cost = BLAMING * self._calls_per_case
        return self._fits(2 * BLAMING) and self._curing.expected * broken >= self._price() * cost

    # ---------------------------------------------------------------------------------------------- judging

    def _judge(self, contenders: Sequence[Attempt], attempts: list[Attempt], phase: Phase) -> None:
        """Run candidates; then what is made of the best of them, which must beat it: merged, or cured."""
        base = self.best.outlook
        assert base is not None
        for attempt in contenders:
            attempt.outlook = attempt.outlook or self._outlook(base, attempt)
        self._race(contenders, base, phase)
        contenders = undecided(contenders)
        self._note_ways(contenders, base)
        leader = self._leader(contenders)
        while leader is not None and self._looked_closer(leader, phase):
            contenders = undecided(contenders)
            leader = self._leader(contenders)
        if leader is not None and (merged := self._merged(leader, contenders, attempts)):
            leader = self._follow(merged, leader, attempts, phase, self._merging)
        if leader is not None and (cured := self._cured(leader, attempts)):
            self._follow(cured, leader, attempts, phase, self._curing)
        if phase is Phase.VALIDATION:
            self._measure_validation(attempts)

    def _looked_closer(self, attempt: Attempt, phase: Phase) -> bool:
        """Run one that would be the next incumbent on more cases; whether it was.

        So what is shown of it is near the truth, and what it breaks is seen while it can be mended. Where
        calls are short they win more elsewhere.
        """
        outlook, purse, incumbent = attempt.outlook, self.around.purse, self.best.outlook
        if attempt.verdict or outlook is None or phase is not Phase.TRAINING or self._short():
            return False
        assert incumbent is not None
        if outlook.lead(incumbent).mean <= 0 or self._unfixed(attempt):
            return False
        cases = telling_order(outlook, self._order(), incumbent)[: max(0, LOOK - len(outlook.known))]
        left = purse.left()
        if not cases or (left is not None and left < self._least_judging(attempt.kept())):
            return False
        purse.keep(self.group.key, 0)  # what it is run on now it does not owe at the end
        try:
            (results,) = self.evaluate([attempt.overlay], cases)
        finally:
            self._set_aside()
        self.around.record_results(attempt.id, results)
        attempt.ran(results)
        self.refuse([attempt])
        if not attempt.verdict:
            outlook.settle()
            self._compare(attempt)
        return True

    def _follow(
        self, made: Attempt, leader: Attempt, attempts: list[Attempt], phase: Phase, payoff: Payoff
    ) -> Attempt:
        """Race a text that was made of the leader against it; the one that is ahead."""
        attempts.append(made)
        if made.verdict:
            payoff.note(0.0)
            return leader
        assert leader.outlook is not None
        outlook = made.outlook = self._outlook(leader.outlook, made)
        self._race([made], leader.outlook, phase)
        if outlook.lead(leader.outlook).mean > 0:
            self._looked_closer(made, phase)
        if made.verdict:
            payoff.note(0.0)
            return leader
        lead = outlook.lead(leader.outlook)
        payoff.note(lead.mean / max(1.0, self._open_of(leader.outlook)))
        return made if lead.mean > 0 else leader

    def _note_ways(self, contenders: Sequence[Attempt], base: Outlook) -> None:
        """Remember what each way of making candidates has won."""
        for attempt in contenders:
            if attempt.kind in self._ways and attempt.outlook is not None and attempt.outlook.known:
                won = attempt.outlook.lead(base).mean / max(1.0, self._open_of(base))
                self._ways[attempt.kind].note(won)
                if attempt.kind is Kind.EXAMPLES:
                    self._demonstrating.note(attempt, won)

    def _shown(self, version: Version | Attempt) -> frozenset[str]:
        """The training cases that stand in its texts as examples: they are no evidence for these."""
        results, redact = self.original.evidence(Split.TRAIN), self.around.policies.redact
        return shown_by(self.group.prompts, version.overlay, results, redact)

    def _open_of(self, outlook: Outlook) -> float:
        return math.fsum(1 - outlook.expected(case) for case in outlook.cases)

    def _outlook(self, base: Outlook, attempt: Attempt) -> Outlook:
        assert self.original.outlook is not None
        shown = self._shown(attempt)
        cases = [case for case in self.original.outlook.cases if case not in shown]
        return Outlook(cases, self._learning, base=base, kind=attempt.kind, name=attempt.id)

    def _race(self, attempts: Sequence[Attempt], incumbent: Outlook, phase: Phase) -> None:
        by_id = {attempt.id: attempt for attempt in attempts}
        runners = [Runner(attempt.id, attempt.outlook) for attempt in attempts if attempt.outlook is not None]
        race = Race(
            runners,
            incumbent,
            self._order(),
            calls=self._calls_per_case,
            sideways=self._escaping or phase is Phase.VALIDATION,
        )
        while moves := self._affordable(race.moves(self._price())):
            trials = [Trial(by_id[move.runner.id].overlay, move.cases) for move in moves]
            measured = self.around.evaluator.evaluate(trials)
            for move, results in zip(moves, measured, strict=True):
                by_id[move.runner.id].ran(results)
                self.around.record_results(move.runner.id, results)
            self.refuse(attempts)
            race.runners = [runner for runner in race.runners if not by_id[runner.id].verdict]
            # What the others show of their kind tells of each, while all are still run.
            for attempt in attempts:
                if attempt.outlook is not None and attempt.outlook.known:
                    self._learning.learn(attempt.kind, attempt.outlook.belief, attempt.id)
            for runner in race.runners:
                runner.outlook.rethink()
        for attempt in undecided(attempts):
            assert attempt.outlook is not None
            attempt.outlook.settle()
            self._compare(attempt)

    def _affordable(self, moves: Sequence[Move]) -> list[Move]:
        """The first of `moves` that the ceiling leaves calls for, the last one cut to what is left."""
        chosen: list[Move] = []
        for move in moves:
            used = sum(len(each.cases) for each in chosen)
            fitting = next((n for n in range(len(move.cases), 0, -1) if self._fits(used + n)), 0)
            if fitting:
                chosen.append(replace(move, cases=move.cases[:fitting]))
        return chosen

    def _order(self) -> list[str]:
        """The training cases in the order of their runs: all labels in turns, drawn anew each time."""
        rng = random.Random(f"{self.around.settings.seed}/{len(self.iterations)}")
        groups: dict[str, list[str]] = {}
        for result in sorted(self.original.evidence(Split.TRAIN), key=lambda result: result.case.id):
            groups.setdefault(_label(result), []).append(result.case.id)
        places: list[tuple[float, str]] = []
        for members in groups.values():
            rng.shuffle(members)
            start = rng.random()
            places += [((place + start) / len(members), case) for place, case in enumerate(members)]
        return [case for _, case in sorted(places)]

    def _compare(self, attempt: Attempt) -> None:
        """Set what a candidate is judged by in training: against the incumbent, on all cases of both."""
        assert attempt.outlook is not None
        assert self.best.outlook is not None
        attempt.results.setdefault(Split.TRAIN, ())
        compared = foreseen(
            self.best.outlook,
            attempt.outlook,
            self.best.evidence(Split.TRAIN),
            attempt.results[Split.TRAIN],
            growth=attempt.growth,
        )
        attempt.compared[Split.TRAIN] = replace(compared, sideways=self._escaping)

    def _leader(self, attempts: Sequence[Attempt]) -> Attempt | None:
        """The candidate that is ahead; None when none was run."""
        ran = [attempt for attempt in attempts if attempt.results.get(Split.TRAIN)]
        return min(ran, key=lambda attempt: rank(attempt.compared[Split.TRAIN]), default=None)

    def _merged(
        self, leader: Attempt, contenders: Sequence[Attempt], attempts: Sequence[Attempt]
    ) -> Attempt | None:
        """One candidate that does what the leader and others do, where that promises more than it costs."""
        assert leader.outlook is not None
        fixed = set(leader.compared[Split.TRAIN].fixed)
        failed = {case for case, rate in leader.outlook.known.items() if rate < 1 - EPSILON}
        parts, more = [leader], set[str]()
        for other in sorted(contenders, key=lambda one: rank(one.compared[Split.TRAIN])):
            beyond = set(other.compared[Split.TRAIN].fixed) - fixed - more
            # What the leader was not run on may be fixed by it as well.
            beyond = {case for case in beyond if case in failed}
            if other is not leader and beyond and other.results.get(Split.TRAIN):
                parts.append(other)
                more |= beyond
        if not more or not self._fits(ENOUGH_CASES, requests=1):
            return None
        # Among the failing cases that both were run on, the others fix this share; so they may of all.
        promised = len(more) / max(1, len(failed)) * self._open_of(leader.outlook)
        cost = 1 + 2 * ENOUGH_CASES * self._calls_per_case
        if self._merging.expected * promised < self._price() * cost:
            return None
        return self._workshop.merged(self._next_id(attempts), parts, self.best)

    def _cured(self, leader: Attempt, attempts: Sequence[Attempt]) -> Attempt | None:
        """The leader without the passage to blame for what it breaks; None where that is not worth calls."""
        broken = leader.compared[Split.TRAIN].broken
        if len(broken) < 2 or not self._worth_curing(len(broken)):
            return None
        cured = self._workshop.cured(self._next_id(attempts), leader, self.best)
        if cured is None:
            self._curing.note(0.0)
        return cured

    def _keep_best(self, attempts: Sequence[Attempt], phase: Phase) -> None:
        """The best candidate that the acceptance rule takes is the new incumbent; the others are rejected."""
        ran = [attempt for attempt in undecided(attempts) if attempt.results.get(Split.TRAIN)]
        for attempt in ran:
            self._compare(attempt)
            self._accept(attempt, phase)
        ranked = sorted(undecided(ran), key=lambda attempt: rank(attempt.compared[DECIDING[phase]]))
        for attempt in ranked[:1]:
            attempt.verdict = ACCEPTED
            self.best = attempt.kept()
            self._accepted.append(self.best)
        for attempt in ranked[1:]:
            attempt.decide(REJECTED, f"candidate {self.best.id} goes before it; {attempt.why}")
        for attempt in undecided(attempts):
            attempt.decide(REJECTED, "no calls were left to run it")

    def _accept(self, attempt: Attempt, phase: Phase) -> None:
        """Reject a candidate that the acceptance rule does not take, or that loses what may not be lost."""
        if lost := self.regressions(attempt):
            attempt.decide(REJECTED, f"it fails {len(lost)} that the original passed: {', '.join(lost)}")
            return
        left = self.around.purse.left()
        found = left is not None and self.best is not self.original
        if found and (least := self._least_judging(attempt.kept())) > (left or 0):
            attempt.decide(REJECTED, f"judging it takes {least} calls at least, and {left} are left")
            return
        training = attempt.compared[Split.TRAIN]
        if phase is Phase.TRAINING and not self._escaping and (failing := self._unfixed(attempt)):
            attempt.decide(REJECTED, f"it fixes none of the {failing} failing training cases it was run on")
            return
        if phase is Phase.VALIDATION:
            if Split.VALIDATION not in attempt.compared:
                attempt.decide(REJECTED, f"it breaks what was learned in training: {training}")
                return
            training = attempt.compared[Split.VALIDATION]
        verdict = self.around.policies.accept(training)
        attempt.why = verdict.why
        if not verdict.accepted:
            attempt.decide(REJECTED, verdict.why)

    def _unfixed(self, attempt: Attempt) -> int:
        """How many failing cases a candidate was run on, if it is better on none of them; else 0."""
        assert self.best.outlook is not None
        assert attempt.outlook is not None
        known = attempt.outlook.known
        pairs = [(rate, known[case]) for case, rate in self.best.outlook.known.items() if case in known]
        failing = [(before, after) for before, after in pairs if before < 1 - EPSILON]
        return len(failing) * all(after <= before + EPSILON for before, after in failing)

    # --------------------------------------------------------------------------------------------- validation

    def _validate(self) -> None:
        """Score the incumbent on validation; where it only learned the training cases, go back."""
        if self.best is self.original:
            return
        self.best = trained = self._validated([self.best])[0]
        refused = self.screen.refusal(trained.overlay)
        before, after = (each.results[Split.VALIDATION] for each in (self.original, trained))
        comparison = compare(before, after, split=Split.VALIDATION)
        if holds(comparison) and not self.regressions(trained) and not refused:
            return
        validated = [each for each in self._validated(self._accepted) if not self.regressions(each)]
        others = [each for each in validated if not self.screen.refusal(each.overlay)]
        self.best = self.best_of([self.original, *others])
        kept = "the original" if self.best is self.original else f"candidate {self.best.id}"
        what = refused or f"fell on validation ({comparison})"
        self.notes.append(
            f"candidate {trained.id} was best in training but {what}; {kept} is best on both together"
        )
        self.around.record("overfitted", candidate=trained.id, kept=self.best.id, why=str(comparison))

    def _validated(self, versions: Sequence[Version]) -> list[Version]:
        overlays = [version.overlay for version in versions]
        measured = self.evaluate(overlays, self.group.ids(Split.VALIDATION))
        for version, results in zip(versions, measured, strict=True):
            self.around.record_results(version.id, results)
        scored = [
            replace(version, results={**version.results, Split.VALIDATION: results})
            for version, results in zip(versions, measured, strict=True)
        ]
        by_id = {version.id: version for version in scored}
        self._accepted = [by_id.get(version.id, version) for version in self._accepted]
        return scored

    def _measure_validation(self, attempts: Sequence[Attempt]) -> None:
        """Run those on validation that keep what was learned in training."""
        tried = [
            attempt
            for attempt in undecided(attempts)
            if (ran := attempt.results.get(Split.TRAIN))
            and holds(compare(self.best.evidence(Split.TRAIN), ran))
        ]
        if not self._fits(len(tried) * len(self.group.ids(Split.VALIDATION))):
            for attempt in tried:
                attempt.decide(REJECTED, "no calls were left to run it on the validation cases")
            return
        measured = self.evaluate([attempt.overlay for attempt in tried], self.group.ids(Split.VALIDATION))
        before = self.best.results[Split.VALIDATION]
        self.refuse(tried)
        for attempt, results in zip(tried, measured, strict=True):
            if attempt.verdict:
                continue
            attempt.results[Split.VALIDATION] = results
            attempt.compared[Split.VALIDATION] = compare(
                before,
                results,
                split=Split.VALIDATION,
                growth=attempt.growth,
                balanced=balanced_accuracy(results),
            )
            self.around.record_results(attempt.id, results)


def _label(result: CaseResult) -> str:
    """What is expected of a case, as far as it is known: cases of one label are spread over a race."""
    for outcome in result.counted:
        if outcome.failure is not None and outcome.failure.expected is not None:
            return str(outcome.failure.expected)
        if outcome.calls:
            return outcome.calls[-1].text
    return ""
