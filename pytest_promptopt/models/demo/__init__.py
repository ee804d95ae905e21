"""`demo`: a small deterministic model inside the package, to try the workflow without a key or a network.

As a target it reads the prompt (labels, cue words, fields, format rules) and answers by it; as an optimizer
it reads the feedback and writes better cue words and rules; as a judge it checks an answer for what the
criterion asks; for an embedding it counts words and letters. It learns as a simple lexical classifier does
and holds no answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_promptopt.models.demo.critic import criticise
from pytest_promptopt.models.demo.embedding import vector_of
from pytest_promptopt.models.demo.feedback import asks_for_critique, is_feedback
from pytest_promptopt.models.demo.judge import judge, judging_in
from pytest_promptopt.models.demo.optimizer import propose
from pytest_promptopt.models.demo.target import answer
from pytest_promptopt.models.embedding import Embeddings
from pytest_promptopt.records import Answer, Request, StopReason, Usage
from pytest_promptopt.unpatched import time

_CHARACTERS_PER_TOKEN = 4


class DemoModel:
    """The model ``demo``: free, offline, and a function of the request's messages and schema alone."""

    async def complete(self, request: Request) -> Answer:
        """Never raises. Tokens are estimated from characters; `Request.sample` changes nothing."""
        started = time.perf_counter()
        # A reply that could not be used is asked for again in the same chat, so the feedback may be earlier.
        asked = next((m.content for m in request.messages if is_feedback(m.content)), None)
        judging = judging_in(request.messages) if asked is None else None
        last = request.messages[-1].content if request.messages else ""
        if asked is not None:
            text = propose(asked)
        elif asks_for_critique(last):
            text = criticise(last)
        elif judging is not None:
            text = judge(judging, schema=request.response_schema)
        else:
            text = answer(request.messages, schema=request.response_schema)
        return Answer(
            text=text,
            model="demo",
            stop_reason=StopReason.END,
            usage=Usage(_tokens(sum(len(m.content) for m in request.messages)), _tokens(len(text))),
            cost=0.0,
            latency=time.perf_counter() - started,
        )

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each of `texts`, by the letters and words that they share; it knows no meaning."""
        return Embeddings(tuple(map(vector_of, texts)), Usage(_tokens(sum(map(len, texts))), 0), 0.0)

    async def aclose(self) -> None:
        """Nothing is held open."""


def _tokens(characters: int) -> int:
    return -(-characters // _CHARACTERS_PER_TOKEN)
