"""The evaluator that a search gets: it holds training and validation cases, and knows of no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.opaque_callables import make_opaque
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.screening import ScreeningEvaluator
from pytest_promptopt.records import Case, Overlay, Split


class UnknownCaseError(PromptoptError):
    """A search asked for a case that is none of its own; nothing was run."""


class SearchEvaluator:
    """An `Evaluator` of the training and validation cases of one group of prompts.

    :param group: whose cases may be run; those that are held out are left out.
    :param evaluator: runs them.
    :param check: called when they were run; raises `StopRun` if the search is to end.
    :ivar refusal: why these texts are refused, in a sentence; None when they may be tried.
    """

    def __init__(
        self,
        group: PromptGroup,
        evaluator: ScreeningEvaluator,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        own = group.searched()
        self.cases: Sequence[Case] = own.cases
        self.refusal: Callable[[Overlay], str | None] = make_opaque(evaluator.refusal)
        # The check stands behind the seal: nobody can leave it out.
        self.evaluate = make_opaque(_checked(own, evaluator, check))
        self._runs = make_opaque(lambda: evaluator.runs)

    @property
    def runs(self) -> int:
        """Runs of cases that were asked for, known answers included."""
        return self._runs()


def _checked(
    group: PromptGroup, evaluator: ScreeningEvaluator, check: Callable[[], None]
) -> Callable[[Sequence[Trial]], list[Results]]:
    known = {case.id: case.id for case in group.cases}

    def evaluate(trials: Sequence[Trial]) -> list[Results]:
        """Run all trials together; results in the order asked, one per case of each trial.

        Under a text that is refused every case is errored. Raises `UnknownCaseError` and `StopRun`.
        """
        asked = [(trial, tuple(trial.cases)) for trial in trials]
        for id in (id for _, cases in asked for id in cases):
            if id not in known:
                counts = [len(group.ids(split)) for split in (Split.TRAIN, Split.VALIDATION)]
                raise UnknownCaseError(
                    f"{id!r} is none of the {counts[0]} training and {counts[1]} validation cases of this "
                    "search; held-out cases score its result and are not run for it"
                )
        # With the ids of our own: one that is given may be no plain text.
        results = evaluator.evaluate(
            [replace(trial, cases=tuple(known[id] for id in cases)) for trial, cases in asked]
        )
        check()
        return results

    return evaluate
