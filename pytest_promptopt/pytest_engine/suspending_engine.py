"""The suspending engine: runs cases one after the other in the main thread while their model calls overlap.

A case runs until its first call whose answer is not known. The call goes to the caller's event loop, the run
is dropped, and when the answer is in, the case runs again from the top and finds it. So tests stay
sequential, with every fixture, plugin and assertion intact, and only the waiting is concurrent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import pytest

from pytest_promptopt.errors import ModelError, PromptFileError, SettingsError
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.optimizer.halting import halt_of
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.prompts.candidate_files import CandidateFiles
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.buffered_run import BufferedRun
from pytest_promptopt.pytest_engine.calls_in_flight import CallsInFlight
from pytest_promptopt.pytest_engine.other_plugins import OtherPlugins
from pytest_promptopt.pytest_engine.outcomes import body_report, outcome_of
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_engine.prompt_use import PromptUse
from pytest_promptopt.pytest_engine.shared_fixture_output import SharedFixtureOutput
from pytest_promptopt.pytest_engine.suspended_tests import SuspendedTest
from pytest_promptopt.pytest_engine.threaded_bodies import ThreadedBodies
from pytest_promptopt.pytest_engine.upcoming_cases import UpcomingCases
from pytest_promptopt.records import CaseResult, Outcome, Overlay, Request, Status
from pytest_promptopt.replay.case_requests import ends_search
from pytest_promptopt.replay.pending_sample import PendingSample, ReplayError
from pytest_promptopt.replay.pending_trials import PendingTrials, WaitingSamples, results_of, unreached
from pytest_promptopt.replay.run import Run
from pytest_promptopt.replay.withheld_cases import WithheldCases
from pytest_promptopt.runs.interrupts import is_raised

#: Cases are started until this many times the limit on calls wait for an answer, so that it is never idle.
AHEAD = 2
#: The same where calls and tests take turns: each turn waits for its slowest call.
AHEAD_IN_TURNS = 10

#: Both of a pytest item.
CaseRun = Run[PromptCase]
Pending = PendingSample[PromptCase]


class SuspendingEngine:
    """Runs cases for pytest's own loop (`report`) and for the optimization (`evaluate`). Main thread only."""

    def __init__(
        self,
        session: pytest.Session,
        cases: Mapping[pytest.Item, PromptCase],
        client: ModelClient,
        *,
        concurrency: int,
        open_client: Callable[[], ModelClient],
        reach: Callable[[str], frozenset[str]],
        mine: Callable[[pytest.Item], bool] = lambda item: True,
        divided: bool = False,
        blocking: bool = False,
        max_failures: int = 0,
    ) -> None:
        """:param concurrency: calls in flight at most; `client` holds to it, the engine starts cases by it.
        :param open_client: makes a caller for one run alone, which keeps no answer.
        :param reach: the modules that the calls of a model need.
        :param mine: which cases this process prefetches (an xdist worker shares the work with others).
        :param divided: whether there are others: cases before the first one that it is given are its as well.
        :param blocking: no case is ever suspended: something watches the runs that must see each only once.
        :param max_failures: no further case is started once this many started ones have failed; 0 is no
            limit.
        """
        self.session = session
        self.cases = cases
        self.client = client
        self.run: CaseRun | None = None
        self.buffered: BufferedRun | None = None
        #: Of each item that has been run and not reported yet.
        self.shared_output: dict[pytest.Item, SharedFixtureOutput] = {}
        self.traffic = CallsInFlight(client, reach, running=lambda: self.run is not None)
        self._watchers = OtherPlugins(session.config)
        #: Functions whose last case was found to have all its answers.
        self._warm: set[object] = set()
        self._open_client = open_client
        self._concurrency = concurrency
        self._mine = mine
        self._divided = divided
        #: Cases that were reported here.
        self._ended: set[pytest.Item] = set()
        self._blocking = blocking
        self._max_failures = max_failures
        # Those of a migration are none of the session's.
        self._order = {item: index for index, item in enumerate(dict.fromkeys([*session.items, *cases]))}
        self._pending_samples: dict[pytest.Item, tuple[Pending, ...]] = {}
        self._waiting = WaitingSamples[PromptCase](self.traffic.submit, self.traffic.landed)
        self._upcoming = UpcomingCases()
        self._prefetched_to = -1
        self._depth: dict[object, int] = {}
        self.use = PromptUse()
        self.withheld = WithheldCases()
        #: Whether the cases of a function have fixtures of installed plugins.
        self._exchanging: dict[object, bool] = {}
        self._candidates = CandidateFiles()
        self._bodies = ThreadedBodies(self.open_run, concurrency, session.items, cases, mine)
        #: Whether any case has used its prompt: what a candidate does cannot change that for all of them.
        self.reached = False

    def prepare(self, item: pytest.Item) -> ReplayError | None:
        """Wait for the answers that a real run of `item` is known to need, running others meanwhile.

        Where other plugins watch, for all that it needs, so that they see one run of it. The error is that of
        a case that asks something else in every run.
        """
        case, function = self.cases[item], _function_of(item)
        if not self._watchers or self._blocking or not case.may_wait:
            started = self._pending_samples.get(item, ())
            self._settle(lambda: not any(pending.waiting for pending in started), turn=item)
            return None
        if item not in self._pending_samples and (function in self._warm or self._upcoming.is_quiet(case)):
            return None
        (pending,) = self._pending_samples.setdefault(item, self._open(item))
        if not pending.attempts:
            self._run_silently(pending)
        if pending.waiting:
            self._warm.discard(function)
            self._look_ahead(item)
        elif pending.attempts == 1:
            self._warm.add(function)
        self._settle(lambda: not pending.waiting)
        return pending.refusal

    def suspended(self, item: pytest.Item, run: CaseRun) -> None:
        """Get the answers that a real run of `item` lacks; the cases after it ask theirs meanwhile.

        Raises `ReplayError` when the case asks something else in every run.
        """
        (pending,) = self._pending_samples.setdefault(item, self._open(item))
        self._waiting.wait_for(pending, run)
        self._upcoming.note(run)
        self._look_ahead(item)
        self._settle(lambda: not pending.waiting, turn=item)

    def hold(self, item: pytest.Item, *, sample: int) -> tuple[CaseRun, BufferedRun]:
        """A run of `item` that will be reported if it needs no unknown answer."""
        case = self.cases[item]
        self._beware(item)
        internals.make_room(item)  # cases of other modules may have run meanwhile
        self.traffic.begin()
        if not (case.replays or self._max_failures or self.traffic.alternates):
            self._bodies.run_ahead_from(item)
        run = self._bodies.take(case, {}, sample) or self.open_run(case, {}, sample=sample)
        buffered = BufferedRun(item, void=lambda: bool(run.missing))
        if case.replays and not self._blocking:
            # Where others watch, `prepare` has got what it needs; for what is missing nevertheless, it waits.
            run.suspends = lambda: (
                not (buffered.committed or self._watchers) and self.traffic.detect_patches()
            )
        else:
            buffered.commit()
            for file in case.files.values() if case.asks else ():
                with suppress(SettingsError):  # the call will say so
                    self.traffic.connect(case.model_of(file))
        return run, buffered

    def finished(self, item: pytest.Item, run: CaseRun, reports: Sequence[pytest.TestReport]) -> None:
        """`item` was reported; what its function needs is known now."""
        run.close()
        self._ended.add(item)
        if run.waited:
            self._warm.discard(_function_of(item))
        self._pending_samples.pop(item, None)
        self.shared_output.pop(item, None)
        self._upcoming.note(run)
        self._note_end(run, reports)

    def samples(self, item: pytest.Item) -> tuple[Outcome, ...]:
        """All samples of a case with several, none of them reported; none where each run would be seen."""
        if self._blocking:
            return ()
        pending_samples = self._pending_samples.setdefault(item, self._open(item))
        for pending in pending_samples:
            if not pending.attempts:
                self._run_silently(pending)
        self._look_ahead(item)
        self._settle(lambda: all(pending.outcome is not None for pending in pending_samples))
        return tuple(pending.outcome for pending in pending_samples if pending.outcome is not None)

    def _open(self, item: pytest.Item) -> tuple[Pending, ...]:
        case = self.cases[item]
        return tuple(PendingSample(case, sample=sample) for sample in case.samples)

    def _look_ahead(self, item: pytest.Item) -> None:
        """Queue the cases after `item` that can run before their turn: they share its wider fixtures."""
        items, key = self.session.items, internals.scope_key(item)
        first = self._prefetched_to + 1
        start = max(first, self._order[item] + 1)
        while self._divided and start > first and internals.scope_key(items[start - 1]) == key:
            start -= 1  # of these the others ask their own parts only
        for index in range(start, len(items)):
            other = items[index]
            if internals.scope_key(other) != key:
                break
            self._prefetched_to = index
            case = self.cases.get(other)
            if case is None or other in self._ended or not case.may_wait:
                continue
            if not self._blocking and self._mine(other):
                self._upcoming.add(case)

    def _start_next(self) -> bool:
        """Run one upcoming case to its first unknown answer; False when there is nothing to start."""
        while len(self._waiting) < self._limit and not self._enough_failures():
            item = self._upcoming.next()
            if item is None:
                return False
            if item in self._pending_samples or item in self._ended or not internals.can_follow(item):
                continue
            self._pending_samples[item] = self._open(item)
            for pending in self._pending_samples[item]:
                self._run_silently(pending)
            return True
        return False

    @property
    def _limit(self) -> int:
        """How many answers cases may wait for before no further case is started."""
        return (AHEAD_IN_TURNS if self.traffic.alternates else AHEAD) * self._concurrency

    def _enough_failures(self) -> bool:
        if not self._max_failures:
            return False
        started = [
            pending for pending_samples in self._pending_samples.values() for pending in pending_samples
        ]
        failed = sum(
            pending.outcome is not None and pending.outcome.status is Status.FAILED for pending in started
        )
        return self.session.testsfailed + failed >= self._max_failures

    def _settle(self, done: Callable[[], bool], *, turn: pytest.Item | None = None) -> None:
        """Start upcoming cases and take answers in until `done`.

        :param turn: is run for real after that, so not before.
        """
        while not done():
            started = self._start_next()
            for pending in self._waiting.answered(timeout=0 if started else None):
                if pending.case.item is not turn and self._goes_on(pending):
                    self._run_silently(pending)

    def _goes_on(self, pending: Pending) -> bool:
        """Whether a prefetched case must be run on before its turn, to find its next call or its verdict."""
        item = pending.case.item
        if item not in self._pending_samples or not internals.can_follow(item):
            return False
        depth = self._depth.get(_function_of(item))
        needs_verdict = bool(self._max_failures) or len(pending.case.samples) > 1
        return needs_verdict or depth is None or pending.expected < depth

    def _note_end(self, run: CaseRun, reports: Sequence[pytest.TestReport]) -> None:
        self.use.note(run, to_its_end=body_report(reports) is not None)
        if run.error is None:  # otherwise it may have more calls than it came to
            function = _function_of(run.case.item)
            self._depth[function] = max(self._depth.get(function, 0), run.answered)

    def _run_silently(self, pending: Pending) -> None:
        """Run a case without a trace, to its next unknown answer or to its outcome."""
        if pending.case.case.id in self.withheld.cases:
            pending.outcome = Outcome(pending.case.case.id, Status.SKIPPED, 0.0, pending.sample)
            return
        pending.attempts += 1
        case = pending.case.case
        try:
            opened = self._bodies.take(pending.case, pending.overlay, pending.sample) or self.open_run(
                pending.case, pending.overlay, sample=pending.sample, attempt=pending.attempts
            )
            opened.answers = pending.answers
        except PromptFileError as error:  # the candidate is no prompt; a search asks first, others may not
            pending.outcome = Outcome(
                case.id, Status.ERRORED, 0.0, sample=pending.sample, error=str(error), unrenderable=True
            )
            return
        run, buffered = self._silent(opened)
        self._upcoming.note(run)
        if not (pending.overlay or pending.answers) and self.withheld.asks(case, run.keys):
            pending.outcome = Outcome(case.id, Status.SKIPPED, 0.0, pending.sample)
        elif run.missing:
            try:
                self._waiting.wait_for(pending, run)
            except ReplayError as error:
                pending.refusal = error
                pending.outcome = Outcome(
                    case.id, Status.ERRORED, 0.0, sample=pending.sample, error=str(error)
                )
        elif buffered.broke_outside() and self._watchers.let_in_own():
            self._run_silently(pending)  # the project's fixtures may want what its hooks leave for them
        else:
            pending.outcome = outcome_of(run, buffered.reports)
            pending.error, pending.failed_role = run.error, run.failed_role
            pending.reached = bool(run.asked) or run.touched
            self._note_end(run, buffered.reports)

    def _silent(self, run: CaseRun) -> tuple[CaseRun, BufferedRun]:
        item = run.case.item
        run.suspends = lambda: (run.case.replays or run.only_looks) and self.traffic.detect_patches()
        self._beware(item)
        void = lambda: bool(run.missing)  # noqa: E731
        buffered = BufferedRun(item, void=void, silent=True, left_out=self._watchers.left_out)
        internals.make_room(item)
        self.traffic.begin()
        with internals.debugger_off(), self.current(run, buffered), buffered:
            try:
                item.ihook.pytest_runtest_protocol(item=item, nextitem=internals.item_of_same_scopes(item))
            except (pytest.exit.Exception, KeyboardInterrupt) as ended:
                if isinstance(ended, KeyboardInterrupt) and not is_raised(ended):
                    raise
                internals.tear_down_unfinished(item)  # the run that is reported is the one to end the session
            except Exception:  # of a plugin that other runs need not meet
                internals.tear_down_unfinished(item)
                raise
        buffered.rollback()
        run.close()
        return run, buffered

    def _beware(self, item: pytest.Item) -> None:
        """Such fixtures mostly exchange a part of the process, and calls must not be under way by then."""
        function = _function_of(item)
        if function not in self._exchanging:
            self._exchanging[function] = internals.installed_fixtures(item)
        if self._exchanging[function] and not self.traffic.alternates:
            self.traffic.start_alternating()

    def open_run(self, case: PromptCase, overlay: Overlay, *, sample: int = 0, attempt: int = 0) -> CaseRun:
        """A run of `case` whose prompts are those of `overlay`, where it has them."""
        files = {
            stage: self._candidates.file(file, overlay[file.name]) if file.name in overlay else file
            for stage, file in case.files.items()
        }
        run = Run(case, self.client, overlay, files, sample, attempt, suspension=SuspendedTest)
        run.connect = self.traffic.connect_inside
        run.apart = lambda request: not run.only_looks and self._apart(run, request)
        return run

    def _apart(self, run: CaseRun, request: Request) -> bool:
        """Whether a call must be made inside its run, which has exchanged something that the call needs."""
        needed = self.traffic.exchanged(request.model)
        with suppress(OSError):  # of the cache; the call will say so
            if not needed and self.client.look_up(request) is None:
                needed = self.traffic.exchanged_by_hand(request.model)
        for exchange in needed:
            self.use.exchanged.setdefault(str(exchange), set()).add(run.case.case.id)
        if needed and run.own_client is None:
            run.own_client = self._open_client()
        return bool(needed)

    @property
    def step(self) -> tuple[int, int]:
        """How many samples of the evaluation under way are decided, of how many; 0 of 0 between two."""
        return self._waiting.step

    @contextmanager
    def current(self, run: CaseRun, buffered: BufferedRun) -> Iterator[None]:
        """Make `run` the one that fixtures and hooks belong to."""
        before = self.run, self.buffered
        self.run, self.buffered = run, buffered
        try:
            yield
        finally:
            self.run, self.buffered = before

    def evaluate(self, trials: Sequence[Trial], progress: Callable[[], None]) -> list[tuple[CaseResult, ...]]:
        """All cases of all trials; raises `StopRun` when no call is possible, or no case uses its prompt.

        :param progress: called again and again meanwhile.
        """
        outcomes = self.run_trials(trials, progress)
        if not self.reached:
            found = (each for trial in outcomes for case in trial for each in case)
            raise unreached(found, self.use.why_unrecognised)
        return results_of(trials, outcomes, (case.case for case in self.cases.values()))

    def run_trials(
        self, trials: Sequence[Trial], progress: Callable[[], None]
    ) -> list[list[tuple[Outcome, ...]]]:
        """What each case of each trial shows; every call that any needs flies as soon as the limit allows.

        Raises `StopRun` when no further call is possible.
        """
        by_id: dict[str, PromptCase] = {}
        for case in self.cases.values():
            by_id.setdefault(case.case.id, case)
        pending = PendingTrials(trials, by_id)
        self._drain(pending.samples, progress=progress)
        self.reached |= pending.reached
        return pending.outcomes

    def _drain(
        self,
        pending_samples: Iterable[Pending],
        *,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        """Decide all jobs, group by group of shared fixtures."""
        groups: dict[frozenset[tuple[str, str, object]], list[Pending]] = {}
        for pending in sorted(pending_samples, key=lambda pending: self._order[pending.case.item]):
            groups.setdefault(internals.scope_key(pending.case.item), []).append(pending)
        self._waiting.step = (0, sum(map(len, groups.values())))
        try:
            for members in groups.values():
                if not self.traffic.alternates:
                    self._bodies.follow((each.case, each.overlay, each.sample) for each in members)
                self._waiting.drain(members, self._decide, limit=lambda: self._limit, progress=progress)
                internals.tear_down_below_session(self.session)
        finally:  # after a stop: what these jobs wait for must not wake them in the next evaluation
            self._waiting.clear()
            self._bodies.clear()
            self.shared_output.clear()

    def _decide(self, pending: Pending) -> None:
        self._run_silently(pending)
        error, cases = pending.error, [each for each in self.cases.values() if not each.case.reference]
        decides_all = all(case.is_decided_by(pending.failed_role) for case in cases)
        if isinstance(error, ModelError) and ends_search(error, cases, decides_all=decides_all):
            raise StopRun(halt_of(error), str(error))

    def probe(self, items: Iterable[pytest.Item] | None = None) -> dict[pytest.Item, frozenset[str]]:
        """The keys of the calls of each case under the files as they are, up to its first unknown answer.

        Asks no model anything.

        :param items: None for all.
        """
        asked = {}
        for item in list(self.cases) if items is None else items:
            case = self.cases[item]
            if case.samples.start or case.case.reference:
                continue  # a repetition of another item, or the same with a model that is left
            run = self.open_run(case, {}, attempt=1)
            run.only_looks = True
            self._silent(run)
            asked[item] = run.keys
        internals.tear_down_below_session(self.session)
        return asked


def _function_of(item: pytest.Item) -> object:
    return (item.parent, getattr(item, "originalname", item.name))
