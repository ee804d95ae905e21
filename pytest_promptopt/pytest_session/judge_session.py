"""The judge of a session: whom it asks, with which prompt, and what it may decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pytest_promptopt.assertions.judge_criteria import JUDGE, JudgedFor, bars_of, criteria_of
from pytest_promptopt.errors import NoModelError, PromptoptError, SettingsError, UntestedJudge
from pytest_promptopt.grading.judge_prompts import JudgePrompt, comparing_prompt, grading_prompt
from pytest_promptopt.grading.judge_setup import JudgeSetup
from pytest_promptopt.grading.judge_trust import JudgeTrust, LabelFile
from pytest_promptopt.labels import Kind
from pytest_promptopt.models.registry import canonical_name
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_engine.suspending_engine import CaseRun
from pytest_promptopt.records import EPSILON
from pytest_promptopt.replay.judge_calls import CaseJudge, RunAsker
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import quote

#: Criteria whose judge is told in a line each; a test may make one for every case.
MAX_TOLD = 10


class SessionJudge:
    """Makes the judge of each run of a case."""

    def __init__(
        self, settings: Settings, files: Sequence[LabelFile], *, note: Callable[[str], None]
    ) -> None:
        """Raises `SettingsError` when the file of the judge's prompt cannot be used.

        :param files: the labels that its judges are tested by.
        :param note: told in a sentence what the user should know.
        """
        self._trust = JudgeTrust(files, floor=settings.judge_floor)
        self._settings = settings
        self._note = note
        self._told: set[tuple[str, str, Kind]] = set()
        path, rootdir = settings.judge_prompt, settings.rootdir
        # Read once: while it judges other prompts it is not rewritten, see `PromptCase.frozen`.
        self._prompt = grading_prompt(None if path is None else rootdir / path, rootdir=rootdir)
        self._comparing = comparing_prompt(rootdir=rootdir)

    def of(self, run: CaseRun, *, decides: bool) -> CaseJudge:
        """The judge as a test uses it. Raises `PromptoptError` when there is none.

        :param decides: whether its verdicts decide what is written, or whether a gate holds.
        """
        try:
            return self._of(run, decides=decides)
        except PromptoptError as error:  # says nothing about the answers
            run.error = error
            raise

    def _of(self, run: CaseRun, *, decides: bool) -> CaseJudge:
        setup = self.setup(folder=run.case.path.parent)
        if run.case.judges:  # it is under test itself, and decides nothing
            setup = replace(setup, prompt=JudgePrompt.of(next(iter(run.files.values()))))
            asker = RunAsker(run, setup.name, of_prompt=True)
        else:
            asker = RunAsker(run, setup.name, partial(self._admit, setup, decides=decides))
        return CaseJudge(asker, setup, run.sample)

    def _admit(self, judge: JudgeSetup, model: str, criterion: str, kind: Kind, *, decides: bool) -> None:
        """Raises `UntestedJudge` where verdicts would decide that were not shown to be right.

        :param model: who is asked; a panel asks several in the place of the judge's own.
        """
        judge, criterion = replace(judge, model=model), judge.rubric(criterion).name
        missing = self._trust.missing(judge, criterion, kind)
        if missing and decides and not self._settings.trust_judge:
            raise UntestedJudge(_untested(criterion, missing))
        self._told.add((judge.fingerprint, criterion, kind))
        by = f"{judge.model} with {judge.name} ({judge.fingerprint[:8]})"
        if len(self._told) > MAX_TOLD:
            self._note(
                f"further criteria are judged by {by}: each verdict in --promptopt-report names its own"
            )
        elif not missing:
            source = self._trust.source(judge, criterion, kind)
            self._note(f"{quote(criterion, 60)} is judged by {by}: certified by {source}")
        else:
            trusted = "trusted without a certificate (--promptopt-trust-judge)" * decides
            self._note(
                f"{quote(criterion, 60)} is judged by {by}: {trusted or 'not certified'}: {missing[0]}"
            )

    def check(self, cases: Iterable[PromptCase]) -> None:
        """Before the first call: raises `SettingsError` where a judge that was not tested would decide, and
        where a file of labels or a certificate cannot be used.

        Criteria that only running a test tells are seen when they are asked for.

        :param cases: those whose verdicts decide.
        """
        self._trust.read()
        if self._settings.trust_judge:
            return
        judged = [case for case in cases if JUDGE in case.fixtures and not case.judges]
        asked = dict[tuple[Path, JudgedFor], None]()
        for case in judged:
            function = getattr(case.item, "function", None)
            graded = (*criteria_of(function, case.given), *map(JudgedFor, _criteria_in_files(case)))
            asked.update(dict.fromkeys((case.path.parent, each) for each in graded))
            self._check_bars(case, (*bars_of(function, case.given), *_bars_in_files(case)))
        for folder, each in asked:
            if missing := self._trust.missing(self.setup(folder=folder), each.criterion, each.kind):
                raise SettingsError(_untested(each.criterion, missing))

    def _check_bars(self, case: PromptCase, bars: Sequence[float]) -> None:
        """A certificate says nothing of another bar than the one that the judge was tested at."""
        tested = self._settings.judge_threshold
        other = next((bar for bar in bars if abs(bar - tested) > EPSILON), None)
        if other is not None:
            raise SettingsError(
                f"{case.case.where}: the test asks for a score of {other:g}, but a judge is tested at "
                f"{tested:g}: write `assert judge(...)`, or set promptopt_judge_threshold = {other:g} and "
                "calibrate. --promptopt-trust-judge lets it decide nevertheless"
            )

    def setup(self, *, folder: Path | None = None) -> JudgeSetup:
        """What the judge of this session judges with. Raises `NoModelError` when nobody says who it is.

        :param folder: where paths of rubrics may begin, besides rootdir.
        """
        settings = self._settings
        folders = (settings.rootdir,) if folder is None else (folder, settings.rootdir)
        return JudgeSetup(
            self.model(),
            self._prompt,
            self._comparing,
            threshold=settings.judge_threshold,
            folders=tuple(dict.fromkeys(folders)),
        )

    def model(self) -> str:
        """Raises `NoModelError` when nobody says which it is."""
        model = self._settings.judge_model or self._prompt.file.front.model
        if model is None:
            raise NoModelError(
                "the judge has no model; set --promptopt-judge-model=PROVIDER/MODEL (ini "
                "promptopt_judge_model) or `model:` in the front matter of its prompt; `demo` needs no key"
            )
        return canonical_name(model)


def _criteria_in_files(case: PromptCase) -> list[str]:
    """What a case of a file has judged."""
    return [str(check.value) for each in case.file_cases for check in each.checks if check.type == "rubric"]


def _bars_in_files(case: PromptCase) -> list[float]:
    checks = [check for each in case.file_cases for check in each.checks if check.type == "rubric"]
    return [check.threshold for check in checks if check.threshold is not None]


def _untested(criterion: str, missing: Sequence[str]) -> str:
    return (
        f"the judge may not decide about {quote(criterion, 80)}: {'; '.join(missing)}. "
        "--promptopt-trust-judge lets it decide nevertheless"
    )
