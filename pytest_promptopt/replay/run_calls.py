"""How a run gets its answers: known ones at once; for others it is suspended, or waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from pytest_promptopt.errors import ModelError, PromptoptError
from pytest_promptopt.models.call_records import CallResult
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.records import Answer, Request, Role, StopReason
from pytest_promptopt.replay.run import Run
from pytest_promptopt.replay.suspension import Suspended, let_siblings_ask


@dataclass(frozen=True)
class RunCalls:
    """The calls of one prompt in a run.

    :param name: the prompt's, for messages.
    :param placed: the error of a request as the user is told of it.
    """

    run: Run[Any]
    name: str
    role: Role = Role.TARGET
    placed: Callable[[ModelError, Request], ModelError] = lambda error, request: error

    def ask(self, requests: Sequence[Request]) -> list[CallResult]:
        """What is known of each in the end; unknown ones are asked together.

        Raises the run's suspension, or why there is no answer.
        """
        __tracebackhide__ = True
        asked = [(request, self.run.client_of(request)) for request in requests]
        for request, client in self._sent(asked):
            with suppress(ModelError):
                client.ask(request, self.role)
        return self._answers(asked)

    async def aask(self, requests: Sequence[Request]) -> list[CallResult]:
        """`ask` for async tests; a suspension gives other tasks of a ``gather`` time to ask, too."""
        __tracebackhide__ = True
        asked = [(request, self.run.client_of(request)) for request in requests]
        try:
            sent = self._sent(asked)
        except Suspended:
            await let_siblings_ask()
            raise
        for request, client in sent:
            with suppress(ModelError):
                await client.aask(request, self.role)
        return self._answers(asked)

    def fail(self, error: PromptoptError) -> NoReturn:
        """End the run without a verdict: what went wrong says nothing about the prompt's answers."""
        __tracebackhide__ = True
        self.run.error = error
        raise error.with_traceback(None) from None

    def _sent(self, asked: Sequence[tuple[Request, ModelClient]]) -> list[tuple[Request, ModelClient]]:
        """Those that have to be waited for here, under way where they are several.

        Raises the suspension where the run is to end for them.
        """
        __tracebackhide__ = True
        run = self.run
        unknown, suspended = list[tuple[Request, ModelClient]](), False
        for request, client in asked:
            if self._look_up(request, client) is not None:
                continue
            if self._is_inside(client) or not run.suspends():
                unknown.append((request, client))
            else:
                run.missing[request.key] = request
                suspended = True
        if suspended:
            raise run.suspension("waiting for a model's answer")
        for request, client in unknown:
            if client is run.client:
                run.waited = True
                run.connect(request.model)
            if len(unknown) > 1:
                client.submit(request, self.role)
        return unknown

    def _is_inside(self, client: ModelClient) -> bool:
        """Whether its calls are made inside the run, which waits for them."""
        return client is not self.run.client and not self.run.only_looks

    def _look_up(self, request: Request, client: ModelClient) -> CallResult | None:
        __tracebackhide__ = True
        run = self.run
        try:
            known = self._known(request, client)
        except OSError as error:  # no answer is to blame
            self.fail(PromptoptError(f"{self.name}: its answer cannot be looked up: {error}"))
        if known is not None or self._is_inside(client):
            return known
        if hopeless := client.hopeless(request):
            self.fail(self.placed(hopeless, request))
        if run.refusal is not None:
            self.fail(run.refusal)
        return None

    def _known(self, request: Request, client: ModelClient) -> CallResult | None:
        said = self.run.answers.get(request.key)
        if said is None:
            return client.look_up(request)
        answer = Answer(said, request.model, StopReason.END, usage=None, cost=0.0, latency=0.0)
        return CallResult(answer, None, cached=True)

    def _answers(self, asked: Sequence[tuple[Request, ModelClient]]) -> list[CallResult]:
        """What is known of each; raises for one without an answer."""
        __tracebackhide__ = True
        answers = []
        for request, client in asked:  # no comprehension, whose frame would show in a traceback
            known = self._known(request, client)
            assert known is not None
            if known.answer is None:
                assert known.error is not None
                self.fail(self.placed(known.error, request))
            answers.append(known)
        return answers
