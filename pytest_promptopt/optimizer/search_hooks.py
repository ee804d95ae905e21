"""The decisions that can be replaced from outside; the defaults are ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_promptopt.failures import Categorize
from pytest_promptopt.optimizer import acceptance, halting
from pytest_promptopt.optimizer.acceptance import Comparison, Verdict
from pytest_promptopt.optimizer.halting import Phase, SearchProgress, Stop
from pytest_promptopt.optimizer.proposal import proposer
from pytest_promptopt.optimizer.proposal.proposer import MergeRequest, ProposalRequest
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply
from pytest_promptopt.optimizer.protocols import Ask
from pytest_promptopt.optimizer.redaction import Redact, keep_text
from pytest_promptopt.results import CatchUp, Iteration, SplitScore


def ignore_event(*_: object) -> None:
    """An observer that does nothing."""


@dataclass(frozen=True)
class SearchHooks:
    """What a search asks at each step; each field is one decision or one observer.

    :param categorize: names the category of a failure before the built-in rules do; None to leave it to them.
    :param propose: one reply per brief, in order.
    :param merge: one reply for each prompt that several candidates rewrite; None to let each run by itself.
    :param accept: whether a candidate may replace the incumbent.
    :param halt: whether to stop now; None to go on.
    :param redact: what may be shown of a text of a case, to the optimizer and as an example in a prompt.
    :param progress: told when a phase begins, and for which prompts.
    :param measured: told the pass rates that a search starts from; their `after` is None.
    :param iteration_finished: told of every iteration.
    :param caught_up: told when cases were run that the best text had been spared.
    """

    categorize: Categorize | None = None
    propose: Callable[[ProposalRequest, Ask], list[Reply | InvalidReply]] = proposer.propose_texts
    merge: Callable[[Sequence[MergeRequest], Ask], list[Reply | InvalidReply]] | None = proposer.merge_texts
    accept: Callable[[Comparison], Verdict] = acceptance.accept_adaptively
    halt: Callable[[SearchProgress], Stop | None] = halting.halt_by_default
    redact: Redact = keep_text
    progress: Callable[[Phase, tuple[str, ...]], None] = ignore_event
    measured: Callable[[Sequence[SplitScore]], None] = ignore_event
    iteration_finished: Callable[[Iteration], None] = ignore_event
    caught_up: Callable[[CatchUp], None] = ignore_event
