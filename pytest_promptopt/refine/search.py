"""The refinement of one group of prompts, from the first evaluation to the best text found."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace

from pytest_promptopt.records import Iteration, Overlay, Split, pass_rate
from pytest_promptopt.refine.ablation import culprit
from pytest_promptopt.refine.acceptance import EPSILON, compare, holds, rank, score
from pytest_promptopt.refine.attempts import ACCEPTED, MERGED, REFUSED, REJECTED, Attempt, Results, Version
from pytest_promptopt.refine.briefs import Briefing
from pytest_promptopt.refine.checks import Checks, Passages
from pytest_promptopt.refine.evaluator import Prompt, StopRun, Trial
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.halting import DECIDING, Halt, Phase, Standing, Stop
from pytest_promptopt.refine.proposer import Merging, Wanted
from pytest_promptopt.refine.race import race
from pytest_promptopt.refine.replies import Reply, Unusable
from pytest_promptopt.refine.surroundings import Surroundings

#: Failing training cases from which on the cases that the incumbent owes are run at once.
FEW_FAILING = 1

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
        self._stuck = False

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
        """Iterate until a rule says stop, also of what the incumbent owed; a plateau allows one escape."""
        self._fruitless, escaped = 0, False
        rates = [self._rate(phase)]
        while True:
            stop = self.around.policies.halt(self._standing(phase, rates))
            if self.incumbent.owed and (stop is not None or self._nearly_done()):
                self._settle()
                rates[-1] = self._rate(phase)
                continue
            if stop is not None and (stop.halt != Halt.PLATEAU or escaped):
                return stop
            escaped = escaped or stop is not None
            self._stuck = len(rates) > 1 and rates[-1] <= rates[-2] + EPSILON
            self._iterate(phase, escape=stop is not None)
            rates.append(self._rate(phase))

    def _nearly_done(self) -> bool:
        """Whether so few training cases fail that those which are owed may tell more."""
        failing = sum(result.failing is not None for result in self.incumbent.standing(Split.TRAIN))
        return failing <= FEW_FAILING

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

    def _iterate(self, phase: Phase, *, escape: bool = False) -> None:
        """Ask for candidates, merge and run them, keep the best if it is better, learn from all.

        :param escape: from a plateau: bolder candidates, each on its own.
        """
        number = len(self.iterations) + 1
        started, paid = time.monotonic(), self.around.paid()
        attempts = self._proposed(number, phase, escape=escape)
        self._fruitless = 0 if _open(attempts) else self._fruitless + 1
        merged = None if escape else self._merged(number, attempts)
        if merged is not None:
            self._judge([merged], attempts, phase)
        if merged is None or (merged.verdict and merged.harmful):
            self._judge(_open(attempts), attempts, phase)
        self._keep_best(attempts, phase)
        self._briefing.learn(number, attempts)
        iteration = Iteration(
            number=number,
            phase=phase,
            prompt=", ".join(dict.fromkeys(name for attempt in attempts for name in attempt.prompts)),
            candidates=tuple(attempt.result() for attempt in attempts),
            best=self._rate(phase),
            spend=self.around.paid() - paid,
            elapsed=time.monotonic() - started,
        )
        self.iterations.append(iteration)
        self.around.record("iteration", incumbent=self.incumbent.id, **asdict(iteration))
        self.around.policies.iteration_finished(iteration)

    def _proposed(self, number: int, phase: Phase, *, escape: bool) -> list[Attempt]:
        """The optimizer's candidates, checked."""
        briefs = self._briefing.briefs(number, phase, self.incumbent, escape=escape)
        wanted = Wanted(briefs, self.around.settings.optimizer_model, number)
        replies = self.around.policies.propose(wanted, self.around.ask)
        if len(replies) != len(briefs):
            raise ValueError(f"a proposer must return one reply per brief: {len(briefs)}, not {len(replies)}")
        return [
            self._checked(
                Attempt(f"{number}.{position}", (brief.prompt.name,), brief.direction),
                [brief.prompt],
                [reply],
            )
            for position, (brief, reply) in enumerate(zip(briefs, replies, strict=True), 1)
        ]

    def _merged(self, number: int, attempts: list[Attempt]) -> Attempt | None:
        """One candidate that does what all do that are still open, added to `attempts`; None without one."""
        parts = _open(attempts)
        if len(parts) < 2 or self.around.policies.merge is None:
            return None
        prompts = [
            prompt for prompt in self.group.prompts if any(prompt.name in part.prompts for part in parts)
        ]
        versions = {
            prompt.name: tuple(part.overlay[prompt.name] for part in parts if prompt.name in part.prompts)
            for prompt in prompts
        }
        wanted = [
            Merging(
                prompt,
                self.incumbent.text(prompt),
                versions[prompt.name],
                self._briefing.guarded(self.incumbent, prompt),
                self.around.settings.optimizer_model,
                number,
            )
            for prompt in prompts
            if len(versions[prompt.name]) > 1
        ]
        merged = dict(
            zip(
                (each.prompt.name for each in wanted),
                self.around.policies.merge(wanted, self.around.ask),
                strict=True,
            )
        )
        replies = [merged.get(prompt.name, Reply(versions[prompt.name][0], "")) for prompt in prompts]
        named = ", ".join(part.id for part in parts)
        attempt = self._checked(
            Attempt(f"{number}.{len(attempts) + 1}", tuple(versions), f"Do what {named} do."),
            prompts,
            replies,
            known=set(versions) - set(merged),
        )
        attempts.append(attempt)
        return None if attempt.verdict else attempt

    def _checked(
        self,
        attempt: Attempt,
        prompts: Sequence[Prompt],
        replies: Sequence[Reply | Unusable],
        *,
        known: Collection[str] = (),
    ) -> Attempt:
        """A candidate from its replies; refused at once where that needs no call.

        :param known: names of prompts whose texts were checked before.
        """
        attempt.overlay = dict(self.incumbent.overlay)
        for prompt, reply in zip(prompts, replies, strict=True):
            if isinstance(reply, Unusable):
                attempt.decide(REFUSED, reply.why)
                continue
            attempt.reason = attempt.reason or reply.reason
            attempt.overlay[prompt.name] = reply.text
            attempt.growth += len(reply.text) - len(self.incumbent.text(prompt))
            if prompt.name not in known and (objection := self._checks.objection(prompt, reply.text)):
                attempt.decide(REFUSED, objection)
        texts = {name: attempt.overlay.get(name) for name in attempt.prompts}
        told = {"direction": attempt.direction, "reason": attempt.reason}
        self.around.record("candidate", id=attempt.id, prompts=attempt.prompts, texts=texts, **told)
        return attempt

    def _judge(self, contenders: Sequence[Attempt], attempts: list[Attempt], phase: Phase) -> None:
        """Run candidates and reject what is not good enough; the others stay open.

        A candidate that fixes much and breaks something is tried once more without the passage that does.
        """
        self._race(contenders, phase)
        for attempt in contenders:
            if attempt.harmful and not attempt.verdict and (cut := self._cut(attempt, len(attempts) + 1)):
                attempts.append(cut)
                if not cut.verdict:
                    self._race([cut], phase, first=attempt.compared[Split.TRAIN].broken)
                    contenders = [*contenders, cut]
        if phase is Phase.VALIDATION:
            for attempt in _open(contenders):
                training = attempt.compared[Split.TRAIN]
                if not holds(training):
                    attempt.decide(REJECTED, f"it breaks what was learned in training: {training}")
            self._measure_validation(_open(contenders))
        for attempt in _open(contenders):
            verdict = self.around.policies.accept(attempt.compared[DECIDING[phase]])
            attempt.why = verdict.why
            if not verdict.accepted:
                attempt.decide(REJECTED, verdict.why)

    def _race(self, attempts: Sequence[Attempt], phase: Phase, *, first: Sequence[str] = ()) -> None:
        race(
            attempts,
            self.incumbent,
            self.around.evaluator.evaluate,
            seed=f"{self.around.settings.seed}/{len(self.iterations)}",
            first=first,
            must_win=phase is Phase.TRAINING and not self._stuck,
        )
        for attempt in attempts:
            self.around.record_results(attempt.id, attempt.results[Split.TRAIN])

    def _cut(self, attempt: Attempt, position: int) -> Attempt | None:
        """`attempt` without the passage that breaks what passed, if a single one does."""
        before, after, broken = self.incumbent.overlay, attempt.overlay, attempt.compared[Split.TRAIN].broken
        found = culprit(self.group.prompts, before, after, broken, self.around.evaluator.evaluate)
        self.around.record("ablation", candidate=attempt.id, passage=found.passage if found else None)
        if found is None:
            return None
        id = f"{attempt.id.partition('.')[0]}.{position}"
        cut = Attempt(
            id, attempt.prompts, f"Do what {attempt.id} does, without the passage that breaks cases."
        )
        texts = {**after, found.prompt: found.prose}
        prompts = [prompt for prompt in self.group.prompts if prompt.name in attempt.prompts]
        others = set(attempt.prompts) - {found.prompt}
        return self._checked(
            cut, prompts, [Reply(texts[p.name], attempt.reason) for p in prompts], known=others
        )

    def _measure_validation(self, attempts: Sequence[Attempt]) -> None:
        measured = self._evaluate([attempt.overlay for attempt in attempts], Split.VALIDATION)
        for attempt, results in zip(attempts, measured, strict=True):
            attempt.results[Split.VALIDATION] = results
            before = self.incumbent.results[Split.VALIDATION]
            attempt.compared[Split.VALIDATION] = compare(
                before, results, split=Split.VALIDATION, growth=attempt.growth
            )
            self.around.record_results(attempt.id, results)

    def _keep_best(self, attempts: Sequence[Attempt], phase: Phase) -> None:
        """Of the candidates that were run and are still open the best becomes the incumbent."""
        ran = [attempt for attempt in _open(attempts) if attempt.compared]
        ranked = sorted(ran, key=lambda attempt: rank(attempt.compared[DECIDING[phase]]))
        for attempt in ranked[:1]:
            attempt.verdict = ACCEPTED
            self.incumbent = attempt.kept(self.incumbent)
            self._accepted.append(self.incumbent)
        for attempt in ranked[1:]:
            attempt.decide(REJECTED, f"candidate {self.incumbent.id} goes before it; {attempt.why}")
        for attempt in _open(attempts):
            attempt.decide(MERGED, "it is part of the merged candidate and was not run by itself")

    def _settle(self) -> None:
        """Run the incumbent on the training cases that it owes."""
        if not self.incumbent.owed:
            return
        cases = tuple(result.case.id for result in self.incumbent.owed)
        (results,) = self.around.evaluator.evaluate([Trial(self.incumbent.overlay, cases)])
        self.around.record_results(self.incumbent.id, results)
        self.incumbent = self.incumbent.settled(results)
        self._accepted[-1:] = [self.incumbent]

    # ------------------------------------------------------------------------------------------------ outside

    def _evaluate(self, overlays: Sequence[Overlay], *splits: Split) -> list[Results]:
        cases = self.group.ids(*splits)
        if not overlays or not cases:
            return [() for _ in overlays]
        return self.around.evaluator.evaluate([Trial(overlay, cases) for overlay in overlays])

    def _rate(self, phase: Phase) -> float:
        return pass_rate(self.incumbent.standing(DECIDING[phase])) or 0.0

    def _announce(self, phase: Phase) -> None:
        self.around.policies.progress(phase, ", ".join(self.names))


def _open(attempts: Sequence[Attempt]) -> list[Attempt]:
    return [attempt for attempt in attempts if not attempt.verdict]


def _inputs(results: Results) -> Iterator[str]:
    for outcome in (outcome for result in results for outcome in result.outcomes):
        yield from outcome.inputs.values()
        for call in outcome.calls:
            yield from call.variables.values()
