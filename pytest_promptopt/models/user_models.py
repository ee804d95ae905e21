"""Models of the user's own beside the built-in ones: asked for once, whoever needs to know first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pytest_promptopt.budget.ledger import Price
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.answer_limits import longest_answer
from pytest_promptopt.models.listed_prices import application_longest, application_price
from pytest_promptopt.models.prices import price_of
from pytest_promptopt.models.registry import require_key, resolve_model
from pytest_promptopt.records import Request


class UserModels:
    """What the user's `resolve` has returned. Safe for threads.

    :param resolve: from a name to a model of the user's own; None for a built-in one.
    """

    def __init__(self, resolve: Callable[[str], Any]) -> None:
        self._resolve = resolve
        self._lock = threading.RLock()
        self._kinds: dict[str, type | None] = {}
        #: Those that nobody has taken yet.
        self._made: dict[str, Any] = {}
        self._defects: list[ModelError] = []

    def kind(self, name: str) -> type | None:
        """The class of the user's own model called `name`; None where it is a built-in one."""
        with self._lock:
            if name not in self._kinds:
                self._made[name] = self._ask(name)
            return self._kinds[name]

    def take(self, name: str) -> Any:
        """The model called `name`, for one caller, which closes it; another gets another one."""
        with self._lock:
            found = self._made.pop(name) if name in self._made else self._ask(name)
        if found is not None:
            return found
        require_key(name)
        return resolve_model(name)

    def is_own(self, name: str) -> bool:
        """Whether `name` is known to be a model of the user's own; asks nobody."""
        return self._kinds.get(name) is not None

    def note_defect(self, name: str, error: ModelError | None) -> None:
        """Keep what a call of the model called `name` ended with, if its author has to mend that."""
        if error is not None and error.kind is ErrorKind.DEFECT and self.is_own(name):
            with self._lock:
                self._defects.append(error)

    def take_defects(self) -> list[ModelError]:
        """Those that came since this was last called."""
        with self._lock:
            found, self._defects = self._defects, []
        return found

    def price(self, request: Request) -> Price | None:
        """What tokens of the model cost; None when that is not known."""
        if request.wire is not None:
            return application_price(request)
        # A model of the user's own is in no price list; looking for it would import litellm.
        return None if self.is_own(request.model) else price_of(request)

    def longest(self, request: Request) -> int | None:
        """The most tokens that its answer may have; None when that is not known."""
        if request.wire is not None:
            return application_longest(request)
        return None if self.is_own(request.model) else longest_answer(request)

    def _ask(self, name: str) -> Any:
        found = self._resolve(name)
        self._kinds[name] = None if found is None else type(found)
        return found
