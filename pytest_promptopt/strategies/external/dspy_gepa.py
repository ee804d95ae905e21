"""`dspy-gepa`: the engine GEPA of DSPy (arXiv 2507.19457) with its own defaults, on our cases.

It is the engine of `gepa` as DSPy sets it up: DSPy's own request for a new instruction, with the inputs and
outputs of the predictor as its fields, and merges of texts that do better on different cases. The program is
never run by DSPy; its cases are run by us, a whole batch at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

import dspy
from dspy.teleprompt.gepa import gepa_utils
from gepa import EvaluationBatch

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.records import CaseResult, Message, Split
from pytest_promptopt.strategies.external.dspy_program import (
    CASE,
    OUTPUT,
    DspySearch,
    fields,
    model_that_writes,
    quiet,
)
from pytest_promptopt.strategies.external.engine import REFUSED_SCORE, feedback_on


class DspyGepa(DspySearch):
    """Runs `dspy.GEPA` until our halting rules or ceilings end it."""

    _begun = False

    def engine(self) -> None:
        #: Prompt -> number of a case -> what is said of it.
        self.feedback: dict[str, Mapping[int, str]] = {}
        with quiet(), patch.object(gepa_utils, "DspyAdapter", self._adapter):
            dspy.GEPA(
                metric=self._metric,
                reflection_lm=model_that_writes(self._reflect),
                max_metric_calls=sys.maxsize,  # our ceilings end it
                num_threads=1,
                seed=self.context.settings.seed,
                gepa_kwargs={"stop_callbacks": self._stops},
            ).compile(
                self.program(),
                trainset=[self.example(id) for id in self.group.ids(Split.TRAIN)],
                valset=[self.example(id) for id in self.deciding()],
            )

    def stages(self, program: Any) -> dict[str, tuple[str, Any]]:
        """DSPy's name of a predictor -> the prompt that it is, and the predictor."""
        pairs = zip(self.group.prompts, program.named_predictors(), strict=True)
        return {name: (prompt.name, predictor) for prompt, (name, predictor) in pairs}

    def _adapter(self, student_module: Any, **options: Any) -> Any:
        return _Adapter(self, student_module, **options)

    def _metric(
        self, example: Any, prediction: Any, trace: Any = None, predictor: Any = None, part: Any = None
    ) -> Any:
        said = self.feedback.get(str(predictor), {}).get(example[CASE], "")
        return dspy.Prediction(score=prediction.score, feedback=said)

    def _reflect(self, *messages: Message) -> str:
        self.fruitless += 1
        return self.answer(*messages)

    def _stops(self, state: object) -> bool:
        """Asked at the start of each of its iterations, the first included."""
        if self._begun:
            self.check_halting()
        self._begun = True
        return self.over


class _Adapter(gepa_utils.DspyAdapter):  # type: ignore[misc]
    """DSPy's adapter, which has a whole batch of cases run at once, in the main thread."""

    def __init__(self, search: DspyGepa, student_module: Any, **options: Any) -> None:
        super().__init__(student_module=student_module, **options)
        self._search = search

    def evaluate(
        self,
        batch: Sequence[Any],
        candidate: Mapping[str, str],
        capture_traces: bool = False,
        num_threads: object = None,
    ) -> Any:
        """A `gepa.EvaluationBatch`."""
        stages = self._search.stages(self.build_program(candidate))
        instructions = {prompt: candidate[name] for name, (prompt, _) in stages.items()}
        results = self._search.results(instructions, [self._search.id_of(example) for example in batch])
        if results is None:
            return EvaluationBatch([None] * len(batch), [REFUSED_SCORE] * len(batch), trajectories=[])
        predictors = dict(stages.values())
        runs = [self._run(*each, predictors) for each in zip(batch, results, strict=True)]
        return EvaluationBatch(
            outputs=[run["prediction"] for run in runs],
            scores=[run["score"] for run in runs],
            trajectories=runs if capture_traces else None,
        )

    def batch_evaluate(self, items: Sequence[Any], *, capture_traces: bool = True) -> list[Any]:
        return [self.evaluate(batch, candidate, capture_traces) for candidate, batch in items]

    def make_reflective_dataset(
        self, candidate: Mapping[str, str], eval_batch: Any, components_to_update: Sequence[str]
    ) -> Any:
        runs, stages = eval_batch.trajectories or [], self._search.stages(self.build_program(candidate))
        results = [run["result"] for run in runs]
        for name in components_to_update:
            try:
                failed = self._search.failed_cases(results, stages[name][0], candidate[name])
            except PromptoptError as error:  # of a hook of the user's
                self._search.leave(error)
            self._search.feedback[name] = {
                run["example"][CASE]: feedback_on(failed.get(run["result"].case.id)) for run in runs
            }
        return super().make_reflective_dataset(candidate, eval_batch, components_to_update)

    def _run(self, example: Any, result: CaseResult, predictors: Mapping[str, Any]) -> dict[str, Any]:
        """What DSPy keeps of one run of its program: that which failed, if any did."""
        calls = self._search.calls([result.failing] if result.failing else result.outcomes[:1])
        trace = [
            (predictors[call.prompt], fields(call.variables), dspy.Prediction(**{OUTPUT: call.text}))
            for call in calls
        ]
        score = result.rate or 0.0
        output = calls[-1].text if calls else ""
        return {
            "example": example,
            "prediction": dspy.Prediction(**{OUTPUT: output, "score": score}),
            "trace": trace,
            "score": score,
            "result": result,
        }
