"""A check on xdist's controller that asks more than each case once: samples of gates, texts of a commit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.pytest_engine import terminal_internals
from pytest_promptopt.pytest_session.baseline_session import earlier_texts
from pytest_promptopt.pytest_session.distributed_session import DistributedSession
from pytest_promptopt.pytest_session.gate_samples import GateSamples
from pytest_promptopt.records import Answer, Request
from pytest_promptopt.thresholds import GateName, Threshold


class DistributedCheck(DistributedSession):
    """Does ahead what a session of one process does ahead; xdist's own loop finds these answers known."""

    no_worker_left = "no worker is left, and xdist starts no other one (--max-worker-restart)"

    def _not_collected(self) -> None:
        """No worker has a case of a prompt, so nobody has anything to say of one."""
        self._config.pluginmanager.unregister(self)
        self.pytest_sessionfinish()

    def _run_ahead(self, told: Mapping[str, Any]) -> None:
        if told["refusal"]:
            raise pytest.UsageError(told["refusal"])
        try:
            self.earlier = earlier_texts(self._config, self._cases)
        except PromptoptError as error:
            raise pytest.UsageError(str(error)) from None
        evaluator = self._evaluator()
        if self._settings.most_gate_samples is not None:
            marked = [
                (prompt, GateName(name), Threshold(value, where))
                for prompt, name, value, where in told["marked"]
            ]
            gates = GateSamples(self._cases, marked, frozenset(told["partial"]), self._settings)
            gates.take(evaluator, partial(terminal_internals.write_line, self._config), self._note)
        if self.earlier is not None:
            self.earlier.answer(evaluator, self._note)

    def _paid(self, paid: PaidCall) -> None:
        """The cache keeps what was paid for; a check has no journal."""

    def _journal_cached_answer(self, request: Request, answer: Answer) -> None:
        """As of `_paid`."""

    def _end(self) -> None:
        """Nothing is to be ended besides calls and account."""

    def _decided(self) -> dict[str, Any]:
        state = self._state()
        return {"texts": state.texts, "ledger": state.ledger, "samples": state.samples}
