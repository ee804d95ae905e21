"""What a process that runs cases knows of them while they run, also for the process that prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.records import Spend
from pytest_promptopt.unpatched import time

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_promptopt.pytest_session.case_runner import CaseRunner
    from pytest_promptopt.pytest_session.xdist_channel import Connection

#: In a worker's input: the channel for its figures.
KEY = "promptopt_figures"

#: Seconds between two messages of a worker.
TELL_EVERY = 0.5


@dataclass(frozen=True)
class RunningFigures:
    """:param cases: that the session is to run, in all its processes.
    :param in_flight: calls that are sent and not answered, and `longest` for how many seconds.
    :param made: calls that were made, and `spend` what they cost.
    :param ahead: of samples that are asked before any case is reported: how many are decided, of how many.
    """

    cases: int = 0
    in_flight: int = 0
    longest: float = 0.0
    made: int = 0
    spend: Spend = Spend()  # noqa: RUF009  # frozen
    ahead: tuple[int, int] = (0, 0)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "spend": astuple(self.spend)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunningFigures:
        return cls(**{**data, "spend": Spend(*data["spend"]), "ahead": tuple(data["ahead"])})


class RunningCases:
    """The cases of this process."""

    def __init__(self, runner: CaseRunner) -> None:
        self._runner = runner
        self._cases = len({each.case.id for each in runner.cases.values() if not each.case.reference})

    @property
    def figures(self) -> RunningFigures:
        in_flight, longest = self._runner.client.under_way
        paid = self._runner.calls.paid
        return RunningFigures(
            self._cases, in_flight, longest, paid.calls, paid.spend, self._runner.engine.step
        )

    @property
    def paid_keys(self) -> set[str]:
        """Of the requests that were paid for here; they grow meanwhile."""
        return self._runner.calls.paid.keys


class WorkerFigures:
    """A plugin of an xdist worker that tells the controller how far it is."""

    def __init__(self, runner: CaseRunner, connection: Connection) -> None:
        self._runner = runner
        self._cases = RunningCases(runner)
        self._connection = connection
        self._next = 0.0
        self._told: set[str] = set()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Only then: while the controller optimizes, it knows better."""
        self._runner.client.while_waiting = self._tell
        try:
            return (yield)
        finally:
            self._runner.client.while_waiting = lambda: None
            self._next = 0.0
            self._tell()

    def pytest_runtest_logreport(self) -> None:
        self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + TELL_EVERY
        new = self._cases.paid_keys.copy() - self._told
        self._told |= new
        self._connection.send("figures", keys=sorted(new), **self._cases.figures.to_json())


def tell_figures(config: pytest.Config, runner: CaseRunner) -> None:
    """Have the controller show how far this worker is, if it wants to."""
    from pytest_promptopt.pytest_session.xdist_channel import connection_of

    connection = connection_of(config, KEY)
    if connection is not None:
        config.pluginmanager.register(WorkerFigures(runner, connection))
