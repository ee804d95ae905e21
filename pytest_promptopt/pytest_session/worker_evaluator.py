"""Cases run by xdist's workers: the second `CaseEngine` beside the engine of one process."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.pytest_engine.outcomes import from_json
from pytest_promptopt.pytest_session.case_descriptions import DescribedCase
from pytest_promptopt.pytest_session.worker_messages import trial_to_json
from pytest_promptopt.pytest_session.worker_pool import Task, Worker, WorkerPool
from pytest_promptopt.records import CaseResult, Outcome, Status
from pytest_promptopt.replay.case_table import CaseTable
from pytest_promptopt.replay.pending_trials import unreached
from pytest_promptopt.replay.withheld_cases import WithheldCases

#: A worker is to be back in about so many seconds of work, waiting for calls aside.
TASK_SECONDS = 1.0

#: A case of a trial: the number of the trial, and the case.
Job = tuple[int, str]


class WorkerEvaluator:
    """Runs cases on workers; results, and the order that they are in, are those of one process.

    :param cases: shared with the run, which changes splits and files in it.
    :param check: raises what has gone wrong on this side meanwhile.
    :param concurrency: calls in flight at most, of all workers together.
    :param together: what cases have in common that must not be run on two workers at a time, by case.
    """

    def __init__(
        self,
        pool: WorkerPool,
        cases: CaseTable[int, DescribedCase],
        client: ModelClient,
        *,
        check: Callable[[], None],
        concurrency: int,
        together: Callable[[str], str] | None = None,
    ) -> None:
        self._pool = pool
        self._check = check
        self._cases = cases
        self._concurrency = concurrency
        self._together = together
        self._order = {case.case.id: number for number, case in reversed([*cases.items()])}
        self._reached = False
        self.client = client
        self.withheld = WithheldCases()
        self._under_way: Evaluations | None = None

    @property
    def step(self) -> tuple[int, int]:
        """As of `CaseEngine`; a worker tells of its part when that is done."""
        return (0, 0) if self._under_way is None else self._under_way.step

    def probe(self) -> dict[int, frozenset[str]]:
        """The keys of the calls of each case under the files as they are, up to its first unknown answer."""
        tasks = Probes(len(self._cases))
        self._pool.run(tasks, lambda: None)
        return dict(sorted(tasks.asked.items()))

    def evaluate(self, trials: Sequence[Trial], progress: Callable[[], None]) -> list[tuple[CaseResult, ...]]:
        """All cases of all trials; raises `StopRun` when no call is possible, or no case uses its prompt."""

        def going_on() -> None:
            self._check()
            progress()

        withheld = frozenset(self.withheld.cases)
        jobs = [(n, case) for n, trial in enumerate(trials) for case in trial.cases if case not in withheld]
        jobs.sort(key=lambda job: self._order[job[1]])
        tasks = Evaluations(trials, jobs, concurrency=self._concurrency, together=self._together)
        self._under_way = tasks
        try:
            self._pool.run(tasks, going_on)
        except KeyboardInterrupt:
            self._pool.interrupt()
            raise
        finally:
            self._under_way = None
        self._reached |= tasks.reached
        self._withhold(trials, tasks.found)
        results = [
            tuple(self._result(trial, case, tasks.found.get((n, case))) for case in trial.cases)
            for n, trial in enumerate(trials)
        ]
        if not self._reached:
            found = (each for trial in results for result in trial for each in result.outcomes)
            raise unreached(found, tasks.unrecognised)
        return results

    def _withhold(self, trials: Sequence[Trial], found: Mapping[Job, Sequence[Outcome]]) -> None:
        """Cases may turn out to ask what stricter ones ask, under the texts that are in the files."""
        for (number, id), outcomes in sorted(found.items(), key=lambda entry: self._order[entry[0][1]]):
            case = self._cases[self._order[id]].case
            changed = trials[number].overlay or trials[number].answers
            for outcome in () if changed else outcomes:
                self.withheld.asks(case, [call.key for call in outcome.calls])

    def _result(self, trial: Trial, id: str, outcomes: tuple[Outcome, ...] | None) -> CaseResult:
        case = self._cases[self._order[id]].case
        if outcomes is None or id in self.withheld.cases:
            samples = range(case.samples) if trial.samples is None else trial.samples
            outcomes = tuple(Outcome(id, Status.SKIPPED, 0.0, sample) for sample in samples)
        return CaseResult(case, outcomes)


class Question:
    """One task for whichever worker is there first."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._given = False
        self.reply: Mapping[str, Any] = {}

    @property
    def unfinished(self) -> bool:
        return not self.reply

    def take(self, worker: Worker, workers: int) -> Task | None:
        if self._given:
            return None
        self._given = True
        return Task(self._kind, {})

    def give_back(self, task: Task) -> None:
        self._given = False

    def done(self, task: Task, reply: Mapping[str, Any]) -> None:
        self.reply = reply


