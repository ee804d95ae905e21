"""Races of candidates, run: batch by batch on the cases that decide most, and the incumbent with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pytest_promptopt.optimizer.acceptance import compare_estimates
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import Candidate, OpenIteration
from pytest_promptopt.optimizer.halting import Phase
from pytest_promptopt.optimizer.label_rates import answers_all_the_same
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.race import Move, Race, Runner
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.records import Split
from pytest_promptopt.strategies.refine.iteration_planner import IterationPlanner
from pytest_promptopt.strategies.refine.posteriors import Posteriors
from pytest_promptopt.strategies.refine.search_budget import SearchBudget
from pytest_promptopt.strategies.refine.state import RefineState


class CandidateRaces:
    """Runs candidates of one search on training cases, and its incumbent where that decides.

    :ivar posteriors: makes what is believed of them.
    """

    def __init__(
        self, search: BaseSearch, state: RefineState, search_budget: SearchBudget, planner: IterationPlanner
    ) -> None:
        self._search = search
        self._state = state
        self._search_budget = search_budget
        self._planner = planner
        self.posteriors = Posteriors(search, state)

    def run(
        self,
        runners: Sequence[Candidate],
        base: RatePosterior,
        iteration: OpenIteration,
        worth_else: Callable[[Sequence[Candidate]], float] = lambda runners: 0.0,
        *,
        rival: RatePosterior | None = None,
    ) -> None:
        """Run candidates that were made from the text of `base`, as far as that decides.

        :param rival: of the text that they have to beat; None for `base`.
        :param worth_else: what a call wins, in cases, that goes into another use of them as they are by now:
            the race is over as soon as that is more than telling them further apart wins.
        """
        rival = rival or base
        entered = {candidate.id: self.posteriors.on_training(candidate, base) for candidate in runners}
        iteration.put(*(replace(candidate, posterior=entered[candidate.id]) for candidate in runners))
        race = Race(
            [Runner(id, posterior) for id, posterior in entered.items()],
            rival,
            self._search.run_order(),
            calls=self._search_budget.calls_per_case,
            sideways=iteration.escaping or iteration.phase is Phase.VALIDATION,
        )
        while True:
            price = max(self._planner.price(), worth_else(iteration.newest(runners)))
            worth = race.moves(price)
            if rival is self._search.best.posterior and self._ran_incumbent(race, worth, price):
                continue
            if not (moves := self._next_round(worth, iteration, price)):
                break
            trials = [Trial(iteration[move.runner.id].overlay, move.cases) for move in moves]
            measured = self._search.run_trials(trials)
            for move, results in zip(moves, measured, strict=True):
                iteration.put(iteration[move.runner.id].ran(results))
                self._search.context.record_results(move.runner.id, results)
            iteration.put(*self._search.refuse(iteration.newest(runners)))
            race.runners = [runner for runner in race.runners if not iteration[runner.id].verdict]
            race.foreseen.update(move.runner.id for move in moves if says_the_same(iteration[move.runner.id]))
            # While all are still run, the results of one candidate tell something about others of its kind.
            for candidate in iteration.newest(runners):
                if candidate.posterior is not None and candidate.posterior.known:
                    self._state.learning.learn(candidate.kind, candidate.posterior.belief, candidate.id)
            for runner in race.runners:
                runner.posterior.clear_estimates()
        ran = [(each, each.posterior) for each in iteration.undecided(runners) if each.posterior is not None]
        for _, posterior in ran:
            posterior.settle()
        # All are compared by what all have taught: those that did the same are then equal.
        for candidate, posterior in ran:
            posterior.clear_estimates()
            iteration.put(self.compared(candidate, iteration))

    def _ran_incumbent(self, race: Race, moves: Sequence[Move], price: float) -> bool:
        """Run the incumbent where the leader was run and it was not, if that may decide most."""
        cases = race.incumbent_move(moves, price)
        if not self.run_incumbent(cases, "another text is ahead where this one was not run"):
            return False
        for runner in race.runners:
            runner.posterior.see_base_again()
        return True

    def run_incumbent(self, cases: Sequence[str], why: str) -> bool:
        """Run the incumbent on further training cases, if there are any and calls for them."""
        search, state = self._search, self._state
        if not cases or not self._search_budget.fits(len(cases)):
            return False
        self.journal_round(search.number, {search.best.id: cases}, why)
        paid = search.context.paid()
        (results,) = search.evaluate([search.best.overlay], cases)
        search.context.record_results(search.best.id, results)
        before = search.best
        search.best = before.ran(results)
        if not search.best.unverified:
            search.caught_up(results, search.best, paid)
        state.accepted = [search.best if each is before else each for each in state.accepted]
        self._search_budget.reserve_for_judging()
        return True

    def _next_round(self, worth: Sequence[Move], iteration: OpenIteration, price: float) -> list[Move]:
        """Those batches that there are calls for, journaled with what speaks for them or for the end."""
        moves = self._affordable(worth)
        value = max((move.value for move in worth), default=0.0)
        why = f"a call wins {value:.2g} cases here at most, and {price:.2g} elsewhere"
        if any(move.value <= price for move in moves):
            why += "; what was not run yet has a first look"
        if worth and not moves:
            why += "; no calls are left for it"
        self.journal_round(iteration.number, {move.runner.id: move.cases for move in moves}, why)
        return moves

    def journal_round(self, iteration: int, runs: Mapping[str, Sequence[str]], why: str) -> None:
        """Journal which candidates are run next on which cases, and why; or why a race is over."""
        self._search.context.record("round", iteration=iteration, runs=runs, why=why)

    def _affordable(self, moves: Sequence[Move]) -> list[Move]:
        """The first of `moves` that the ceiling leaves calls for, the last one cut to what is left."""
        chosen: list[Move] = []
        for move in moves:
            used = sum(len(each.cases) for each in chosen)
            fitting = next(
                (n for n in range(len(move.cases), 0, -1) if self._search_budget.fits(used + n)), 0
            )
            if fitting:
                chosen.append(replace(move, cases=move.cases[:fitting]))
        return chosen

    def compared(self, candidate: Candidate, iteration: OpenIteration) -> Candidate:
        """A candidate with what it is judged by in training: against the incumbent, on all cases of both."""
        assert candidate.posterior is not None
        assert self._search.best.posterior is not None
        compared = compare_estimates(
            self._search.best.posterior,
            candidate.posterior,
            self._search.best.evidence(Split.TRAIN),
            candidate.results.get(Split.TRAIN, ()),
            growth=candidate.growth,
        )
        return candidate.judged_by(replace(compared, sideways=iteration.escaping))


def says_the_same(candidate: Candidate) -> bool:
    """Whether it gave one answer to all training cases that it was run on."""
    return answers_all_the_same(candidate.results.get(Split.TRAIN, ()))
