"""The strategy `refine`: one group of prompts, from the first evaluation to the best text found."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from pytest_promptopt.evidence import wilson
from pytest_promptopt.records import Split, pass_rate
from pytest_promptopt.refine.acceptance import compare, holds, rank
from pytest_promptopt.refine.attempts import ACCEPTED, MERGED, REJECTED, Attempt, Version, undecided
from pytest_promptopt.refine.briefs import Briefing
from pytest_promptopt.refine.checks import Passages
from pytest_promptopt.refine.evaluator import StopRun
from pytest_promptopt.refine.frame import SEARCHED, SearchFrame, inputs
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.halting import DECIDING, Halt, Phase, Stop
from pytest_promptopt.refine.race import BROKEN_BY_CHANCE, FEW_BROKEN, GUARDS, race, rerun
from pytest_promptopt.refine.surroundings import Surroundings
from pytest_promptopt.refine.workshop import Workshop

#: Of more training cases than this the search begins with a sample: a large suite need not cost more.
LARGE = 200
SCREEN = 100

#: So many evaluations of all training cases left are plenty; with less, the next iteration is the better use.
AMPLE = 8


class Search(SearchFrame):
    """Refines one group of prompts: training phase, then validation phase. `best` is the incumbent."""

    def __init__(self, group: Group, around: Surroundings) -> None:
        super().__init__(group, around)
        self._accepted: list[Version] = []
        self._briefing = Briefing(group, around.settings, around.policies)
        self._workshop = Workshop(self, self._briefing)
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
        if pass_rate(self.original.results[Split.VALIDATION]) is None:
            return stop
        self.enter(Phase.VALIDATION)
        self._validate()
        made = len(self.iterations)
        later = self._iterate_until_halted(Phase.VALIDATION)
        return later if len(self.iterations) > made else stop

    def conclude(self) -> None:
        """Score what a search stopped in training had found; the calls for it were set aside."""
        if self.best.owed and self.around.settings.no_regressions:
            self.notes.append(f"candidate {self.best.id} was not run on {len(self.best.owed)} training cases")
            self._accepted = [version for version in self._accepted if not version.owed]
            self.best = (self._accepted or [self.original])[-1]
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
        results = self.best.standing(Split.TRAIN)
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
            stop, short = self.halted(phase, self.best), self._short()
            escape = stop is not None and stop.halt == Halt.PLATEAU and not escaped
            owed = len(self.best.owed)
            if owed and (stop or short) and self._affordable(owed):
                self._settle(phase)
                continue
            if stop and not escape:
                return self._stopped_by_ceiling(owed, "what was not run yet") if owed else stop
            if short:
                return short
            self._escaping, escaped = escape, escaped or escape
            incumbent = self.best
            self._iterate(phase)
            if self.best is incumbent and phase is Phase.TRAINING:
                self._recover()

    def _short(self) -> Stop | None:
        """Why no further iteration can be paid for; None if it can."""
        runs = min(len(self._failing()) + GUARDS, len(self.best.standing(Split.TRAIN)))
        rewritten = len(self.group.prompts) if self._hurried() else 1
        requests = (self.around.settings.candidates + 1) * rewritten
        if self._affordable(runs, requests=requests):
            return None
        return self._stopped_by_ceiling(runs, "the next iteration", requests=requests)

    def _affordable(self, runs: int, *, requests: int = 0) -> bool:
        """Whether the ceiling leaves calls to run so many cases, and for these requests to the optimizer."""
        left = self.around.left()
        return left is None or requests + self._calls_for(runs) <= left

    def _stopped_by_ceiling(self, runs: int, what: str, *, requests: int = 0) -> Stop:
        left, needed = self.around.left(), requests + self._calls_for(runs)
        return Stop(Halt.BUDGET, f"{left} calls are left for the search, and {what} takes {needed}")

    def _calls_for(self, runs: int) -> int:
        return math.ceil(runs * self._calls_per_case)

    def _ample(self) -> bool:
        """Whether the ceiling leaves enough to run also the parts of a merged candidate that was not kept."""
        return self._affordable(AMPLE * len(self.best.standing(Split.TRAIN)))

    def _failing(self) -> list[str]:
        """The training cases that the incumbent fails, those that the original passes first."""
        failing = [r.case.id for r in self.best.standing(Split.TRAIN) if r.failing is not None]
        passed = {r.case.id for r in self.original.evidence(Split.TRAIN) if r.failing is None}
        return sorted(failing, key=lambda case: case not in passed)

    def _settle(self, phase: Phase) -> None:
        """Run the incumbent on the training cases that it owes, and take out of it what does harm."""
        paid = self.around.paid()
        (results,) = self.evaluate([self.best.overlay], [result.case.id for result in self.best.owed])
        self.around.record_results(self.best.id, results)
        settled = self.best.settled(results)
        self.made_up(results, settled, paid)
        self._accepted = [settled if each.id == settled.id else each for each in self._accepted]
        self.best = self._best_of_all(settled)
        if phase is Phase.TRAINING:
            self._recover()

    def _best_of_all(self, settled: Version) -> Version:
        """The last of the best versions that were run on everything that `settled` was run on."""
        splits = tuple(settled.results)
        whole = [
            version
            for version in (self.original, *self._accepted)
            if not version.owed and version.results.keys() >= {*splits} and not self.regressions(version)
        ]
        return max(reversed(whole), key=lambda version: pass_rate(version.evidence(*splits)) or 0.0)

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
        attempts = self._workshop.proposed(
            number, phase, self.best, escape=self._escaping, hurried=self._hurried()
        )
        parts = undecided(attempts)
        merged = None if self._escaping else self._workshop.merged(self._next_id(attempts), parts, self.best)
        if merged:
            attempts.append(merged)
        contenders = [merged] if merged and not merged.verdict else parts
        cut_off: StopRun | None = None
        try:
            self._judge(contenders, attempts, phase)
            lost = not any(attempt.compared for attempt in undecided(attempts))
            if lost and contenders is not parts and self._ample():
                self._judge(parts, attempts, phase)
        except StopRun as stopped:
            cut_off = stopped
            self._judge_by_what_was_run(attempts, phase)
        self._keep_best(attempts, phase)
        self._briefing.learn(number, attempts)
        self.finished(phase, attempts, self.best)
        if cut_off:
            raise cut_off

    def _judge_by_what_was_run(self, attempts: Sequence[Attempt], phase: Phase) -> None:
        """Judge the candidates that the end of the run cut off: what they cost is paid."""
        passing = {r.case.id for r in self.best.standing(Split.TRAIN) if r.failing is None}
        # The parts of a merged candidate were not to be run.
        begun = [attempt for attempt in undecided(attempts) if attempt.made or attempt.results]
        for attempt in begun:
            known = (result.case.id for result in (*attempt.results.get(Split.TRAIN, ()), *attempt.taken))
            if DECIDING[phase] not in attempt.compared or passing.isdisjoint(known):
                attempt.decide(REJECTED, "the run ended before enough cases were run to judge it")
        self._accept(undecided(begun), phase)

    def _next_id(self, attempts: Sequence[Attempt]) -> str:
        return f"{len(self.iterations) + 1}.{len(attempts) + 1}"

    def _hurried(self) -> bool:
        """Whether the ceiling leaves too little for every prompt of a pipeline to have its turn."""
        turns = len(self.group.prompts)
        return turns > 1 and not self._affordable(turns * len(self.best.standing(Split.TRAIN)))

    def _recover(self) -> None:
        """Take out of the incumbent the passage to blame for cases that it fails; once for the same cases."""
        failing = self._failing()
        examined = (self.best.id, *failing)
        if self.best is self.original or len(failing) < FEW_BROKEN or examined in self._examined:
            return
        self._examined.add(examined)
        self.begun(Phase.TRAINING, self.best)
        cured = self._workshop.recovered(self._next_id([]), self.best, failing)
        if cured is None:
            return
        self._rerun(cured, failing, Phase.TRAINING)
        self._keep_best([cured], Phase.TRAINING)
        self.finished(Phase.TRAINING, [cured], self.best)

    def _judge(self, contenders: Sequence[Attempt], attempts: list[Attempt], phase: Phase) -> None:
        """Run candidates and reject what is not good enough; the others stay open.

        A candidate that breaks something is tried once more without the passage that does; it is added to
        `attempts`.
        """
        self._race(contenders, phase)
        if phase is Phase.VALIDATION:
            self._measure_validation(contenders)
        self._accept(contenders, phase)
        for attempt in [attempt for attempt in contenders if attempt.harmful]:
            if cured := self._workshop.cured(self._next_id(attempts), attempt, self.best):
                attempts.append(cured)
                self._rerun(cured, attempt.compared[Split.TRAIN].broken, phase)

    def _rerun(self, cured: Attempt, broken: Sequence[str], phase: Phase) -> None:
        """Run a candidate that was cut from another where that one failed, and judge it by all it shows."""
        if cured.verdict:
            return
        rerun(cured, broken, self.best, self.around.evaluator.evaluate)
        self.around.record_results(cured.id, cured.results[Split.TRAIN])
        if phase is Phase.VALIDATION:
            self._measure_validation([cured])
        self._accept([cured], phase)

    def _race(self, attempts: Sequence[Attempt], phase: Phase) -> None:
        race(
            attempts,
            self.best,
            self.around.evaluator.evaluate,
            seed=f"{self.around.settings.seed}/{len(self.iterations)}",
            sideways=self._escaping or phase is Phase.VALIDATION,
        )
        for attempt in attempts:
            self.around.record_results(attempt.id, attempt.results[Split.TRAIN])

    def _measure_validation(self, contenders: Sequence[Attempt]) -> None:
        """Run those on validation that keep what was learned in training."""
        for attempt in undecided(contenders):
            if not holds(training := attempt.compared[Split.TRAIN]):
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
