"""A session on xdist's controller that has workers run cases before xdist's own loop begins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.pytest_engine import internals, terminal_internals
from pytest_promptopt.pytest_engine.prompt_use import PromptUse
from pytest_promptopt.pytest_session.answer_service import AnswerService
from pytest_promptopt.pytest_session.case_descriptions import DescribedCase, described
from pytest_promptopt.pytest_session.paid_calls import PaidCalls
from pytest_promptopt.pytest_session.session_calls import SessionCalls
from pytest_promptopt.pytest_session.worker_evaluator import Question, WorkerEvaluator
from pytest_promptopt.pytest_session.worker_pool import WorkerPool, WorkState
from pytest_promptopt.pytest_session.worker_shared import keep_in_lent
from pytest_promptopt.pytest_session.xdist_channel import XdistSession, scope_of
from pytest_promptopt.records import Answer, Request
from pytest_promptopt.replay.case_table import CaseTable
from pytest_promptopt.results import RunResult
from pytest_promptopt.settings import Settings

if TYPE_CHECKING:
    from pytest_promptopt.pytest_session.earlier_texts import EarlierTexts


class DistributedSession(ABC):
    """What a `CaseRunner` is to a session of one process, for one whose tests run on workers.

    It decides and makes all model calls; what cases ask and show comes from the workers.
    """

    #: What to do when no worker is left, as a sentence.
    no_worker_left: str

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._cases = CaseTable[int, DescribedCase]({})
        self.notes: list[str] = []
        self.result: RunResult | None = None
        self.earlier: EarlierTexts | None = None
        self._calls = SessionCalls(
            config,
            settings,
            note=self._note,
            on_paid=self._paid,
            on_cached_answer=self._journal_cached_answer if settings.optimizing else None,
            concurrency=settings.concurrency,
        )
        self._service = AnswerService(self._calls.client, self._paid)
        self._pool = WorkerPool(
            self._service, lambda: XdistSession(config), self._state, no_worker_left=self.no_worker_left
        )

    @abstractmethod
    def _run_ahead(self, told: Mapping[str, Any]) -> None:
        """Do what comes before xdist's own loop; `self._cases` are known.

        :param told: what a worker has said of them, see `WorkerServer`.
        """

    @abstractmethod
    def _not_collected(self) -> None:
        """There are no cases: a test could not be collected, or no worker came up; xdist says it."""

    @abstractmethod
    def _decided(self) -> dict[str, Any]:
        """What xdist's own loop has to know on the workers."""

    @property
    def unwritten(self) -> Sequence[str]:
        """Prompts with a better text that could not be put into its file."""
        return ()

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

    @abstractmethod
    def _paid(self, paid: PaidCall) -> None:
        """A model call was settled, in any thread."""

    @abstractmethod
    def _journal_cached_answer(self, request: Request, answer: Answer) -> None:
        """An answer came from the cache."""

    def told(self) -> dict[str, Any]:
        """As of `CaseRunner`; of cases the workers tell."""
        return {
            "notes": self.notes,
            "use": PromptUse().to_json(),
            "paid": self._calls.paid.to_json(),
            "partial": {},
            "cases": {},
            "deselected": 0,
            "files": None,
        }

    def _check(self) -> None:
        """Raises what has gone wrong with the record of calls, in whatever thread."""
        if self._service.problem is not None:
            raise self._service.problem
        self._calls.client.wait(0)

    def _state(self) -> WorkState:
        files = {file.name: file for case in self._cases.values() for file in case.files.values()}
        texts = {name: file.original.decode("latin-1") for name, file in files.items()}
        samples = {case.case.id: case.case.samples for case in self._cases.values()}
        return WorkState(texts, self._calls.ledger.path, samples)

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_configure_node(self, node: Any) -> None:
        if self._calls.ledger.path is None and (said := keep_in_lent(self._calls.ledger, node.workerinput)):
            self._note(said)
        self._pool.add(node)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        try:
            self._meet_workers()
        finally:
            self._pool.release(**self._decided())
        return (yield)

    def _meet_workers(self) -> None:
        problem = self._pool.await_collection()
        if problem:
            raise pytest.UsageError(problem)
        if problem is not None:
            self._not_collected()
            return
        question = Question("describe")
        self._pool.run(question, lambda: None)
        told = question.reply
        try:
            self._take_in(told)
        except PromptoptError as error:
            raise pytest.UsageError(str(error)) from None
        self._run_ahead(told)

    def _take_in(self, told: Mapping[str, Any]) -> None:
        """Get to know cases, and hooks that only workers have met. Raises `PromptoptError`."""
        root = self._config.rootpath
        for path in told["conftests"]:
            internals.load_conftest(self._config, root / path)
        self._cases = CaseTable(described(told["cases"], root))
        for line in told["header"]:
            terminal_internals.write_line(self._config, line)

    def _evaluator(self) -> WorkerEvaluator:
        return WorkerEvaluator(
            self._pool,
            self._cases,
            self._calls.client,
            check=self._check,
            concurrency=self._settings.concurrency,
            together=scope_of(self._config),
        )

    def pytest_keyboard_interrupt(self) -> None:
        """No further call, whoever was interrupted."""
        self._calls.client.cancel()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._calls.close()
        self._end()
        self._calls.close_ledger()

    @abstractmethod
    def _end(self) -> None:
        """There is no further call; the account is still open."""
