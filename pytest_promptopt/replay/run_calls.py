"""How a run gets its answers: known ones at once; for others it is suspended, or waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from pytest_promptopt.errors import ModelError, PromptoptError
from pytest_promptopt.models.client import CallResult, ModelClient
from pytest_promptopt.records import Request, Role
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
        unknown = self._unknown(asked)
        for request, client in unknown:
            self._wait_inside(request, client)
            if len(unknown) > 1:
                client.submit(request, self.role)
        for request, client in unknown:
            with suppress(ModelError):
                client.ask(request, self.role)
        known = []
        for request, client in asked:  # no comprehension, whose frame would show in a traceback
            known.append(self._known(request, client))
        return known

    async def aask(self, requests: Sequence[Request]) -> list[CallResult]:
        """`ask` for async tests; a suspension gives other tasks of a ``gather`` time to ask, too."""
        __tracebackhide__ = True
        asked = [(request, self.run.client_of(request)) for request in requests]
        try:
            unknown = self._unknown(asked)
        except Suspended:
            await let_siblings_ask()
            raise
        for request, client in unknown:
            self._wait_inside(request, client)
            if len(unknown) > 1:
                client.submit(request, self.role)
        for request, client in unknown:
            with suppress(ModelError):
                await client.aask(request, self.role)
        known = []
        for request, client in asked:  # no comprehension, whose frame would show in a traceback
            known.append(self._known(request, client))
        return known

    def fail(self, error: PromptoptError) -> NoReturn:
        """End the run without a verdict: what went wrong says nothing about the prompt's answers."""
        __tracebackhide__ = True
        self.run.error = error
        raise error.with_traceback(None) from None

    def _unknown(self, asked: Sequence[tuple[Request, ModelClient]]) -> list[tuple[Request, ModelClient]]:
        """Those that have to be waited for here. Raises the suspension where the run is to end for them."""
        __tracebackhide__ = True
        run = self.run
        unknown, suspended = list[tuple[Request, ModelClient]](), False
        for request, client in asked:
            if self._look_up(request, client) is not None:
                continue
            waits = client is not run.client and not run.only_looks
            if waits or not run.suspends():
                unknown.append((request, client))
            else:
                run.missing[request.key] = request
                suspended = True
        if suspended:
            raise run.suspension("waiting for a model's answer")
        return unknown

    def _look_up(self, request: Request, client: ModelClient) -> CallResult | None:
        __tracebackhide__ = True
        run = self.run
        try:
            known = client.look_up(request)
        except OSError as error:  # no answer is to blame
            self.fail(PromptoptError(f"{self.name}: its answer cannot be looked up: {error}"))
        if known is not None or (client is not run.client and not run.only_looks):
            return known
        if hopeless := client.hopeless(request):
            self.fail(self.placed(hopeless, request))
        if run.refusal is not None:
            self.fail(run.refusal)
        return None

    def _wait_inside(self, request: Request, client: ModelClient) -> None:
        if client is self.run.client:
            self.run.waited = True
            self.run.connect(request.model)

    def _known(self, request: Request, client: ModelClient) -> CallResult:
        __tracebackhide__ = True
        known = client.look_up(request)
        assert known is not None
        if known.answer is None:
            assert known.error is not None
            self.fail(self.placed(known.error, request))
        return known
