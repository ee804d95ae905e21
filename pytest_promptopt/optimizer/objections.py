"""What speaks against a text that its confirmation lets pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_promptopt.optimizer.acceptance import compare
from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.judge_guard import LabelVerdicts, why_no_better_judge, why_unjudged
from pytest_promptopt.optimizer.model_guard import ModelFall, Pair, fall_on_unseen
from pytest_promptopt.records import Split
from pytest_promptopt.statistics import paired_test


@dataclass(frozen=True)
class Objections:
    """Each is a sentence; empty when nothing speaks against it.

    :param scored: by split the results under the original and under the new text.
    :param fresh: pairs of fresh answers, of the same.
    :param fall: a model with which the search has shown it to be worse.
    :param tests_judge: whether the cases are labels, and the prompt is that of the judge.
    """

    scored: Mapping[Split, tuple[Results, Results]]
    fresh: Sequence[Pair]
    fall: ModelFall | None
    tests_judge: bool
    alpha: float

    @property
    def first(self) -> str:
        """The first of them all."""
        fall = self.fall_with_a_model
        return self.heldout_regression or (fall.why if fall else "") or self.no_better_judge or self.unjudged

    @property
    def heldout_regression(self) -> str:
        """That held-out cases show it to be worse."""
        paired = compare(*self.scored[Split.HELDOUT], split=Split.HELDOUT)
        if paired.gain >= 0 or paired_test(paired.changes).worse > self.alpha:
            return ""
        return f"on held-out cases it is worse than the original ({paired})"

    @property
    def fall_with_a_model(self) -> ModelFall | None:
        """With which of several models it is shown to be worse; None when with none."""
        before, after = self.scored[Split.HELDOUT]
        old = {result.case.id: result for result in before}
        heldout = [(old[result.case.id], result) for result in after if result.case.id in old]
        return self.fall or fall_on_unseen([*self.fresh, *heldout], self.alpha)

    @property
    def no_better_judge(self) -> str:
        """For a judge's own prompt held-out labels have to speak: that they do not."""
        if not self.tests_judge:
            return ""
        return why_no_better_judge(LabelVerdicts.of(*self.scored[Split.HELDOUT]), self.alpha)

    @property
    def unjudged(self) -> str:
        """That a judge gives no verdict on its answers."""
        before, after = ([r for scored in self.scored.values() for r in scored[side]] for side in (0, 1))
        return why_unjudged(before, after, self.alpha)
