"""Trials on their way to their results, and the samples among them that wait for answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic

from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.records import Case, CaseResult, Outcome, Request, Role, Status
from pytest_promptopt.replay.pending_sample import PendingSample
from pytest_promptopt.replay.run import C, Run

UNUSED = (
    "no case uses what `prompt` gives it, or asks a model with the prompt's text by itself, so no candidate "
    "can reach the code under test: let it make its call in the test's own process, without a mock, or use "
    "the fixture: call prompt(...), or read prompt.text or prompt.path"
)


class PendingTrials(Generic[C]):
    """Trials that are run together, sample by sample.

    :param cases: by id.
    """

    def __init__(self, trials: Sequence[Trial], cases: Mapping[str, C]) -> None:
        self._trials = [
            [
                [
                    PendingSample(cases[case], trial.overlay, sample, trial.answers)
                    for sample in (
                        range(cases[case].case.samples) if trial.samples is None else trial.samples
                    )
                ]
                for case in trial.cases
            ]
            for trial in trials
        ]

    @property
    def samples(self) -> list[PendingSample[C]]:
        """All samples, in the order of the trials."""
        return [pending for trial in self._trials for case in trial for pending in case]

    @property
    def reached(self) -> bool:
        """Whether any of the cases has used its prompt by now."""
        return any(pending.reached for pending in self.samples)

    @property
    def outcomes(self) -> list[list[tuple[Outcome, ...]]]:
        """What each case of each trial has shown, in order."""
        return [
            [
                tuple(pending.outcome for pending in samples if pending.outcome is not None)
                for samples in trial
            ]
            for trial in self._trials
        ]


def results_of(
    trials: Sequence[Trial], outcomes: Sequence[Sequence[tuple[Outcome, ...]]], cases: Iterable[Case]
) -> list[tuple[CaseResult, ...]]:
    """One result per case of each trial, in order."""
    by_id = {case.id: case for case in cases}
    return [
        tuple(CaseResult(by_id[id], case) for id, case in zip(trial.cases, found, strict=True))
        for trial, found in zip(trials, outcomes, strict=True)
    ]


def unreached(outcomes: Iterable[Outcome], unrecognised: str = "") -> StopRun:
    """Why a run ends in which no case has used its prompt: all are skipped or have the same error, or
    simply do not.

    :param unrecognised: why a call of the code under test is no call of the prompt.
    """
    found = list(outcomes)
    if found and all(outcome.status is Status.SKIPPED for outcome in found):
        return StopRun(HaltReason.NO_EVIDENCE, "every case is skipped, so there is no result to learn from")
    errors = [outcome.error for outcome in found]
    if unrecognised and not all(errors):
        said = "no candidate can reach the code under test: its model calls are no calls of a prompt"
        return StopRun(HaltReason.UNREACHED, f"{said}; {unrecognised}")
    return StopRun(HaltReason.UNREACHED, next(filter(None, errors), UNUSED) if all(errors) else UNUSED)


class WaitingSamples(Generic[C]):
    """Samples whose last run lacks answers that are under way.

    :param submit: sends a request, unless its answer is known or under way.
    :param landed: keys of requests that ended, after waiting up to so many seconds; None waits for one, and
        then no key means that nothing is under way.
    """

    def __init__(
        self, submit: Callable[[Request, Role], object], landed: Callable[[float | None], frozenset[str]]
    ) -> None:
        self._submit = submit
        self._landed = landed
        self._by_key: dict[str, list[PendingSample[C]]] = {}
        #: How many samples of the evaluation under way have their outcome, and how many there are.
        self.step = (0, 0)

    def __len__(self) -> int:
        """How many answers are waited for."""
        return len(self._by_key)

    def clear(self) -> None:
        """Wake nobody any more."""
        self._by_key.clear()
        self.step = (0, 0)

    def wait_for(self, pending: PendingSample[C], run: Run[Any]) -> None:
        """Get the answers that `run` lacks; raises `ReplayError` when this case can never be replayed."""
        error = pending.restarted(run)
        if error is not None:
            raise error
        # A thread of the case that nobody has waited for may ask at this very moment.
        for key, request in tuple(run.missing.items()):
            pending.waiting.add(key)
            self._by_key.setdefault(key, []).append(pending)
            self._submit(request, run.role_of(key))

    def answered(self, *, timeout: float | None) -> list[PendingSample[C]]:
        """Those that can go on, after waiting up to `timeout` seconds (None: until there is one)."""
        keys = self._landed(timeout)
        if timeout is None and not keys:  # nothing is in flight: whoever waits must ask again
            keys = frozenset(self._by_key)
        ready = []
        for key in keys:
            for pending in self._by_key.pop(key, ()):
                pending.waiting.discard(key)
                if not pending.waiting and pending.outcome is None:
                    ready.append(pending)
        return ready

    def drain(
        self,
        samples: Iterable[PendingSample[C]],
        decide: Callable[[PendingSample[C]], None],
        *,
        limit: Callable[[], int],
        progress: Callable[[], None],
    ) -> None:
        """Run all `samples` until each has its outcome.

        :param decide: runs one to its next unknown answer, which it has waited for, or to its outcome.
        :param limit: how many answers may be waited for before no further sample is begun.
        """
        fresh, ready = deque(samples), deque[PendingSample[C]]()
        undecided = len(fresh)
        if not self.step[1]:
            self.step = (0, undecided)
        while undecided:
            pending = None
            if ready:
                pending = ready.popleft()
            elif fresh and len(self) < limit():
                pending = fresh.popleft()
            if pending is not None:
                decide(pending)
                undecided -= pending.outcome is not None
                self.step = (self.step[0] + (pending.outcome is not None), self.step[1])
            ready.extend(self.answered(timeout=0 if pending is not None else None) if undecided else ())
            progress()
