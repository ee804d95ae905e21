"""`--optimize` inside a pytest session: hands the loop its evaluator, its optimizer and its hooks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pytest_promptopt.budget import Ledger, unknown_price
from pytest_promptopt.captured import time
from pytest_promptopt.errors import (
    ErrorKind,
    ModelError,
    PromptConflictError,
    PromptFileError,
    SettingsError,
)
from pytest_promptopt.evaluation import internals
from pytest_promptopt.evaluation.case import PromptCase
from pytest_promptopt.evaluation.engine import Engine, halt_of
from pytest_promptopt.evaluation.hooks import ask_hook
from pytest_promptopt.evaluation.plan import Plan
from pytest_promptopt.evaluation.policies import chosen_strategies, hooked_policies
from pytest_promptopt.evaluation.record import RunRecord
from pytest_promptopt.evaluation.splits import share_by_question
from pytest_promptopt.journal import Journal, JournalError
from pytest_promptopt.models.caller import Caller, Paid
from pytest_promptopt.models.prices import price_of
from pytest_promptopt.models.registry import preflight, variety
from pytest_promptopt.prompts import PromptFile, check_writable, clear_strays, save_beside, write_prose
from pytest_promptopt.records import Answer, Case, CaseResult, Request, Role, Spend
from pytest_promptopt.refine import loop
from pytest_promptopt.refine.evaluator import Prompt, StopRun, Trial
from pytest_promptopt.refine.groups import connected
from pytest_promptopt.refine.halting import Phase
from pytest_promptopt.refine.policies import Policies
from pytest_promptopt.refine.strategy import Strategy
from pytest_promptopt.reports.live import Progress, SilentProgress, progress_for
from pytest_promptopt.reports.wording import cost, plural
from pytest_promptopt.results import Iteration, RunResult
from pytest_promptopt.runs.fingerprint import digest
from pytest_promptopt.settings import Mode, Settings
from pytest_promptopt.strategies.comparison import compare

#: Seconds between two looks at the calls in flight: summing up what was spent is not free.
SHOW_EVERY = 0.1


class Refinement:
    """One `--optimize` run; as a pytest-free `Evaluator` it runs cases through the engine."""

    def __init__(
        self,
        config: pytest.Config,
        items: dict[pytest.Item, PromptCase],
        engine: Engine,
        ledger: Ledger,
        settings: Settings,
    ) -> None:
        self._config = config
        self._items = items
        self._engine = engine
        self._ledger = ledger
        self._caller: Caller = engine.caller
        self._settings = settings
        self._progress: Progress = SilentProgress()
        self._shown = 0.0
        self._own_models: set[str] = set()
        self._record: RunRecord | None = None
        self._over = False
        #: Prompts with a better text that could not be put into their files.
        self.unwritten: list[str] = []

    def run(self) -> RunResult:
        """Refine, write, and put the new texts in place for pytest's own loop.

        Raises `PromptoptError` for what must be mended before a first call is paid.
        """
        self._record = record = RunRecord(self._settings, selection=_selection(self._config))
        record.stands_on(self._items.values())
        for name in record.take_back():
            self._reload(name)
        files = self._files()
        strategies = chosen_strategies(self._config, self._settings.strategy)
        self._check_files(files.values())
        self._check_models()
        self._share_splits()
        self._plan = Plan(connected(list(files.values()), self.cases), self._settings)
        self._plan.check()
        if self._settings.comparing:
            return self._compare(strategies, files, record)
        (strategy,) = strategies.values()
        return self._refine(strategy, files, record)

    def close(self) -> None:
        """End the run's record, after the last call of the session."""
        if self._record is not None:
            self._record.close()

    # ---------------------------------------------------------------------------------- before the first call

    def _files(self) -> dict[str, PromptFile]:
        """The prompts that no mark freezes. Raises `SettingsError` when there is none."""
        files: dict[str, PromptFile] = {}
        frozen = set()
        for case in self._items.values():
            files |= {file.name: file for file in case.files.values()}
            frozen |= {case.files[stage].name for stage in case.mark.freeze}
        if files and frozen >= files.keys():
            raise SettingsError("--optimize: every prompt is frozen (freeze= in @pytest.mark.prompt)")
        return {name: file for name, file in files.items() if name not in frozen}

    def _check_files(self, files: Iterable[PromptFile]) -> None:
        if self._settings.mode is Mode.OPTIMIZE:
            for file in files:
                try:
                    check_writable(file)
                    clear_strays(file)
                except OSError as error:
                    raise SettingsError(f"{file.name}: cannot be rewritten: {error}") from None

    def _check_models(self) -> None:
        probes = {self._settings.optimizer_model: Request(self._settings.optimizer_model, ())}
        for case in self._items.values():
            for file in case.files.values():
                probes[case.model_of(file)] = case.request(file, (), None, sample=0)
        for model, probe in sorted(probes.items()):
            found = ask_hook(self._config, "pytest_promptopt_resolve_model", returns=object, name=model)
            if found is None:
                preflight(model)
            else:
                self._own_models.add(model)
            ceiling = self._settings.max_cost
            if ceiling is not None and (found is not None or price_of(probe) is None):
                raise SettingsError(unknown_price(model, ceiling))

    def _share_splits(self) -> None:
        """Cases that ask a model the very same share the strictest split, however they are written."""
        if len({case.case.split for case in self._items.values()}) < 2:
            return
        asked = self._engine.probe()
        share_by_question(self._items, asked)
        self._engine.withheld.begin({self._items[item].case: keys for item, keys in asked.items()})

    # ------------------------------------------------------------------------------------------------ the run

    def _refine(self, strategy: Strategy, files: Mapping[str, PromptFile], record: RunRecord) -> RunResult:
        journal = record.open(files, self._ledger)
        self._ledger.set_aside(self._plan.scoring(Phase.TRAINING))
        known, paid = record.known(), self._ledger.spend
        self._caller.remember(known)
        if record.past is not None:
            self._say(
                f"promptopt: continuing run {record.id}: {plural(len(known), 'call')} of it are known and "
                f"not made again; {plural(paid.calls, 'call')} ({cost(paid)}) were spent on it"
            )
        with self._shown_progress(files):
            result = loop.run(
                list(files.values()),
                self,
                self.ask,
                self._settings,
                journal,
                self._policies(),
                spend=self._spend,
                left=lambda: self._ledger.calls_left,
                write=partial(self._write, journal) if self._settings.mode is Mode.OPTIMIZE else None,
                strategy=strategy,
            )
        self._over = True
        if record.past is not None:
            made = self._ledger.spend.calls - paid.calls
            replayed = f"{plural(self._caller.replayed, 'answer')} came from its journal"
            note = f"continued: {replayed}, {plural(made, 'new call')} were made"
            result = replace(result, notes=(*result.notes, note))
        return self._with_relative_journal(result)

    def _compare(
        self, strategies: Mapping[str, Strategy], files: Mapping[str, PromptFile], record: RunRecord
    ) -> RunResult:
        def open_journal(name: str) -> Journal:
            self._say(f"promptopt: strategy {name}")
            return record.open_part(files, name)

        with self._shown_progress(files):
            result = compare(
                strategies,
                list(files.values()),
                self,
                self.ask,
                self._settings,
                self._policies(),
                scoring=self._plan.scoring,
                open_journal=open_journal,
                spend=self._spend,
            )
        return replace(result, compared=tuple(map(self._with_relative_journal, result.compared)))

    def _with_relative_journal(self, result: RunResult) -> RunResult:
        return replace(result, journal=Path(result.journal).relative_to(self._settings.rootdir).as_posix())

    def _spend(self) -> dict[Role, Spend]:
        return {role: self._ledger.spend_of(role) for role in Role}

    @contextmanager
    def _shown_progress(self, files: Iterable[str]) -> Iterator[None]:
        """Say what the ceilings buy, then show how it goes."""
        if bought := self._plan.bought():
            self._say(bought)
        self._progress = _progress_of(self._reporter)
        self._progress.started(list(files), len(self.cases))
        try:
            yield
        finally:
            self._progress.finished()
            # What was set aside and not used: pytest's own loop runs the held-out cases of unchanged prompts.
            self._ledger.set_aside(0)
            self._caller.forget_refusals()

    def _policies(self) -> Policies:
        """The user's hooks decide, the progress watches."""
        hooked = hooked_policies(self._config)

        def iteration_finished(iteration: Iteration) -> None:
            self._progress.iteration(iteration)
            hooked.iteration_finished(iteration)

        return replace(
            hooked,
            progress=self._phase,
            measured=self._progress.measured,
            iteration_finished=iteration_finished,
        )

    def _phase(self, phase: Phase, prompts: str) -> None:
        if not self._settings.comparing:  # there each strategy sets aside for itself
            self._ledger.set_aside(self._plan.scoring(phase))
        self._caller.forget_refusals()
        self._progress.phase(phase, prompts)

    @property
    def _reporter(self) -> pytest.TerminalReporter | None:
        reporter: pytest.TerminalReporter | None
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        return reporter

    def _say(self, line: str) -> None:
        """Write a line above the progress, unless pytest is to be quiet."""
        if self._reporter is not None and self._reporter.verbosity >= 0:
            self._reporter.write_line(line)

    # --------------------------------------------------------------------------------- what the loop asks for

    @property
    def cases(self) -> Sequence[Case]:
        return list({case.case.id: case.case for case in self._items.values()}.values())

    def evaluate(self, trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        try:
            return self._engine.evaluate(trials, self._show_calls)
        except KeyboardInterrupt:
            self._caller.cancel()
            raise
        except StopRun:
            # Answers under way are paid for, so keep them; what is queued ends while calls are set aside.
            while self._caller.in_flight:
                self._caller.wait(SHOW_EVERY)
                self._show_calls()
            raise

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        """Send requests to the optimizer model, all at once."""
        # What a model of the user's own accepts, nobody else knows.
        requests = [
            request
            if request.model in self._own_models
            else replace(request, parameters=variety(request.model))
            for request in requests
        ]
        for request in requests:
            self._caller.submit(request, Role.OPTIMIZER)
        found = [self._caller.known(request) for request in requests]
        try:
            while None in found:
                self._caller.wait(SHOW_EVERY)
                self._show_calls()
                found = [self._caller.known(request) for request in requests]
        except KeyboardInterrupt:
            self._caller.cancel()
            raise
        answers = [known.answer or known.error for known in found if known is not None]
        errors = [answer for answer in answers if isinstance(answer, ModelError)]
        for error in errors:
            if error.stops_run or error.kind is ErrorKind.BUDGET:
                raise StopRun(halt_of(error), str(error))
        return [answer for answer in answers if answer is not None]

    def paid(self, paid: Paid) -> None:
        """Journal a settled model call; called from the event loop's thread.

        When the search is over the cache will do, so that a full disk does not fail pytest's own loop.
        """
        if self._record is not None:
            with suppress(JournalError) if self._over else nullcontext():
                self._record.settled(paid)

    def _show_calls(self) -> None:
        now = time.monotonic()
        if now < self._shown + SHOW_EVERY:
            return
        self._shown = now
        spend = self._ledger.spend
        in_flight = min(self._caller.in_flight, self._settings.concurrency)
        self._progress.calls(in_flight, spend.calls, spend)

    # --------------------------------------------------------------------------------------- the prompt files

    def _write(self, journal: Journal, prompt: Prompt, prose: str) -> None:
        assert isinstance(prompt, PromptFile)
        content = prompt.with_prose(prose).content()
        # Before the file is touched: what a run was killed over is known for its own.
        journal.append("writing", prompt=prompt.name, sha256=digest(content))
        try:
            write_prose(prompt, prose)
        except (PromptConflictError, PromptFileError, OSError) as error:
            self.unwritten.append(prompt.name)
            beside = save_beside(prompt, prose, tag=f"optimized-{journal.run_id}")
            with suppress(PromptFileError):  # then the cases go on with the text that was read
                self._reload(prompt.name)
            raise PromptConflictError(f"{error}; the new text is beside it, in {beside.name}") from None
        self._reload(prompt.name)

    def _reload(self, name: str) -> None:
        """Have the cases use what is in a prompt file now."""
        fresh = PromptFile.load(self._settings.rootdir / name, rootdir=self._settings.rootdir)
        for item, case in self._items.items():
            if name in case.case.prompts:
                files = {
                    stage: fresh if file.name == fresh.name else file for stage, file in case.files.items()
                }
                self._items[item] = replace(case, files=files)


def _selection(config: pytest.Config) -> str:
    """How the command line chose among all tests; empty when it did not."""
    given = [(f"-{flag}", config.getoption(name)) for flag, name in (("k", "keyword"), ("m", "markexpr"))]
    chosen = [part for flag, value in given if value for part in (flag, value)]
    return shlex.join([*chosen, *config.getoption("file_or_dir")])


def _progress_of(reporter: pytest.TerminalReporter | None) -> Progress:
    if reporter is None or reporter.verbosity < -1:
        return SilentProgress()
    stream = internals.terminal_stream(reporter)
    return progress_for(stream, stream.isatty())
