"""The models of the user's own hook: asked for once, whoever needs to know first."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pytest_promptopt.models.registry import require_key, resolve_model
from pytest_promptopt.pytest_session.hook_calls import ask_hook


class UserModels:
    """What `pytest_promptopt_resolve_model` has returned. Safe for threads."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._lock = threading.RLock()
        self._kinds: dict[str, type | None] = {}
        #: Those that nobody has taken yet.
        self._made: dict[str, Any] = {}

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

    def _ask(self, name: str) -> Any:
        found = ask_hook(self._config, "pytest_promptopt_resolve_model", returns=object, name=name)
        self._kinds[name] = None if found is None else type(found)
        return found
