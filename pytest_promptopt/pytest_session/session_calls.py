"""The model calls of a session in this process: models, cache, account, client, opened and closed as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.interception.application_model import ApplicationModel
from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.models.user_models import UserModels
from pytest_promptopt.pytest_engine.patches import PACKAGES, modules_of
from pytest_promptopt.pytest_session.controller_client import ControllerClient
from pytest_promptopt.pytest_session.hook_calls import ask_hook
from pytest_promptopt.pytest_session.paid_calls import PaidCalls
from pytest_promptopt.pytest_session.worker_shared import cache_of, ledger_of, open_ledger
from pytest_promptopt.records import Answer, Request
from pytest_promptopt.response_cache import ResponseCache
from pytest_promptopt.settings import Settings

if TYPE_CHECKING:
    from pytest_promptopt.pytest_session.span_session import SpanSession


class SessionCalls:
    """Whom this process asks, and what it pays.

    :param note: told in a sentence what the user should know.
    :param on_paid: as of `ModelClient`, also for the calls of `open_own_client`.
    :param client: makes the calls instead of one of this process: that of xdist's controller.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        *,
        note: Callable[[str], None],
        on_paid: Callable[[PaidCall], None],
        on_cached_answer: Callable[[Request, Answer], None] | None,
        concurrency: int,
        client: ModelClient | None = None,
    ) -> None:
        self._config = config
        self._settings = settings
        self._note = note
        self._tell_paid = on_paid
        self.paid = PaidCalls()
        self._spans: SpanSession | None = None
        if settings.otel:
            from pytest_promptopt.pytest_session.span_session import spans_of

            self._spans = spans_of(config)
        self._modules: dict[str, frozenset[str]] = {}
        self._shared = ""
        self.models = UserModels(
            lambda name: ask_hook(config, "pytest_promptopt_resolve_model", returns=object, name=name)
        )
        self.ledger = ledger_of(config, settings)
        self.application = ApplicationModel()
        self._cache, refresh = cache_of(config, settings, note) if client is None else (None, False)
        self._concurrency = concurrency
        self.client = client or self._open(
            self._cache, self._on_paid, refresh=refresh, on_cached_answer=on_cached_answer
        )
        self._of_application: tuple[Ledger, ModelClient] | None = None
        if isinstance(client, ControllerClient):
            client.application = self._application_client

    def _open(
        self,
        cache: ResponseCache | None,
        on_paid: Callable[[PaidCall], None],
        *,
        refresh: bool = False,
        on_cached_answer: Callable[[Request, Answer], None] | None = None,
    ) -> ModelClient:
        return ModelClient(
            resolve=self.models.take,
            cache=cache,
            ledger=self.ledger,
            concurrency=self._concurrency,
            refresh=refresh,
            on_paid=on_paid,
            on_cached_answer=on_cached_answer,
            price=self.models.price,
            longest=self.models.longest,
            application=self.application,
            rootdir=self._settings.rootdir,
        )

    def _on_paid(self, paid: PaidCall) -> None:
        self.paid.add(paid)
        if self._spans is not None:
            self._spans.paid(paid)
        self._tell_paid(paid)

    def _application_client(self) -> ModelClient:
        """Makes the calls of the code under test in a worker, on the account that it shares by then."""
        if self._of_application is None or self._of_application[0] is not self.ledger:
            if self._of_application is not None:
                self._of_application[1].close()
            self._cache, refresh = cache_of(self._config, self._settings, self._note)
            self._of_application = self.ledger, self._open(self._cache, self._on_paid, refresh=refresh)
        return self._of_application[1]

    def open_own_client(self) -> ModelClient:
        """For the calls of one run that has exchanged what they need: no other run gets their answers."""

        def paid(paid: PaidCall) -> None:
            # Its answer is not that of the request, whose key the journal would give it.
            self._on_paid(replace(paid, request=replace(paid.request, sample=-1)))

        return self._open(None, paid)

    def share_ledger(self, path: str | None) -> None:
        """Go on with the account in this file, which other processes have open; None changes nothing.

        Where there is no such file, as on another machine, the calls of `open_own_client` are counted here.
        """
        if path is None or path == self._shared or not Path(path).exists():
            return
        self._shared = path
        self.ledger.close()
        self.ledger = open_ledger(self._settings, Path(path))

    def reach(self, model: str) -> frozenset[str]:
        """The modules, or the packages, that calls of `model` need."""
        if model not in self._modules:
            own = self.models.kind(model)
            provider = model.partition("/")[0]
            packages = PACKAGES.get(provider, PACKAGES[""])
            self._modules[model] = packages if own is None else modules_of(own)
        return self._modules[model]

    def close(self) -> None:
        """No further call. The account stays open, to be read and closed by whoever reports it."""
        self.client.close()
        if self._of_application is not None:
            self._of_application[1].close()
        if self._cache is not None:
            self._cache.close()

    def close_ledger(self) -> None:
        if self.ledger.breach:
            self._note(self.ledger.breach)
        self.ledger.close()
