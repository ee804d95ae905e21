"""xdist's workers while the controller has them run cases: who is ready, who does what, who has died."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.optimizer.protocols import StopRun
from pytest_promptopt.pytest_session.answer_service import AnswerService
from pytest_promptopt.pytest_session.worker_server import STOPPED
from pytest_promptopt.pytest_session.xdist_channel import Connection, XdistSession, connection_to
from pytest_promptopt.unpatched import time

#: Seconds between two looks whether workers have crashed.
PAUSE = 0.1

#: Seconds in which xdist notices that a worker has ended, after its channel has.
NOTICED = 10.0


@dataclass(eq=False)
class Worker:
    """One worker process.

    :param ready: whether it has said that it can be spoken to.
    :param takes_part: whether it has the cases that the others have; None until it has said so.
    :param ended: when its channel was closed; None while it is open.
    :param task: what it is doing; None when it waits. `number` is that of its last one.
    :param texts: the prompts that it was told of, by name; `samples` of cases, by id.
    :param busy: seconds for one case in which it did not wait for calls; None before its first task.
    """

    node: Any
    connection: Connection
    ready: bool = False
    takes_part: bool | None = None
    ended: float | None = None
    task: Task | None = None
    number: int = -1
    texts: dict[str, str] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    busy: float | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """Something that one worker does whole.

    :param weight: how many cases it runs.
    """

    kind: str
    data: Mapping[str, Any]
    weight: int = 1


@dataclass(frozen=True)
class WorkState:
    """What workers do their tasks with.

    :param texts: by the name of a prompt what is in its file as far as its cases are concerned; bytes as
        Latin-1. Several prompts of one file may be as they were at different times.
    :param ledger: the file of the account for calls that they have to make themselves; None for none.
    :param samples: how many of them each case has, by id.
    """

    texts: Mapping[str, str]
    ledger: str | None
    samples: Mapping[str, int]


class Tasks(Protocol):
    """Work to be done by all workers together."""

    @property
    def unfinished(self) -> bool: ...

    def take(self, worker: Worker, workers: int) -> Task | None:
        """The next task for a worker that waits; None when there is none for it now.

        :param workers: how many there are.
        """

    def give_back(self, task: Task) -> None:
        """Its worker has died."""

    def done(self, task: Task, reply: Mapping[str, Any]) -> None: ...


class WorkerPool:
    """All workers of the session. What it does it does in the main thread, but for hearing.

    :param state: what the next tasks are to be done with.
    :param no_worker_left: what to say when all have died.
    """

    def __init__(
        self,
        service: AnswerService,
        session: Callable[[], XdistSession],
        state: Callable[[], WorkState],
        *,
        no_worker_left: str,
    ) -> None:
        self._no_worker_left = no_worker_left
        self._service = service
        self._open_session = session
        self._state = state
        self._workers: list[Worker] = []
        self._events: SimpleQueue[tuple[Worker, str, dict[str, Any]]] = SimpleQueue()
        self._numbers = count()
        self._lock = threading.Lock()
        #: What workers are told that come after the run; None while it goes on.
        self._released: dict[str, Any] | None = None
        #: Which cases the workers have: one that has others has no part.
        self._collection = ""

    def add(self, node: Any) -> None:
        """A worker is about to be started."""
        worker = Worker(node, connection_to(node))
        self._workers.append(worker)
        worker.connection.listen(
            lambda kind, data: self._hear(worker, kind, data), lambda: self._hear(worker, "ended", {})
        )

    def _hear(self, worker: Worker, kind: str, data: dict[str, Any]) -> None:
        """In a thread of execnet's."""
        if self._service.handle(worker.connection, kind, data):
            return
        with self._lock:
            if kind == "ready":
                worker.ready = True
                if self._released is not None:
                    worker.connection.send("release", **self._released)
        self._events.put((worker, kind, data))

    def release(self, **data: Any) -> None:
        """Let the workers, also those to come, go on with xdist's own loop; safe to call again."""
        with self._lock:
            if self._released is not None:
                return
            self._released = data
            for worker in self._workers:
                if worker.ready and worker.ended is None:
                    worker.connection.send("release", **data)

    def await_collection(self) -> str | None:
        """Wait for the first worker that has collected; why there is nothing to optimize, or None.

        Empty when xdist will say it: tests could not be collected, or no worker came up.
        """
        while self._coming():
            for worker, kind, data in self._heard():
                if kind == "refused":
                    return str(data["problem"])
                if kind == "ready":
                    self._collection = data["cases"]
                    self._events.put((worker, kind, data))
                    return None if data["collected"] else ""
        return ""

    def run(self, tasks: Tasks, progress: Callable[[], None]) -> None:
        """Have `tasks` done. Raises `StopRun` when a worker says that it is no use, or none is left.

        Raises `RuntimeError` for what somebody else's code has raised on a worker.

        :param progress: called again and again meanwhile.
        """
        stop: Exception | None = None
        while (tasks.unfinished and stop is None) or self._busy():
            if stop is None:
                self._hand_out(tasks)
            for worker, kind, data in self._heard():
                found = self._note(worker, kind, data, tasks)
                if found is not None and stop is None:
                    stop = found
                    self._stop_all()
            progress()
            if stop is None and not self._coming():
                stop = StopRun(HaltReason.WORKERS, self._no_worker_left)
        if stop is not None:
            raise stop

    def interrupt(self) -> None:
        """End what is under way; its results are nobody's concern any more."""
        self._stop_all()
        for worker in self._workers:
            worker.task = None

    def _stop_all(self) -> None:
        for worker in self._workers:
            if worker.task is not None:
                worker.connection.send("stop", task=worker.number)

    def _busy(self) -> bool:
        return any(worker.task is not None for worker in self._workers)

    def _coming(self) -> bool:
        """Whether there is a worker, or will be one."""
        session = self._open_session()
        session.replace_crashed()
        now = time.monotonic()
        for worker in self._workers:
            # One whose conftest raises is over for xdist, while its process and our channel go on.
            if worker.ended is None and session.has_crashed(worker.node):
                worker.ended = now
                self._events.put((worker, "ended", {}))
        return any(
            worker.ended is None or not (session.has_left(worker.node) or now > worker.ended + NOTICED)
            for worker in self._workers
            if worker.takes_part is not False
        )

    def _heard(self) -> list[tuple[Worker, str, dict[str, Any]]]:
        """What the workers have told by now, after waiting a little."""
        found = []
        timeout = PAUSE
        try:
            while True:
                found.append(self._events.get(timeout=timeout))
                timeout = 0
        except Empty:
            return found

    def _hand_out(self, tasks: Tasks) -> None:
        alive = [w for w in self._workers if w.takes_part is not False and w.ended is None]
        state = self._state()
        for worker in alive:
            task = tasks.take(worker, len(alive)) if worker.takes_part and worker.task is None else None
            if task is None:
                continue
            texts = {name: text for name, text in state.texts.items() if worker.texts.get(name) != text}
            worker.task, worker.number = task, next(self._numbers)
            worker.texts.update(texts)
            known = worker.samples
            samples = {case: count for case, count in state.samples.items() if known.get(case) != count}
            known.update(samples)
            data = {**task.data, "texts": texts, "ledger": state.ledger, "samples": samples}
            worker.connection.send(task.kind, task=worker.number, **data)

    def _note(self, worker: Worker, kind: str, data: dict[str, Any], tasks: Tasks) -> Exception | None:
        """Take note of what a worker has told; the reason why the run has to end, if it is one."""
        task = worker.task
        if kind == "ready":
            # Otherwise xdist will say that the workers have collected different tests.
            worker.takes_part = data["collected"] and data["cases"] == self._collection
        elif kind == "refused":
            worker.takes_part = False
        elif kind == "ended":
            worker.ended, worker.task = time.monotonic(), None
            if task is not None:
                tasks.give_back(task)
        elif kind == "done" and task is not None and data["task"] == worker.number:
            worker.task = None
            worker.busy = data["busy"] / task.weight
            if "raised" in data:
                return RuntimeError(data["raised"])
            if "stop" not in data:
                tasks.done(task, data)
            elif data["stop"][0] != STOPPED:
                return StopRun(*data["stop"])
        return None
