"""Runs the cases of a script one after the other while their model calls overlap.

A case runs until its first call whose answer is not known, and once more from the top when the answer is in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pytest_promptopt.errors import ModelError, PromptFileError
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.optimizer.halting import halt_of
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.prompts.candidate_files import CandidateFiles
from pytest_promptopt.records import CaseResult, Outcome, Overlay, Status
from pytest_promptopt.replay.case_requests import ends_search
from pytest_promptopt.replay.pending_sample import PendingSample, ReplayError
from pytest_promptopt.replay.pending_trials import PendingTrials, WaitingSamples, results_of, unreached
from pytest_promptopt.replay.run import Run
from pytest_promptopt.replay.stage_grades import joined_grades
from pytest_promptopt.replay.suspension import Suspended
from pytest_promptopt.replay.withheld_cases import WithheldCases
from pytest_promptopt.scripting.case_bodies import Verdict
from pytest_promptopt.scripting.script_case import ScriptCase
from pytest_promptopt.unpatched import time

#: Cases are started until this many times the limit on calls wait for an answer, so that it is never idle.
AHEAD = 2

#: Seconds between two looks at who wants the run to end.
TURN = 0.1


class ScriptEngine:
    """Runs cases in the thread that calls it.

    :param cases: shared with the run: each case is run with the files that it has here.
    :param concurrency: calls in flight at most; `client` holds to it, the engine starts cases by it.
    """

    def __init__(self, cases: Mapping[str, ScriptCase], client: ModelClient, *, concurrency: int) -> None:
        self.cases = cases
        self.client = client
        self.withheld = WithheldCases()
        self._limit = AHEAD * concurrency
        self._reached = False
        self._candidates = CandidateFiles()
        self._waiting: WaitingSamples[ScriptCase] | None = None

    @property
    def step(self) -> tuple[int, int]:
        return (0, 0) if self._waiting is None else self._waiting.step

    def probe(self) -> dict[str, frozenset[str]]:
        """The keys of the calls of each case under the files as they are, up to its first unknown answer.

        Asks no model anything.
        """
        asked = {}
        for name, case in self.cases.items():
            run = self._open(case, {}, 0, 1)
            self._verdict(run)
            asked[name] = run.keys
        return asked

    def evaluate(self, trials: Sequence[Trial], progress: Callable[[], None]) -> list[tuple[CaseResult, ...]]:
        """All cases of all trials; raises `StopRun` when no call is possible, or no case uses its prompt.

        :param progress: called again and again meanwhile.
        """
        pending = PendingTrials(trials, self.cases)
        waiting = self._waiting = WaitingSamples[ScriptCase](
            self.client.submit,
            lambda timeout: self._landed(timeout, progress),
        )
        waiting.drain(
            pending.samples,
            lambda sample: self._decide(sample, waiting),
            limit=lambda: self._limit,
            progress=progress,
        )
        self._waiting = None
        self._reached |= pending.reached
        outcomes = pending.outcomes
        if not self._reached:
            raise unreached(each for trial in outcomes for case in trial for each in case)
        return results_of(trials, outcomes, (case.case for case in self.cases.values()))

    def _landed(self, timeout: float | None, progress: Callable[[], None]) -> frozenset[str]:
        keys = self.client.wait(TURN if timeout is None else timeout)
        while timeout is None and not keys and self.client.in_flight:
            progress()
            keys = self.client.wait(TURN)
        return keys

    def _decide(self, pending: PendingSample[ScriptCase], waiting: WaitingSamples[ScriptCase]) -> None:
        """Run one sample to its next unknown answer or to its outcome."""
        case = pending.case.case
        if case.id in self.withheld.cases:
            pending.outcome = Outcome(case.id, Status.SKIPPED, 0.0, pending.sample)
            return
        pending.attempts += 1
        started = time.perf_counter()
        try:
            run = self._open(pending.case, pending.overlay, pending.sample, pending.attempts)
            run.answers = pending.answers
        except PromptFileError as error:  # the candidate is no prompt; a search asks first, others may not
            pending.outcome = Outcome(
                case.id, Status.ERRORED, 0.0, pending.sample, error=str(error), unrenderable=True
            )
            return
        verdict = self._verdict(run)
        if not (pending.overlay or pending.answers) and self.withheld.asks(case, run.keys):
            pending.outcome = Outcome(case.id, Status.SKIPPED, 0.0, pending.sample)
        elif run.missing:
            try:
                waiting.wait_for(pending, run)
            except ReplayError as error:
                pending.outcome = Outcome(case.id, Status.ERRORED, 0.0, pending.sample, error=str(error))
        else:
            pending.outcome = _outcome(run, verdict, time.perf_counter() - started)
            pending.reached = bool(run.asked) or run.touched
        if isinstance(run.error, ModelError) and ends_search(run.error, self.cases.values()):
            raise StopRun(halt_of(run.error), str(run.error))

    def _open(self, case: ScriptCase, overlay: Overlay, sample: int, attempt: int) -> Run[ScriptCase]:
        files = {
            stage: self._candidates.file(file, overlay[file.name]) if file.name in overlay else file
            for stage, file in case.files.items()
        }
        run = Run(case, self.client, overlay, files, sample, attempt)
        run.suspends = lambda: True
        return run

    def _verdict(self, run: Run[ScriptCase]) -> Verdict | None:
        """How a run was judged; None when it lacks an answer, or a call of it failed."""
        try:
            verdict = run.case.body.run(run)
        except (StopRun, KeyboardInterrupt):
            raise
        except BaseException as error:
            if run.missing or run.error is not None:
                return None
            if isinstance(error, Suspended):
                return None
            raise
        return None if run.missing or run.error is not None else verdict


def _outcome(run: Run[ScriptCase], verdict: Verdict | None, duration: float) -> Outcome:
    """What a run that lacks no answer has shown; with a model error it is errored, even a swallowed one."""
    case, source = run.case, run.case.body.source
    found = Outcome(
        case.case.id,
        Status.ERRORED,
        0.0,
        run.sample,
        calls=tuple(run.calls),
        duration=duration,
        inputs={} if run.calls else case.parameters,
        parameters=case.parameters,
        check=source.check,
        helpers=source.helpers,
        grades=joined_grades(run.grades),
    )
    if verdict is None:
        return replace(found, error=str(run.error), unrenderable=run.unrenderable)
    failure = verdict.failure
    if failure is not None and not run.used:
        told = f"{failure.kind}: {failure.message}".rstrip(": ")
        where = f" at {failure.where}" if failure.where else ""
        return replace(
            found, failure=failure, error=f"the case ended{where} before it used its prompt: {told}"
        )
    expected = case.body.expected
    if expected is None and failure is not None and failure.operator == "==":
        expected = failure.expected
    status = Status.PASSED if failure is None else Status.FAILED
    return replace(found, status=status, score=verdict.score, failure=failure, expected=expected)
