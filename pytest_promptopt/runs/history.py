"""What earlier runs tell of the cases of a run: how often they were asked, and what new texts did to them.

What is tried often enough succeeds by luck, so it is counted. What new texts did is reduced once to the
numbers that a search begins with; a run keeps those in its journal, and goes on with them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_promptopt.journal import FILE_NAME, JournalError
from pytest_promptopt.optimizer.confirmation import ConfirmationProgress, EarlierRuns
from pytest_promptopt.optimizer.prompt_groups import SEARCHED, PromptGroup
from pytest_promptopt.optimizer.verdict_model import RATES, Taught, parse_taught, sum_taught
from pytest_promptopt.records import Split
from pytest_promptopt.runs.fingerprint import same_search
from pytest_promptopt.runs.past import PastRun, run_folders

#: Runs that teach a later one: the newest, since what is left to mend changes from run to run.
TEACHING = 5


@dataclass(frozen=True)
class Subject:
    """The prompts and cases that something in an earlier run was about."""

    prompts: frozenset[str]
    cases: frozenset[str]

    def matches(self, names: Collection[str], cases: Collection[str]) -> bool:
        """Whether that are these prompts and at least half of these cases."""
        half = 2 * len(self.cases.intersection(cases)) >= len(self.cases | set(cases)) > 0
        return half and not self.prompts.isdisjoint(names)


@dataclass(frozen=True)
class EarlierTest:
    """A confirmation or a scoring of held-out cases in an earlier run."""

    subject: Subject
    event: str


class Histories:
    """What earlier runs asked and taught, and earlier processes of this one; called with a group of prompts.

    :param run: the id of this run; only runs begun before it count.
    :param past: this run as its earlier processes left it; None for a new one.
    :param fingerprint: what this run stands on. An earlier one whose search stands on the same is this run
        once more, with its answers from the cache: it teaches nothing that would not be counted twice.
    :param learn: whether a new run is told what earlier ones taught.
    """

    def __init__(
        self,
        home: Path,
        run: str,
        past: PastRun | None,
        *,
        fingerprint: Mapping[str, Any],
        learn: bool = True,
    ) -> None:
        self._earlier_tests: list[EarlierTest] = []
        # The newest first.
        self._taught: list[tuple[Subject, Taught]] = []
        for folder in run_folders(home):
            if folder.name < run:
                tests, taught = _read(folder, fingerprint)
                self._earlier_tests += tests
                self._taught += taught.items()
        self._past = past
        self._learn = learn

    def __call__(self, group: PromptGroup) -> EarlierRuns:
        names = set(group.names)
        return EarlierRuns(
            confirmations=self._count("confirmation", names, group.ids(*SEARCHED)),
            heldout=self._count("heldout", names, group.ids(Split.HELDOUT)),
            begun=dict(_begun(self._past, names)),
            taught=self._taught_by_earlier_runs(group),
        )

    def _count(self, event: str, names: Collection[str], cases: Collection[str]) -> int:
        return sum(test.event == event and test.subject.matches(names, cases) for test in self._earlier_tests)

    def _taught_by_earlier_runs(self, group: PromptGroup) -> Taught:
        """What the search of these prompts begins with: of a run that goes on, what it began with."""
        if self._past is not None:
            return _taught_at_start(self._past, group.names)
        cases = group.ids(*SEARCHED)
        earlier = [taught for subject, taught in self._taught if subject.matches(group.names, cases)]
        return sum_taught(earlier[:TEACHING]) if self._learn else {}


def _taught_at_start(run: PastRun, names: tuple[str, ...]) -> Taught:
    """What a search of `run` began with; raises `JournalError` when this version cannot begin with it."""
    for event in run.events:
        if event.event == "start":
            try:
                told = {tuple(each["prompts"]): each["taught"] for each in event.data.get("told", ())}
                return parse_taught(told.get(names, {}))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                where = f"{run.folder / FILE_NAME}:{event.seq}"
                raise JournalError(f"{where}: not what a run of this version began with: {error}") from None
    return {}


def _begun(past: PastRun | None, names: Collection[str]) -> Iterator[tuple[int, ConfirmationProgress]]:
    for event in past.events if past else ():
        if event.event == "confirming" and not names.isdisjoint(event.data["prompts"]):  # type: ignore[attr-defined]
            yield event.data["sample"], ConfirmationProgress(event.data["limit"], tuple(event.data["looked"]))


def _read(folder: Path, now: Mapping[str, Any]) -> tuple[list[EarlierTest], dict[Subject, Taught]]:
    """What a run has asked, each once, however often it was continued, and what it taught if it ended.

    :param now: the fingerprint of the run that would learn.
    """
    try:
        run = PastRun.load(folder)
        tests = list(dict.fromkeys(_earlier_tests(run)))
    except (JournalError, OSError, KeyError, TypeError, ValueError):
        return [], {}
    try:
        finished = run.end is not None and not run.end["interrupted"]
        again = same_search(run.opened["fingerprint"], now)
        return tests, dict(_taught(run)) if finished and not again else {}
    except (KeyError, TypeError, ValueError, AttributeError):
        return tests, {}


def _earlier_tests(run: PastRun) -> Iterator[EarlierTest]:
    cases: list[Mapping[str, Any]] = []
    for event in run.events:
        if event.event == "start":
            cases = event.data["cases"]
        elif event.event == "confirmation" and event.data["pairs"]:
            yield EarlierTest(_subject(event.data["prompts"], cases), event.event)
        elif event.event == "heldout" and "cases" in event.data:
            subject = Subject(frozenset(event.data["prompts"]), frozenset(event.data["cases"]))
            yield EarlierTest(subject, event.event)


def _taught(run: PastRun) -> Iterator[tuple[Subject, Taught]]:
    """What each search taught; of one that was continued the last word."""
    cases: list[Mapping[str, Any]] = []
    for event in run.events:
        if event.event == "start":
            cases = event.data["cases"]
        elif event.event == "learned" and event.data["rates"] == list(RATES):
            yield _subject(event.data["prompts"], cases), parse_taught(event.data["taught"])


def _subject(prompts: Sequence[str], cases: Sequence[Mapping[str, Any]]) -> Subject:
    """These prompts with the cases that their search may see."""
    names = frozenset(prompts)
    searched = (c["id"] for c in cases if c["split"] in SEARCHED and not names.isdisjoint(c["prompts"]))
    return Subject(names, frozenset(searched))
