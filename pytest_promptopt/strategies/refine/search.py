"""The strategy `refine`: one group of prompts, from the first evaluation to the best text found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace

from pytest_promptopt.optimizer.acceptance import compare, is_not_worse, rank_key
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import (
    ACCEPTED,
    MERGED,
    REJECTED,
    Candidate,
    EvaluatedCandidate,
    OpenIteration,
)
from pytest_promptopt.optimizer.halting import DECIDING, HaltReason, Phase, Stop
from pytest_promptopt.optimizer.model_guard import newest_without_fall
from pytest_promptopt.optimizer.prompt_groups import SEARCHED, PromptGroup
from pytest_promptopt.optimizer.proposal.briefs import Briefing
from pytest_promptopt.optimizer.proposal.case_batches import ENOUGH_CASES
from pytest_promptopt.optimizer.protocols import StopRun
from pytest_promptopt.optimizer.rate_posterior import posterior_of
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.optimizer.stage_faults.investigation import Investigation
from pytest_promptopt.optimizer.stage_faults.stage_faults import StageFaults
from pytest_promptopt.optimizer.stage_faults.telling import faults_line
from pytest_promptopt.optimizer.strategy import ScoringNeeds
from pytest_promptopt.optimizer.verdict_model import RATES, Kind
from pytest_promptopt.prompts.examples import has_examples
from pytest_promptopt.records import Split, pass_rate
from pytest_promptopt.statistics import wilson_interval
from pytest_promptopt.strategies.refine.candidate_races import CandidateRaces
from pytest_promptopt.strategies.refine.candidate_source import CandidateSource
from pytest_promptopt.strategies.refine.example_candidates import ExampleCandidates
from pytest_promptopt.strategies.refine.iteration_planner import IterationPlanner
from pytest_promptopt.strategies.refine.search_budget import SearchBudget
from pytest_promptopt.strategies.refine.selection import CandidateSelection
from pytest_promptopt.strategies.refine.state import RefineState

#: To find failing cases the incumbent is run where it passes less likely than this.
LIKELY = 0.75


class RefineSearch(BaseSearch):
    """Refines one group of prompts: training phase, then validation phase. `best` is the incumbent."""

    scoring_needs = ScoringNeeds(optimizer_model=False, foresight=True)

    state: RefineState

    def __init__(self, group: PromptGroup, context: SearchContext, state: RefineState | None = None) -> None:
        super().__init__(group, context, state)
        state = self.state
        self._faults = StageFaults(group, state.faults)
        self._briefing = Briefing(group, context.settings, context.hooks, state.briefing, self._faults)
        self._investigation = Investigation(context, self._faults, self.run_trials)
        self._candidate_source = CandidateSource(self, self._briefing)
        self._example_candidates = ExampleCandidates(self, state.examples)
        self._search_budget = SearchBudget(self, state)
        self._planner = IterationPlanner(self, state, self._search_budget)
        self._races = CandidateRaces(self, state, self._search_budget, self._planner)
        self._selection = CandidateSelection(
            self,
            state,
            self._search_budget,
            self._planner,
            self._candidate_source,
            self._example_candidates,
            self._races,
        )

    def new_state(self) -> RefineState:
        return RefineState.of(self.group, self.context.settings.seed, self.context.told)

    # ------------------------------------------------------------------------------------------------- phases

    def step(self) -> Stop | None:
        """Make one iteration: of training, and when that is over of validation.

        The stop is that of the last phase with an iteration.
        """
        state = self.state
        if state.phase is Phase.VALIDATION and state.iterations_trained is None:  # a ceiling came before it
            self._begin_validation()
        while (stop := self._iterate_unless_halted(state.phase)) is not None:
            if state.phase is Phase.VALIDATION:
                return stop if len(self.iterations) != state.iterations_trained else state.trained
            if state.waiting and stop.halt in (HaltReason.TARGET, HaltReason.PLATEAU) and self._widen():
                state.escaped = False
                continue
            self._note_screen()
            # Under a ceiling that is reached nothing more is chosen: so what the text answers to the
            # validation cases, at the end, serves for its confirmation.
            if stop.halt == HaltReason.BUDGET or pass_rate(self.original.results[Split.VALIDATION]) is None:
                return stop
            state.trained, state.escaped = stop, False
            self.enter_phase(Phase.VALIDATION)
            self._begin_validation()
        return None

    def conclude(self) -> None:
        """Journal what was learned. Where no case may get worse, make sure of the training cases."""
        with suppress(StopRun):
            self._selection.leave_out_examples()
        self.context.record("learned", prompts=self.names, rates=RATES, taught=self.state.learning.taught())
        self.context.call_budget.reserve(0)
        if not self.context.settings.no_regressions:
            versions = [self.original, *self.state.accepted, self.best]
            self.best = newest_without_fall(versions, self.regressions, self.notes)
            return
        with suppress(StopRun):
            self._races.run_incumbent(self.best.unverified, "no case may get worse")
        if self.best.unverified:
            self.notes.append(
                f"candidate {self.best.id} was not run on {len(self.best.unverified)} training cases"
            )
        whole = [each for each in self.state.accepted if not each.unverified and not self.regressions(each)]
        self.best = (whole or [self.original])[-1]

    def start_search(self) -> Stop | None:
        needless = super().start_search()
        results = self.original.evidence(*SEARCHED)
        training = self.original.results[Split.TRAIN]
        rates = {result.case.id: result.rate for result in training if result.rate is not None}
        self.original = self.best = replace(self.original, posterior=posterior_of(rates, self.state.learning))
        answers = sum(len(outcome.all_calls) for result in results for outcome in result.outcomes)
        # Counted in answers, known or paid for, so that a run that is gone on with decides the same.
        self._search_budget.begin(max(1.0, answers / max(1, len(results))))
        self._planner.begin(len(rates))
        return needless

    def initial_cases(self) -> Sequence[str]:
        waiting = set(self.state.waiting)
        return [case for case in super().initial_cases() if case not in waiting]

    def _widen(self) -> bool:
        """Take as many training cases again into the search; whether they show more to mend."""
        count = len(self.original.results[Split.TRAIN])
        block, waiting = self.state.waiting[:count], self.state.waiting[count:]
        versions = [self.original] if self.best is self.original else [self.original, self.best]
        measured = self.evaluate([version.overlay for version in versions], block)
        self.state.waiting = waiting
        for version, results in zip(versions, measured, strict=True):
            self.context.record_results(version.id, results)
        rates = {result.case.id: result.rate for result in measured[0] if result.rate is not None}
        wider: list[EvaluatedCandidate] = []
        # The original first, since the others are compared with it.
        for version, results in zip(versions, measured, strict=True):
            assert version.posterior is not None
            version.posterior.widen(rates)
            wider.append(version.ran(results))
            self.original = wider[0]
        self.best = wider[-1]
        self.state.rates = []  # those so far are of fewer cases
        self.checks.learn_cases(self.original.evidence(*SEARCHED))
        return any(result.failing is not None for result in measured[-1])

    def _note_screen(self) -> None:
        """Say how much the cases searched tell of all."""
        if not self.state.waiting:
            return
        cases = self.best.foresight.cases
        low, high = wilson_interval(self.best.rate, self.best.foresight.run)
        self.notes.append(
            f"searched with {cases} of {cases + len(self.state.waiting)} training cases, drawn at "
            f"random: the pass rate on all of them is between {low:.0%} and {high:.0%} (95 % interval)"
        )

    def _iterate_unless_halted(self, phase: Phase) -> Stop | None:
        """Make an iteration, unless a rule says stop; a plateau allows one escape.

        Before the target counts as reached the incumbent is run on all training cases, where calls are left.
        """
        while True:
            self._give_way()
            self._turn_to_stage(phase)
            self._search_budget.reserve_for_judging()
            unpaid = self._planner.unpaid(phase)
            stop = self.halted(phase, self.best) or unpaid
            unverified = self.best.unverified if stop and stop.halt == HaltReason.TARGET else ()
            if not unverified or not self._search_budget.fits(len(unverified)):
                break
            self._races.run_incumbent(unverified, "the target seems to be reached")
        out_of_calls = unpaid is not None and unpaid.halt == HaltReason.BUDGET
        on_plateau = stop is not None and stop.halt == HaltReason.PLATEAU
        escaping = on_plateau and not self.state.escaped and not out_of_calls
        if stop and not escaping:
            return stop
        self.state.escaped = self.state.escaped or escaping
        return self._iterate(self.open_iteration(phase, escaping=escaping))

    def _give_way(self) -> None:
        """Go back to the incumbent before, when this one cannot be rendered for a further case."""
        if self.refusal(self.best.overlay):
            self.state.accepted = [each for each in self.state.accepted if not self.refusal(each.overlay)]
            self.best = (self.state.accepted or [self.original])[-1]

    # ---------------------------------------------------------------------------------------------- iteration

    def _iterate(self, iteration: OpenIteration) -> Stop | None:
        """Make an iteration and learn what it was worth; a stop when its first runs show nothing to mend."""
        runs = self.context.evaluator.runs
        count, drawn = self._planner.worth_making(iteration.number)
        least = self._planner.prospects()[max(count, 1) - 1].calls
        training = iteration.phase is Phase.TRAINING
        self._look_for_failures(count)
        # This may show that nothing fails, and then no request is needed.
        nothing_fails = training and not (self._failing() or self.best.unverified)
        if nothing_fails and (stop := self.halted(iteration.phase, self.best)):
            return stop
        self._look_into_stages(iteration.phase)
        incumbent, failing = self.best.id, self._planner.open(iteration.phase)
        self._make_candidates(iteration, count, drawn)
        self._decide(iteration)
        if self.best.id == incumbent and training:
            self._recover(escaping=iteration.escaping)
        asked = sum(candidate.kind in (Kind.REWRITE, Kind.MERGE) for candidate in iteration)
        calls = asked + self._search_budget.calls_for(self.context.evaluator.runs - runs)
        stages = {name for candidate in iteration for name in candidate.prompts}
        self._planner.iterated(failing, iteration.phase, calls, least, stages)
        return None

    def _turn_to_stage(self, phase: Phase) -> None:
        """The next iteration is about the stage where it promises most."""
        self._planner.turn_to(self._briefing.next_prompts(phase, self.best)[0].name)

    def _look_into_stages(self, phase: Phase) -> None:
        """Find the stage at fault of each failing case; journaled with what shows it."""
        results = self.best.evidence(DECIDING[phase])
        self._investigation.look_into(self.best, results)
        self._turn_to_stage(phase)
        told = self._faults.told(self.best.overlay, results)
        self.state.at_fault = faults_line(told)
        if told:
            self.context.record("stages_at_fault", prompts=self.names, cases=[asdict(each) for each in told])

    def _make_candidates(self, iteration: OpenIteration, count: int, drawn: int) -> None:
        """Ask for candidates, and draw sets of examples."""
        hurried = self._hurried()
        proposed = self._candidate_source.proposed(
            iteration.number,
            iteration.phase,
            self.best,
            most=count,
            escape=iteration.escaping,
            hurried=hurried,
        )
        iteration.put(*proposed)
        if hurried:
            self._join(iteration)
        iteration.put(*self._example_candidates.drawn(iteration.number, len(iteration) + 1, self.best, drawn))

    def _decide(self, iteration: OpenIteration) -> None:
        """Judge candidates, keep the best if it is better, and end the iteration.

        Raises `StopRun` after that, if one cut it off.
        """
        cut_off: StopRun | None = None
        try:
            self._selection.judge(iteration)
        except StopRun as stopped:
            cut_off = stopped
        self._keep_best(iteration)
        self._briefing.learn(iteration.number, list(iteration))
        self.finish_iteration(iteration.phase, list(iteration), self.best)
        if cut_off:
            raise cut_off

    def _join(self, iteration: OpenIteration) -> None:
        """Put the first texts for different prompts together: alone one may show nothing; calls are few."""
        prompts: set[str] = set()
        parts: list[Candidate] = []
        for candidate in iteration.undecided():
            if candidate.prompts[0] not in prompts:
                prompts.add(candidate.prompts[0])
                parts.append(candidate)
        joined = self._candidate_source.merged(iteration.next_id, parts, self.best)
        if joined is None:
            return
        iteration.put(joined)
        if not joined.verdict:
            iteration.put(*(part.decided(MERGED, f"it is part of candidate {joined.id}") for part in parts))

    def _hurried(self) -> bool:
        """Whether the ceiling leaves too few calls to take every prompt of a pipeline in turn."""
        turns = len(self.group.prompts)
        return turns > 1 and not self._search_budget.fits(turns * self.best.foresight.cases)

    def _look_for_failures(self, requests: int) -> None:
        """Run the incumbent where it probably fails, until there is enough for so many requests."""
        posterior = self.best.posterior
        assert posterior is not None
        wanted = ENOUGH_CASES * requests
        while (missing := wanted - len(self._failing())) > 0:
            order = sorted(posterior.unrun, key=posterior.chance)
            likely = [case for case in order if posterior.chance(case) < LIKELY]
            # A request with too few failing cases teaches little. What is run now need not be run at the end.
            if not self._failing() or (len(self._failing()) < ENOUGH_CASES and not self._planner.short()):
                likely = likely or order[:missing]
            now = missing if self._search_budget.fits(missing) or self._failing() else ENOUGH_CASES
            if not self._races.run_incumbent(likely[:now], "it probably fails there"):
                return

    def _failing(self) -> list[str]:
        """The training cases that the incumbent was seen to fail, those that the original passes first."""
        failing = [r.case.id for r in self.best.evidence(Split.TRAIN) if r.failing is not None]
        passed = {r.case.id for r in self.original.evidence(Split.TRAIN) if r.failing is None}
        return sorted(failing, key=lambda case: case not in passed)

    def _recover(self, *, escaping: bool) -> None:
        """Take out of the incumbent the passage to blame for cases that it fails; once for the same cases."""
        failing = self._failing()
        examined = (self.best.id, *failing)
        if self.best is self.original or len(failing) < 2 or examined in self.state.examined:
            return
        if not self._selection.worth_ablating(len(failing)):
            return
        if len(self.iterations) >= self.context.settings.max_iterations:
            return
        self.state.examined.add(examined)
        self.start_iteration(Phase.TRAINING, self.best)
        iteration = self.open_iteration(Phase.TRAINING, escaping=escaping)
        ablated = self._candidate_source.ablated_incumbent(iteration.next_id, self.best, failing)
        if ablated is None:
            self.state.ablating.note(0.0)
            return
        before = self._planner.open(Phase.TRAINING)
        iteration.put(ablated)
        self._decide(iteration)
        self.state.ablating.note((before - self._planner.open(Phase.TRAINING)) / max(1.0, before))

    # ---------------------------------------------------------------------------------------------- judging

    def _keep_best(self, iteration: OpenIteration) -> None:
        """The best candidate that the acceptance rule takes is the new incumbent; the others are rejected."""
        ran = [candidate for candidate in iteration.undecided() if candidate.results.get(Split.TRAIN)]
        for candidate in ran:
            iteration.put(self._judged(self._races.compared(candidate, iteration), iteration))
        deciding = DECIDING[iteration.phase]
        ranked = sorted(
            iteration.undecided(ran), key=lambda candidate: rank_key(candidate.compared[deciding])
        )
        for candidate in ranked[:1]:
            iteration.put(candidate.decided(ACCEPTED, candidate.why))
            before, self.best = self.best, candidate.to_evaluated()
            if self._shows_examples(self.best) and not self._shows_examples(before):
                self._planner.forget_rewrites()
            self.state.accepted.append(self.best)
        for candidate in ranked[1:]:
            why = f"candidate {self.best.id} goes before it; {candidate.why}"
            iteration.put(candidate.decided(REJECTED, why))
        for candidate in iteration.undecided():
            iteration.put(candidate.decided(REJECTED, "no calls were left to run it"))

    def _shows_examples(self, version: EvaluatedCandidate) -> bool:
        return any(has_examples(version.text(prompt)) for prompt in self.group.prompts)

    def _judged(self, candidate: Candidate, iteration: OpenIteration) -> Candidate:
        """A candidate that the acceptance rule takes, with its reason; rejected if it does not, or if it
        loses what may not be lost."""
        if lost := self.regressions(candidate):
            why = f"it fails {len(lost)} that the original passed: {', '.join(lost)}"
            return candidate.decided(REJECTED, why)
        left = self.context.call_budget.left()
        found = left is not None and self.best is not self.original
        least = self._search_budget.least_judging_calls(candidate.to_evaluated())
        if found and least > (left or 0):
            why = f"judging it takes {least} calls at least, and {left} are left"
            return candidate.decided(REJECTED, why)
        training = candidate.compared[Split.TRAIN]
        if (
            iteration.phase is Phase.TRAINING
            and not iteration.escaping
            and (failing := self._selection.unfixed(candidate))
        ):
            why = f"it fixes none of the {failing} failing training cases it was run on"
            return candidate.decided(REJECTED, why)
        if iteration.phase is Phase.VALIDATION:
            if Split.VALIDATION not in candidate.compared:
                return candidate.decided(REJECTED, f"it breaks what was learned in training: {training}")
            training = candidate.compared[Split.VALIDATION]
        verdict = self.context.hooks.accept(training)
        return (
            replace(candidate, why=verdict.why)
            if verdict.accepted
            else candidate.decided(REJECTED, verdict.why)
        )

    # --------------------------------------------------------------------------------------------- validation

    def _begin_validation(self) -> None:
        self._validate()
        self._planner.begin_validation()
        self.state.iterations_trained = len(self.iterations)

    def _validate(self) -> None:
        """Score the incumbent on validation; where it only learned the training cases, go back."""
        if self.best is self.original:
            return
        self.best = trained = self._validated([self.best])[0]
        refused = self.refusal(trained.overlay)
        before, after = (each.results[Split.VALIDATION] for each in (self.original, trained))
        comparison = compare(before, after, split=Split.VALIDATION)
        if is_not_worse(comparison) and not self.regressions(trained) and not refused:
            return
        validated = [each for each in self._validated(self.state.accepted) if not self.regressions(each)]
        others = [each for each in validated if not self.refusal(each.overlay)]
        self.best = self.best_of([self.original, *others])
        kept = "the original" if self.best is self.original else f"candidate {self.best.id}"
        what = refused or f"fell on validation ({comparison})"
        self.notes.append(
            f"candidate {trained.id} was best in training but {what}; {kept} is best on both together"
        )
        self.context.record("overfitted", candidate=trained.id, kept=self.best.id, why=str(comparison))

    def _validated(self, versions: Sequence[EvaluatedCandidate]) -> list[EvaluatedCandidate]:
        overlays = [version.overlay for version in versions]
        measured = self.evaluate(overlays, self.group.ids(Split.VALIDATION))
        for version, results in zip(versions, measured, strict=True):
            self.context.record_results(version.id, results)
        scored = [
            replace(version, results={**version.results, Split.VALIDATION: results})
            for version, results in zip(versions, measured, strict=True)
        ]
        by_id = {version.id: version for version in scored}
        self.state.accepted = [by_id.get(version.id, version) for version in self.state.accepted]
        return scored
