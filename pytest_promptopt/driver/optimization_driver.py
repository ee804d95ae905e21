"""Carries out an optimization: what every run needs besides its cases, whoever runs these.

A pytest session and a script are hosts of it: they bring the cases, an engine that runs them, and what the
user has chosen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.driver.case_engine import CaseEngine
from pytest_promptopt.driver.planned_calls import PlannedCalls
from pytest_promptopt.driver.prompt_writer import PromptWriter
from pytest_promptopt.driver.run_models import RunModels
from pytest_promptopt.driver.shown_calls import SHOW_EVERY, ShownCalls
from pytest_promptopt.errors import ModelError, SettingsError
from pytest_promptopt.journal import Journal, JournalError
from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.models.user_models import UserModels
from pytest_promptopt.optimizer import run
from pytest_promptopt.optimizer.call_budget import CallBudget
from pytest_promptopt.optimizer.halting import HaltReason, Phase
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Answer, Case, CaseResult, Request, Role, Spend, Split
from pytest_promptopt.replay.case_table import CaseTable, K
from pytest_promptopt.replay.heldout_redaction import without_heldout_texts
from pytest_promptopt.replay.searched_case import SearchedCase
from pytest_promptopt.reports.live import Progress, SilentProgress
from pytest_promptopt.reports.wording import cost
from pytest_promptopt.results import Iteration, RunResult
from pytest_promptopt.runs.history import Histories
from pytest_promptopt.runs.past import PastRun
from pytest_promptopt.runs.run_store import RunStore
from pytest_promptopt.settings import Mode, Settings
from pytest_promptopt.strategies import declared_needs
from pytest_promptopt.strategies.comparison import compare_strategies
from pytest_promptopt.text import plural

C = TypeVar("C", bound=SearchedCase)


class OptimizationDriver(ABC, Generic[K, C]):
    """One optimization, from the checks before the first call to the files written.

    As a `Evaluator` of the optimizer it has the host's engine run the cases.
    """

    def __init__(
        self,
        cases: CaseTable[K, C],
        engine: CaseEngine[K],
        ledger: Ledger,
        settings: Settings,
        models: UserModels,
        code: Iterable[Path],
    ) -> None:
        """:param cases: shared with the engine, which runs each case with the files that it has here.
        :param code: the files of the project that the tests have imported.
        """
        self._code = code
        self._cases = cases
        self._engine = engine
        self._ledger = ledger
        self._settings = settings
        self._user_models = models
        self._models = RunModels(models, settings)
        self._client = engine.client
        self._progress: Progress = SilentProgress()
        self._calls = ShownCalls(engine, ledger)
        self._record: RunStore | None = None
        self._over = False
        self._ceiling = settings.max_calls
        #: Why the ceiling does not hold the first iteration, as calls have shown; empty when it does.
        self._too_low = ""
        self._writer = PromptWriter(cases.prompts_in, self._reload)

    # ------------------------------------------------------------------------------------ what a host tells

    @abstractmethod
    def _selection(self) -> str:
        """How the cases were chosen, in words; empty when all were."""

    @abstractmethod
    def _strategies(self) -> dict[str, Strategy]:
        """The chosen strategies by name. Raises `SettingsError` for one that there is not."""

    @abstractmethod
    def _user_hooks(self) -> SearchHooks:
        """The decisions and observers of the user."""

    @abstractmethod
    def _open_progress(self) -> Progress:
        """Who watches the run."""

    @abstractmethod
    def _say(self, line: str) -> None:
        """Show a line above the progress, unless the user wants quiet."""

    @property
    @abstractmethod
    def _heldout_advice(self) -> str:
        """What to do when all cases are held out, as the end of a sentence."""

    # --------------------------------------------------------------------------------- before the first call

    def run(self) -> RunResult:
        """Search, confirm, write; the cases have the new texts from then on.

        Raises `PromptoptError` for what must be mended before a first call is paid.
        """
        self._record = record = RunStore(self._settings, selection=self._selection())
        record.stands_on(self._cases.values(), self._code)
        for name, before in record.originals().items():
            self._reload(name, before)  # in memory: only what is decided in the end changes a file
        files = self._files()
        strategies = self._strategies()
        if self._settings.mode is Mode.OPTIMIZE:
            self._writer.check(files.values())
        needs = declared_needs(strategies, self._settings)
        self._models.check(self._cases.values())
        self._share_splits()
        self._check_cases()
        self._planned = PlannedCalls(
            list(files.values()), self._cases, self._engine, self._ledger, self._settings, needs
        )
        if self._settings.comparing:
            return self._unless_unpaid(self._compare(strategies, files, record))
        (strategy,) = strategies.values()
        return self._unless_unpaid(self._run_strategy(strategy, files, record))

    def _unless_unpaid(self, result: RunResult) -> RunResult:
        """`result`; what went wrong before a first call was paid is raised: nothing is lost by it."""
        if result.all_errors and not result.interrupted and not self._ledger.spend.calls:
            raise SettingsError("; ".join(result.all_errors))
        return result

    @property
    def left_out(self) -> frozenset[str]:
        """The held-out cases that the ceiling leaves no calls for."""
        return self._planned.plan.left_out

    @property
    def unwritten(self) -> Sequence[str]:
        """Prompts with a better text that could not be put into their files."""
        return self._writer.unwritten

    def release_interrupts(self) -> None:
        """Raises `KeyboardInterrupt` if one came since the first file was written."""
        self._writer.interrupts.release()

    def withheld_note(self) -> str:
        """Which cases had no part in the search, as a sentence; empty when all had. Ask once, after it."""
        return self._engine.withheld.end_with_note()

    def close(self) -> None:
        """End the run's record, after the last call of the session."""
        if self._record is not None:
            self._record.close()

    def _files(self) -> dict[str, PromptFile]:
        """The prompts that are not frozen. Raises `SettingsError` when there is none."""
        files: dict[str, PromptFile] = {}
        frozen = set[str]()
        for case in self._cases.values():
            files |= {file.name: file for file in case.files.values()}
            frozen |= case.frozen
        if files and frozen >= files.keys():
            raise SettingsError("--optimize: every prompt is frozen (freeze= in @pytest.mark.prompt)")
        return {name: file for name, file in files.items() if name not in frozen}

    def _share_splits(self) -> None:
        """Cases that ask a model the very same share the strictest split, however they are written."""
        if len({case.case.split for case in self._cases.values()}) < 2:
            return
        asked = self._engine.probe()
        self._cases.share_by_question(asked)
        self._engine.withheld.begin({self._cases[item].case: keys for item, keys in asked.items()})

    def _check_cases(self) -> None:
        if all(case.split is Split.HELDOUT for case in self.cases):
            counted = "the only case is" if len(self.cases) == 1 else f"all {len(self.cases)} cases are"
            raise SettingsError(
                f"--optimize: {counted} held out, so there is none to learn from; {self._heldout_advice}"
            )

    # ---------------------------------------------------------------------------------------------- the run

    def _run_strategy(
        self, strategy: Strategy, files: Mapping[str, PromptFile], record: RunStore
    ) -> RunResult:
        journal = record.open(files, self._ledger)
        known, paid = record.recorded_calls(), self._ledger.spend
        self._client.remember(known)
        if record.past is not None:
            self._say(
                f"promptopt: continuing run {record.id}: {plural(len(known), 'call')} of it are known and "
                f"not made again; {plural(paid.calls, 'call')} ({cost(paid)}) were spent on it"
            )
            self._go_on(record.past)
        self._too_low = self._planned.see_calls(self.evaluate)
        if record.past is not None and record.past.to_confirm and self._ceiling is not None:
            # More held-out cases may be scored now; what the search had was without their calls.
            self._ceiling += self._planned.plan.scoring_beyond(self._ceiling)
        call_budget = CallBudget(partial(self._calls_left, paid.calls), tell=self._ledger.reserve_for_scoring)
        with self._shown_progress(files):
            result = run.run_optimization(
                list(files.values()),
                self._context(journal, call_budget),
                strategy,
                write=partial(self._writer.write, journal) if self._settings.mode is Mode.OPTIMIZE else None,
                heldout=self._planned.plan.heldout,
                history=self._histories(record),
            )
        self._over = True
        writing = self._settings.mode is Mode.OPTIMIZE
        result = self._writer.bring_to_disk(result, self._files(), writing=writing)
        result = replace(result, notes=(*result.notes, *record.notes))
        if record.past is not None:
            made = self._ledger.spend.calls - paid.calls
            replayed = f"{plural(self._client.replayed, 'answer')} came from its journal"
            note = f"continued: {replayed}, {plural(made, 'new call')} had to be made"
            result = replace(result, notes=(*result.notes, note))
        if result.notes:  # known only after the end that the journal has
            with suppress(JournalError):
                journal.append("notes", notes=result.notes)
        return self._with_relative_journal(result)

    def _go_on(self, past: PastRun) -> None:
        """Take the search as it was when it had found its text, if that is all that is left to confirm."""
        if past.to_confirm:
            self._ceiling = past.search_ceiling
            self._ledger.block_calls(
                "the search was over when the run ended: its text goes on to be confirmed"
            )

    def _calls_left(self, paid: int) -> int | None:
        """What the ceiling leaves, as it was at this point if a run goes its way once more.

        :param paid: calls that earlier processes of the run have made.
        """
        if self._ceiling is None:
            return None
        return max(0, self._ceiling - self._client.replayed_calls - (self._ledger.spend.calls - paid))

    def _compare(
        self, strategies: Mapping[str, Strategy], files: Mapping[str, PromptFile], record: RunStore
    ) -> RunResult:
        def open_journal(name: str) -> Journal:
            self._progress.strategy(name, [*strategies].index(name) + 1, len(strategies))
            return record.open_part(files, name)

        self._too_low = self._planned.see_calls(self.evaluate)
        with self._shown_progress(files):
            result = compare_strategies(
                strategies,
                list(files.values()),
                self._context(None, CallBudget()),
                heldout=self._planned.plan.heldout,
                history=self._histories(record),
                open_journal=open_journal,
            )
        return replace(result, compared=tuple(map(self._with_relative_journal, result.compared)))

    def _context(self, journal: Journal | None, call_budget: CallBudget) -> RunContext:
        return RunContext(
            evaluator=self,
            ask=self.ask,
            settings=self._settings,
            hooks=self._hooks(),
            journal=journal,
            spend=self._spend,
            call_budget=call_budget,
            prepare_phase=self._prepare_phase,
            model_defects=self._user_models.take_defects,
            references=self._cases.references,
        )

    def _histories(self, record: RunStore) -> Histories:
        return Histories(
            self._settings.home,
            record.id,
            record.past,
            fingerprint=record.fingerprint,
            learn=self._settings.learn,
        )

    def _with_relative_journal(self, result: RunResult) -> RunResult:
        path = Path(result.journal)
        if not path.exists():
            lost = f"{path.parent} was removed during the run, and the journal with it"
            return replace(result, journal="", notes=(*result.notes, lost))
        return replace(result, journal=path.relative_to(self._settings.rootdir).as_posix())

    def _spend(self) -> dict[Role, Spend]:
        return {role: self._ledger.spend_of(role) for role in Role}

    @contextmanager
    def _shown_progress(self, files: Mapping[str, PromptFile]) -> Iterator[None]:
        """Say what the ceilings buy, then show how it goes."""
        for file in files.values() if self._settings.examples else ():
            if file.takes_no_examples:
                self._say(f"promptopt: {file.takes_no_examples}")
        if bought := self._planned.plan.bought():
            self._say(bought)
        self._progress = self._open_progress()
        self._progress.started(list(files), len(self.cases))
        try:
            with self._calls.told_to(self._progress):
                yield
        finally:
            self._progress.finished()
            # What was kept and not used: pytest's own loop runs the held-out cases of unchanged prompts.
            self._ledger.reserve_for_scoring(0)
            self._ledger.block_calls("")
            self._client.forget_refusals()
            self._client.forget_defect()

    def _hooks(self) -> SearchHooks:
        """The user's hooks decide, the progress watches."""
        hooked = self._user_hooks()

        def iteration_finished(iteration: Iteration) -> None:
            self._progress.iteration(iteration)
            hooked.iteration_finished(iteration)

        return replace(
            hooked,
            redact=without_heldout_texts(hooked.redact, self._cases.values()),
            progress=self._progress.phase,
            measured=self._progress.measured,
            caught_up=self._progress.caught_up,
            iteration_finished=iteration_finished,
        )

    def _prepare_phase(self, phase: Phase) -> None:
        """What only the search may not spend is free after it; models that refused are asked again."""
        if phase in (Phase.CONFIRMATION, Phase.HELDOUT):
            self._ceiling = self._settings.max_calls
            self._ledger.block_calls("")
        self._client.forget_refusals()

    # --------------------------------------------------------------------------- what the optimizer asks for

    @property
    def cases(self) -> Sequence[Case]:
        return self._cases.distinct

    def evaluate(self, trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        if self._too_low:
            raise StopRun(HaltReason.BUDGET, self._too_low)
        try:
            return self._engine.evaluate(trials, self._show_calls)
        except KeyboardInterrupt:
            self._client.cancel()
            raise
        except StopRun:
            # Answers under way are paid for, so keep them; what is queued ends while calls are set aside.
            while self._client.in_flight:
                self._client.wait(SHOW_EVERY)
                self._show_calls()
            raise

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        """Send requests to the optimizer model, all at once."""
        return self._models.ask(requests, self._client, meanwhile=self._show_calls)

    def paid(self, paid: PaidCall) -> None:
        """Journal a settled model call; called from the event loop's thread.

        When the search is over the cache will do, so that a full disk does not fail pytest's own run.
        """
        self._user_models.note_defect(paid.request.model, paid.error)
        if self._record is not None:
            with suppress(JournalError) if self._over else nullcontext():
                self._record.settled(paid)

    def journal_cached_answer(self, request: Request, answer: Answer) -> None:
        """Journal an answer of the cache, so that a resumed run has it whatever becomes of the cache."""
        if self._record is not None and not self._over:
            self._record.journal_cached_answer(request, answer)

    def _show_calls(self) -> None:
        """Called again and again while the run waits."""
        self._calls.show()

    def _reload(self, name: str, before: bytes | None = None) -> None:
        """Have the cases use what is in a file now, or what was in it before: all prompts that are there."""
        for prompt in self._cases.prompts_in(name):
            self._cases.use_file(prompt.read_again(before=before))
