"""Model calls on their way, and the times when there must be none."""

from __future__ import annotations

from pytest_promptopt.evaluation.exchanges import process_state
from pytest_promptopt.models.caller import Caller
from pytest_promptopt.records import Request, Role


class Traffic:
    """Calls for cases. Usually they are under way while further cases run.

    Where the tests change something of the process that calls need, `alternates` is set: cases are run while
    no call is under way, and calls are made while no test runs.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.alternates = False
        self._held: list[Request] = []
        self._landed: frozenset[str] = frozenset()
        self._connected: set[str] = set()
        self._state = process_state()

    @property
    def models(self) -> frozenset[str]:
        """The models that were asked so far."""
        return frozenset(self._connected)

    @property
    def in_flight(self) -> bool:
        return self._caller.in_flight > 0

    def connect(self, model: str) -> None:
        """Have `model` ready. Not while a test runs: what it reads would be that test's."""
        if model not in self._connected:
            self._connected.add(model)
            self._caller.connect(model)
            self._state = process_state()  # SDKs set variables for themselves

    def submit(self, request: Request) -> None:
        """Make a call, at once or with the others that wait. Not while a test runs."""
        self.connect(request.model)
        if self.alternates:
            self._held.append(request)
        else:
            self._caller.submit(request, Role.TARGET)

    def landed(self, timeout: float | None) -> frozenset[str]:
        """Keys of the calls that ended, after waiting up to `timeout` seconds (None: until there is one)."""
        if self._held and timeout is None:
            held, self._held = self._held, []
            for request in held:
                self._caller.submit(request, Role.TARGET)
            self.quiet()
        keys = self._landed or self._caller.wait(timeout)
        self._landed = frozenset()
        return keys

    def quiet(self) -> None:
        """Wait for all calls that are under way. Those that are held wait on."""
        while self._caller.in_flight:
            self._landed |= self._caller.wait()

    def alternate(self) -> None:
        """From now on, calls and tests take turns."""
        self.alternates = True
        self.quiet()

    def look(self) -> None:
        """Notice, in the middle of a test, that it has changed what calls need."""
        if not self.alternates and process_state() != self._state:
            self.alternate()
