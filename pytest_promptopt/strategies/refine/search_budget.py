"""What one search may spend under a ceiling, and what of it is kept for judging the best text."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_promptopt.optimizer.acceptance import compare
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.confirmation_power import foreseen_calls, least_pairs, power_of
from pytest_promptopt.records import Split
from pytest_promptopt.strategies.refine.state import RefineState, Reserve

#: The share of a case's calls that a text is expected to be run on when it becomes the best.
RUN_SHARE = 0.6


class SearchBudget:
    """The calls of one search: what runs take, what is free for them, what is kept."""

    def __init__(self, search: BaseSearch, state: RefineState) -> None:
        self._search = search
        self._state = state
        self._kept = 0

    @property
    def calls_per_case(self) -> float:
        """Calls that one run of a case takes."""
        return self._state.reserve.calls_per_case

    def begin(self, calls_per_case: float) -> None:
        """Begin after the original was measured; what is reserved for the search now is for fresh answers."""
        call_budget = self._search.context.call_budget
        least = call_budget.reserved
        self._state.reserve = Reserve(calls_per_case, least)
        self.reserve_for_judging()

    def calls_for(self, runs: float) -> int:
        return math.ceil(runs * self.calls_per_case)

    def fits(self, runs: int, *, requests: int = 0) -> bool:
        """Whether the ceiling leaves calls to run so many cases, and for these requests to the optimizer."""
        return self._search.context.call_budget.affords(requests + self.calls_for(runs))

    def reserve_for_judging(self) -> None:
        """Keep what judging the best text takes, besides what is kept within `keeping`."""
        call_budget = self._search.context.call_budget
        if call_budget.left() is not None:
            call_budget.reserve(self.judging_calls(self._search.best) + self._kept)

    @contextmanager
    def keeping(self, runs: int) -> Iterator[None]:
        """Keep the calls for so many runs, besides those for judging, from what is run meanwhile."""
        call_budget = self._search.context.call_budget
        before, self._kept = call_budget.reserved, self.calls_for(runs) * (call_budget.left() is not None)
        call_budget.reserve(before + self._kept)
        try:
            yield
        finally:
            self._kept = 0
            call_budget.reserve(before)

    def judging_calls(self, version: EvaluatedCandidate) -> int:
        """Calls that judging a text takes: where it was not run, and fresh answers."""
        further = len(self._search.group.ids(Split.VALIDATION))
        training = version.foresight.cases
        if version is self._search.original:
            spared = math.ceil((1 - RUN_SHARE) * training + further)
            return self._worth_keeping(version, self.calls_for(spared) + self._state.reserve.least)
        spared = len(version.spared(self._search.group))
        fixed, broken = self._gained_on_all(version)
        each, alpha = self.calls_per_case, self._search.context.settings.alpha
        calls = foreseen_calls(training + further, fixed, broken, alpha, each=each, spared=spared)
        return self._worth_keeping(version, self.calls_for(spared) + calls if calls else None)

    def _worth_keeping(self, version: EvaluatedCandidate, needed: int | None) -> int:
        """Of the calls left, those kept for judging a text: what it needs, and all that pays better there.

        What counts is the gain times the chance that it is shown. One more iteration is made only if what it
        is expected to win makes up for the calls that are then missing; and it may take no more than that.

        :param needed: the calls that show its gain most likely; None when none would.
        """
        call_budget, economy = self._search.context.call_budget, self._state.economy
        most = (call_budget.available() or 0) + call_budget.reserved
        least = self.least_judging_calls(version)
        further = min(most, max(least, most - math.ceil(economy.expected_cost)))
        cases = max(1, version.foresight.cases + len(self._search.group.ids(Split.VALIDATION)))
        fixed, broken = self._gained_on_all(version)
        more, first = economy.gain(self._failing_of_all(version)), self._calls_before_fresh(version)
        each, alpha = self.calls_per_case, self._search.context.settings.alpha

        def shown(calls: int, won: float) -> float:
            """A gain with what is won besides, times the chance that so many calls show it."""
            gain, differing = (fixed + won - broken) / cases, (fixed + won + broken) / cases
            return gain * power_of((calls - first) / (2 * each), gain, differing, alpha)

        now = shown(most, 0.0)
        if shown(further, more) < now:
            return most
        enough = bisect_left(range(further), now, key=lambda calls: shown(calls, more))
        return max(enough, further if needed is None else min(needed, further))

    def least_judging_calls(self, version: EvaluatedCandidate) -> int:
        """Calls without which a text cannot be judged at all, however good it is."""
        fresh = self.calls_for(2 * least_pairs(self._search.context.settings.alpha))
        return self._calls_before_fresh(version) + fresh

    def _calls_before_fresh(self, version: EvaluatedCandidate) -> int:
        """Calls that judging a text takes before any fresh answer: it may break none of the cases."""
        strict = self._search.context.settings.no_regressions
        return self.calls_for(len(version.spared(self._search.group))) if strict else 0

    def _gained(self, version: EvaluatedCandidate) -> tuple[float, float]:
        """How many training cases a text is expected to fix and to break of the original's."""
        before, after = self._search.original.posterior, version.posterior
        if version is self._search.original or before is None or after is None:
            return 0.0, 0.0
        pairs = [(before.chance(case), after.chance(case)) for case in after.cases]
        fixed = math.fsum(max(0.0, new - old) for old, new in pairs)
        return fixed, math.fsum(max(0.0, old - new) for old, new in pairs)

    def _gained_on_all(self, version: EvaluatedCandidate) -> tuple[float, float]:
        """The same of training and validation cases; as much is expected of these where they were not run."""
        fixed, broken = self._gained(version)
        if Split.VALIDATION in version.results:
            found = compare(
                self._search.original.evidence(Split.VALIDATION), version.evidence(Split.VALIDATION)
            )
            return fixed + found.won, broken + found.lost
        share = self._all_for_training(version)
        return share * fixed, share * broken

    def _failing_of_all(self, version: EvaluatedCandidate) -> float:
        """How many training and validation cases it is expected to fail."""
        assert version.posterior is not None
        failing = version.posterior.failing
        if Split.VALIDATION in version.results:
            return failing + self._state.failing_on_validation(version)
        return failing * self._all_for_training(version)

    def _all_for_training(self, version: EvaluatedCandidate) -> float:
        """Training and validation cases for each training case."""
        return 1 + len(self._search.group.ids(Split.VALIDATION)) / max(1, version.foresight.cases)
