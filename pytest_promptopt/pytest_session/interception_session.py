"""The interception of one session: patched transports, an open gate, silence about runs that are dropped."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from pytest_promptopt.interception import patching
from pytest_promptopt.interception.application_model import ApplicationModel
from pytest_promptopt.interception.gate import close_gate, open_gate
from pytest_promptopt.interception.interceptor import Interceptor
from pytest_promptopt.interception.wanted import Wanted
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.pytest_engine.suspending_engine import SuspendingEngine
from pytest_promptopt.replay.current_run import follow_executors, unfollow_executors
from pytest_promptopt.replay.suspension import Suspended
from pytest_promptopt.settings import Settings


class Interception:
    """Handles requests of the code under test between `begin` and `end`.

    :param files: the prompt files as they are when the session begins, by name.
    """

    def __init__(
        self,
        settings: Settings,
        application: ApplicationModel,
        engine: SuspendingEngine,
        files: Mapping[str, PromptFile],
    ) -> None:
        self._running = lambda: engine.run
        self._on = settings.intercept.on
        self._interceptor = Interceptor(
            Wanted(settings.intercept, settings.ignore_fields),
            application,
            running=self._running,
            read=dict(files),
        )
        self._excepthook: Any = None

    def begin(self) -> None:
        if self._on:
            patching.watch()
            open_gate(self._interceptor)
            follow_executors(self._running)
            self._excepthook, threading.excepthook = threading.excepthook, self._thread_ended

    def end(self) -> None:
        if self._on and self._excepthook is not None:
            patching.unwatch()
            close_gate(self._interceptor)
            unfollow_executors(self._running)
            threading.excepthook, self._excepthook = self._excepthook, None

    def _thread_ended(self, ended: Any) -> None:
        """A suspension that ends a thread is no error: its run is dropped."""
        if not (isinstance(ended.exc_type, type) and issubclass(ended.exc_type, Suspended)):
            self._excepthook(ended)
