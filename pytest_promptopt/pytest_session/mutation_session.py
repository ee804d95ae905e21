"""``--promptopt-mutate``: the prompts are broken on purpose, in the place of the session's tests."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING

import pytest

from pytest_promptopt.mutation.breaking import broken_texts
from pytest_promptopt.mutation.findings import Finding, MutationResult, Notice, PromptFindings
from pytest_promptopt.mutation.instructions import instructions_of
from pytest_promptopt.mutation.mutating import Mutating, Sample, Target, passing
from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.optimizer.leave_one_out import LeaveOneOutEvaluator
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.pytest_engine import terminal_internals
from pytest_promptopt.pytest_session.hook_calls import HookError, redact
from pytest_promptopt.records import EPSILON, Case, CaseResult
from pytest_promptopt.reports.lines import print_section
from pytest_promptopt.reports.mutation_report import mutation_lines
from pytest_promptopt.text import plural

if TYPE_CHECKING:
    from pytest_promptopt.pytest_session.case_runner import CaseRunner

#: Under this name it is registered.
MUTATION = "promptopt-mutation"

#: Runs of each case and instruction: what a usual prompt takes, and what there is room for.
USUAL, MOST = 1.3, 2


class MutationSession:
    """The plugin object that runs instead of the tests.

    :ivar result: what is known by now; None before anything is.
    """

    def __init__(self, runner: CaseRunner) -> None:
        self._runner = runner
        self._settings = runner.settings
        self._prompts: list[PromptFindings] = []
        self._runs = self._tried_pairs = 0
        self._stopped = ""
        self._begun = False
        self._from_cache: set[str] = set()
        files = {file.name: file for case in runner.cases.values() for file in case.files.values()}
        # A case that stands in a prompt as an example could read the answer off, and would notice nothing.
        self._evaluator = LeaveOneOutEvaluator(_Runs(runner), tuple(files.values()), self._redact)

    @property
    def result(self) -> MutationResult | None:
        if not self._begun:
            return None
        per = self._runs / self._tried_pairs if self._tried_pairs else None
        return MutationResult(tuple(self._prompts), self._runs, per, self._stopped)

    def count_cached(self, paid: Set[str]) -> int:
        """How many answers came from the cache, each once.

        :param paid: keys of calls that this session has paid for.
        """
        return len(self._from_cache - paid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return None  # pytest says what is wrong
        if problems := self._runner.problems():
            raise pytest.UsageError(problems[0])
        files = self._files()
        planned = [(file, *self._planned(file)) for file in files]
        for file, cases, targets, _ in planned:
            self._say(self._forecast(file, cases, targets))
        self._begun = True
        try:
            for each in planned:
                self._break(*each)
        except KeyboardInterrupt:
            self._stopped = "interrupted"
            raise
        return True

    def _files(self) -> list[PromptFile]:
        """The prompts that may be rewritten. Raises `UsageError` when there is none."""
        files: dict[str, PromptFile] = {}
        frozen = set[str]()
        for case in self._runner.cases.values():
            files |= {file.name: file for file in case.files.values()}
            frozen |= case.frozen
        found = [file for name, file in files.items() if name not in frozen]
        if not found:
            raise pytest.UsageError(
                "--promptopt-mutate: every prompt is frozen (freeze= in @pytest.mark.prompt)"
            )
        return found

    def _planned(self, file: PromptFile) -> tuple[list[Case], list[Target], int]:
        """Its cases, its instructions, and how many of these must stay as they are."""
        cases = [case for case in self._runner.cases.distinct if file.name in case.prompts]
        targets, left = list[Target](), 0
        for each in instructions_of(file.prose):
            broken = broken_texts(file.prose, each, self._settings.mutate_by)
            texts = [(way, text) for way, text in broken if not file.objections(text)]
            if texts:
                targets.append(Target(each, file.first_line + each.line - 1, texts))
            else:
                left += 1
        return cases, targets, left

    def _say(self, line: str) -> None:
        terminal_internals.write_line(self._runner.session.config, f"promptopt: {line}")

    def _redact(self, text: str) -> str:
        try:
            return redact(self._runner.session.config, text)
        except HookError as error:
            raise StopRun(HaltReason.ERROR, str(error)) from None

    def _forecast(self, file: PromptFile, cases: Sequence[Case], targets: Sequence[Target]) -> str:
        calls = sum(case.calls_per_run for case in cases)
        usual, most = (round(calls * (1 + share * len(targets))) for share in (USUAL, MOST))
        ceiling = self._settings.max_calls
        ends = ""
        if ceiling is not None and usual > ceiling:
            ends = f"; --promptopt-max-calls={ceiling} may end it before"
        return (
            f"{file.name}: {plural(len(targets), 'instruction')}, {plural(len(cases), 'case')}: "
            f"about {usual:,} calls, seldom more than {most:,}; known answers cost none{ends}"
        )

    def _break(self, file: PromptFile, cases: Sequence[Case], targets: Sequence[Target], left: int) -> None:
        """Try the instructions of one prompt, as far as calls go."""
        ids = [case.id for case in cases]
        usable, failing, found, known = list[str](), list[str](), list[Finding](), False

        def run(samples: Collection[Sample]) -> Mapping[Sample, bool | None]:
            return self._run(file.name, samples)

        try:
            if not self._stopped:
                usable, failing = passing(run, ids)
                known = True
                mutating = Mutating(run, usable, alpha=self._settings.alpha, seed=self._settings.seed)
                for finding in mutating.findings(targets):
                    found.append(finding)
                    if len(found) < len(targets) and len(found) % mutating.together == 0:
                        self._say(f"{file.name}: {len(found):,} of {len(targets):,} instructions tried")
        except StopRun as stopped:
            self._stopped = stopped.why
        finally:
            tried = sum(each.verdict is not Notice.NOT_TRIED for each in found)
            self._tried_pairs += tried * len(ids)
            self._prompts.append(
                PromptFindings(
                    file.name,
                    len(ids),
                    len(usable),
                    len(failing),
                    len(ids) - len(usable) - len(failing) if known else 0,
                    (*found, *self._untried(targets[len(found) :], hopeless=known and not usable)),
                    left,
                )
            )

    def _untried(self, targets: Sequence[Target], *, hopeless: bool) -> Iterator[Finding]:
        """:param hopeless: whether it is known that no case passes with the prompt as it is."""
        why = "it ended before"
        if hopeless:
            why = "no case passes with the prompt as it is, so none can notice anything"
        for each in targets:
            yield Finding(each.instruction.text, each.line, Notice.NOT_TRIED, why=why)

    def _run(self, prompt: str, samples: Collection[Sample]) -> dict[Sample, bool | None]:
        """Run cases, each with one sample, under the texts that they are to be run with."""
        together: dict[tuple[str | None, int], list[str]] = {}
        for sample in samples:
            together.setdefault((sample.text, sample.number), []).append(sample.case)
        trials = [
            Trial({} if text is None else {prompt: text}, tuple(cases), (number,))
            for (text, number), cases in together.items()
        ]
        found: dict[Sample, bool | None] = {}
        results = self._evaluator.evaluate(trials)
        self._runs += len(samples)
        for (text, number), of_trial in zip(together, results, strict=True):
            for result in of_trial:
                calls = (call for outcome in result.outcomes for call in outcome.all_calls)
                self._from_cache.update(call.key for call in calls if call.cached)
                rate = result.rate
                found[Sample(text, result.case.id, number)] = None if rate is None else rate < 1 - EPSILON
        return found

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if (result := self.result) is not None:
            width = terminal_internals.terminal_width(terminalreporter)
            lines = mutation_lines(result, width=width)
            print_section(terminalreporter, "instructions that no test notices", lines)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """What was found fails no session; that nothing could be found out does."""
        tried = any(prompt.counts[1] for prompt in self._prompts)
        if exitstatus == pytest.ExitCode.OK and self._stopped and not tried:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


class _Runs:
    """The session's engine as an `Evaluator`."""

    def __init__(self, runner: CaseRunner) -> None:
        self._runner = runner

    @property
    def cases(self) -> Sequence[Case]:
        return self._runner.cases.distinct

    def evaluate(self, trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        return self._runner.engine.evaluate(trials, lambda: None)
