"""Where a search stands: all that changes while it goes on, in one object.

It holds values alone: no group, no context, hook, evaluator or journal, and no function. So `pickle` takes it
along, and another search of the same group that is given it goes on as if there had been no break.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_promptopt.optimizer.candidate_checks import CandidateChecks
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.halting import HaltReason, Phase, Stop
from pytest_promptopt.optimizer.proposal.critic import CritiqueState
from pytest_promptopt.optimizer.stage_faults.stage_faults import FaultState
from pytest_promptopt.records import Spend
from pytest_promptopt.results import Iteration

#: Before anything was run.
NOT_MEASURED = EvaluatedCandidate("0", {}, {})
NOTHING_PAID = Spend()
NOT_BEGUN = Stop(HaltReason.INTERRUPTED, "the run ended before this prompt had its turn")
STOPPED_BY_USER = Stop(HaltReason.INTERRUPTED, "interrupted by the user (Ctrl-C)")


@dataclass(kw_only=True)
class SearchState:
    """The state of any search; a strategy that keeps more between its iterations extends it.

    :param original: the texts as they were, with their results; `best` the incumbent.
    :param begun: whether the original is measured.
    :param checks: what every candidate is checked by, with the texts that were seen.
    :param stage: the prompt that is probably rewritten next; empty where nobody says.
    :param at_fault: which stages the failing cases are put down to, in words.
    :param rates: the incumbent's rate when each iteration of this phase began; `rate_before` when the one at
        work began.
    :param fruitless: iterations in a row, up to now, that brought no new and usable candidate.
    :param critiques: what was said of the worst answers under its texts.
    :param faults: what is known of the stages of its pipelines.
    :param paid_before: what was paid when the last iteration ended: the next one counts all calls since then.
    :param stop: why it ended, or that it was not begun.
    """

    original: EvaluatedCandidate = NOT_MEASURED
    best: EvaluatedCandidate = NOT_MEASURED
    begun: bool = False
    phase: Phase = Phase.TRAINING
    iterations: list[Iteration] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checks: CandidateChecks = field(default_factory=CandidateChecks)
    stage: str = ""
    at_fault: str = ""
    rates: list[float] = field(default_factory=list)
    rate_before: float = 0.0
    fruitless: int = 0
    critiques: CritiqueState = field(default_factory=CritiqueState)
    faults: FaultState = field(default_factory=FaultState)
    paid_before: Spend = NOTHING_PAID
    stop: Stop = NOT_BEGUN

    @property
    def rates_of_stage(self) -> list[float]:
        """The `rates` of the iterations that rewrote the prompt that is next: each stage has a plateau."""
        made = self.iterations[len(self.iterations) - len(self.rates) :]
        told = zip(self.rates, made, strict=True)
        return [rate for rate, each in told if self.stage in ("", *each.prompts) or not each.prompts]
