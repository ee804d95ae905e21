"""`gepa`: the engine of the package gepa (arXiv 2507.19457) with its own defaults, on our cases.

It samples three training cases, has the optimizer model reflect on their feedback, keeps a text that does
better on the same three, and scores it on all validation cases, or on training cases if there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gepa

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.records import CaseResult, Message, Split
from pytest_promptopt.strategies.external.engine import REFUSED_SCORE, ExternalSearch, feedback_on

#: What GEPA calls a candidate: the texts of all components by name.
Candidate = dict[str, str]


class Gepa(ExternalSearch):
    """Runs `gepa.optimize` until our halting rules or ceilings end it."""

    _begun = False

    def engine(self) -> None:
        training = list(self.group.ids(Split.TRAIN))
        gepa.optimize(
            seed_candidate=self.instructions(),
            trainset=training,
            valset=self.deciding(),
            adapter=_Adapter(self),
            reflection_lm=self._reflect,
            stop_callbacks=self._stops,
            logger=_Silence(),
            seed=self.context.settings.seed,
        )

    def _reflect(self, prompt: str | list[dict[str, Any]]) -> str:
        self.fruitless += 1
        return self.answer(Message("user", str(prompt)))

    def _stops(self, state: object) -> bool:
        """Asked at the start of each of its iterations, the first included."""
        if self._begun:
            self.check_halting()
        self._begun = True
        return self.over


class _Adapter:
    """A `gepa.GEPAAdapter`: cases are their ids, and a trajectory is a case's result."""

    propose_new_texts = None  # GEPA's own proposer writes the candidates

    def __init__(self, search: Gepa) -> None:
        self._search = search

    def evaluate(self, batch: list[str], candidate: Candidate, capture_traces: bool = False) -> Any:
        """A `gepa.EvaluationBatch`."""
        results = self._search.results(candidate, batch)
        if results is None:
            refused = [REFUSED_SCORE] * len(batch)
            return gepa.EvaluationBatch(outputs=[""] * len(batch), scores=refused, trajectories=[])
        return gepa.EvaluationBatch(
            outputs=[""] * len(batch),
            scores=[result.rate or 0.0 for result in results],
            trajectories=list(results) if capture_traces else None,
        )

    def make_reflective_dataset(
        self,
        candidate: Candidate,
        eval_batch: Any,
        components_to_update: list[str],
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        results = eval_batch.trajectories or []
        try:
            return {name: self._records(name, candidate[name], results) for name in components_to_update}
        except PromptoptError as error:  # of a hook of the user's
            self._search.leave(error)

    def _records(self, prompt: str, prose: str, results: Sequence[CaseResult]) -> list[dict[str, Any]]:
        """In the form that GEPA recommends: inputs, outputs and what is right or wrong about them."""
        failed = self._search.failed_cases(results, prompt, prose)
        records: list[dict[str, Any]] = []
        for result in results:
            case = failed.get(result.case.id)
            calls = [c for o in result.outcomes for c in o.calls if c.prompt == prompt][:1]
            inputs = case.inputs if case else calls[0].variables if calls else {}
            output = case.actual if case else calls[0].text if calls else ""
            records.append(
                {"Inputs": dict(inputs), "Generated Outputs": output, "Feedback": feedback_on(case)}
            )
        return records


class _Silence:
    """A logger for GEPA that says nothing; its own prints."""

    def log(self, message: str) -> None: ...
