"""`echo`: a model that answers with the last thing it was asked, to see what a prompt comes to."""

from __future__ import annotations

from pytest_promptopt.records import Answer, Request, StopReason, Usage


class EchoModel:
    """The model ``echo``: free, offline, and nothing but the last message."""

    async def complete(self, request: Request) -> Answer:
        """Never raises."""
        text = request.messages[-1].content if request.messages else ""
        return Answer(
            text=text,
            model="echo",
            stop_reason=StopReason.END,
            usage=Usage(0, 0),
            cost=0.0,
            latency=0.0,
        )

    async def aclose(self) -> None:
        """Nothing is held open."""
