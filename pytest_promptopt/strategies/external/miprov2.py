"""`dspy-miprov2`: the engine MIPROv2 of DSPy (arXiv 2406.11695) with its settings `light`, on our cases.

It writes instructions once, from a summary of the training cases, cases that pass and tips, and chooses
among them by Bayesian search on the validation cases, or on training cases if there are none. Two things
differ from its use inside DSPy. A prompt file holds no demonstrations, so only instructions are chosen;
passing cases inform the writing all the same. And the code of the program, which is the user's and not
DSPy's, is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dspy

from pytest_promptopt.records import CaseResult, Split
from pytest_promptopt.strategies.external.dspy_program import (
    OUTPUT,
    DspySearch,
    fields,
    model_that_writes,
    quiet,
)
from pytest_promptopt.strategies.external.engine import Ended


class Miprov2(DspySearch):
    """Runs `dspy.MIPROv2` until it is through, or our halting rules or ceilings end it."""

    def engine(self) -> None:
        known = self.known
        examples = [self._told(id, known[id]) for id in self.group.ids(Split.TRAIN)]
        with quiet():
            model = model_that_writes(self.answer)
            found = _Search(
                self._score,
                metric=lambda example, prediction, trace=None: prediction.passed,
                prompt_model=model,
                task_model=model,
                auto="light",
                max_bootstrapped_demos=0,
                max_labeled_demos=0,
                seed=self.context.settings.seed,
            ).compile(
                self.program(),
                trainset=examples,
                valset=[self.example(id) for id in self.deciding()],
                program_aware_proposer=False,
            )
        self.results(self._instructions(found), self.deciding())

    def _told(self, id: str, result: CaseResult) -> Any:
        """A training case as DSPy shows it to the optimizer: what goes in, and what is to come out."""
        calls = self.calls(result.outcomes)
        failure = result.failing and result.failing.failure
        output = (failure.expected or failure.constraint) if failure else calls[-1].text if calls else ""
        return self.example(id, **(fields(calls[0].variables) if calls else {}), **{OUTPUT: str(output)})

    def _instructions(self, program: Any) -> dict[str, str]:
        stages = zip(self.group.prompts, program.predictors(), strict=True)
        return {prompt.name: stage.signature.instructions for prompt, stage in stages}

    def _score(self, program: Any, devset: Sequence[Any]) -> float:
        if self.over:
            raise Ended
        results = self.results(self._instructions(program), [self.id_of(example) for example in devset])
        self.check_halting()
        return sum(result.rate or 0.0 for result in results or ()) / len(devset)


class _Search(dspy.MIPROv2):  # type: ignore[misc]
    """MIPROv2 that has a whole batch of cases run at once, in the main thread."""

    def __init__(self, score: Callable[[Any, Sequence[Any]], float], **options: Any) -> None:
        super().__init__(**options)
        self._score = score

    def _optimize_prompt_parameters(
        self, program: Any, instructions: Any, demos: Any, evaluate: Any, *more: Any
    ) -> Any:
        def scored(candidate: Any, *, devset: Sequence[Any], callback_metadata: object = None) -> Any:
            return dspy.Prediction(score=100 * self._score(candidate, devset))

        return super()._optimize_prompt_parameters(program, instructions, demos, scored, *more)
