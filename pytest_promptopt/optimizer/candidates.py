"""The texts of a search: versions that were kept, and candidates that wait for a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_promptopt.optimizer.acceptance import Comparison
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.records import CaseResult, Overlay, Split, pass_rate
from pytest_promptopt.results import CandidateResult, CandidateVerdict, CatchUp, Foresight

Results = tuple[CaseResult, ...]

#: What a strategy decides of a candidate.
ACCEPTED, REJECTED = CandidateVerdict.ACCEPTED, CandidateVerdict.REJECTED
REFUSED, MERGED = CandidateVerdict.REFUSED, CandidateVerdict.MERGED


@dataclass(frozen=True)
class EvaluatedCandidate:
    """Texts of a group that are or were its incumbent: the original, with the id ``0``, or a candidate.

    :param results: what was measured.
    :param posterior: what is known and estimated of the training cases; None in a strategy that makes no
        estimates: there `results` are everything.
    """

    id: str
    overlay: Overlay
    results: Mapping[Split, Results]
    posterior: RatePosterior | None = field(default=None, compare=False, repr=False)

    def text(self, prompt: Prompt) -> str:
        return self.overlay.get(prompt.name, prompt.prose)

    def evidence(self, *splits: Split) -> Results:
        """What was measured on the cases of `splits`."""
        return tuple(result for split in splits for result in self.results.get(split, ()))

    @property
    def unverified(self) -> tuple[str, ...]:
        """The training cases that it was not run on."""
        return self.posterior.unrun if self.posterior else ()

    @property
    def rate(self) -> float:
        """Its pass rate on the training cases; an estimate where it was not run on all."""
        return self.foresight.rate

    @property
    def foresight(self) -> Foresight:
        if self.posterior is not None:
            return self.posterior.foresight()
        results = [result for result in self.evidence(Split.TRAIN) if result.rate is not None]
        rate = pass_rate(results) or 0.0
        return Foresight(rate, rate, rate, 0.0, len(results), len(results))

    def spared(self, group: PromptGroup) -> tuple[str, ...]:
        """The training cases that it was not run on, and the validation cases if it was run on none."""
        return (*self.unverified, *(() if Split.VALIDATION in self.results else group.ids(Split.VALIDATION)))

    def ran(self, results: Results) -> EvaluatedCandidate:
        """The same texts after more cases were run."""
        if self.posterior is not None:
            self.posterior.add(results)
        found = dict(self.results)
        for result in results:
            found[result.case.split] = (*found.get(result.case.split, ()), result)
        return replace(self, results=found)

    def caught_up(self, results: Results, calls: int) -> CatchUp:
        """What to report when it was run on the last of the cases that the search had left out for it.

        :param results: of these cases; `calls` were paid for them.
        """
        failing = sum(result.failing is not None for result in results)
        splits = [split for split in Split if any(result.case.split is split for result in results)]
        return CatchUp(len(results), pass_rate(self.evidence(*splits)), failing, calls)


@dataclass
class Candidate:
    """One candidate; its verdict (accepted, rejected, refused, merged into another) is empty until decided.

    :param prompts: the prompts that it rewrites; more than one when candidates for several were merged.
    :param overlay: the incumbent's texts with this candidate's own in place of these.
    :param growth: how many characters longer than the incumbent's its texts are.
    :param kind: how it was made.
    :param posterior: what is known and foreseen of it on the training cases; None until it may be run.
    """

    id: str
    prompts: tuple[str, ...]
    direction: str
    reason: str = ""
    overlay: Overlay = field(default_factory=dict)
    growth: int = 0
    kind: Kind = Kind.REWRITE
    verdict: CandidateVerdict = CandidateVerdict.UNDECIDED
    why: str = ""
    results: dict[Split, Results] = field(default_factory=dict)
    compared: dict[Split, Comparison] = field(default_factory=dict)
    posterior: RatePosterior | None = None

    def decide(self, verdict: CandidateVerdict, why: str) -> None:
        """Give the verdict, with its reason in a sentence."""
        self.verdict, self.why = CandidateVerdict(verdict), why

    @property
    def latest(self) -> Comparison | None:
        """The comparison on the strictest split that it was run on; None when it was not run."""
        return max(self.compared.values(), key=lambda one: one.split.strictness, default=None)

    def ran(self, results: Results) -> None:
        """Take in what was measured on training cases."""
        self.results[Split.TRAIN] = self.results.get(Split.TRAIN, ()) + results
        if self.posterior is not None:
            self.posterior.add(results)

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
            run=latest.cases - latest.unrun if latest else 0,
        )

    def kept(self) -> EvaluatedCandidate:
        """This candidate as the next incumbent."""
        return EvaluatedCandidate(self.id, self.overlay, self.results, self.posterior)


def undecided_candidates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those without a verdict yet."""
    return [candidate for candidate in candidates if not candidate.verdict]
