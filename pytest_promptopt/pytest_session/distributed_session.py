"""`--optimize` on xdist's controller: it decides, asks the models and writes; cases run on its workers."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.pytest_engine import internals, terminal_internals
from pytest_promptopt.pytest_engine.prompt_use import PromptUse
from pytest_promptopt.pytest_session.answer_service import AnswerService
from pytest_promptopt.pytest_session.case_descriptions import DescribedCase, described
from pytest_promptopt.pytest_session.optimization_step import OptimizationStep
from pytest_promptopt.pytest_session.paid_calls import PaidCalls
from pytest_promptopt.pytest_session.session_calls import SessionCalls
from pytest_promptopt.pytest_session.session_optimization import OptimizationRun
from pytest_promptopt.pytest_session.worker_evaluator import Question, WorkerEvaluator
from pytest_promptopt.pytest_session.worker_pool import WorkerPool, WorkState
from pytest_promptopt.pytest_session.xdist_channel import XdistSession, scope_of
from pytest_promptopt.records import Answer, Request, Role
from pytest_promptopt.replay.case_table import CaseTable
from pytest_promptopt.results import RunResult
from pytest_promptopt.settings import Settings


class DistributedSession:
    """What a `CaseRunner` is to a session of one process, for one whose tests run on workers."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._optimization: OptimizationRun[int, DescribedCase] | None = None
        self._cases = CaseTable[int, DescribedCase]({})
        self.notes: list[str] = []
        self.result: RunResult | None = None
        self._calls = SessionCalls(
            config,
            settings,
            note=self._note,
            on_paid=self._paid,
            on_cached_answer=self._journal_cached_answer,
            concurrency=settings.concurrency,
        )
        self._service = AnswerService(self._calls.client, self._paid)
        self._pool = WorkerPool(self._service, lambda: XdistSession(config), self._state)

    @property
    def unwritten(self) -> Sequence[str]:
        """Prompts with a better text that could not be put into its file."""
        return () if self._optimization is None else self._optimization.unwritten

    @property
    def paid(self) -> PaidCalls:
        """What was paid here, for all workers."""
        return self._calls.paid

    def header(self) -> list[str]:
        """Nothing: when pytest asks, no worker has collected."""
        return []

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _paid(self, paid: PaidCall) -> None:
        if self._optimization is not None:
            self._optimization.paid(paid)

    def told(self) -> dict[str, Any]:
        """As of `CaseRunner`."""
        paid = self._calls.paid.to_json()
        use = PromptUse().to_json()
        return {"notes": self.notes, "use": use, "paid": paid, "partial": {}, "cases": {}}

    def _check(self) -> None:
        """Raises what has gone wrong with the record of calls, in whatever thread."""
        if self._service.problem is not None:
            raise self._service.problem
        self._calls.client.wait(0)

    def _journal_cached_answer(self, request: Request, answer: Answer) -> None:
        if self._optimization is not None:
            self._optimization.journal_cached_answer(request, answer)

    def _state(self) -> WorkState:
        files = {file.name: file for case in self._cases.values() for file in case.files.values()}
        texts = {file.file_name: file.original.decode("latin-1") for file in files.values()}
        return WorkState(texts, self._calls.ledger.path)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        self._pool.add(node)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Optimize first; xdist's own loop then describes the texts that are on disk."""
        try:
            self._optimize()
        finally:
            self._pool.release(**self._decided())
        return (yield)

    def _optimize(self) -> None:
        problem = self._pool.await_collection()
        if problem:
            raise pytest.UsageError(problem)
        if problem is not None:
            self._note("no prompt was optimized, since not all tests could be collected")
            return
        question = Question("describe")
        self._pool.run(question, lambda: None)
        told = question.reply
        try:
            self._take_in(told)
        except PromptoptError as error:
            raise pytest.UsageError(str(error)) from None
        root = self._config.rootpath
        self._begun = {case.case.id: case.case.split for case in self._cases.values()}
        evaluator = WorkerEvaluator(
            self._pool,
            self._cases,
            self._calls.client,
            check=self._check,
            concurrency=self._settings.concurrency,
            together=scope_of(self._config),
        )
        self._optimization = OptimizationRun(
            self._config,
            self._cases,
            evaluator,
            self._calls.ledger,
            self._settings,
            self._calls.models,
            [root / path for path in told["code"]],
        )
        step = OptimizationStep(self._config, self._optimization, evaluator.withheld, self._note)
        problems = [SettingsError(said) for said in told["problems"]]
        try:
            result = step.run(next(iter(problems), None))
        finally:
            self.result = step.result
        if result.interrupted:
            self._calls.client.cancel()
            raise KeyboardInterrupt

    def _take_in(self, told: Mapping[str, Any]) -> None:
        """Get to know cases, and hooks that only workers have met. Raises `PromptoptError`."""
        root = self._config.rootpath
        for path in told["conftests"]:
            internals.load_conftest(self._config, root / path)
        self._cases = CaseTable(described(told["cases"], root))
        for line in told["header"]:
            terminal_internals.write_line(self._config, line)

    def _decided(self) -> dict[str, Any]:
        """What pytest's own loop has to know on the workers."""
        if self.result is None or self._optimization is None:
            return {}
        splits = {case.case.id: case.case.split for case in self._cases.values()}
        return {
            "texts": self._state().texts,
            "ledger": self._calls.ledger.path,
            "splits": {id: split for id, split in splits.items() if split is not self._begun[id]},
            "left_out": sorted(self._optimization.left_out),
        }

    def pytest_keyboard_interrupt(self) -> None:
        """No further call, whoever was interrupted."""
        self._calls.client.cancel()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._calls.close()
        if self._optimization is not None:
            self._optimization.close()
        if self.result is not None:  # pytest's own loop may have paid for more, above all held-out cases
            spend = {role: self._calls.ledger.spend_of(role) for role in Role}
            self.result = replace(self.result, spend=spend)
        self._calls.close_ledger()
