"""The refinement of one group of prompts, from the first evaluation to the best text found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from pytest_promptopt.records import Iteration, Overlay, Split, pass_rate
from pytest_promptopt.refine.acceptance import EPSILON, compare, holds, rank, score
from pytest_promptopt.refine.attempts import ACCEPTED, REFUSED, REJECTED, Attempt, Results, Version
from pytest_promptopt.refine.briefs import Briefing
from pytest_promptopt.refine.checks import Checks, Passages
from pytest_promptopt.refine.evaluator import StopRun, Trial
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.halting import DECIDING, Halt, Phase, Standing, Stop
from pytest_promptopt.refine.proposer import Wanted
from pytest_promptopt.refine.replies import Reply, Unusable
from pytest_promptopt.refine.requests import Brief
from pytest_promptopt.refine.surroundings import Surroundings

#: The splits that a search may see.
SEARCHED = (Split.TRAIN, Split.VALIDATION)


class Search:
    """Refines one group of prompts: training phase, then validation phase."""

    def __init__(self, group: Group, around: Surroundings) -> None:
        self.group = group
        self.around = around
        self.iterations: list[Iteration] = []
        self.notes: list[str] = []
        self.stop = Stop(Halt.INTERRUPTED, "the run ended before this prompt had its turn")
        self.original = self.incumbent = Version("0", {}, {})
        self._accepted: list[Version] = []
        self._briefing = Briefing(group, around.settings, around.policies)
        self._fruitless = 0

    def run(self) -> None:
        """Search until a halting rule, a ceiling or Ctrl-C ends it; `stop` says which."""
        try:
            try:
                self.stop = self._refine()
            except StopRun as stopped:
                self.stop = Stop(stopped.halt, stopped.why)
                self._validate_at_last()
        except KeyboardInterrupt:
            self.stop = Stop(Halt.INTERRUPTED, "interrupted by the user (Ctrl-C)")
        if self.stop.halt == Halt.NO_PROGRESS and self.iterations:
            last = self.iterations[-1].candidates[-1]
            self.notes.append(f"the last one, candidate {last.id}, was refused: {last.why}")
        self.around.record("stop", prompts=self.names, halt=self.stop.halt, why=self.stop.why)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it, or the run before it began."""
        return self.stop.halt == Halt.INTERRUPTED

    @property
    def names(self) -> list[str]:
        return [prompt.name for prompt in self.group.prompts]

    @property
    def final(self) -> Version:
        """The incumbent, if it is better than the original on all cases searched; else the original."""
        gain = compare(self.original.evidence(*SEARCHED), self.incumbent.evidence(*SEARCHED)).gain
        return self.incumbent if gain > EPSILON else self.original

    # ------------------------------------------------------------------------------------------------- phases

    def _refine(self) -> Stop:
        """Training, then validation; the stop is that of the last phase with an iteration."""
        self._announce(Phase.TRAINING)
        self._measure_original()
        if needless := self._needless():
            return needless
        stop = self._iterate_until_halted(Phase.TRAINING)
        if pass_rate(self.original.results[Split.VALIDATION]) is None:
            return stop
        self._announce(Phase.VALIDATION)
        self._validate()
        made = len(self.iterations)
        later = self._iterate_until_halted(Phase.VALIDATION)
        return later if len(self.iterations) > made else stop

    def _validate_at_last(self) -> None:
        """Score what a stopped search had found; the calls for it were set aside."""
        if Split.VALIDATION in self.incumbent.results or not self.group.ids(Split.VALIDATION):
            return
        try:
            self._announce(Phase.VALIDATION)
            self._validate()
        except StopRun as stopped:
            self.notes.append(f"the validation cases could not be run: {stopped.why}")

    def _measure_original(self) -> None:
        results = self._evaluate([{}], *SEARCHED)[0]
        self.around.record_results("0", results)
        by_split = {
            split: tuple(result for result in results if result.case.split is split) for split in SEARCHED
        }
        training, validation = (Passages(_inputs(part)) for part in by_split.values())
        self._checks = Checks(training, validation)
        self.original = self.incumbent = Version("0", {}, by_split)
        scores = [score(split, len(part), part) for split, part in by_split.items() if part]
        self.around.policies.measured(scores)

    def _needless(self) -> Stop | None:
        """Why there is nothing to search for; None when there is."""
        seen, training = self.original.evidence(*SEARCHED), self.original.results[Split.TRAIN]
        if pass_rate(seen) is not None and not any(result.failing for result in seen):
            counted = sum(result.rate is not None for result in seen)
            return Stop(Halt.PASSING, f"all {counted} training and validation cases with a result pass")
        if pass_rate(training) is None:
            return Stop(
                Halt.NO_EVIDENCE, f"none of {len(training)} training cases has a result to learn from"
            )
        return None

    def _iterate_until_halted(self, phase: Phase) -> Stop:
        self._fruitless = 0
        rates = [self._rate(phase)]
        while (stop := self.around.policies.halt(self._standing(phase, rates))) is None:
            self._iterate(phase)
            rates.append(self._rate(phase))
        return stop

    def _standing(self, phase: Phase, rates: Sequence[float]) -> Standing:
        settings = self.around.settings
        return Standing(
            phase=phase,
            iterations=len(self.iterations),
            rates=tuple(rates),
            fruitless=self._fruitless,
            target=settings.target,
            plateau=settings.plateau,
            max_iterations=settings.max_iterations,
        )

    def _validate(self) -> None:
        """Score the incumbent on validation; where it only learned the training cases, go back."""
        if self.incumbent is self.original:
            return
        self.incumbent = trained = self._validated([self.incumbent])[0]
        before, after = (each.results[Split.VALIDATION] for each in (self.original, trained))
        comparison = compare(before, after, split=Split.VALIDATION)
        if holds(comparison):
            return
        self.incumbent = max([self.original, *self._validated(self._accepted)], key=self._merit)
        kept = "the original" if self.incumbent is self.original else f"candidate {self.incumbent.id}"
        self.notes.append(
            f"candidate {trained.id} was best in training but fell on validation ({comparison}); "
            f"{kept} is best on both together"
        )
        self.around.record("overfitted", candidate=trained.id, kept=self.incumbent.id, why=str(comparison))

    def _validated(self, versions: Sequence[Version]) -> list[Version]:
        measured = self._evaluate([version.overlay for version in versions], Split.VALIDATION)
        for version, results in zip(versions, measured, strict=True):
            self.around.record_results(version.id, results)
        return [
            replace(version, results={**version.results, Split.VALIDATION: results})
            for version, results in zip(versions, measured, strict=True)
        ]

    def _merit(self, version: Version) -> tuple[float, int]:
        """Best on training and validation together, among equals the shorter."""
        rate = pass_rate(version.evidence(*SEARCHED)) or 0.0
        return round(rate, 9), -sum(len(version.text(prompt)) for prompt in self.group.prompts)

    # ---------------------------------------------------------------------------------------------- iteration

    def _iterate(self, phase: Phase) -> None:
        """Ask for candidates, check them, run them, keep the best if it is better, learn from all."""
        number = len(self.iterations) + 1
        started, paid = time.monotonic(), self.around.paid()
        briefs = self._briefing.briefs(number, phase, self.incumbent)
        wanted = Wanted(briefs, self.around.settings.optimizer_model, number)
        replies = self.around.policies.propose(wanted, self.around.ask)
        if len(replies) != len(briefs):
            raise ValueError(f"a proposer must return one reply per brief: {len(briefs)}, not {len(replies)}")
        attempts = [
            self._checked(f"{number}.{position}", brief, reply)
            for position, (brief, reply) in enumerate(zip(briefs, replies, strict=True), 1)
        ]
        self._fruitless = 0 if _open(attempts) else self._fruitless + 1
        self._judge(attempts, phase)
        self._keep_best(attempts, phase)
        self._briefing.learn(number, attempts)
        iteration = Iteration(
            number=number,
            phase=phase,
            prompt=", ".join(dict.fromkeys(attempt.prompt for attempt in attempts)),
            candidates=tuple(attempt.result() for attempt in attempts),
            best=self._rate(phase),
            spend=self.around.paid() - paid,
            elapsed=time.monotonic() - started,
        )
        self.iterations.append(iteration)
        self.around.record("iteration", incumbent=self.incumbent.id, **asdict(iteration))
        self.around.policies.iteration_finished(iteration)

    def _checked(self, id: str, brief: Brief, reply: Reply | Unusable) -> Attempt:
        """A candidate from a reply; refused at once where that needs no call."""
        attempt = Attempt(id, brief.prompt.name, brief.direction)
        if isinstance(reply, Unusable):
            attempt.decide(REFUSED, reply.why)
        else:
            attempt.reason = reply.reason
            attempt.overlay = {**self.incumbent.overlay, brief.prompt.name: reply.text}
            attempt.growth = len(reply.text) - len(brief.prose)
            if objection := self._checks.objection(brief.prompt, reply.text):
                attempt.decide(REFUSED, objection)
        text = attempt.overlay.get(brief.prompt.name)
        told = {"direction": attempt.direction, "reason": attempt.reason}
        self.around.record("candidate", id=id, prompt=attempt.prompt, text=text, **told)
        return attempt

    def _judge(self, attempts: Sequence[Attempt], phase: Phase) -> None:
        """Run the candidates and reject what is not good enough; the others stay open."""
        self._measure(attempts, Split.TRAIN)
        if phase is Phase.VALIDATION:
            for attempt in _open(attempts):
                training = attempt.compared[Split.TRAIN]
                if not holds(training):
                    attempt.decide(REJECTED, f"it breaks what was learned in training: {training}")
            self._measure(attempts, Split.VALIDATION)
        for attempt in _open(attempts):
            verdict = self.around.policies.accept(attempt.compared[DECIDING[phase]])
            attempt.why = verdict.why
            if not verdict.accepted:
                attempt.decide(REJECTED, verdict.why)

    def _measure(self, attempts: Sequence[Attempt], split: Split) -> None:
        tried = _open(attempts)
        measured = self._evaluate([attempt.overlay for attempt in tried], split)
        for attempt, results in zip(tried, measured, strict=True):
            attempt.results[split] = results
            before = self.incumbent.results[split]
            attempt.compared[split] = compare(before, results, split=split, growth=attempt.growth)
            self.around.record_results(attempt.id, results)

    def _keep_best(self, attempts: Sequence[Attempt], phase: Phase) -> None:
        """Of the candidates still open the best becomes the incumbent; the others lose to it."""
        ranked = sorted(_open(attempts), key=lambda attempt: rank(attempt.compared[DECIDING[phase]]))
        for attempt in ranked[:1]:
            attempt.verdict = ACCEPTED
            self.incumbent = Version(attempt.id, attempt.overlay, attempt.results)
            self._accepted.append(self.incumbent)
        for attempt in ranked[1:]:
            attempt.decide(REJECTED, f"candidate {self.incumbent.id} goes before it; {attempt.why}")

    # ------------------------------------------------------------------------------------------------ outside

    def _evaluate(self, overlays: Sequence[Overlay], *splits: Split) -> list[Results]:
        cases = self.group.ids(*splits)
        if not overlays or not cases:
            return [() for _ in overlays]
        return self.around.evaluator.evaluate([Trial(overlay, cases) for overlay in overlays])

    def _rate(self, phase: Phase) -> float:
        return pass_rate(self.incumbent.results[DECIDING[phase]]) or 0.0

    def _announce(self, phase: Phase) -> None:
        self.around.policies.progress(phase, ", ".join(self.names))


def _open(attempts: Sequence[Attempt]) -> list[Attempt]:
    return [attempt for attempt in attempts if not attempt.verdict]


def _inputs(results: Results) -> Iterator[str]:
    for outcome in (outcome for result in results for outcome in result.outcomes):
        yield from outcome.inputs.values()
        for call in outcome.calls:
            yield from call.variables.values()
