"""`--optimize` on xdist's controller: it decides, asks the models and writes; cases run on its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.pytest_session.case_descriptions import DescribedCase
from pytest_promptopt.pytest_session.distributed_session import DistributedSession
from pytest_promptopt.pytest_session.optimization_step import OptimizationStep
from pytest_promptopt.pytest_session.session_optimization import OptimizationRun
from pytest_promptopt.records import Answer, Request, Role
from pytest_promptopt.settings import Settings


class DistributedOptimization(DistributedSession):
    """Optimizes first; xdist's own loop then describes the texts that are on disk."""

    no_worker_left = "continue with --optimize-resume; xdist starts no other one (--max-worker-restart)"

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._optimization: OptimizationRun[int, DescribedCase] | None = None
        super().__init__(config, settings)

    @property
    def unwritten(self) -> Sequence[str]:
        return () if self._optimization is None else self._optimization.unwritten

    def _paid(self, paid: PaidCall) -> None:
        if self._optimization is not None:
            self._optimization.paid(paid)

    def _journal_cached_answer(self, request: Request, answer: Answer) -> None:
        if self._optimization is not None:
            self._optimization.journal_cached_answer(request, answer)

    def _not_collected(self) -> None:
        self._note("no prompt was optimized, since not all tests could be collected")

    def _run_ahead(self, told: Mapping[str, Any]) -> None:
        self._begun = {case.case.id: case.case.split for case in self._cases.values()}
        evaluator = self._evaluator()
        self._optimization = OptimizationRun(
            self._config,
            self._cases,
            evaluator,
            self._calls.ledger,
            self._settings,
            self._calls.models,
            [self._config.rootpath / path for path in told["code"]],
        )
        step = OptimizationStep(self._config, self._optimization, evaluator.withheld, self._note)
        problems = [SettingsError(said) for said in (told["refusal"], *told["problems"]) if said]
        try:
            result = step.run(next(iter(problems), None))
        finally:
            self.result = step.result
        if result.interrupted:
            self._calls.client.cancel()
            raise KeyboardInterrupt

    def _decided(self) -> dict[str, Any]:
        if self.result is None or self._optimization is None:
            return {}
        splits = {case.case.id: case.case.split for case in self._cases.values()}
        return {
            "texts": self._state().texts,
            "ledger": self._calls.ledger.path,
            "splits": {id: split for id, split in splits.items() if split is not self._begun[id]},
            "left_out": sorted(self._optimization.left_out),
        }

    def _end(self) -> None:
        if self._optimization is not None:
            self._optimization.close()
        if self.result is not None:  # xdist's own loop may have paid for more, above all held-out cases
            spend = {role: self._calls.ledger.spend_of(role) for role in Role}
            self.result = replace(self.result, spend=spend)
