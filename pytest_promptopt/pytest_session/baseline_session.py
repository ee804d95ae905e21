"""What a session has measured goes to a file, or is held against one, or against a commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.pytest_engine.tolerated_failures import Fault
from pytest_promptopt.pytest_session.known_files import CommandLine
from pytest_promptopt.pytest_session.partial_runs import CAME_TO_ITS_END, unseen_choice
from pytest_promptopt.records import named_without_model
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import plural, shown_path

if TYPE_CHECKING:
    from pytest_promptopt.baselines.compare_rule import CompareRule
    from pytest_promptopt.baselines.comparison import PromptComparison
    from pytest_promptopt.baselines.earlier_files import EarlierFiles
    from pytest_promptopt.baselines.measured import Circumstances, Measured
    from pytest_promptopt.failures import Feedback
    from pytest_promptopt.pytest_session.earlier_texts import EarlierTexts
    from pytest_promptopt.replay.case_table import CaseTable

_KEY = pytest.StashKey["BaselineSession"]()

Describe = Callable[[PromptCheck], "Feedback"]


def open_baseline(config: pytest.Config, settings: Settings) -> None:
    """Read what the session is compared with, before it has paid anything. Raises `PromptoptError`."""
    config.stash[_KEY] = BaselineSession(config, settings)


def baseline_of(config: pytest.Config) -> BaselineSession | None:
    """None where nothing is kept and nothing compared."""
    return config.stash.get(_KEY, None)


def earlier_texts(config: pytest.Config, cases: CaseTable[Any, Any]) -> EarlierTexts | None:
    """The prompts of the commit that the session is compared with. Raises `SettingsError`."""
    from pytest_promptopt.pytest_session.earlier_texts import EarlierTexts

    baseline = baseline_of(config)
    files = None if baseline is None else baseline.earlier_files
    return None if files is None else EarlierTexts(files, cases)


class BaselineSession:
    """In the process that prints, whoever has run the cases."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._before: list[Measured] = []
        self._now: list[Measured] = []
        self._found: list[PromptComparison] = []
        if settings.compare is not None and settings.earlier_ref is None:
            self._before = self._read(Path(settings.compare))
        self.earlier_files = _earlier_files(settings)
        #: Of cases that this run may leave out.
        self._kept = self._read_kept(settings.save_baseline)
        #: Why the file that was to be written was not.
        self.unsaved: list[Fault] = []
        #: Whether somebody has left cases out when they were collected, or the run did not come to its end.
        self._incomplete = False

    def _read_kept(self, path: Path | None) -> list[Measured]:
        from pytest_promptopt.baselines.baseline_file import BaselineError, is_ours, read_baseline

        if path is None or not path.exists():
            return []
        try:
            return read_baseline(path, name=self._shown(path))
        except BaselineError:
            if self._selects_cases or not is_ours(path):
                raise
            return []  # after a merge with conflicts it is written anew

    def _read(self, path: Path) -> list[Measured]:
        from pytest_promptopt.baselines.baseline_file import read_baseline

        if not path.exists():
            raise SettingsError(
                f"--promptopt-compare: there is no baseline {self._shown(path)}; "
                "pytest --promptopt-save-baseline writes one"
            )
        return read_baseline(path, name=self._shown(path))

    def _shown(self, path: Path) -> str:
        return shown_path(path, self._settings.rootdir)

    def take(
        self,
        session: pytest.Session,
        checks: Sequence[PromptCheck],
        inputs: Mapping[str, str],
        feedbacks: Mapping[str, Feedback],
        earlier: EarlierTexts | None,
        describe: Describe,
    ) -> None:
        """What the session has measured.

        :param inputs: case -> what stands for what it is about.
        :param earlier: the prompts of a commit and their results.
        :param describe: says why a prompt fails.
        """
        from pytest_promptopt.baselines.comparison import compare_measured
        from pytest_promptopt.baselines.measured import measure

        broken_off = session.exitstatus not in CAME_TO_ITS_END
        self._incomplete |= broken_off or bool(session.shouldfail or session.shouldstop)
        known = self._circumstances(checks, inputs, feedbacks)
        self._now = [each for check in checks for each in measure(check.prompt, check.results, known)]
        if earlier is not None:
            self._before = self._measured_before(checks, inputs, earlier, describe)
        if self._settings.compare is not None and (earlier is not None or self._settings.earlier_ref is None):
            self._found = compare_measured(
                self._before,
                self._now,
                weights=_weights(checks),
                is_left_out=self._is_left_out,
            )

    def _circumstances(
        self, checks: Sequence[PromptCheck], inputs: Mapping[str, str], feedbacks: Mapping[str, Feedback]
    ) -> Circumstances:
        from pytest_promptopt.baselines.measured import DIGITS, Circumstances

        texts = {}
        for check in checks:
            with suppress(PromptoptError):  # it was removed meanwhile
                file = PromptFile.load(check.prompt, rootdir=self._settings.rootdir)
                texts[check.prompt] = file.fingerprint[:DIGITS]
        categories = {
            prompt: {failed.case: failed.category for failed in feedback.failed}
            for prompt, feedback in feedbacks.items()
        }
        return Circumstances(texts, inputs, categories, self._judge(checks))

    def _judge(self, checks: Sequence[PromptCheck]) -> str:
        """What stands for the prompts of the judge; empty where nothing was judged."""
        from pytest_promptopt.baselines.measured import digest

        outcomes = (o for check in checks for result in check.results for o in result.outcomes)
        if not any(outcome.verdicts for outcome in outcomes):
            return ""
        from pytest_promptopt.grading.judge_prompts import comparing_prompt, grading_prompt

        rootdir, path = self._settings.rootdir, self._settings.judge_prompt
        try:
            prompts = (
                grading_prompt(None if path is None else rootdir / path, rootdir=rootdir),
                comparing_prompt(rootdir=rootdir),
            )
        except PromptoptError:
            return ""
        return digest("".join(prompt.fingerprint for prompt in prompts))

    def _measured_before(
        self,
        checks: Sequence[PromptCheck],
        inputs: Mapping[str, str],
        earlier: EarlierTexts,
        describe: Describe,
    ) -> list[Measured]:
        """Under the texts of the commit; a prompt whose cases use none that has changed is as it was.

        A prompt that the commit does not have was not measured.
        """
        from pytest_promptopt.baselines.measured import DIGITS, Circumstances, measure

        found = []
        judge = self._judge(checks)
        texts = {prompt: fingerprint[:DIGITS] for prompt, fingerprint in earlier.texts.items()}
        for check in checks:
            if check.prompt not in earlier.texts:
                continue
            ran = {result.case.id: result for result in earlier.results.get(check.prompt, ())}
            results = tuple(ran.get(result.case.id, result) for result in check.results)
            was = PromptCheck.of(check.prompt, results)
            categories = {each.case: each.category for each in describe(was).failed} if was.failing else {}
            known = Circumstances(texts, inputs, {check.prompt: categories}, judge)
            found += measure(check.prompt, results, known)
        return found

    def _is_left_out(self, case: str) -> bool:
        """Whether a case was not to run, or may not have come to run."""
        if self._selects_cases or self._incomplete:
            return True
        line = CommandLine(self._config)
        return line.names_modules or not line.reaches(case.partition("::")[0])

    @property
    def _selects_cases(self) -> bool:
        """Whether the command line chooses among the cases of a file."""
        option = self._config.getoption
        told = any(option(name, None) for name in ("keyword", "markexpr", "deselect", "stepwise"))
        return told or bool(unseen_choice(self._config))

    def note_deselected(self, count: int) -> None:
        """Cases were left out of a process, by whomever."""
        self._incomplete |= count > 0

    @property
    def _rule(self) -> CompareRule:
        from pytest_promptopt.baselines.compare_rule import CompareRule

        return CompareRule.of(self._settings)

    def worse(self) -> list[Fault]:
        """What fails the session."""
        if not self._found:
            return []
        from pytest_promptopt.reports.baseline_report import compare_lines
        from pytest_promptopt.reports.wording import junit_name

        models = Counter(each.prompt for each in self._found)
        told = []
        for each in self._found:
            if self._rule.why_failed(each):
                name = junit_name("compare", each.model if models[each.prompt] > 1 else None)
                told.append((each.prompt, name, compare_lines([each], self._rule)[0].text))
        return told

    def save(self, session: pytest.Session) -> list[str]:
        """Write what was measured; returns what the user should know of it, in sentences."""
        path = self._settings.save_baseline
        if path is None:
            return []
        option = "--promptopt-save-baseline"
        if session.exitstatus not in CAME_TO_ITS_END:
            return [f"{option}: nothing was written, since the run did not come to its end"]
        from pytest_promptopt.baselines.baseline_file import write_baseline
        from pytest_promptopt.baselines.measured import MAX_ANSWER

        now = {case.key: case for case in self._now}
        kept = [case for case in self._kept if case.key not in now and self._is_left_out(case.case)]
        try:
            write_baseline(path, [*now.values(), *kept])
        except OSError as error:
            problem = f"{option}: {self._shown(path)} was not written: {error}"
            self.unsaved.append((self._shown(path), "save", problem))
            return [problem]
        more = f", and {plural(len(kept), 'case')} stayed in it that this run left out" if kept else ""
        return [
            f"{self._shown(path)} has {plural(len(now), 'case')} of this run{more}; answers are cut to "
            f"{MAX_ANSWER} characters"
        ]

    @property
    def found(self) -> Sequence[PromptComparison]:
        """What has changed for each prompt and model; empty where nothing was compared."""
        return tuple(self._found)

    @property
    def compared_with(self) -> str:
        """What the session was compared with, as reports name it; empty where nothing was compared."""
        compared = self._settings.compare
        if compared is None or not self._found:
            return ""
        return compared if self._settings.earlier_ref is not None else self._shown(Path(compared))

    def show(self, reporter: pytest.TerminalReporter, width: int) -> None:
        """What has changed, as a section."""
        if self._found:
            from pytest_promptopt.reports.baseline_report import comparison_section
            from pytest_promptopt.reports.lines import print_section

            lines = comparison_section(self._found, width=width)
            print_section(reporter, f"compared with {self.compared_with}", lines)

    def show_verdicts(self, reporter: pytest.TerminalReporter) -> None:
        """One line for each prompt and model."""
        if self._found:
            from pytest_promptopt.reports.baseline_report import compare_lines

            for line in compare_lines(self._found, self._rule):
                reporter.write_line(line.text, **line.markup)


def _earlier_files(settings: Settings) -> EarlierFiles | None:
    """Those of the commit that the session is compared with. Raises `SettingsError`."""
    if settings.earlier_ref is None:
        return None
    from pytest_promptopt.baselines.earlier_files import EarlierFiles

    return EarlierFiles.at(settings.earlier_ref, settings.rootdir)


def _weights(checks: Sequence[PromptCheck]) -> dict[tuple[str, str, str], float]:
    return {
        (check.prompt, name, result.case.model_of(check.prompt)): result.case.weight
        for check in checks
        for name, result in named_without_model(check.results, check.prompt)
    }
