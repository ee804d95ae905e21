"""Runs candidates where validation cases decide: a first look, then all cases, judged by both splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pytest_promptopt.optimizer.acceptance import compare, counted_on_all, is_not_worse, rank_key
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import REJECTED, Candidate, OpenIteration
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.race import BATCH, HOPELESS
from pytest_promptopt.records import EPSILON, Split
from pytest_promptopt.strategies.refine.iteration_planner import IterationPlanner
from pytest_promptopt.strategies.refine.posteriors import Posteriors
from pytest_promptopt.strategies.refine.search_budget import SearchBudget
from pytest_promptopt.strategies.refine.state import RefineState


class ValidationRuns:
    """Runs the candidates of one search on validation cases.

    :param planner: knows which look at a candidate is worth its calls.
    :param note_way: told what share of what there was to win a candidate has won.
    """

    def __init__(
        self,
        search: BaseSearch,
        state: RefineState,
        search_budget: SearchBudget,
        planner: IterationPlanner,
        posteriors: Posteriors,
        note_way: Callable[[Candidate, float], None],
    ) -> None:
        self._search = search
        self._state = state
        self._search_budget = search_budget
        self._planner = planner
        self._posteriors = posteriors
        self._note_way = note_way

    def look(self, iteration: OpenIteration) -> None:
        """Run the candidates on some validation cases that fail.

        One that fixes none of them goes on only where it may still win enough in training.
        """
        search = self._search
        before = search.best.results[Split.VALIDATION]
        failing = [result.case.id for result in before if result.failing is not None][:HOPELESS]
        looked_at = iteration.undecided()
        # What is looked at must then be run on the other cases.
        others = len(before) - len(failing)
        later = BATCH * len(looked_at) + others
        if not failing or not self._search_budget.fits(len(looked_at) * len(failing) + later):
            return
        measured = search.evaluate([candidate.overlay for candidate in looked_at], failing)
        for candidate, results in zip(search.refuse(looked_at), measured, strict=True):
            if not candidate.verdict:
                candidate = candidate.ran(results)
                search.context.record_results(candidate.id, results)
                compared = compare(before, results, split=Split.VALIDATION, growth=candidate.growth)
                won = compared.fixed or compared.raised
                if not won and not self._worth_training(candidate, BATCH + others):
                    why = f"it fixes none of the {compared.cases} failing validation cases it was run on"
                    compared = counted_on_all(compared, before)
                    candidate = candidate.judged_by(compared).decided(REJECTED, why)
                    self._note_way(candidate, 0.0)
            iteration.put(candidate)

    def _worth_training(self, candidate: Candidate, cases: int) -> bool:
        """Whether what it may still win in training is worth running it on so many cases.

        Not where less is left to win there than on validation cases. That it fixed nothing where it was
        looked at lowers what is believed of it in training as well.
        """
        incumbent = self._search.best.posterior
        assert incumbent is not None
        if incumbent.failing <= self._state.failing_on_validation(self._search.best):
            return False
        posterior = self._posteriors.on_training(candidate, incumbent)
        return self._planner.worth_running(posterior, cases)

    def measure(self, iteration: OpenIteration) -> None:
        """Run those on validation that keep what was learned in training, the best first."""
        search = self._search
        cases = search.group.ids(Split.VALIDATION)
        kept = [candidate for candidate in iteration.undecided() if self._keeps(candidate)]
        kept.sort(key=lambda candidate: rank_key(candidate.compared[Split.TRAIN]))
        runs = [candidate.not_run_on(cases) for candidate in kept]
        fitting = [n for n in range(len(kept), 0, -1) if self._search_budget.fits(sum(map(len, runs[:n])))]
        tried = kept[: next(iter(fitting), 0)]
        why = "no calls were left to run it on the validation cases"
        iteration.put(*(candidate.decided(REJECTED, why) for candidate in kept[len(tried) :]))
        measured = search.run_trials(
            [Trial(each.overlay, run) for each, run in zip(tried, runs, strict=False)]
        )
        for candidate, results in zip(search.refuse(tried), measured, strict=True):
            if not candidate.verdict:
                search.context.record_results(candidate.id, results)
                candidate = self._compared_on_both(candidate.ran(results))
            iteration.put(candidate)

    def _keeps(self, candidate: Candidate) -> bool:
        """Whether it keeps what was learned in training: as counted, or as estimated of all cases.

        More of the cases that pass may have been run than of those that fail; or nothing fails that it could
        win, and what was not run counts against it.
        """
        ran = candidate.results.get(Split.TRAIN)
        if not ran:
            return False
        counted = compare(self._search.best.evidence(Split.TRAIN), ran)
        return is_not_worse(counted) or is_not_worse(candidate.compared[Split.TRAIN])

    def _compared_on_both(self, candidate: Candidate) -> Candidate:
        """It with what it is judged by in validation: its lead on the cases of both splits.

        Where it fails more validation cases than the incumbent, these decide: its writer has not seen them.
        """
        before, after = (one.results[Split.VALIDATION] for one in (self._search.best, candidate))
        compared = compare(before, after, split=Split.VALIDATION, growth=candidate.growth, by_label=True)
        if compared.gain < -EPSILON:
            return candidate.judged_by(compared)
        trained, incumbent = candidate.posterior, self._search.best.posterior
        assert trained is not None
        assert incumbent is not None
        if trained.base is incumbent:
            trained.see_beside(self._posteriors.on_validation(candidate))
        else:  # it was made of another candidate
            trained = self._posteriors.on_training(candidate, incumbent)
            trained.add(candidate.results.get(Split.TRAIN, ()))
        lead, cases = trained.lead_on_both(), len(trained.cases) + compared.cases
        return candidate.judged_by(replace(compared, lead=lead.mean / cases, chance=lead.chance))
