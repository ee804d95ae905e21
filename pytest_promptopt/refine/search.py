"""The strategy `refine`: one group of prompts, from the first evaluation to the best text found."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from pytest_promptopt.evidence import wilson
from pytest_promptopt.records import Split, pass_rate
from pytest_promptopt.refine.acceptance import EPSILON, compare, holds, rank
from pytest_promptopt.refine.attempts import ACCEPTED, MERGED, REJECTED, Attempt, Version, undecided
from pytest_promptopt.refine.briefs import Briefing
from pytest_promptopt.refine.checks import Passages
from pytest_promptopt.refine.evaluator import StopRun
from pytest_promptopt.refine.frame import SEARCHED, SearchFrame, inputs
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.halting import DECIDING, Halt, Phase, Stop
from pytest_promptopt.refine.race import BROKEN_BY_CHANCE, FIRST_GUARDS, race
from pytest_promptopt.refine.surroundings import Surroundings
from pytest_promptopt.refine.workshop import Workshop

__all__ = ["SEARCHED", "Search"]

#: Of more training cases than this the search begins with a sample: a large suite need not cost more.
LARGE = 200
SCREEN = 100

#: So many evaluations of all training cases left are plenty; with less, the next iteration is the better use.
AMPLE = 8

#: The share of the training cases that the incumbent owes which may fail, for all that is known.
HIDDEN = 0.15


class Search(SearchFrame):
    """Refines one group of prompts: training phase, then validation phase. `best` is the incumbent."""

    def __init__(self, group: Group, around: Surroundings) -> None:
        super().__init__(group, around)
        self._accepted: list[Version] = []
        self._briefing = Briefing(group, around.settings, around.policies)
        self._workshop = Workshop(self, self._briefing)
        self._escaping = False
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
        if pass_rate(self.original.results[Split.VALIDATION]) is None:
            return stop
        self.enter(Phase.VALIDATION)
        self._validate()
        made = len(self.iterations)
        later = self._iterate_until_halted(Phase.VALIDATION)
        return later if len(self.iterations) > made else stop

    def conclude(self) -> None:
        """Score what a search stopped in training had found; the calls for it were set aside."""
        if Split.VALIDATION in self.best.results or not self.group.ids(Split.VALIDATION):
            return
        try:
            self.enter(Phase.VALIDATION)
            self._validate()
        except StopRun as stopped:
            self.notes.append(f"the validation cases could not be run: {stopped.why}")

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
        wider = [version.settled(results) for version, results in zip(versions, measured, strict=True)]
        self.original, self.best = wider[0], wider[-1]
        self.checks.training = Passages(inputs(self.original.results[Split.TRAIN]))
        failing = sum(result.failing is not None for result in measured[-1])
        return failing > BROKEN_BY_CHANCE * len(block)

    def _note_screen(self) -> None:
        """Say how much the cases searched tell of all."""
        if not self._waiting:
            return
        results = self.best.evidence(Split.TRAIN)
        low, high = wilson(pass_rate(results) or 0.0, len(results))
        self.notes.append(
            f"searched with {len(results)} of {len(results) + len(self._waiting)} training cases, drawn at "
            f"random: the pass rate on all of them is between {low:.0%} and {high:.0%} (95 % interval)"
        )

    def begin(self) -> Stop | None:
        paid = self.around.paid().calls
        needless = super().begin()
        results = self.original.evidence(*SEARCHED)
        answers = sum(len(outcome.calls) for result in results for outcome in result.outcomes)
        # Known answers cost nothing; the candidates' will.
        calls = max(self.around.paid().calls - paid, answers)
        self._calls_per_case = calls / max(1, len(results))
        return needless

    def _iterate_until_halted(self, phase: Phase) -> Stop:
        """Iterate until a rule says stop, also of what the incumbent owed; a plateau allows one escape."""
        escaped = False
        while True:
            stop = self.halted(phase, self.best)
            if self.best.owed and (stop is not None or self._owes_much()):
                self._settle(phase)
                continue
            if stop is not None and (stop.halt != Halt.PLATEAU or escaped):
                return stop
            if short := self._short():
                if not self.best.owed:
                    return short
                self._settle(phase)
                continue
            self._escaping, escaped = stop is not None, escaped or stop is not None
            self._iterate(phase)

    def _ample(self) -> bool:
        """Whether the ceiling leaves enough to run also the parts of a merged candidate that was not kept."""
        left = self.around.left()
        return left is None or left >= AMPLE * len(self.best.standing(Split.TRAIN)) * self._calls_per_case

    def _owes_much(self) -> bool:
        """Whether the training cases that it owes may hide as many failing ones as are known."""
        return self._failing() <= HIDDEN * len(self.best.owed)

    def _failing(self) -> int:
        return sum(result.failing is not None for result in self.best.standing(Split.TRAIN))

    def _short(self) -> Stop | None:
        """Why no further iteration can be paid for, nor the cases that the incumbent would then owe."""
        left = self.around.left()
        if left is None:
            return None
        runs = min(self._failing() + FIRST_GUARDS, len(self.best.standing(Split.TRAIN))) + len(self.best.owed)
        needed = self.around.settings.candidates + 1 + math.ceil(runs * self._calls_per_case)
        if needed <= left:
            return None
        why = f"{left} calls are left for the search, and the next iteration takes {needed}"
        return Stop(Halt.BUDGET, why)

    def _settle(self, phase: Phase) -> None:
        """Run the incumbent on the training cases that it owes, and take out of it what does harm."""
        (results,) = self.evaluate([self.best.overlay], [result.case.id for result in self.best.owed])
        self.around.record_results(self.best.id, results)
        self.best = self.best.settled(results)
        self._accepted[-1:] = [self.best]
        self.settled(phase, self.best)
        if phase is Phase.TRAINING:
            self._recover()
        if self.regressions(self.best):
            self._accepted = [version for version in self._accepted if not self.regressions(version)]
            self.best = self._accepted[-1] if self._accepted else self.original
            self.settled(phase, self.best)

    def _validate(self) -> None:
        """Score the incumbent on validation; where it only learned the training cases, go back."""
        if self.best is self.original:
            return
        self.best = trained = self._validated([self.best])[0]
        before, after = (each.results[Split.VALIDATION] for each in (self.original, trained))
        comparison = compare(before, after, split=Split.VALIDATION)
        if holds(comparison) and not self.regressions(trained):
            return
        others = [version for version in self._validated(self._accepted) if not self.regressions(version)]
        self.best = max([self.original, *others], key=self.merit)
        kept = "the original" if self.best is self.original else f"candidate {self.best.id}"
        self.notes.append(
            f"candidate {trained.id} was best in training but fell on validation ({comparison}); "
            f"{kept} is best on both together"
        )
        self.around.record("overfitted", candidate=trained.id, kept=self.best.id, why=str(comparison))

    def _validated(self, versions: Sequence[Version]) -> list[Version]:
        overlays = [version.overlay for version in versions]
        measured = self.evaluate(overlays, self.group.ids(Split.VALIDATION))
        for version, results in zip(versions, measured, strict=True):
            self.around.record_results(version.id, results)
        return [
            replace(version, results={**version.results, Split.VALIDATION: results})
            for version, results in zip(versions, measured, strict=True)
        ]

    # ---------------------------------------------------------------------------------------------- iteration

    def _iterate(self, phase: Phase) -> None:
        """Ask for candidates, merge and run them, keep the best if it is better, learn from all.

        The parts of a merged candidate that is not good enough run by themselves if there is plenty left. To
        escape from a plateau bolder candidates run each by itself, and a step sideways will do.
        """
        number = len(self.iterations) + 1
        attempts = self._workshop.proposed(number, phase, self.best, escape=self._escaping)
        contenders = undecided(attempts)
        if not self._escaping:
            merged = self._workshop.merged(f"{number}.{len(attempts) + 1}", contenders, self.best)
            attempts += [merged] if merged else []
            contenders = [merged] if merged and not merged.verdict else contenders
        self._judge(contenders, attempts, phase)
        if self._ample() and not any(attempt.compared for attempt in undecided(attempts)):
            self._judge(undecided(attempts), attempts, phase)
        self._keep_best(attempts, phase)
        self._briefing.learn(number, attempts)
        self.finished(phase, attempts, self.best)

    def _recover(self) -> None:
        """Take out of the incumbent the passage to blame where it fails what the original passes."""
        id = f"{len(self.iterations) + 1}.1"
        found = self._workshop.recovered(id, self.best, self.original)
        if found is None:
            return
        attempt, broken = found
        if not attempt.verdict:
            self._race([attempt], Phase.TRAINING, first=broken)
            self._accept([attempt], Phase.TRAINING)
        self._keep_best([attempt], Phase.TRAINING)
        self.finished(Phase.TRAINING, [attempt], self.best)

    def _judge(self, contenders: Sequence[Attempt], attempts: list[Attempt], phase: Phase) -> None:
        """Run candidates and reject what is not good enough; the others stay open.

        A candidate that breaks something is tried once more without the passage that does; it is added to
        `attempts`.
        """
        self._race(contenders, phase)
        for attempt in [attempt for attempt in contenders if attempt.harmful]:
            id = f"{len(self.iterations) + 1}.{len(attempts) + 1}"
            if cured := self._workshop.cured(id, attempt, self.best):
                attempts.append(cured)
                self._race(undecided([cured]), phase, first=attempt.compared[Split.TRAIN].broken)
                contenders = [*contenders, cured]
        if phase is Phase.VALIDATION:
            self._measure_validation(contenders)
        self._accept(contenders, phase)

    def _race(self, attempts: Sequence[Attempt], phase: Phase, *, first: Sequence[str] = ()) -> None:
        race(
            attempts,
            self.best,
            self.around.evaluator.evaluate,
            seed=f"{self.around.settings.seed}/{len(self.iterations)}",
            first=first,
            slack=self._slack(phase),
        )
        for attempt in attempts:
            self.around.record_results(attempt.id, attempt.results[Split.TRAIN])

    def _slack(self, phase: Phase) -> float | None:
        """How many training cases more than it fixes a candidate may break.

        A step sideways may break none on balance; what helps in validation, as many as any new wording does.
        """
        if phase is Phase.VALIDATION:
            return BROKEN_BY_CHANCE * len(self.best.standing(Split.TRAIN))
        return 0.0 if self._escaping else None

    def _measure_validation(self, contenders: Sequence[Attempt]) -> None:
        """Run those on validation that keep what was learned in training."""
        for attempt in undecided(contenders):
            training = attempt.compared[Split.TRAIN]
            if training.gain < -BROKEN_BY_CHANCE - EPSILON:
                attempt.decide(REJECTED, f"it breaks what was learned in training: {training}")
        tried = undecided(contenders)
        measured = self.evaluate([attempt.overlay for attempt in tried], self.group.ids(Split.VALIDATION))
        before = self.best.results[Split.VALIDATION]
        for attempt, results in zip(tried, measured, strict=True):
            attempt.results[Split.VALIDATION] = results
            attempt.compared[Split.VALIDATION] = compare(
                before, results, split=Split.VALIDATION, growth=attempt.growth
            )
            self.around.record_results(attempt.id, results)

    def _accept(self, contenders: Sequence[Attempt], phase: Phase) -> None:
        """Reject those that the acceptance rule does not take."""
        for attempt in undecided(contenders):
            if lost := self.regressions(attempt):
                attempt.decide(REJECTED, f"it fails {len(lost)} that the original passed: {', '.join(lost)}")
                continue
            verdict = self.around.policies.accept(attempt.compared[DECIDING[phase]])
            attempt.why = verdict.why
            if not verdict.accepted:
                attempt.decide(REJECTED, verdict.why)

    def _keep_best(self, attempts: Sequence[Attempt], phase: Phase) -> None:
        """Of the candidates that were run and are still open the best becomes the incumbent."""
        ran = [attempt for attempt in undecided(attempts) if attempt.compared]
        ranked = sorted(ran, key=lambda attempt: rank(attempt.compared[DECIDING[phase]]))
        for attempt in ranked[:1]:
            attempt.verdict = ACCEPTED
            self.best = attempt.kept(self.best)
            self._accepted.append(self.best)
        for attempt in ranked[1:]:
            attempt.decide(REJECTED, f"candidate {self.best.id} goes before it; {attempt.why}")
        for attempt in undecided(attempts):
            attempt.decide(MERGED, "it is part of the merged candidate and was not run by itself")
