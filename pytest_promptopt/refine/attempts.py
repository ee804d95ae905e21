"""What a search holds: versions that were kept, and candidates on their way to a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_promptopt.records import CaseResult, Overlay, Split
from pytest_promptopt.refine.acceptance import Comparison
from pytest_promptopt.refine.evaluator import Prompt
from pytest_promptopt.results import CandidateResult

Results = tuple[CaseResult, ...]

ACCEPTED, REJECTED, REFUSED, MERGED = "accepted", "rejected", "refused", "merged"


@dataclass(frozen=True)
class Version:
    """Texts of a group that are or were its incumbent: the original, with the id ``0``, or a candidate.

    :param results: what was measured.
    :param owed: training cases that it was not run on yet, with the results of the text that it was made
        from: they are taken to hold until they are run.
    """

    id: str
    overlay: Overlay
    results: Mapping[Split, Results]
    owed: Results = ()

    def text(self, prompt: Prompt) -> str:
        return self.overlay.get(prompt.name, prompt.prose)

    def evidence(self, *splits: Split) -> Results:
        """What was measured on the cases of `splits`."""
        return tuple(result for split in splits for result in self.results.get(split, ()))

    def standing(self, *splits: Split) -> Results:
        """What it is judged by in the search: what was measured, and what is owed."""
        return self.evidence(*splits) + (self.owed if Split.TRAIN in splits else ())

    def settled(self, results: Results) -> Version:
        """The same texts after the cases owed were run."""
        training = self.results[Split.TRAIN] + results
        return replace(self, results={**self.results, Split.TRAIN: training}, owed=())


@dataclass
class Attempt:
    """One candidate; its verdict (accepted, rejected, refused, merged into another) is empty until decided.

    :param prompts: the prompts that it rewrites; more than one when candidates for several were merged.
    :param overlay: the incumbent's texts with this candidate's own in place of these.
    :param growth: how many characters longer than the incumbent's its texts are.
    :param made: whether it was made of other candidates, not asked for.
    :param harmful: whether it breaks more of the cases that pass than chance explains.
    :param taken: results of the candidate that it was cut from, taken to hold until they are run.
    """

    id: str
    prompts: tuple[str, ...]
    direction: str
    reason: str = ""
    overlay: Overlay = field(default_factory=dict)
    growth: int = 0
    made: bool = False
    harmful: bool = False
    taken: Results = ()
    verdict: str = ""
    why: str = ""
    results: dict[Split, Results] = field(default_factory=dict)
    compared: dict[Split, Comparison] = field(default_factory=dict)

    def decide(self, verdict: str, why: str) -> None:
        self.verdict, self.why = verdict, why

    @property
    def latest(self) -> Comparison | None:
        """The comparison on the strictest split that it came to; None when it was not run."""
        return max(self.compared.values(), key=lambda one: one.split.strictness, default=None)

    def result(self) -> CandidateResult:
        latest = self.latest
        return CandidateResult(
            id=self.id,
            prompts=self.prompts,
            direction=self.direction,
            reason=self.reason,
            rate=latest.after if latest else None,
            verdict=self.verdict,
            why=self.why,
            fixed=tuple(case for one in self.compared.values() for case in one.fixed),
            broken=tuple(case for one in self.compared.values() for case in one.broken),
            split=latest.split if latest else None,
        )

    def kept(self, incumbent: Version) -> Version:
        """It as the next incumbent: what it was not run on is owed."""
        known = {result.case.id for result in (*self.results[Split.TRAIN], *self.taken)}
        unknown = (result for result in incumbent.standing(Split.TRAIN) if result.case.id not in known)
        return Version(self.id, self.overlay, self.results, owed=(*self.taken, *unknown))


def undecided(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Those without a verdict yet."""
    return [attempt for attempt in attempts if not attempt.verdict]
