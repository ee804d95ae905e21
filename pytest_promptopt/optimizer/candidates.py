"""The texts of a search: versions that were kept, and candidates that wait for a verdict.

Both are frozen values: whatever becomes of one is a new value, and `OpenIteration` holds the newest of each.
Only the `RatePosterior` in them learns. All values of one text share it, since what is foreseen of a text
depends on what later texts show: it belongs to the state of the search, with the `VerdictModel`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from pytest_promptopt.optimizer.acceptance import Comparison
from pytest_promptopt.optimizer.halting import Phase
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
        """What `prompt` says in this version, without front matter."""
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

    def on_whole_splits(self, group: PromptGroup) -> EvaluatedCandidate:
        """It without the splits that it was not run on whole: their rate would mean nothing."""
        sizes = {split: len(group.ids(split)) for split in self.results}
        whole = {split: found for split, found in self.results.items() if len(found) == sizes[split]}
        return replace(self, results=whole)

    def spared(self, group: PromptGroup) -> tuple[str, ...]:
        """The training cases that it was not run on, and the validation cases if it was run on none."""
        return (*self.unverified, *(() if Split.VALIDATION in self.results else group.ids(Split.VALIDATION)))

    def ran(self, results: Results) -> EvaluatedCandidate:
        """The same texts after more cases were run; the posterior learns of them."""
        if self.posterior is not None:
            self.posterior.add(results)
        return replace(self, results=_joined(self.results, results))

    def caught_up(self, results: Results, calls: int) -> CatchUp:
        """What to report when it was run on the last of the cases that the search had left out for it.

        :param results: of these cases; `calls` were paid for them.
        """
        failing = sum(result.failing is not None for result in results)
        splits = [split for split in Split if any(result.case.split is split for result in results)]
        return CatchUp(len(results), pass_rate(self.evidence(*splits)), failing, calls)


@dataclass(frozen=True)
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
    results: Mapping[Split, Results] = field(default_factory=dict)
    compared: Mapping[Split, Comparison] = field(default_factory=dict)
    posterior: RatePosterior | None = field(default=None, compare=False, repr=False)

    def decided(self, verdict: CandidateVerdict, why: str) -> Candidate:
        """It with this verdict, and the reason in a sentence."""
        return replace(self, verdict=CandidateVerdict(verdict), why=why)

    def refused(self, why: str) -> Candidate:
        """It with the verdict that its texts are not usable; nothing that was measured under them counts."""
        return replace(self.decided(REFUSED, why), results={}, compared={}, posterior=None)

    def ran(self, results: Results) -> Candidate:
        """It after cases were run, in addition to those before; the posterior learns of training cases."""
        training = [result for result in results if result.case.split is Split.TRAIN]
        if self.posterior is not None and training:
            self.posterior.add(training)
        return replace(self, results=_joined(self.results, results))

    def judged_by(self, comparison: Comparison) -> Candidate:
        """It with the comparison that it is judged by on the cases of one split."""
        return replace(self, compared={**self.compared, comparison.split: comparison})

    def not_run_on(self, cases: Iterable[str]) -> tuple[str, ...]:
        """Those of `cases` that it was not run on."""
        ran = {result.case.id for results in self.results.values() for result in results}
        return tuple(case for case in cases if case not in ran)

    @property
    def latest(self) -> Comparison | None:
        """The comparison on the strictest split that it was run on; None when it was not run."""
        return max(self.compared.values(), key=lambda one: one.split.strictness, default=None)

    def result(self) -> CandidateResult:
        """The candidate as reports, the journal and hooks are told of it."""
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

    def to_evaluated(self) -> EvaluatedCandidate:
        """This candidate as the next incumbent."""
        return EvaluatedCandidate(self.id, self.overlay, self.results, self.posterior)


class OpenIteration:
    """The iteration that is at work: the newest value of each of its candidates, in the order of their ids.

    :param number: from 1.
    :param phase: whose cases decide.
    :param escaping: whether it is to lead away from a plateau, where as good is good enough.
    """

    def __init__(self, number: int, phase: Phase, *, escaping: bool = False) -> None:
        self.number = number
        self.phase = phase
        self.escaping = escaping
        self._newest: dict[str, Candidate] = {}

    def __iter__(self) -> Iterator[Candidate]:
        return iter(tuple(self._newest.values()))

    def __len__(self) -> int:
        return len(self._newest)

    def __getitem__(self, id: str) -> Candidate:
        return self._newest[id]

    def __contains__(self, id: str) -> bool:
        return id in self._newest

    @property
    def next_id(self) -> str:
        """The id of a further candidate."""
        return f"{self.number}.{len(self) + 1}"

    def put(self, *candidates: Candidate) -> None:
        """Add candidates, each in the place of the one that has its id, if there is one."""
        self._newest.update({candidate.id: candidate for candidate in candidates})

    def newest(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """What has become of `candidates` by now."""
        return [self._newest[candidate.id] for candidate in candidates]

    def undecided(self, candidates: Iterable[Candidate] | None = None) -> list[Candidate]:
        """Those without a verdict, as they are by now: of `candidates`, or of all."""
        return [each for each in self.newest(self if candidates is None else candidates) if not each.verdict]


def _joined(known: Mapping[Split, Results], further: Results) -> Mapping[Split, Results]:
    """Results by split, `further` ones after those that are known."""
    joined = dict(known)
    for result in further:
        joined[result.case.split] = (*joined.get(result.case.split, ()), result)
    return joined