class Probes:
    """What all cases ask, each worker a part of them."""

    def __init__(self, cases: int) -> None:
        self._cases = cases
        self._open: deque[Task] = deque()
        self._cut = False
        self._left = 1
        self.asked: dict[int, frozenset[str]] = {}

    @property
    def unfinished(self) -> bool:
        return self._left > 0

    def take(self, worker: Worker, workers: int) -> Task | None:
        if not self._cut:
            size = max(1, math.ceil(self._cases / workers))
            for first in range(0, self._cases, size):
                self._open.append(Task("probe", {"first": first, "last": first + size}, size))
            self._cut, self._left = True, len(self._open)
        return self._open.popleft() if self._open else None

    def give_back(self, task: Task) -> None:
        self._open.append(task)

    def done(self, task: Task, reply: Mapping[str, Any]) -> None:
        self._left -= 1
        self.asked |= {number: frozenset(keys) for number, keys in reply["asked"]}


class Evaluations:
    """Cases of trials, in parts that get smaller towards the end; a slow case makes for small ones."""

    def __init__(
        self,
        trials: Sequence[Trial],
        jobs: Sequence[Job],
        *,
        concurrency: int,
        together: Callable[[str], str] | None,
    ) -> None:
        self._trials = trials
        self._open = deque(jobs)
        self._left = self._all = len(jobs)
        self._concurrency = concurrency
        self._together = together
        self._jobs: dict[Task, Sequence[Job]] = {}
        self.found: dict[Job, tuple[Outcome, ...]] = {}
        self.reached = False
        #: Why a call of the code under test is no call of the prompt.
        self.unrecognised = ""

    @property
    def unfinished(self) -> bool:
        return self._left > 0

    @property
    def step(self) -> tuple[int, int]:
        return self._all - self._left, self._all

    def take(self, worker: Worker, workers: int) -> Task | None:
        if not self._open:
            return None
        jobs = self._cut(self._size(worker, workers))
        numbers = list(dict.fromkeys(number for number, _ in jobs))
        trials = [
            replace(self._trials[number], cases=tuple(case for n, case in jobs if n == number))
            for number in numbers
        ]
        task = Task("evaluate", {"trials": [trial_to_json(trial) for trial in trials]}, len(jobs))
        self._jobs[task] = [(n, case) for n in numbers for m, case in jobs if m == n]
        return task

    def _size(self, worker: Worker, workers: int) -> int:
        """As many as keep the worker's calls in flight, but no more than its fair share of all."""
        calls = self._concurrency // workers
        size = min(max(len(self._open) // (2 * workers), calls, 1), math.ceil(self._all / workers))
        if worker.busy:
            size = min(size, int(TASK_SECONDS / worker.busy))
        return max(1, size)

    def _cut(self, size: int) -> list[Job]:
        jobs = [self._open.popleft() for _ in range(min(size, len(self._open)))]
        if self._together is not None:
            begun: Collection[str] = {self._together(case) for _, case in jobs}
            jobs += [job for job in self._open if self._together(job[1]) in begun]
            self._open = deque(job for job in self._open if self._together(job[1]) not in begun)
        return jobs

    def give_back(self, task: Task) -> None:
        self._open.extendleft(reversed(self._jobs.pop(task)))

    def done(self, task: Task, reply: Mapping[str, Any]) -> None:
        jobs = self._jobs.pop(task)
        outcomes = [case for trial in reply["outcomes"] for case in trial]
        for job, found in zip(jobs, outcomes, strict=True):
            self.found[job] = tuple(map(from_json, found))
        self._left -= len(jobs)
        self.reached |= reply["reached"]
        self.unrecognised = self.unrecognised or reply["unrecognised"]
