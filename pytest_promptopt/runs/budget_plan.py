"""What a ceiling on calls buys, and which held-out cases it leaves calls for; known before the first call."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.optimizer.confirmation_power import least_pairs, usual_calls
from pytest_promptopt.optimizer.prompt_groups import SEARCHED, PromptGroup
from pytest_promptopt.optimizer.scoring_calls import heldout_scoring_calls
from pytest_promptopt.optimizer.strategy import ScoringNeeds
from pytest_promptopt.records import Case, Split
from pytest_promptopt.settings import Settings
from pytest_promptopt.strategies.comparison import share_ceilings
from pytest_promptopt.text import plural

#: Below this a search has hardly begun when the money is gone.
FEW_ITERATIONS = 3

#: One in so many calls may go into scoring held-out cases; of more cases a sample is scored.
SCORING_SHARE = 3

#: What a usual run with foresight takes: the share of the training cases that an iteration runs, and the
#: share of all cases that the best text was spared until the end.
RUN_SHARE = 0.6
SPARED_SHARE = 0.4


@dataclass(frozen=True)
class BudgetPlan:
    """What one strategy may call, if each run of a case makes the calls that are known of it.

    :param groups: the prompts that are refined together; each case is in one of them.
    :param settings: of the session, whose ceiling several strategies share.
    :param needs: of each strategy; what the neediest takes is planned for.
    """

    groups: Sequence[PromptGroup]
    settings: Settings
    needs: Sequence[ScoringNeeds]

    @property
    def least(self) -> int:
        """Calls for the first scoring of the original and one iteration."""
        return self._first + self._least_iteration

    @property
    def short(self) -> bool:
        """Whether the ceiling is too low for that."""
        return self._ceiling is not None and self._ceiling < self.least

    def check(self, known: int = 0) -> None:
        """Raises `SettingsError` when the ceiling does not hold the first iteration.

        :param known: calls whose answers are known, so that they are not made.
        """
        if self._ceiling is not None and self._ceiling + known < self.least:
            raise SettingsError(
                f"{self._named_ceiling}: running the train and validation cases once takes {self._first} "
                f"calls and an iteration about {self._least_iteration}, so {self.least - known} is the "
                "least; raise it or deselect some"
            )

    @cached_property
    def heldout(self) -> frozenset[str]:
        """The held-out cases that are scored: all, or a sample that takes a third of the ceiling at most.

        What the first iteration and the shortest confirmation take goes before them.
        """
        cases = [case for case in self._cases if case.split is Split.HELDOUT]
        if self._ceiling is None:
            return frozenset(case.id for case in cases)
        before = self.least + 2 * least_pairs(self.settings.alpha)
        room, found = min(self._ceiling // SCORING_SHARE, self._ceiling - before), list[Case]()
        if self._scoring(cases) > room:
            random.Random(f"{self.settings.seed}-heldout").shuffle(cases)
        for case in cases:
            if self._scoring([*found, case]) > room:
                break
            found.append(case)
        return frozenset(case.id for case in found)

    @property
    def left_out(self) -> frozenset[str]:
        """The held-out cases that are not run, since the ceiling holds a sample of them only."""
        return frozenset(case.id for case in self._cases if case.split is Split.HELDOUT) - self.heldout

    def scoring_beyond(self, ceiling: int) -> int:
        """How many more calls scoring the held-out cases takes than it would under this ceiling."""
        other = replace(self, settings=replace(self.settings, max_calls=ceiling))
        return self._scored_calls - other._scored_calls

    @property
    def _scored_calls(self) -> int:
        return self._scoring(case for case in self._cases if case.id in self.heldout)

    def bought(self) -> str | None:
        """What the ceiling buys, as a sentence; None when there is no ceiling."""
        if self._ceiling is None:
            return None
        scoring = self._scored_calls
        confirming, spared = self._confirming, max(map(self._spared, self.needs))
        left = self._ceiling - self._first - spared - confirming - scoring
        iterations = min(self._iterations(needs, max(0, left)) for needs in self.needs)
        few = ": few, raise it" if iterations < FEW_ITERATIONS else ""
        scored = ""
        if scoring:
            all_cases = len(self.heldout) + len(self.left_out)
            sample = f"{len(self.heldout)} of {all_cases}, drawn at random" if self.left_out else "all"
            scored = f", {scoring} for scoring the held-out cases ({sample})"
        elif self.left_out:
            scored = f", none for the {plural(len(self.left_out), 'held-out case')}"
        return (
            f"promptopt: {self._named_ceiling} buys about {plural(iterations, 'iteration')}{few}; of the "
            f"calls {self._first} run the prompt as it is, {spared} complete the best text's results and "
            f"{confirming} confirm its gain{scored}"
        )

    def _scoring(self, cases: Iterable[Case]) -> int:
        """Calls that scoring held-out cases takes; in a migration both models answer them."""
        return heldout_scoring_calls(cases) * (2 if self.settings.migrating else 1)

    @property
    def _ceiling(self) -> int | None:
        return share_ceilings(self.settings).max_calls

    @property
    def _named_ceiling(self) -> str:
        named, count = f"--promptopt-max-calls={self.settings.max_calls}", len(self.settings.strategy)
        return f"{named} ({self._ceiling} for each of {count} strategies)" if count > 1 else named

    @cached_property
    def _cases(self) -> Sequence[Case]:
        return [case for group in self.groups for case in group.cases]

    @cached_property
    def _calls(self) -> Counter[Split]:
        """How many calls one evaluation of each split takes."""
        calls = Counter[Split]()
        for case in self._cases:
            calls[case.split] += case.samples * case.calls_per_run
        return calls

    @property
    def _first(self) -> int:
        return sum(self._calls[split] for split in SEARCHED)

    @property
    def _least_iteration(self) -> int:
        return max(
            self._iteration(needs, self.settings.candidates if needs.foresight else 1) for needs in self.needs
        )

    def _iterations(self, needs: ScoringNeeds, calls: int) -> int:
        """How many iterations so many calls buy.

        With foresight a search that has more of them looks closer: each iteration takes more as well.
        """
        count = calls / self._iteration(needs, self.settings.candidates)
        if needs.foresight and count > FEW_ITERATIONS:
            count = math.sqrt(FEW_ITERATIONS * count)
        return min(int(count), self.settings.max_iterations)

    def _iteration(self, needs: ScoringNeeds, candidates: int) -> int:
        """Calls of an iteration with so many candidates."""
        training = self._calls[Split.TRAIN]
        if needs.foresight:  # the candidates and their merger are asked for
            return candidates + 1 + math.ceil(RUN_SHARE * training)
        return candidates * (1 + training)

    def _spared(self, needs: ScoringNeeds) -> int:
        """Calls that complete the best text's results when the search is over."""
        if needs.foresight:
            return math.ceil(SPARED_SHARE * self._first)
        return 0 if needs.validation_each_iteration else self._calls[Split.VALIDATION]

    @property
    def _confirming(self) -> int:
        """Calls of fresh answers that are kept for the gain of every group."""
        return usual_calls(self.groups, self._ceiling, self.settings.alpha)
