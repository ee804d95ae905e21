"""Language models behind one Protocol: the official anthropic SDK, litellm, and the embedded `demo`."""

from __future__ import annotations

from typing import Protocol

from pytest_promptopt.records import Answer, Request


class Model(Protocol):
    """One model of one provider.

    `complete` makes exactly one attempt (retries, deadlines and budgets belong to the caller) and either
    returns an `Answer` or raises `ModelError`; anything else that escapes is a defect. A refusal or a
    ``max_tokens`` stop is an answer. Called from one event loop only; up to the session's concurrency at a
    time.

    It may also have ``async def connect(self) -> None``, awaited once before its first call and while no test
    runs: the place to import and to read the environment. A model that makes embeddings has ``async def
    embed(self, texts: Sequence[str])``, which returns a vector for each text, or raises `ModelError`.
    """

    async def complete(self, request: Request) -> Answer:
        """Ask once. Raises `ModelError` when there is no answer."""

    async def aclose(self) -> None:
        """Release connections. Called once, on the same loop."""
