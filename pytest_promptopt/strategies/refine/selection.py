"""Finds the best candidate, and makes others of it: merged, with other examples, without what does harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_promptopt.optimizer.acceptance import (
    compare,
    is_not_worse,
    rank_key,
)
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import REFUSED, Candidate, OpenIteration
from pytest_promptopt.optimizer.halting import Phase
from pytest_promptopt.optimizer.prompt_groups import SEARCHED
from pytest_promptopt.optimizer.proposal.case_batches import ENOUGH_CASES
from pytest_promptopt.optimizer.proposal.replies import Reply
from pytest_promptopt.optimizer.race import BATCH, telling_order
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.prompts.examples import without_examples
from pytest_promptopt.records import EPSILON, Split
from pytest_promptopt.strategies.refine.candidate_races import CandidateRaces, says_the_same
from pytest_promptopt.strategies.refine.candidate_source import CandidateSource
from pytest_promptopt.strategies.refine.economy import Payoff, Prospect
from pytest_promptopt.strategies.refine.example_candidates import ExampleCandidates
from pytest_promptopt.strategies.refine.iteration_planner import IterationPlanner
from pytest_promptopt.strategies.refine.search_budget import SearchBudget
from pytest_promptopt.strategies.refine.state import RefineState
from pytest_promptopt.strategies.refine.validation_runs import ValidationRuns

#: A candidate is run on so many cases before it becomes the incumbent, and on so many where calls are few.
LOOK = 24
SHORT_LOOK = 12

#: Cases that a search for a passage to blame is expected to run.
ABLATION_CASES = 20


class CandidateSelection:
    """Runs the candidates of one search."""

    def __init__(
        self,
        search: BaseSearch,
        state: RefineState,
        search_budget: SearchBudget,
        planner: IterationPlanner,
        candidate_source: CandidateSource,
        example_candidates: ExampleCandidates,
        races: CandidateRaces,
    ) -> None:
        self._search = search
        self._state = state
        self._search_budget = search_budget
        self._planner = planner
        self._candidate_source = candidate_source
        self._example_candidates = example_candidates
        self._races = races
        self._validation = ValidationRuns(
            search, state, search_budget, planner, races.posteriors, self._note_way
        )

    def judge(self, iteration: OpenIteration) -> None:
        """Run the candidates on training cases and, where these decide, on validation cases."""
        if iteration.phase is not Phase.VALIDATION:
            self._find_best(iteration)
            return
        self._validation.look(iteration)
        with self._search_budget.keeping(len(self._search.group.ids(Split.VALIDATION))):
            self._find_best(iteration)
        self._validation.measure(iteration)

    def _find_best(self, iteration: OpenIteration) -> None:
        """Run the candidates; then what is made of the best: merged, with other examples, and cut."""
        base = self._search.best.posterior
        assert base is not None
        contenders = iteration.undecided()
        for candidate in iteration:
            if candidate.verdict == REFUSED:
                self._planner.tried(candidate.kind, 0.0)
        self._races.run(contenders, base, iteration, self._worth_of_merging)
        self._note_refused(iteration.newest(contenders))
        contenders = iteration.undecided(contenders)
        self._note_ways(contenders, base)
        leader = self._leader(contenders)
        if leader is not None and (merged := self._merged(contenders, iteration)):
            leader = self._follow(merged, leader, leader, iteration, self._state.merging)
        if leader is not None:
            leader = self._balanced(leader, self._ran(iteration.undecided(contenders)), iteration)
        while leader is not None and self._looked_closer(leader, iteration):
            contenders = iteration.undecided(contenders)
            leader = self._leader([*contenders, iteration[leader.id]])
        if leader is not None and (ablated := self._ablated(leader, iteration)):
            self._follow(ablated, leader, leader, iteration, self._state.ablating)

    def _note_refused(self, contenders: Sequence[Candidate]) -> None:
        """Remember those that have turned out not to be usable."""
        for candidate in contenders:
            if candidate.verdict == REFUSED:
                self._planner.tried(candidate.kind, 0.0)
                if candidate.kind is Kind.EXAMPLES:
                    self._example_candidates.note_refused(candidate)

    def _note_ways(self, contenders: Sequence[Candidate], base: RatePosterior) -> None:
        """Remember what each way of making candidates has won."""
        for candidate in contenders:
            if candidate.posterior is not None and candidate.posterior.known:
                self._note_way(candidate, candidate.posterior.lead(base).mean / max(1.0, base.failing))

    def _note_way(self, candidate: Candidate, won: float) -> None:
        """Remember that a candidate won this share of what there was to win."""
        self._planner.tried(candidate.kind, won)
        if candidate.kind is Kind.EXAMPLES:
            self._example_candidates.note(candidate, won)

    def _looked_closer(self, candidate: Candidate, iteration: OpenIteration) -> bool:
        """Run the next incumbent-to-be on more cases; whether there were any.

        So its measured rate is near its true rate, and what it breaks is seen while it can be mended.
        """
        call_budget = self._search.context.call_budget
        posterior, incumbent = candidate.posterior, self._search.best.posterior
        if candidate.verdict or posterior is None or iteration.phase is not Phase.TRAINING:
            return False
        look = SHORT_LOOK if self._planner.short() else LOOK
        assert incumbent is not None
        if posterior.lead(incumbent).mean <= 0 or self.unfixed(candidate):
            return False
        order = telling_order(posterior, self._search.run_order(), incumbent)
        cases = order[: max(0, look - len(posterior.known))]
        left = call_budget.left()
        least = self._search_budget.least_judging_calls(candidate.to_evaluated())
        if not cases or (left is not None and left < least):
            return False
        why = f"it is ahead, and is run on {look} cases before it can be the best"
        self._races.journal_round(iteration.number, {candidate.id: cases}, why)
        call_budget.reserve(0)  # cases that it is run on now need not be run at the end
        try:
            (results,) = self._search.evaluate([candidate.overlay], cases)
        finally:
            self._search_budget.reserve_for_judging()
        self._search.context.record_results(candidate.id, results)
        (candidate,) = self._search.refuse([candidate.ran(results)])
        if not candidate.verdict:
            posterior.settle()
            candidate = self._races.compared(candidate, iteration)
        iteration.put(candidate)
        return True

    def _follow(
        self,
        made: Candidate,
        parent: Candidate,
        leader: Candidate,
        iteration: OpenIteration,
        payoff: Payoff,
    ) -> Candidate:
        """Race a text that was made of `parent` against the leader; whichever is ahead.

        How far it is from its parent decides nothing where that is behind.
        """
        iteration.put(made)
        if made.verdict:
            payoff.note(0.0)
            return leader
        assert leader.posterior is not None
        assert parent.posterior is not None
        self._races.run([made], parent.posterior, iteration, rival=leader.posterior)
        made = iteration[made.id]
        ahead = made.posterior is not None and made.posterior.lead(leader.posterior).mean > 0
        if ahead and not says_the_same(made):
            self._looked_closer(made, iteration)
            made = iteration[made.id]
        if made.posterior is None:  # it was refused
            payoff.note(0.0)
            return leader
        lead = made.posterior.lead(leader.posterior)
        payoff.note(lead.mean / max(1.0, leader.posterior.failing))
        return made if lead.mean > 0 else leader

    def _merged(self, contenders: Sequence[Candidate], iteration: OpenIteration) -> Candidate | None:
        """One candidate that does what the leader and others do, where that promises more than it costs."""
        parts, prospect = self._mergeable(contenders)
        if prospect.rate < self._planner.price() or not self._search_budget.fits(ENOUGH_CASES, requests=1):
            return None
        return self._candidate_source.merged(iteration.next_id, parts, self._search.best)

    def _worth_of_merging(self, contenders: Sequence[Candidate]) -> float:
        """What a call wins that goes into merging what candidates do, in cases."""
        return self._mergeable(contenders)[1].rate

    def _mergeable(self, contenders: Sequence[Candidate]) -> tuple[list[Candidate], Prospect]:
        """The leader and the others that fix what it fails; what a text that does all this promises."""
        incumbent = self._search.best.posterior
        assert incumbent is not None
        ran = [
            (each, each.posterior)
            for each in contenders
            if each.posterior is not None and each.posterior.known
        ]
        ran.sort(key=lambda one: -one[1].lead(incumbent).mean)
        cost = 1 + 2 * ENOUGH_CASES * self._search_budget.calls_per_case
        if not ran:
            return [], Prospect(0.0, cost)
        leader, posterior = ran[0]
        failed = {case for case, rate in posterior.known.items() if rate < 1 - EPSILON}
        parts, more = [leader], set[str]()
        for other, known in ran[1:]:
            # What the leader was not run on may be fixed by it as well.
            fixed = {case for case, before, after in known.pairs() if after > before + EPSILON}
            beyond = (fixed & failed) - more
            if beyond and _differ(leader, other):
                parts.append(other)
                more |= beyond
        # Among the failing cases that both were run on, the others fix this share; so they may of all.
        promised = len(more) / max(1, len(failed)) * posterior.failing
        return parts, Prospect(self._state.merging.expected * promised, cost)

    def _balanced(
        self, leader: Candidate, others: Sequence[Candidate], iteration: OpenIteration
    ) -> Candidate:
        """The best of the leader and of texts with other examples, for an answer that comes too often.

        They are made of all, the best first, as what else a text could do does not show while it gives the
        same answer to most cases: each of the one before it, since where that ends is found step by step.
        """
        for begun in (leader, *(other for other in others if other.id != leader.id)):
            newest, exchange = begun, None
            while self._worth_balancing(leader):
                exchange = self._example_candidates.exchanged(iteration.next_id, newest, exchange)
                if exchange is None:
                    break
                made = exchange.candidate
                leader = self._follow(made, newest, leader, iteration, self._state.balancing)
                newest = iteration[made.id]
                if newest.verdict:
                    if not made.verdict:
                        self._note_refused([newest])
                    break
        return leader

    def _worth_balancing(self, leader: Candidate) -> bool:
        """Whether another mix of examples promises more than a first look at it costs."""
        assert leader.posterior is not None
        promised = self._state.balancing.expected * leader.posterior.failing
        cost = BATCH * self._search_budget.calls_per_case
        return self._search_budget.fits(BATCH) and promised >= self._planner.price() * cost

    def _ablated(self, leader: Candidate, iteration: OpenIteration) -> Candidate | None:
        """The leader without the passage to blame for what it breaks; None where that is not worth calls."""
        broken = leader.compared[Split.TRAIN].broken
        if len(broken) < 2 or not self.worth_ablating(len(broken)):
            return None
        ablated = self._candidate_source.ablated(iteration.next_id, leader, self._search.best)
        if ablated is None:
            self._state.ablating.note(0.0)
        return ablated

    def worth_ablating(self, broken: int) -> bool:
        """Whether a search for the passage to blame for so many failing cases promises more than it costs."""
        price = self._planner.price() * ABLATION_CASES * self._search_budget.calls_per_case
        return (
            self._search_budget.fits(2 * ABLATION_CASES) and self._state.ablating.expected * broken >= price
        )

    def leave_out_examples(self) -> None:
        """Take the examples out of the best text if it does as well without them: each call pays for them.

        It may have been rewritten since they came in; else it is known what they win. Without them it is run
        on the same cases and on those that were examples, where the ceiling leaves calls for that.
        """
        search, best = self._search, self._search.best
        written = {prompt.name: best.text(prompt) for prompt in search.group.prompts}
        bodies = {name: without_examples(text) for name, text in written.items()}
        replies = {name: Reply(body, "") for name, body in bodies.items() if body != written[name]}
        allowed = search.context.settings.examples > 0
        if best is search.original or best.posterior is None or not (replies and allowed):
            return
        wanted = Candidate(
            f"{search.number}.1", tuple(replies), "Leave the examples out.", kind=Kind.EXAMPLES
        )
        candidate = search.build_checked_candidate(wanted, best, replies)
        posterior = self._races.posteriors.on_training(candidate, best.posterior)
        spared = set(best.spared(search.group))
        candidate = replace(candidate, posterior=posterior)
        counted = (*posterior.cases, *search.group.ids(Split.VALIDATION))
        cases = [case for case in counted if case not in spared]
        if candidate.verdict or not self._search_budget.fits(len(cases)):
            return
        (results,) = search.evaluate([candidate.overlay], cases)
        search.context.record_results(candidate.id, results)
        (candidate,) = search.refuse([candidate.ran(results)])
        found = compare(best.evidence(*SEARCHED), results)
        if candidate.verdict or not is_not_worse(found) or search.regressions(candidate):
            return
        search.best = candidate.to_evaluated()
        self._state.accepted.append(search.best)
        changed = f"{len(found.fixed)} fixed, {len(found.broken)} broken of {found.cases}"
        search.notes.append(
            f"candidate {best.id} does as well without its examples ({changed}), so they were taken out"
        )

    def _leader(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """The best candidate so far; None when none was run."""
        return next(iter(self._ran(candidates)), None)

    def _ran(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that were run on training cases, the best first."""
        ran = [candidate for candidate in candidates if candidate.results.get(Split.TRAIN)]
        return sorted(ran, key=lambda candidate: rank_key(candidate.compared[Split.TRAIN]))

    def unfixed(self, candidate: Candidate) -> int:
        """How many failing cases a candidate was run on, if it is better on none of them; else 0."""
        assert self._search.best.posterior is not None
        assert candidate.posterior is not None
        before, after = self._search.best.posterior.known, candidate.posterior.known
        pairs = [(rate, after[case]) for case, rate in before.items() if case in after]
        failing = [(old, new) for old, new in pairs if old < 1 - EPSILON]
        return len(failing) * all(new <= old + EPSILON for old, new in failing)


def _differ(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates differ by more than the examples in their texts."""
    names = {*one.prompts, *other.prompts}
    return any(
        without_examples(one.overlay.get(name, "")) != without_examples(other.overlay.get(name, ""))
        for name in names
    )
