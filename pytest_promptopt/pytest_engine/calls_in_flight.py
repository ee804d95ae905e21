"""Model calls in flight, and the times when there must be none."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.pytest_engine.assigned_mocks import AssignedMocks
from pytest_promptopt.pytest_engine.patches import Patch, Patches, process_state
from pytest_promptopt.records import Request, Role


class CallsInFlight:
    """The calls of waiting cases. Usually they are in flight while further cases run.

    Where the tests change something of the process that calls need, `alternates` is set: cases are run while
    no call is under way, and calls are made while no test runs.
    """

    def __init__(
        self, client: ModelClient, reach: Callable[[str], frozenset[str]], *, running: Callable[[], bool]
    ) -> None:
        """:param reach: the modules that the calls of a model need.
        :param running: whether one of our cases is run just now.
        """
        self._client = client
        self._reach = reach
        self._running = running
        self.exchanges = Patches(self._before_exchange)
        self.alternates = False
        self._held: list[tuple[Request, Role]] = []
        self._landed: frozenset[str] = frozenset()
        self._connected: set[str] = set()
        self._state = process_state()
        self._environment = dict(os.environ)
        #: What the process was like when a model was found to be lost; None while none is.
        self._lost_in: object = None
        #: What each connected model goes through, as calls find it.
        self._parts: dict[str, AssignedMocks] = {}
        #: What a run found before its model was connected.
        self._found: AssignedMocks | None = None
        self._by_hand = False

    def connect(self, model: str) -> None:
        """Connect `model`. Not while a test runs: it would read this test's environment."""
        if model not in self._connected:
            # What a wider fixture has taken away is missing for its own tests only.
            missing = {name: value for name, value in self._environment.items() if name not in os.environ}
            os.environ.update(missing)
            try:
                self._connect(model)
            finally:
                for name in missing:
                    os.environ.pop(name, None)
            self._note_parts(model)
            self._state = process_state()  # SDKs set variables for themselves

    def connect_inside(self, model: str) -> None:
        """Connect `model` in the middle of a test, and give the test its environment back afterwards."""
        if model in self._connected:
            return
        own = dict(os.environ)
        os.environ.clear()
        os.environ.update(self._environment)
        try:
            self._connect(model)
            self._state = process_state()
        finally:
            os.environ.clear()
            os.environ.update(own)

    def _connect(self, model: str) -> None:
        self._connected.add(model)
        self._client.connect(model)

    def _is_mocked(self, found: AssignedMocks, model: str) -> bool:
        with suppress(PromptoptError):  # of the user's hook; the call will say so
            return bool(found.exchanged(self._reach(model)))
        return False

    def _note_parts(self, model: str) -> None:
        with suppress(PromptoptError):
            self._parts[model] = AssignedMocks(self._reach(model))

    def begin(self) -> None:
        """Before a run: ask a model again that failed when a test had changed the process."""
        self._note_loss()
        if self._lost_in is not None and process_state() != self._lost_in:
            self._lost_in = None
            self._client.forget_lost_models()
            self._connected.clear()
        self._found = None
        if self._by_hand:
            self._by_hand = False
            for model, parts in list(self._parts.items()):
                if parts.exchanged():  # for good, so it was no mock of one test
                    self._note_parts(model)

    def _note_loss(self) -> None:
        if self._lost_in is None and self._client.lost_models:
            self._lost_in = process_state()

    def submit(self, request: Request, role: Role) -> None:
        """Make a call, at once or with the others that wait. Not while a test runs."""
        if request.wire is not None:  # a mock of the test's would have answered before it came here
            if self.alternates:
                self._held.append((request, role))
            else:
                self._client.submit(request, role)
            return
        met = self._found is not None and self._is_mocked(self._found, request.model)
        self.connect(request.model)
        if met:
            self._landed |= {request.key}  # nobody is asked: the run meets its own mock when it asks again
        elif self.alternates:
            self._held.append((request, role))
        else:
            self._client.submit(request, role)

    def landed(self, timeout: float | None) -> frozenset[str]:
        """Keys of the calls that ended, after waiting up to `timeout` seconds (None: until there is one)."""
        if self._held and timeout is None:
            held, self._held = self._held, []
            for request, role in held:
                self._client.submit(request, role)
            self.wait_until_idle()
        keys = self._landed or self._client.wait(timeout)
        self._note_loss()
        self._landed = frozenset()
        return keys

    def wait_until_idle(self) -> None:
        """Wait for all calls in flight; those that are held back stay held."""
        while self._client.in_flight:
            self._landed |= self._client.wait()

    def start_alternating(self) -> None:
        """From now on, calls and tests take turns."""
        self.alternates = True
        self.wait_until_idle()

    def detect_patches(self) -> bool:
        """Notice, in the middle of a test, that it has changed what calls need; True in any case."""
        if not self.alternates and process_state() != self._state:
            self._landed |= self._client.wait(0)
            self.start_alternating()
            self._client.forget_errors(self._landed)  # they met a mock of another test
        return True

    def exchanged(self, model: str) -> list[Patch]:
        """What tests have replaced at the moment of what the calls of `model` need."""
        if not self.exchanges:
            return []
        return [exchange for exchange in self.exchanges if exchange.belongs_to(self._reach(model))]

    def exchanged_by_hand(self, model: str) -> list[Patch]:
        """The same for what a test has replaced by plain assignment, which nothing reports."""
        if model not in self._connected:
            self._found = self._found or AssignedMocks(None)
            return []
        parts = self._parts.get(model)
        found = [] if parts is None else parts.exchanged()
        if found:
            self._by_hand = True
            self.start_alternating()  # the calls of other cases must not meet it
        return found

    def _before_exchange(self, exchange: Patch) -> None:
        """A case is about to replace something: no call of another case may meet it."""
        if not self._running():
            return
        if exchange.of_process:
            if not self.alternates:
                self.start_alternating()
        elif self._client.in_flight and any(
            exchange.belongs_to(self._reach(model)) for model in self._connected
        ):
            self.wait_until_idle()
