"""Asking the optimizer model: all candidates of an iteration at once, one repair try for each bad reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pytest_promptopt.errors import ModelError
from pytest_promptopt.optimizer.proposal.quoting import quote_line
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply, parse_reply
from pytest_promptopt.optimizer.proposal.requests import (
    Brief,
    Part,
    PassingCase,
    compose_merge,
    compose_request,
    repair_request,
)
from pytest_promptopt.optimizer.protocols import Ask, Prompt
from pytest_promptopt.records import Answer, Request

#: Why a text would be refused, for the optimizer, by the number of the request that it answers and the text;
#: None when it may be tried, or when the reason is nothing that may be told. It does not count as tried.
Objection = Callable[[int, str], str | None]


def no_objection(number: int, text: str) -> None:
    """Nothing is said against any text."""


@dataclass(frozen=True)
class ProposalRequest:
    """What an iteration asks for: one proposal per brief.

    :param model: the optimizer model.
    :param iteration: from 1; tells apart iterations that would ask the same.
    :param objection: what is to be said against a text for the brief of this number, from 0.
    """

    briefs: tuple[Brief, ...]
    model: str
    iteration: int
    objection: Objection = no_objection


@dataclass(frozen=True)
class MergeRequest:
    """Asks for one text that does what several candidates for the same prompt do.

    :param prose: the text that they all improve.
    :param passing: cases to be guarded.
    :param parts: what is known of each version.
    :param brief: what is known of `prose`, with the failing cases that no version fixes.
    :param objection: what is to be said against a text; its number is always 0.
    """

    prompt: Prompt
    prose: str
    versions: tuple[str, ...]
    passing: tuple[PassingCase, ...]
    model: str
    iteration: int
    parts: tuple[Part, ...] = ()
    brief: Brief | None = None
    objection: Objection = no_objection


def merge_texts(wanted: Sequence[MergeRequest], ask: Ask) -> list[Reply | InvalidReply]:
    """One reply for each, in order."""
    requests = [
        compose_merge(
            each.prompt,
            each.prose,
            each.versions,
            each.passing,
            model=each.model,
            sample=each.iteration,
            parts=each.parts,
            brief=each.brief,
        )
        for each in wanted
    ]
    prompts = [each.prompt for each in wanted]
    return ask_for_replies(requests, prompts, ask, lambda n, text: wanted[n].objection(0, text))


def propose_texts(request: ProposalRequest, ask: Ask) -> list[Reply | InvalidReply]:
    """One reply per brief, in order. What is still unusable after the repair says why."""
    requests = [
        compose_request(brief, model=request.model, sample=request.iteration) for brief in request.briefs
    ]
    return ask_for_replies(requests, [brief.prompt for brief in request.briefs], ask, request.objection)


def ask_for_replies(
    requests: Sequence[Request], prompts: Sequence[Prompt], ask: Ask, objection: Objection = no_objection
) -> list[Reply | InvalidReply]:
    """The replies to `requests` for `prompts`; a bad one, or one objected to, has one chance of repair.

    When the repair is no better, the first reply is kept; the check of candidates says why it is refused.
    """
    answers = ask(requests) if requests else []
    replies = [_read(answer, prompt) for answer, prompt in zip(answers, prompts, strict=True)]
    retried = [
        (number, repair_request(requests[number], answer, why))
        for number, (answer, reply) in enumerate(zip(answers, replies, strict=True))
        if isinstance(answer, Answer) and (why := _complaint(number, reply, objection))
    ]
    if retried:
        for (number, _), answer in zip(retried, ask([request for _, request in retried]), strict=True):
            mended = _read(answer, prompts[number])
            if isinstance(mended, Reply) or isinstance(replies[number], InvalidReply):
                replies[number] = mended
    return replies


def _complaint(number: int, reply: Reply | InvalidReply, objection: Objection) -> str | None:
    if isinstance(reply, InvalidReply):
        return reply.why
    # It may quote a case.
    return quote_line(why) if (why := objection(number, reply.text)) else None


def _read(answer: Answer | ModelError, prompt: Prompt) -> Reply | InvalidReply:
    if isinstance(answer, ModelError):
        return InvalidReply(f"the optimizer gave no answer: {answer}")
    reply = parse_reply(answer)
    if isinstance(reply, Reply):
        return replace(reply, text=prompt.with_lost_turns(reply.text))
    return reply
