"""The models of one run: checked before its first call, and the optimizer model asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pytest_promptopt.budget.ledger import unknown_price
from pytest_promptopt.driver.shown_calls import SHOW_EVERY
from pytest_promptopt.errors import ErrorKind, ModelError, SettingsError
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.models.prices import price_of
from pytest_promptopt.models.registry import check_credentials, variety_parameters
from pytest_promptopt.models.user_models import UserModels
from pytest_promptopt.optimizer.halting import halt_of
from pytest_promptopt.optimizer.protocols import StopRun
from pytest_promptopt.records import Answer, Request, Role
from pytest_promptopt.replay.case_requests import APPLICATION
from pytest_promptopt.replay.searched_case import SearchedCase
from pytest_promptopt.settings import Settings


class RunModels:
    """Knows which models of a run are the user's own."""

    def __init__(self, models: UserModels, settings: Settings) -> None:
        self._models = models
        self._settings = settings
        self._own: set[str] = set()

    def check(self, cases: Iterable[SearchedCase]) -> None:
        """Raises `SettingsError` for a model without a key, or without a price under a ceiling in dollars."""
        optimizer = self._settings.optimizer_model
        probes = {optimizer: Request(optimizer, ())} if self._settings.writing else {}
        for case in cases:
            for file in case.files.values():
                probes[case.model_of(file)] = case.bare_request(file)
        probes.pop(APPLICATION, None)
        for model, probe in sorted(probes.items()):
            own = self._models.kind(model)
            if own is None:
                check_credentials(model)
            else:
                self._own.add(model)
            ceiling = self._settings.max_cost
            if ceiling is not None and (own is not None or price_of(probe) is None):
                raise SettingsError(unknown_price(model, ceiling))

    def ask(
        self, requests: Sequence[Request], client: ModelClient, *, meanwhile: Callable[[], None]
    ) -> list[Answer | ModelError]:
        """Send requests to the optimizer model, all at once. Raises `StopRun` when there can be no more.

        :param meanwhile: called again and again until the answers are in.
        """
        # What a model of the user's own accepts, nobody else knows.
        requests = [
            request
            if request.model in self._own
            else replace(request, parameters=variety_parameters(request.model))
            for request in requests
        ]
        for request in requests:
            client.submit(request, Role.OPTIMIZER)
        found = [client.look_up(request) for request in requests]
        try:
            while None in found:
                client.wait(SHOW_EVERY)
                meanwhile()
                found = [client.look_up(request) for request in requests]
        except KeyboardInterrupt:
            client.cancel()
            raise
        answers = [known.answer or known.error for known in found if known is not None]
        errors = [answer for answer in answers if isinstance(answer, ModelError)]
        for error in errors:
            if error.stops_run or error.kind is ErrorKind.BUDGET:
                raise StopRun(halt_of(error), str(error))
        return [answer for answer in answers if answer is not None]
