"""Asking the optimizer model: all candidates of an iteration at once, one repair try for each bad reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_promptopt.errors import ModelError
from pytest_promptopt.records import Answer, Request
from pytest_promptopt.refine.evaluator import Prompt
from pytest_promptopt.refine.replies import Reply, Unusable, parse
from pytest_promptopt.refine.requests import Brief, PassingCase, compose, compose_merge, repair


class Ask(Protocol):
    """Sends requests to models."""

    def __call__(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        """Send all at once; answers in the order asked. Raises `StopRun` when no call may follow."""


@dataclass(frozen=True)
class Wanted:
    """What an iteration asks for: one proposal per brief.

    :param model: the optimizer model.
    :param iteration: from 1; tells apart iterations that would ask the same.
    """

    briefs: tuple[Brief, ...]
    model: str
    iteration: int


@dataclass(frozen=True)
class Merging:
    """Asks for one text that does what several candidates for the same prompt do.

    :param prose: the text that they all improve.
    :param passing: cases to be guarded.
    """

    prompt: Prompt
    prose: str
    versions: tuple[str, ...]
    passing: tuple[PassingCase, ...]
    model: str
    iteration: int


def merge(wanted: Sequence[Merging], ask: Ask) -> list[Reply | Unusable]:
    """One reply for each, in order."""
    requests = [
        compose_merge(
            each.prompt, each.prose, each.versions, each.passing, model=each.model, sample=each.iteration
        )
        for each in wanted
    ]
    return answered(requests, ask) if requests else []


def propose(wanted: Wanted, ask: Ask) -> list[Reply | Unusable]:
    """One reply per brief, in order. What is still unusable after the repair says why."""
    return answered(
        [compose(brief, model=wanted.model, sample=wanted.iteration) for brief in wanted.briefs], ask
    )


def answered(requests: Sequence[Request], ask: Ask) -> list[Reply | Unusable]:
    """The replies to `requests` for prompts; a bad one is given one chance to repair it."""
    answers = ask(requests)
    replies = [_read(answer) for answer in answers]
    retried = [
        (number, repair(requests[number], answer, reply.why))
        for number, (answer, reply) in enumerate(zip(answers, replies, strict=True))
        if isinstance(reply, Unusable) and isinstance(answer, Answer)
    ]
    if retried:
        for (number, _), answer in zip(retried, ask([request for _, request in retried]), strict=True):
            replies[number] = _read(answer)
    return replies


def _read(answer: Answer | ModelError) -> Reply | Unusable:
    if isinstance(answer, ModelError):
        return Unusable(f"the optimizer gave no answer: {answer}")
    return parse(answer)
