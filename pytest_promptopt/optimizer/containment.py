"""Code of users and plugins kept within bounds: what it raises becomes a stop, what it returns is checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_promptopt.optimizer.acceptance import Comparison, Verdict
from pytest_promptopt.optimizer.foreign_errors import ForeignErrors
from pytest_promptopt.optimizer.halting import HaltReason, SearchProgress, Stop
from pytest_promptopt.optimizer.proposal.proposer import MergeRequest, ProposalRequest
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply
from pytest_promptopt.optimizer.protocols import Ask, Evaluator, StopRun
from pytest_promptopt.optimizer.redaction import keep_text
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.records import Case
from pytest_promptopt.text import MAX_QUOTE, safe_repr


def contained_context(context: RunContext) -> RunContext:
    """`context` as the run uses it: code of others in it raises only `StopRun` and Ctrl-C."""
    foreign_errors = ForeignErrors(
        context.settings.rootdir, context.journal.append if context.journal else None
    )
    return replace(
        context,
        evaluator=ContainedEvaluator(context.evaluator, foreign_errors),
        ask=foreign_errors.contained("asking the optimizer", context.ask),
        hooks=contain_hooks(context.hooks, foreign_errors),
        prepare_phase=foreign_errors.contained("the beginning of a phase", context.prepare_phase),
        foreign_errors=foreign_errors,
    )


class ContainedEvaluator:
    """An `Evaluator` that raises `StopRun` and Ctrl-C only."""

    def __init__(self, evaluator: Evaluator, foreign_errors: ForeignErrors) -> None:
        self._evaluator = evaluator
        self.evaluate = foreign_errors.contained("running the cases", evaluator.evaluate)

    @property
    def cases(self) -> Sequence[Case]:
        return self._evaluator.cases


def contain_hooks(hooks: SearchHooks, foreign_errors: ForeignErrors) -> SearchHooks:
    """`hooks` that raise only `StopRun` and Ctrl-C and return the right type; observers raise Ctrl-C only."""
    return replace(
        hooks,
        categorize=hooks.categorize and foreign_errors.contained("a category", hooks.categorize),
        propose=_proposing(hooks.propose, foreign_errors),
        merge=hooks.merge and _merging(hooks.merge, foreign_errors),
        accept=_accepting(hooks.accept, foreign_errors),
        halt=_halting(hooks.halt, foreign_errors),
        redact=hooks.redact
        if hooks.redact is keep_text
        else foreign_errors.contained("the redaction", hooks.redact),
        progress=foreign_errors.observer("the progress", hooks.progress),
        measured=foreign_errors.observer("the progress", hooks.measured),
        caught_up=foreign_errors.observer("the progress", hooks.caught_up),
        iteration_finished=foreign_errors.observer("an observer of iterations", hooks.iteration_finished),
    )


def _proposing(
    propose: Callable[[ProposalRequest, Ask], list[Reply | InvalidReply]], foreign_errors: ForeignErrors
) -> Callable[[ProposalRequest, Ask], list[Reply | InvalidReply]]:
    def proposed(request: ProposalRequest, ask: Ask) -> list[Reply | InvalidReply]:
        return _replies("the proposer", propose(request, ask), len(request.briefs), foreign_errors)

    return foreign_errors.contained("the proposer", proposed)


def _merging(
    merge: Callable[[Sequence[MergeRequest], Ask], list[Reply | InvalidReply]], foreign_errors: ForeignErrors
) -> Callable[[Sequence[MergeRequest], Ask], list[Reply | InvalidReply]]:
    def merged(requests: Sequence[MergeRequest], ask: Ask) -> list[Reply | InvalidReply]:
        return _replies("the merger", merge(requests, ask), len(requests), foreign_errors)

    return foreign_errors.contained("the merger", merged)


def _replies(
    what: str, found: object, count: int, foreign_errors: ForeignErrors
) -> list[Reply | InvalidReply]:
    replies = list(found) if isinstance(found, Sequence) else []
    if len(replies) != count or not all(isinstance(reply, Reply | InvalidReply) for reply in replies):
        accepted = f"accepted: a Reply or an InvalidReply for each of {count} requests"
        why = f"{what} returned {safe_repr(found)[:MAX_QUOTE]}; {accepted}"
        raise StopRun(HaltReason.ERROR, foreign_errors.say(why))
    return [_plain(reply) for reply in replies]


def _plain(reply: Reply | InvalidReply) -> Reply | InvalidReply:
    """`reply` with plain strings as text and reason, whatever the hook has put into it."""
    if isinstance(reply, InvalidReply):
        return InvalidReply(str(reply.why))
    text: object = reply.text
    if not isinstance(text, str):
        return InvalidReply(f"the reply has no text but {type(text).__name__}")
    return Reply(text, str(reply.reason or ""))


def _accepting(
    accept: Callable[[Comparison], Verdict], foreign_errors: ForeignErrors
) -> Callable[[Comparison], Verdict]:
    def accepted(comparison: Comparison) -> Verdict:
        verdict: object = accept(comparison)
        if not isinstance(verdict, Verdict):
            why = f"the acceptance rule returned {safe_repr(verdict)[:MAX_QUOTE]}; accepted: a Verdict"
            raise StopRun(HaltReason.ERROR, foreign_errors.say(why))
        return Verdict(bool(verdict.accepted), str(verdict.why))

    return foreign_errors.contained("the acceptance rule", accepted)


def _halting(
    halt: Callable[[SearchProgress], Stop | None], foreign_errors: ForeignErrors
) -> Callable[[SearchProgress], Stop | None]:
    def halted(progress: SearchProgress) -> Stop | None:
        stop: object = halt(progress)
        if stop is not None and not isinstance(stop, Stop):
            why = f"the halting rule returned {safe_repr(stop)[:MAX_QUOTE]}; accepted: a Stop, or None"
            raise StopRun(HaltReason.ERROR, foreign_errors.say(why))
        return stop and Stop(str(stop.halt), str(stop.why))

    return foreign_errors.contained("the halting rule", halted)
