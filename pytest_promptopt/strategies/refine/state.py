"""Where a search of `refine` stands: what it keeps and has learned, from one iteration to the next."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Self

from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.halting import Stop
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.proposal.briefs import BriefingState
from pytest_promptopt.optimizer.search_state import SearchState
from pytest_promptopt.optimizer.verdict_model import Kind, Taught, VerdictModel
from pytest_promptopt.prompts.examples import Form
from pytest_promptopt.records import Split
from pytest_promptopt.strategies.refine.economy import Economy, Payoff

#: Of more training cases than this the search begins with a sample: a large suite need not cost more.
LARGE = 200
SCREEN = 100

#: Of the cases that another candidate fixes beyond the best one, this share is expected of a merged text.
MERGED_SHARE = 0.5
#: Of the cases that a candidate breaks, this share is expected of a text without the passage to blame.
ABLATED_SHARE = 0.25


@dataclass(frozen=True)
class Reserve:
    """What was known of the calls when the search began.

    :param calls_per_case: calls that one run of a case takes.
    :param least: of the calls for fresh answers, those kept before anything is known.
    """

    calls_per_case: float = 1.0
    least: int = 0


@dataclass
class ExampleTries:
    """Which sets of examples were tried, as prompt and text, and what sets of each size and form have won.

    :param too_long: of a prompt the characters of the shortest text with examples that the model gave no case
        an answer under.
    """

    texts: set[tuple[str, str]] = field(default_factory=set)
    won: dict[tuple[int, Form | None], Payoff] = field(default_factory=dict)
    too_long: dict[str, int] = field(default_factory=dict)


@dataclass(kw_only=True)
class RefineState(SearchState):
    """The state of a search of `refine`.

    :param learning: what the texts that were run tell of new ones. It learns, and so do the posteriors in the
        candidates, which refer to it and to each other; all else here are values and counts.
    :param waiting: the training cases that are not searched with yet.
    :param accepted: all that were the incumbent, in this order, without the original.
    :param examined: the incumbents, each with the cases it failed, that a passage to blame was looked for in.
    :param escaped: whether the one escape from a plateau was made.
    :param trained: why the training phase ended, and `iterations_trained` after how many iterations; None
        before the incumbent is scored on the validation cases.
    :param ways: what each way of making candidates has won; `merging`, `balancing` and `ablating`
        what became of the best.
    :param carried_over: what is left of each way's share of candidates when it was rounded to whole ones.
    :param economy: what iterations have won and cost.
    """

    learning: VerdictModel
    briefing: BriefingState
    waiting: list[str] = field(default_factory=list)
    accepted: list[EvaluatedCandidate] = field(default_factory=list)
    examined: set[tuple[str, ...]] = field(default_factory=set)
    escaped: bool = False
    trained: Stop | None = None
    iterations_trained: int | None = None
    reserve: Reserve = Reserve()
    examples: ExampleTries = field(default_factory=ExampleTries)
    ways: dict[Kind, Payoff] = field(
        default_factory=lambda: {Kind.REWRITE: Payoff(), Kind.EXAMPLES: Payoff()}
    )
    carried_over: dict[Kind, float] = field(default_factory=dict)
    merging: Payoff = field(default_factory=lambda: Payoff(MERGED_SHARE))
    balancing: Payoff = field(default_factory=Payoff)
    ablating: Payoff = field(default_factory=lambda: Payoff(ABLATED_SHARE))
    economy: Economy = field(default_factory=lambda: Economy(floor=0.0, cost=1.0))

    def failing_on_validation(self, version: EvaluatedCandidate) -> float:
        """How many of the validation cases that it was run on a text is expected to fail by its meaning."""
        rates = [r.rate for r in version.evidence(Split.VALIDATION) if r.rate is not None]
        return len(rates) * self.learning.failing_by_meaning(rates)

    @classmethod
    def of(cls, group: PromptGroup, seed: int, told: Taught | None) -> Self:
        """That of a search that is not begun.

        :param told: what earlier runs taught.
        """
        return cls(
            learning=VerdictModel(told), briefing=BriefingState.of(group), waiting=_left_out(group, seed)
        )


def _left_out(group: PromptGroup, seed: int) -> list[str]:
    """The training cases that a search with a large suite does not begin with."""
    training = list(group.ids(Split.TRAIN))
    if len(training) <= LARGE:
        return []
    random.Random(f"{seed}-screen").shuffle(training)
    return training[SCREEN:]
