"""The decisions of others, contained: what they raise is a stop, what they return is what it should be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_promptopt.optimizer.acceptance import Comparison, Verdict
from pytest_promptopt.optimizer.foreign_errors import ForeignErrors, shown
from pytest_promptopt.optimizer.halting import HaltReason, SearchProgress, Stop
from pytest_promptopt.optimizer.proposal.proposer import Ask, MergeRequest, ProposalRequest
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply
from pytest_promptopt.optimizer.protocols import Evaluator, StopRun
from pytest_promptopt.optimizer.redaction import unredacted
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.records import Case


class ContainedEvaluator:
    """An `Evaluator` that raises `StopRun` and Ctrl-C only."""

    def __init__(self, evaluator: Evaluator, mishaps: ForeignErrors) -> None:
        self._evaluator = evaluator
        self.evaluate = mishaps.contained("running the cases", evaluator.evaluate)

    @property
    def cases(self) -> Sequence[Case]:
        return self._evaluator.cases


def contained(policies: SearchHooks, mishaps: ForeignErrors) -> SearchHooks:
    """`policies` that raise only `StopRun` and Ctrl-C, and return what they are to; observers only Ctrl-C."""
    return replace(
        policies,
        categorize=policies.categorize and mishaps.contained("a category", policies.categorize),
        propose=_proposing(policies.propose, mishaps),
        merge=policies.merge and _merging(policies.merge, mishaps),
        accept=_accepting(policies.accept, mishaps),
        halt=_halting(policies.halt, mishaps),
        redact=policies.redact
        if policies.redact is unredacted
        else mishaps.contained("the redaction", policies.redact),
        progress=mishaps.observer("the progress", policies.progress),
        measured=mishaps.observer("the progress", policies.measured),
        made_up=mishaps.observer("the progress", policies.made_up),
        iteration_finished=mishaps.observer("an observer of iterations", policies.iteration_finished),
    )


def _proposing(
    propose: Callable[[ProposalRequest, Ask], list[Reply | InvalidReply]], mishaps: ForeignErrors
) -> Callable[[ProposalRequest, Ask], list[Reply | InvalidReply]]:
    def proposed(wanted: ProposalRequest, ask: Ask) -> list[Reply | InvalidReply]:
        return _replies("the proposer", propose(wanted, ask), len(wanted.briefs), mishaps)

    return mishaps.contained("the proposer", proposed)


def _merging(
    merge: Callable[[Sequence[MergeRequest], Ask], list[Reply | InvalidReply]], mishaps: ForeignErrors
) -> Callable[[Sequence[MergeRequest], Ask], list[Reply | InvalidReply]]:
    def merged(wanted: Sequence[MergeRequest], ask: Ask) -> list[Reply | InvalidReply]:
        return _replies("the merger", merge(wanted, ask), len(wanted), mishaps)

    return mishaps.contained("the merger", merged)


def _replies(what: str, found: object, count: int, mishaps: ForeignErrors) -> list[Reply | InvalidReply]:
    replies = list(found) if isinstance(found, Sequence) else []
    if len(replies) != count or not all(isinstance(reply, Reply | InvalidReply) for reply in replies):
        why = f"{what} returned {shown(found)}; accepted: a Reply or an Unusable for each of {count} requests"
        raise StopRun(HaltReason.ERROR, mishaps.say(why))
    return [_plain(reply) for reply in replies]


def _plain(reply: Reply | InvalidReply) -> Reply | InvalidReply:
    """`reply` with the text and the reason that it is declared to have, for whoever made it may not care."""
    if isinstance(reply, InvalidReply):
        return InvalidReply(str(reply.why))
    text: object = reply.text
    if not isinstance(text, str):
        return InvalidReply(f"the reply has no text but {type(text).__name__}")
    return Reply(text, str(reply.reason or ""))


def _accepting(
    accept: Callable[[Comparison], Verdict], mishaps: ForeignErrors
) -> Callable[[Comparison], Verdict]:
    def accepted(comparison: Comparison) -> Verdict:
        verdict: object = accept(comparison)
        if not isinstance(verdict, Verdict):
            why = f"the acceptance rule returned {shown(verdict)}; accepted: a Verdict"
            raise StopRun(HaltReason.ERROR, mishaps.say(why))
        return Verdict(bool(verdict.accepted), str(verdict.why))

    return mishaps.contained("the acceptance rule", accepted)


def _halting(
    halt: Callable[[SearchProgress], Stop | None], mishaps: ForeignErrors
) -> Callable[[SearchProgress], Stop | None]:
    def halted(standing: SearchProgress) -> Stop | None:
        stop: object = halt(standing)
        if stop is not None and not isinstance(stop, Stop):
            why = f"the halting rule returned {shown(stop)}; accepted: a Stop, or None"
            raise StopRun(HaltReason.ERROR, mishaps.say(why))
        return stop and Stop(str(stop.halt), str(stop.why))

    return mishaps.contained("the halting rule", halted)
