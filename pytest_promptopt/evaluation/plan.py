"""What a ceiling on calls buys: what judging the result takes is set aside, the rest is for the search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.records import Split
from pytest_promptopt.refine.confirmation import (
    calls_per_pair,
    detectable,
    least_ceiling,
    planned_pairs,
)
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.halting import Phase
from pytest_promptopt.reports.wording import plural
from pytest_promptopt.settings import Accept, Settings
from pytest_promptopt.strategies import PEERS
from pytest_promptopt.strategies.comparison import shared

#: Below this a search has hardly begun when the money is gone.
FEW_ITERATIONS = 3


@dataclass(frozen=True)
class Plan:
    """What one strategy may call, if a case makes one call for each of its prompts.

    :param groups: the prompts that are refined together; each case is in one of them.
    :param settings: of the session, whose ceiling several strategies share.
    """

    groups: Sequence[Group]
    settings: Settings

    def check(self) -> None:
        """Raises `SettingsError` when judging the result leaves no call for the search."""
        needed = self.scoring(Phase.TRAINING)
        if self._ceiling is not None and needed >= self._ceiling:
            raise SettingsError(
                f"{self._named_ceiling}: confirming the result and scoring it on validation and "
                f"held-out cases takes {needed} calls, which leaves none for the search; raise it or "
                "deselect some"
            )

    def scoring(self, phase: Phase) -> int:
        """Calls that judge the result from `phase` on: on validation, by fresh answers, on held-out cases."""
        late = self._calls[Split.VALIDATION] if phase is Phase.TRAINING else 0
        if phase is Phase.TRAINING and not PEERS.keys().isdisjoint(self.settings.strategy):
            late += self._calls[Split.TRAIN]  # these engines run training cases by threes
        searching = phase in (Phase.TRAINING, Phase.VALIDATION)
        fresh = self._fresh_calls if searching else 0
        return late + fresh + (0 if phase is Phase.HELDOUT else 2 * self._calls[Split.HELDOUT])

    def bought(self) -> str | None:
        """What the ceiling buys, as a sentence; None when there is no ceiling."""
        if self._ceiling is None:
            return None
        aside = self.scoring(Phase.TRAINING)
        start = self._calls[Split.TRAIN] + self._calls[Split.VALIDATION] + aside
        # The candidates and their merger are asked for; the merged one is run on every case at most once.
        iteration = self.settings.candidates + 1 + self._calls[Split.TRAIN]
        iterations = max(0, self._ceiling - start) // iteration
        few = ": few, raise it" if iterations < FEW_ITERATIONS else ""
        return (
            f"promptopt: {self._named_ceiling} buys at least {plural(iterations, 'iteration')}{few}; "
            f"{aside} calls are set aside for scoring the result, {self._confirmable()}"
        )

    def _confirmable(self) -> str:
        """What the fresh answers can show, as the end of a sentence."""
        pairs, alpha = self._fresh_pairs, self.settings.alpha
        if not any(pairs):
            least = least_ceiling(self.groups, alpha)
            best = self.settings.accept is Accept.BEST
            written = "whatever is written is not shown to be better" if best else "none will be written"
            return f"none for confirming a gain, so {written}: it takes a ceiling of {least}"
        return (
            f"{self._fresh_calls} of them for confirming a gain: where answers differ each time, "
            f"that shows one of {100 * detectable(min(filter(None, pairs)), alpha):.0f} points"
        )

    @property
    def _ceiling(self) -> int | None:
        return shared(self.settings).max_calls

    @property
    def _named_ceiling(self) -> str:
        named, count = f"--promptopt-max-calls={self.settings.max_calls}", len(self.settings.strategy)
        return f"{named} ({self._ceiling} for each of {count} strategies)" if count > 1 else named

    @cached_property
    def _calls(self) -> Counter[Split]:
        """How many calls one evaluation of each split takes."""
        calls = Counter[Split]()
        for case in (case for group in self.groups for case in group.cases):
            calls[case.split] += case.samples * len(case.prompts)
        return calls

    @cached_property
    def _fresh_pairs(self) -> list[int]:
        """The most pairs of fresh answers that each group of prompts may be confirmed with."""
        return planned_pairs(self.groups, self._ceiling, self.settings.alpha)

    @property
    def _fresh_calls(self) -> int:
        return sum(
            pairs * calls_per_pair(group) for pairs, group in zip(self._fresh_pairs, self.groups, strict=True)
        )
