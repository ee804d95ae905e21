"""A few runs that tell which stage is at fault: with another answer of one stage, or with its best text.

Both are interventions: all else stays as in the failing run. The last stages come first, since what the
stages before them answered is known and costs nothing; a case whose stage is known is not tried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_promptopt.optimizer.protocols import Run, Trial
from pytest_promptopt.optimizer.stage_faults.known_runs import KnownRun, RunLog, known_runs
from pytest_promptopt.optimizer.stage_faults.signs import Kind, Sign
from pytest_promptopt.records import CaseResult, Overlay

#: Cases that are tried at one stage in one go; the others share what they show.
CASES = 3


@dataclass(frozen=True)
class Try:
    """One run of a failing case that is to tell whether a stage is at fault.

    :param overlay: what it is run under.
    :param answers: what is said in the place of the model, by the key of the request; empty where the stage
        has another text.
    :param swapped: the answers that this is to lead to.
    """

    failing: KnownRun
    stage: str
    overlay: Overlay
    answers: Mapping[str, str] = field(default_factory=dict)
    swapped: tuple[str, ...] = ()

    @property
    def calls(self) -> int:
        """How many calls it takes at most: the stages before it have answered already."""
        place = self.failing.names.index(self.stage) + bool(self.answers)
        return sum(len(stage.answers) for stage in self.failing.stages[place:])

    @property
    def trial(self) -> Trial:
        return Trial(self.overlay, (self.failing.case,), (self.failing.sample,), self.answers)

    def sign(self, result: CaseResult) -> Sign | None:
        """What it shows by itself; None where the answer was not put in, or a text is counted with others."""
        run = next(iter(known_runs(result.case, result.outcomes)), None)
        if run is None or not self.answers:
            return None
        stage = run.by_name.get(self.stage)
        if stage is None or stage.answers != self.swapped:
            return None
        ended = "passes" if run.passed else "fails all the same"
        return Sign(
            Kind.SWAP, self.stage, run.passed, f"with the answer of a passing run in its place it {ended}"
        )


def swap(failing: KnownRun, stage: str, overlay: Overlay, log: RunLog) -> Try | None:
    """A run with the answer that a passing run gave to the same input of a stage; None where none did."""
    own = failing.by_name[stage]
    for run in log.passed:
        other = run.by_name.get(stage)
        if other is not None and other.given == own.given and other.answers != own.answers:
            answers = dict(zip(own.keys, other.answers, strict=True))
            return Try(failing, stage, overlay, answers, other.answers)
    return None


def retry(failing: KnownRun, stage: str, overlay: Overlay, texts: Sequence[str], log: RunLog) -> Try | None:
    """A run with the best text of a stage that it was not run under; None where none is known.

    :param texts: of the stage, the best first.
    """
    before = dict(failing.texts)
    known = {run.texts for run in log.of(failing.case)}
    for text in texts:
        if frozenset({**before, stage: text}.items()) not in known:
            return Try(failing, stage, {**overlay, stage: text})
    return None


def carry_out(tries: Sequence[Try], run: Run) -> Iterator[tuple[Try, Sign | None]]:
    """Run them together; what each shows by itself. May raise `StopRun`."""
    measured = run([each.trial for each in tries]) if tries else []
    for each, results in zip(tries, measured, strict=True):
        yield each, each.sign(results[0])
