"""A worker's side of what comes before xdist's own loop: it runs cases for the controller until then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.assertions.source_location import location_of
from pytest_promptopt.models.answer_validation import error_words
from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.optimizer.protocols import StopRun
from pytest_promptopt.pytest_engine.outcomes import to_json
from pytest_promptopt.pytest_session.case_descriptions import as_seen_from, describe
from pytest_promptopt.pytest_session.controller_client import ControllerClient
from pytest_promptopt.pytest_session.worker_messages import paid_to_json, trial_from_json
from pytest_promptopt.pytest_session.xdist_channel import Connection, connection_of
from pytest_promptopt.records import Split
from pytest_promptopt.runs.imported_code import imported_code
from pytest_promptopt.unpatched import time

if TYPE_CHECKING:
    from pytest_promptopt.pytest_session.case_runner import CaseRunner

#: Of a `StopRun` that the controller has asked for.
STOPPED = "stopped by the controller"

#: Seconds between two looks at calls under way.
PAUSE = 0.1


def serve_controller(config: pytest.Config, concurrency: int) -> WorkerServer | None:
    """Be heard by the controller of this worker; None when it wants nothing from it."""
    connection = connection_of(config)
    return None if connection is None else WorkerServer(connection, concurrency=concurrency)


class WorkerServer:
    """Hears the controller from the start; `serve` does what it asks, in the main thread."""

    def __init__(self, connection: Connection, *, concurrency: int) -> None:
        self._connection = connection
        self.client = ControllerClient(connection, concurrency=concurrency)
        self._commands: SimpleQueue[tuple[str, dict[str, Any]]] = SimpleQueue()
        #: The number of the task that is to end before its time.
        self._stopped = -1
        connection.listen(self._hear, self._lost)

    def _hear(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "reply":
            self.client.heard(data["number"], data["reply"])
        elif kind == "stop":
            self._stopped = data["task"]
        else:
            self._commands.put((kind, data))

    def _lost(self) -> None:
        self.client.lost()
        self._commands.put(("release", {}))

    def paid(self, paid: PaidCall) -> None:
        """Tell of a call that this worker had to make itself."""
        self._connection.send("paid", **paid_to_json(paid))

    def serve(self, runner: CaseRunner, *, collected: bool) -> None:
        """Run cases until the controller has decided which texts pytest's own loop is to run.

        :param collected: whether pytest would run the tests.
        """
        ids = "\n".join(case.case.id for case in runner.cases.values())
        self._connection.send("ready", collected=collected, cases=sha256(ids.encode()).hexdigest())
        commands: Mapping[str, Callable[..., dict[str, Any]]] = {
            "describe": self._describe,
            "probe": self._probe,
            "evaluate": self._evaluate,
        }
        while True:
            kind, data = self._commands.get()
            if kind == "release":
                self._release(runner, **data)
                return
            task = data.pop("task")
            self._take_texts(runner, data.pop("texts"))
            runner.calls.share_ledger(data.pop("ledger"))
            runner.cases.give_samples(data.pop("samples"))
            began, waited = time.monotonic(), self.client.waited
            try:
                reply = commands[kind](runner, task, **data)
            except Exception as error:  # of a plugin or a fixture; the run ends with it, not this worker
                place = location_of(error.__traceback__, str(runner.session.config.rootpath))
                reply = {"raised": f"{error_words(error)} ({place})"}
            busy = time.monotonic() - began - (self.client.waited - waited)
            self._connection.send("done", task=task, busy=busy, **reply)

    def _describe(self, runner: CaseRunner, task: int) -> dict[str, Any]:
        config = runner.session.config
        root = config.rootpath
        plugins = config.pluginmanager.get_plugins()
        paths = [getattr(plugin, "__file__", None) or "" for plugin in plugins]
        return {
            "cases": describe(runner.cases.values(), root),
            "code": [as_seen_from(root, path) for path in imported_code(root, plugins)],
            "conftests": [as_seen_from(root, path) for path in paths if path.endswith("conftest.py")],
            "header": runner.header(),
            "refusal": runner.refusal(),
            "problems": runner.problems(),
            "marked": [[prompt, name, asked.value, asked.where] for prompt, name, asked in runner.marked],
            "partial": sorted(runner.partial),
        }

    def _probe(self, runner: CaseRunner, task: int, first: int, last: int) -> dict[str, Any]:
        items = list(runner.cases)
        asked = runner.engine.probe(items[first:last])
        numbers = {item: number for number, item in enumerate(items)}
        return {"asked": [[numbers[item], sorted(keys)] for item, keys in asked.items()]}

    def _evaluate(self, runner: CaseRunner, task: int, trials: list[dict[str, Any]]) -> dict[str, Any]:
        def progress() -> None:
            if self._stopped == task:
                raise StopRun(STOPPED, "")

        # The controller knows which of them hold on.
        self.client.forget_refusals()
        engine = runner.engine
        try:
            outcomes = engine.run_trials([trial_from_json(trial) for trial in trials], progress)
        except StopRun as stop:
            while self.client.in_flight:
                self.client.wait(PAUSE)
            return {"stop": [stop.halt, stop.why]}
        return {
            "outcomes": [[[to_json(each) for each in case] for case in trial] for trial in outcomes],
            "reached": engine.reached,
            "unrecognised": engine.use.why_unrecognised,
        }

    def _take_texts(self, runner: CaseRunner, texts: Mapping[str, str]) -> None:
        """Use these prompts, as they are on the controller."""
        files = {file.name: file for case in runner.cases.values() for file in case.files.values()}
        for name, text in texts.items():
            runner.cases.use_file(files[name].read_again(before=text.encode("latin-1")))

    def _release(
        self,
        runner: CaseRunner,
        texts: Mapping[str, str] = MappingProxyType({}),
        ledger: str | None = None,
        splits: Mapping[str, str] = MappingProxyType({}),
        samples: Mapping[str, int] = MappingProxyType({}),
        left_out: Collection[str] = (),
    ) -> None:
        self._take_texts(runner, texts)
        runner.calls.share_ledger(ledger)
        runner.cases.give_splits({id: Split(split) for id, split in splits.items()})
        runner.cases.give_samples(samples)
        runner.leave_out(left_out)
