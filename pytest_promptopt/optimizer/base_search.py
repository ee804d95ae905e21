"""What every search has in common, however it finds candidates."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import ClassVar

from pytest_promptopt.optimizer.acceptance import score_split
from pytest_promptopt.optimizer.candidate_checks import CandidateChecks
from pytest_promptopt.optimizer.candidates import (
    REFUSED,
    Candidate,
    EvaluatedCandidate,
    OpenIteration,
    Results,
)
from pytest_promptopt.optimizer.example_sets import shown_by
from pytest_promptopt.optimizer.halting import DECIDING, HaltReason, Phase, SearchProgress, Stop
from pytest_promptopt.optimizer.label_rates import balanced_accuracy
from pytest_promptopt.optimizer.model_guard import lost_cases
from pytest_promptopt.optimizer.prompt_groups import SEARCHED, PromptGroup
from pytest_promptopt.optimizer.proposal.critic import Critic
from pytest_promptopt.optimizer.proposal.proposer import Objection, ProposalRequest, no_objection
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply
from pytest_promptopt.optimizer.proposal.requests import Brief
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.optimizer.race import in_turns
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.optimizer.search_state import STOPPED_BY_USER, SearchState
from pytest_promptopt.optimizer.stage_faults.stage_faults import StageFaults
from pytest_promptopt.optimizer.strategy import ScoringNeeds
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.prompts.examples import with_examples_of
from pytest_promptopt.records import Overlay, Spend, Split, pass_rate
from pytest_promptopt.results import Iteration, StageAtFault


class BaseSearch:
    """A `GroupSearch` without a way to find candidates; a strategy implements `step`, or else `search`.

    It measures the original, says when there is nothing to do, checks candidates, asks the halting rules,
    writes the journal, ends at ceilings and at Ctrl-C, and scores the finalists on all cases searched.

    :param state: where another search of the same group stood, to go on from there; None to begin.
    """

    #: What is planned for before the first call; a class of your own may declare something else.
    scoring_needs: ClassVar[ScoringNeeds] = ScoringNeeds()
    #: All that changes while it goes on.
    state: SearchState

    def __init__(self, group: PromptGroup, context: SearchContext, state: SearchState | None = None) -> None:
        self.group = group
        self.context = context
        self.state = self.new_state() if state is None else state
        # When the iteration at work began. Another process has another clock, so it is no part of the state.
        self._started = 0.0

    def new_state(self) -> SearchState:
        """That of a search that is not begun."""
        return SearchState()

    def step(self) -> Stop | None:
        """Make one iteration; a stop, and no iteration, when a halting rule ends the search.

        `original` is measured and has failing cases. Asks `halted` first and ends the iteration with
        `finish_iteration`; may raise at any time, which ends the search with what it has.
        """
        raise NotImplementedError(f"the strategy {type(self).__name__} has neither `step` nor `search`")

    def search(self) -> Stop:
        """Take steps until one says stop. Whoever has the control elsewhere implements this one."""
        while (stop := self.step()) is None:
            pass
        return stop

    def finalists(self) -> Sequence[EvaluatedCandidate]:
        """The versions of which the best on all cases searched is the result, the most promising first."""
        return (self.best,)

    def run(self) -> None:
        """Search until a halting rule, a ceiling or Ctrl-C ends it; `stop` says which."""
        try:
            self._run_guarded(self._whole_search)
            if self.iterations:
                self._run_guarded(self.conclude)
        except KeyboardInterrupt:
            self.stop = STOPPED_BY_USER
        last = next((c for i in reversed(self.iterations) for c in reversed(i.candidates)), None)
        if self.stop.halt == HaltReason.NO_PROGRESS and last is not None and last.verdict == REFUSED:
            self.notes.append(f"the last one, candidate {last.id}, was refused: {last.why}")
        self.context.record("stop", prompts=self.names, halt=self.stop.halt, why=self.stop.why)

    def _whole_search(self) -> None:
        self.stop = self.start_or_resume() or self.search()

    def start_or_resume(self) -> Stop | None:
        """Measure the original, unless `state` has it; a stop when there is nothing to search for."""
        self.announce(self.state.phase)
        if self.state.begun:
            return None
        stop = self.start_search()
        self.state.begun = stop is None
        return stop

    def _run_guarded(self, part: Callable[[], None]) -> None:
        """Do one part of the search. If it raises, the search stops for that reason; Ctrl-C passes."""
        try:
            part()
        except KeyboardInterrupt:
            raise
        except StopRun as stopped:
            self.stop = Stop(stopped.halt, stopped.why)
        except BaseException as error:
            self.stop = Stop(HaltReason.ERROR, self.context.note_error(error))

    @property
    def original(self) -> EvaluatedCandidate:
        """The texts as they were, with their results."""
        return self.state.original

    @original.setter
    def original(self, version: EvaluatedCandidate) -> None:
        self.state.original = version

    @property
    def best(self) -> EvaluatedCandidate:
        """The best texts so far."""
        return self.state.best

    @best.setter
    def best(self, version: EvaluatedCandidate) -> None:
        self.state.best = version

    @property
    def stop(self) -> Stop:
        """Why it ended, or that it was not begun."""
        return self.state.stop

    @stop.setter
    def stop(self, stop: Stop) -> None:
        self.state.stop = stop

    @property
    def iterations(self) -> list[Iteration]:
        """Those that are finished."""
        return self.state.iterations

    @property
    def notes(self) -> list[str]:
        """What the user should know besides, in sentences."""
        return self.state.notes

    @property
    def checks(self) -> CandidateChecks:
        """What every candidate is checked by, as soon as the original is measured."""
        return self.state.checks

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it, or the run before it began."""
        return self.stop.halt == HaltReason.INTERRUPTED

    @property
    def names(self) -> list[str]:
        return [prompt.name for prompt in self.group.prompts]

    @property
    def final(self) -> EvaluatedCandidate:
        """The best finalist, if it is better than the original on all cases searched; else the original."""
        shared = self._shared([self.original, self.best])
        better = self.merit(self.best, shared)[0] > self.merit(self.original, shared)[0]
        return self.best if better and not self.refusal(self.best.overlay) else self.original

    # ----------------------------------------------------------------------------------- for a strategy's use

    def evaluate(self, overlays: Sequence[Overlay], cases: Sequence[str]) -> list[Results]:
        """Run these cases under each overlay, all at once; known answers cost nothing. Raises `StopRun`.

        Under a text that is refused, see `refuse`, every case is errored.
        """
        if not overlays or not cases:
            return [() for _ in overlays]
        return self.run_trials([Trial(overlay, tuple(cases)) for overlay in overlays])

    def run_trials(self, trials: Sequence[Trial]) -> list[Results]:
        """Run trials, and keep what they show of the stages of pipelines. Raises `StopRun`."""
        measured = self.context.evaluator.evaluate(trials)
        self.state.faults.log.note(trials, measured, self.group.prompts)
        return measured

    def refusal(self, overlay: Overlay) -> str | None:
        """Why these texts are refused, in a sentence; None when they may be tried."""
        return self.context.evaluator.refusal(overlay)

    def ask_for_texts(
        self, briefs: Sequence[Brief], number: int, objection: Objection = no_objection
    ) -> list[Reply | InvalidReply]:
        """The optimizer's replies to `briefs`, one each, in order. May raise `StopRun`.

        Where the settings ask for it, it has read the worst answers before.

        :param number: of the iteration.
        :param objection: what is to be said against a text for the brief of this place.
        """
        briefs = Critic(self.context, self.state.critiques, self.notes).add_critiques(briefs)
        wanted = ProposalRequest(briefs, self.context.settings.optimizer_model, number, objection)
        return self.context.hooks.propose(wanted, self.context.ask)

    def build_checked_candidate(
        self,
        candidate: Candidate,
        parent: EvaluatedCandidate,
        replies: Mapping[str, Reply | InvalidReply],
    ) -> Candidate:
        """`candidate` with replies, by prompt, on top of `parent`; refused at once if that needs no call."""
        overlay, reason, growth = dict(parent.overlay), candidate.reason, candidate.growth
        refusal: str | None = None
        for prompt in (prompt for prompt in self.group.prompts if prompt.name in replies):
            reply = replies[prompt.name]
            if isinstance(reply, InvalidReply):
                refusal = reply.why
                continue
            reason = reason or reply.reason
            drawn = candidate.kind is Kind.EXAMPLES
            text = reply.text if drawn else with_examples_of(reply.text, parent.text(prompt))
            overlay[prompt.name] = text
            growth += len(text) - len(parent.text(prompt))
            beside = {name: text for name, text in parent.overlay.items() if name != prompt.name}
            refusal = self.checks.objection(prompt, text, beside=beside) or refusal
        checked = replace(candidate, overlay=overlay, reason=reason, growth=growth)
        self.journal_candidate(checked)
        return checked if refusal is None else checked.refused(refusal)

    def refuse(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """`candidates`, those refused whose texts have turned out not to be usable for every case."""
        return [
            candidate.refused(why)
            if candidate.verdict != REFUSED and (why := self.refusal(candidate.overlay))
            else candidate
            for candidate in candidates
        ]

    def journal_candidate(self, candidate: Candidate) -> None:
        """Journal a candidate, before anything is paid for it."""
        texts = {name: candidate.overlay.get(name) for name in candidate.prompts}
        beside = {name: text for name, text in candidate.overlay.items() if name not in texts}
        about = {"direction": candidate.direction, "reason": candidate.reason, "beside": beside}
        self.context.record("candidate", id=candidate.id, prompts=candidate.prompts, texts=texts, **about)

    def halted(self, phase: Phase, best: EvaluatedCandidate) -> Stop | None:
        """Ask the halting rules, at the start of the search and after each iteration.

        :param phase: whose cases decide for this strategy.
        """
        settings = self.context.settings
        progress = SearchProgress(
            phase=phase,
            iterations=len(self.iterations),
            rates=(*self.state.rates_of_stage, self._rate(phase, best)),
            fruitless=self.state.fruitless,
            target=settings.target,
            plateau=settings.plateau,
            max_iterations=settings.max_iterations,
        )
        self.start_iteration(phase, best)
        return self.context.hooks.halt(progress)

    def start_iteration(self, phase: Phase, best: EvaluatedCandidate) -> None:
        """Begin an iteration: its time and its gain are counted from here."""
        self._started, self.state.rate_before = self.context.clock(), self._rate(phase, best)

    def finish_iteration(
        self, phase: Phase, candidates: Sequence[Candidate], best: EvaluatedCandidate
    ) -> None:
        """End an iteration: tell the journal, the display and the observers what became of its candidates."""
        candidates, state = self.refuse(candidates), self.state
        state.rates.append(state.rate_before)
        iteration = Iteration(
            number=self.number,
            phase=phase,
            prompts=tuple(dict.fromkeys(name for candidate in candidates for name in candidate.prompts)),
            candidates=tuple(candidate.result() for candidate in candidates),
            best=self._rate(phase, best),
            before=state.rate_before,
            unverified=len(best.unverified),
            foresight=best.foresight if phase is Phase.TRAINING else None,
            spend=self.context.paid() - state.paid_before,
            elapsed=self.context.clock() - self._started,
            critiques=state.critiques.made,
            at_fault=state.at_fault,
        )
        state.critiques.made = 0
        state.paid_before = self.context.paid()
        state.fruitless = 0 if any(a.verdict != REFUSED for a in candidates) else state.fruitless + 1
        self.iterations.append(iteration)
        self.context.record("iteration", incumbent=best.id, **asdict(iteration))
        self.context.hooks.iteration_finished(iteration)

    def caught_up(self, results: Results, version: EvaluatedCandidate, paid: Spend) -> None:
        """Tell the observers that `version` was run on cases that the search had left out for it.

        :param paid: what was paid before.
        """
        self.context.hooks.caught_up(version.caught_up(results, (self.context.paid() - paid).calls))

    def announce(self, phase: Phase) -> None:
        """Tell the run that `phase` begins, for these prompts."""
        self.context.enter_phase(phase)

    def enter_phase(self, phase: Phase) -> None:
        """Begin a phase: the halting rules look at its iterations only."""
        self.state.phase, self.state.rates, self.state.fruitless = phase, [], 0
        self.announce(phase)

    def best_of(self, versions: Sequence[EvaluatedCandidate]) -> EvaluatedCandidate:
        """The best by `merit` on the cases that all of them are counted on; the first of equals."""
        shared = self._shared(versions)
        return max(versions, key=lambda version: self.merit(version, shared))

    def merit(
        self, version: EvaluatedCandidate, cases: Collection[str] | None = None
    ) -> tuple[float, float, int]:
        """Higher is better: the pass rate on all cases searched, among equals the one that is right for more
        of the labels, then the shorter text.

        :param cases: those to go by. Texts are compared by the same ones: each may have been spared some.
        """
        rates = [rate for case, rate in self._chances(version).items() if cases is None or case in cases]
        rate = math.fsum(rates) / len(rates) if rates else 0.0
        seen = [r for r in version.evidence(*SEARCHED) if cases is None or r.case.id in cases]
        length = sum(len(version.text(prompt)) for prompt in self.group.prompts)
        return round(rate, 9), round(balanced_accuracy(seen) or 0.0, 9), -length

    def _shared(self, versions: Sequence[EvaluatedCandidate]) -> frozenset[str]:
        """The cases that all of `versions` are counted on."""
        return frozenset.intersection(*(frozenset(self._chances(version)) for version in versions))

    @staticmethod
    def _chances(version: EvaluatedCandidate) -> Mapping[str, float]:
        """The pass rate of every case that a text is counted on; an estimate where it was not run."""
        results = (
            version.evidence(*SEARCHED) if version.posterior is None else version.evidence(Split.VALIDATION)
        )
        rates = {result.case.id: result.rate for result in results if result.rate is not None}
        if (posterior := version.posterior) is not None:
            rates |= {case: posterior.chance(case) for case in posterior.cases}
        return rates

    def run_order(self) -> list[str]:
        """The training cases in the order of their runs in this iteration."""
        seed = f"{self.context.settings.seed}/{len(self.iterations)}"
        return in_turns(self.original.evidence(Split.TRAIN), seed=seed)

    @property
    def number(self) -> int:
        """The number of the iteration that is at work, from 1."""
        return len(self.iterations) + 1

    def open_iteration(self, phase: Phase, *, escaping: bool = False) -> OpenIteration:
        """The iteration that is at work, without a candidate yet."""
        return OpenIteration(self.number, phase, escaping=escaping)

    def regressions(self, found: EvaluatedCandidate | Candidate) -> tuple[str, ...]:
        """The cases it fails and the original passed, where `settings.no_regressions` forbids them, or where
        it is shown to be worse with one of several models."""
        results = [result for part in found.results.values() for result in part]
        return lost_cases(self.original.evidence(*SEARCHED), results, self.context.settings)

    # -------------------------------------------------------------------------------------------------- steps

    def start_search(self) -> Stop | None:
        """Measure the original; a stop when there is nothing to search for."""
        self._measure_original()
        return self._needless()

    def initial_cases(self) -> Sequence[str]:
        """The cases that the search begins with."""
        return self.group.ids(*SEARCHED)

    def _measure_original(self) -> None:
        results = self.evaluate([{}], self.initial_cases())[0]
        self.context.record_results("0", results)
        self.state.paid_before = self.context.paid()
        by_split = {split: tuple(r for r in results if r.case.split is split) for split in SEARCHED}
        self.checks.learn_cases(results)
        self.original = self.best = EvaluatedCandidate("0", {}, by_split)
        shown = shown_by(self.group.prompts, {}, results, self.context.hooks.redact)
        parts = [(split, part) for split, part in by_split.items() if part]
        self.context.hooks.measured([score_split(s, len(part), part, examples=shown) for s, part in parts])

    def _needless(self) -> Stop | None:
        """Why there is nothing to search for; None when there is."""
        seen, training = self.original.evidence(*SEARCHED), self.original.results[Split.TRAIN]
        if pass_rate(seen) is not None and not any(result.failing for result in seen):
            counted = sum(result.rate is not None for result in seen)
            return Stop(HaltReason.PASSING, f"all {counted} training and validation cases with a result pass")
        if pass_rate(training) is None:
            return Stop(
                HaltReason.NO_EVIDENCE,
                f"none of {len(training)} training cases has a result to learn from"
                if training
                else "there is no training case to learn from",
            )
        return None

    def conclude(self) -> None:
        """Score the finalists on what they were not run on; the calls for the first were set aside."""
        self.announce(Phase.VALIDATION)
        scored: list[EvaluatedCandidate] = []
        kept = self.context.call_budget.reserved
        for version in self.finalists():
            # The others must leave what is kept for fresh answers.
            self.context.call_budget.reserve(kept if scored else 0)
            try:
                scored.append(self._completed(version))
            except StopRun as stopped:
                self.notes.append(f"not all training and validation cases could be run: {stopped.why}")
                scored = scored or [version.on_whole_splits(self.group)]
                break
        allowed: list[EvaluatedCandidate] = []
        for version in scored:
            if why := self.refusal(version.overlay):
                self.notes.append(f"candidate {version.id} was refused at last: {why}")
            elif not self.regressions(version):
                allowed.append(version)
        self.best = self.best_of(allowed) if allowed else self.original

    def _completed(self, version: EvaluatedCandidate) -> EvaluatedCandidate:
        """`version` with results on all cases searched."""
        for split in SEARCHED:
            if len(version.evidence(split)) < len(self.group.ids(split)):
                (results,) = self.evaluate([version.overlay], self.group.ids(split))
                self.context.record_results(version.id, results)
                version = replace(version, results={**version.results, split: results})
        return version

    @property
    def at_fault(self) -> tuple[StageAtFault, ...]:
        """The stages at fault of the cases that fail under the original."""
        faults = StageFaults(self.group, self.state.faults)
        return faults.told(self.original.overlay, self.original.evidence(*SEARCHED))

    def _rate(self, phase: Phase, version: EvaluatedCandidate) -> float:
        if phase is Phase.TRAINING:
            return version.rate
        return pass_rate(version.evidence(DECIDING[phase])) or 0.0
