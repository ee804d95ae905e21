"""What is known of a pipeline's runs: each stage's input and answer, under which texts, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from pytest_promptopt.optimizer.protocols import Prompt, Trial
from pytest_promptopt.records import Case, CaseResult, Outcome, Overlay, Status

#: The texts of a case's prompts that are not those in the files, by prompt.
Texts = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class StageRun:
    """All calls of one prompt in a run.

    :param given: the variables of each call.
    :param answers: to each call; `keys` of their requests.
    """

    prompt: str
    given: tuple[tuple[tuple[str, str], ...], ...]
    answers: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def repeats_input(self) -> bool:
        """Whether it says no more than what it was given."""
        return all(
            answer.strip() in {value.strip() for _, value in given}
            for answer, given in zip(self.answers, self.given, strict=True)
        )


@dataclass(frozen=True)
class KnownRun:
    """One run of one case.

    :param texts: what it was run under.
    :param stages: in the order of their first calls.
    :param grades: from 0 to 1, of the stages that the test has graded.
    """

    case: str
    texts: Texts
    sample: int
    passed: bool
    stages: tuple[StageRun, ...]
    grades: Mapping[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Its stages, by prompt, in the order of their calls."""
        return tuple(stage.prompt for stage in self.stages)

    @cached_property
    def by_name(self) -> Mapping[str, StageRun]:
        return {stage.prompt: stage for stage in self.stages}


def known_runs(case: Case, outcomes: Iterable[Outcome], texts: Texts = frozenset()) -> list[KnownRun]:
    """Those of `outcomes` that are evidence of stages; none of a case that has one prompt."""
    if len(case.prompts) < 2:
        return []
    return [run for outcome in outcomes if (run := _known_run(outcome, texts)) is not None]


def _known_run(outcome: Outcome, texts: Texts) -> KnownRun | None:
    names = list(dict.fromkeys(call.prompt for call in outcome.calls))
    if outcome.status not in (Status.PASSED, Status.FAILED) or not names:
        return None
    stages = []
    for name in names:
        calls = [call for call in outcome.calls if call.prompt == name]
        given = tuple(tuple(sorted(call.variables.items())) for call in calls)
        answers, keys = tuple(call.text for call in calls), tuple(call.key for call in calls)
        stages.append(StageRun(name, given, answers, keys))
    grades = {grade.prompt: grade.score for grade in outcome.grades}
    passed = outcome.status is Status.PASSED
    return KnownRun(outcome.case, texts, outcome.sample, passed, tuple(stages), grades)


@dataclass
class RunLog:
    """The runs of a search, each once; of pipelines only.

    :param by_case: by texts and sample, in the order in which they became known.
    """

    by_case: dict[str, dict[tuple[Texts, int], KnownRun]] = field(default_factory=dict)

    def note(
        self,
        trials: Sequence[Trial],
        measured: Sequence[Sequence[CaseResult]],
        prompts: Sequence[Prompt],
    ) -> None:
        """Keep what trials have shown, but for those with an answer in the place of the model's."""
        for trial, results in zip(trials, measured, strict=True):
            for result in results if not trial.answers else ():
                for run in known_runs(
                    result.case, result.outcomes, texts_of(result.case, trial.overlay, prompts)
                ):
                    self.by_case.setdefault(run.case, {})[run.texts, run.sample] = run

    def of(self, case: str) -> list[KnownRun]:
        """All runs of a case."""
        return list(self.by_case.get(case, {}).values())

    @property
    def passed(self) -> list[KnownRun]:
        """All runs that pass, of any case under any text."""
        return [run for runs in self.by_case.values() for run in runs.values() if run.passed]


def texts_of(case: Case, overlay: Overlay, prompts: Iterable[Prompt]) -> Texts:
    """What a case is run under."""
    own = {prompt.name: prompt.prose for prompt in prompts if prompt.name in case.prompts}
    return frozenset((name, text) for name, text in overlay.items() if name in own and own[name] != text)


def stage_names(prompts: Iterable[str]) -> dict[str, str]:
    """A short name for each prompt: that of its file where no other one has it."""
    short = {prompt: PurePosixPath(prompt.partition("::")[0]).stem for prompt in prompts}
    names = list(short.values())
    return {prompt: name if names.count(name) == 1 else prompt for prompt, name in short.items()}
