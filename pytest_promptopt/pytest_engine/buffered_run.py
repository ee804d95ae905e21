"""Buffered runs: ordinary executions of an item that can still be undone.

One is a call of `pytest_runtest_protocol` with every plugin in place, whose traces (reports, warnings, live
logs, output under ``-s``) are held back until somebody decides. `commit` lets them go in their order, as if
they had just happened; `rollback` undoes the run, as if it had never been.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.pytest_engine import internals, terminal_internals
from pytest_promptopt.pytest_engine.other_plugins import FIXTURES

#: Hooks whose calls are held. `pytest_warning_recorded` is historic, the others are plain calls.
HELD_HOOKS = frozenset(
    {
        "pytest_runtest_logstart",
        "pytest_runtest_logreport",
        "pytest_runtest_logfinish",
        "pytest_warning_recorded",
    }
)


class BufferedRun:
    """One execution of `item`; use as a context manager around the call of `pytest_runtest_protocol`.

    When its call phase has ended (or its setup has not succeeded), a run that may be reported is committed
    and goes on as any run does. Any other stays held, to be rolled back, and keeps the fixtures that the item
    shares with others alive.

    :param void: whether the run turned out to be incomplete, so that nothing of it can count.
    :param silent: never to be reported, whatever it does.
    :param left_out: the plugins whose implementations of a hook are not called.
    """

    def __init__(
        self,
        item: pytest.Item,
        *,
        void: Callable[[], bool],
        silent: bool = False,
        left_out: Callable[[str], Collection[Any]] = lambda hook: (),
    ) -> None:
        self.left_out = left_out
        self.item = item
        self.void = void
        self.silent = silent
        self.committed = False
        #: Whether `pytest_runtest_protocol` has returned.
        self.over = False
        #: Whether it has had the report that decides it.
        self.decided = False
        #: Called with the report that decides the run, just before everything is committed.
        self.before_commit: Callable[[pytest.TestReport], object] = lambda report: None
        #: Called with each report of a subtest, just before anybody else hears of it.
        self.before_subtest: Callable[[pytest.TestReport], object] = lambda report: None
        self.reports: list[pytest.TestReport] = []
        self._held: list[Callable[[], object]] = []
        self.before = internals.Traces(item)
        self._streams: list[tuple[Any, str, Any]] = []
        self._directories: list[Path] = []

    def reportable(self) -> bool:
        """Whether it may be reported, as far as it has come."""
        return not (self.silent or self.void())

    def __enter__(self) -> BufferedRun:
        session: Any = self.item.session
        path = self.item.path
        self._previous = session.__dict__.get("gethookproxy")
        original = session.gethookproxy
        own = _Hooks(original(path), self)
        session.gethookproxy = lambda fspath: own if fspath is path else _Hooks(original(fspath), self)
        self._log_filters = [
            internals.BufferedLogs(handler, self.hold) for handler in internals.log_handlers(self.item.config)
        ]
        self._streams = [
            (*place, getattr(*place)) for place in terminal_internals.open_streams(self.item.config)
        ]
        for holder, name, stream in self._streams:
            setattr(holder, name, BufferedStream(stream, self, (holder, name)))
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind is not None and self.reportable():
            self.commit()  # interrupted: what has been shown up to here is part of the session
        session: Any = self.item.session
        if self._previous is None:
            del session.gethookproxy
        else:
            session.gethookproxy = self._previous
        for log_filter in self._log_filters:
            log_filter.remove()
        for holder, name, stream in self._streams:
            setattr(holder, name, stream)
        self.over = True

    def hold(self, event: Callable[[], object]) -> None:
        """Keep `event` for `commit`; after it, events happen at once."""
        if self.committed:
            event()
        else:
            self._held.append(event)

    def reported(self, report: pytest.TestReport, event: Callable[[], object]) -> None:
        """Take note of a report; the one that decides the run commits it if it may be reported."""
        self.reports.append(report)
        subtest = internals.is_subtest(report)
        if subtest and self.reportable():
            self.before_subtest(report)
        decides = not subtest and (report.when == "call" or (report.when == "setup" and not report.passed))
        self.decided = self.decided or decides
        if (decides or self._ends_session(report)) and self.reportable():
            if decides:
                self.before_commit(report)
            self.commit()
        self.hold(event)

    def _ends_session(self, report: pytest.TestReport) -> bool:
        # Under -x a failed subtest ends its test there and then, so nothing that comes later can be missing.
        limit = self.item.config.getoption("maxfail", 0)
        failed = self.item.session.testsfailed + sum(each.failed for each in self.reports)
        return bool(limit) and internals.is_subtest(report) and report.failed and failed >= limit

    def broke_outside(self) -> bool:
        """Whether a fixture of it failed."""
        return any(report.failed and report.when != "call" for report in self.reports)

    def start_again(self) -> None:
        """What comes now is another run of the item, and shown as it happens."""
        self.decided = False
        self.reports = []

    def commit(self) -> None:
        """Let everything held happen, in order; from now on nothing is held."""
        self.committed = True
        held, self._held = self._held, []
        for event in held:
            event()

    def rollback(self) -> None:
        """Undo the run: the item, the session and the temporary folders are as they were before it."""
        self._held = []
        self.before.restore()
        internals.forget_instance(self.item)
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)
            internals.free_number(self.item.config, directory)

    def owns_directory(self, directory: Path) -> None:
        """Note the run's ``tmp_path``: with its folder gone the next run gets the same name."""
        self._directories.append(directory)


class _Hooks:
    """The item's hook relay, with the calls that leave traces intercepted."""

    def __init__(self, relay: Any, run: BufferedRun) -> None:
        self._relay = relay
        self._run = run

    def __getattr__(self, name: str) -> Any:
        caller = self._caller(name) if self._run.silent else getattr(self._relay, name)
        if name in HELD_HOOKS:
            return _BufferedCaller(name, caller, self._run)
        if name == "pytest_runtest_teardown":
            return lambda **kwargs: caller(**self._teardown(kwargs))
        if name == "pytest_exception_interact":
            return lambda **kwargs: self._interact(caller, kwargs)
        setattr(self, name, caller)
        return caller

    def _caller(self, name: str) -> Any:
        caller = getattr(self._relay, name)
        left_out = self._run.left_out(name)
        if not left_out:
            return caller
        fewer = internals.call_without_plugins(self._run.item.config, self._relay, name, left_out)
        if name not in FIXTURES:
            return fewer
        # A wider fixture lives on, and is set up once only: everybody must hear of it.
        return lambda **given: (fewer if given["fixturedef"].scope == "function" else caller)(**given)

    def _interact(self, caller: Any, kwargs: dict[str, Any]) -> None:
        if self._run.reportable():
            if self._run.item.config.getoption("usepdb", False):
                self._run.commit()  # a debugger opens on a subtest: what was printed comes first
            caller(**kwargs)

    def _teardown(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        # A buffered run is followed by another of the same item: what the item shares must live on.
        return (
            kwargs
            if self._run.committed
            else {**kwargs, "nextitem": internals.item_of_same_scopes(self._run.item)}
        )


class _BufferedCaller:
    def __init__(self, name: str, caller: Any, run: BufferedRun) -> None:
        self._name = name
        self._caller = caller
        self._run = run

    def __call__(self, **kwargs: Any) -> None:
        if self._name == "pytest_runtest_logreport":
            self._run.reported(kwargs["report"], lambda: self._caller(**kwargs))
        else:
            self._run.hold(lambda: self._caller(**kwargs))

    def call_historic(self, *, kwargs: Mapping[str, Any]) -> None:
        self._run.hold(lambda: self._caller.call_historic(kwargs=kwargs))


class BufferedStream:
    """Takes the place of a stream until the run is committed; all but writing is done by the real stream.

    If somebody keeps it for longer than the run (a log handler that a shared fixture has made), it writes to
    the stream that is in its place then.

    :param place: whose attribute, and which one.
    """

    def __init__(self, target: Any, run: BufferedRun, place: tuple[Any, str]) -> None:
        self._target = target
        self._run = run
        self._place = place
        self._texts: deque[str] = deque()

    @property
    def target(self) -> Any:
        """The stream that it stands for now."""
        if not self._run.over:
            return self._target
        stream = getattr(*self._place, None)
        return self._target if stream is self or stream is None else stream

    def write(self, text: str) -> int:
        if self._run.over:
            self.target.write(text)
        else:
            self._texts.append(text)
            self._run.hold(self._let_go)
        return len(text)

    @property
    def buffer(self) -> Any:
        """For bytes; they are held as well."""
        return self.target.buffer if self._run.over else _BufferedBytes(self.target.buffer, self._run)

    def take(self) -> str:
        """What is held and not shown yet; it is not shown then."""
        taken = "".join(self._texts)
        self._texts.clear()
        return taken

    def _let_go(self) -> None:
        if self._texts:
            self.target.write(self._texts.popleft())

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._run.over:
            self.target.flush()
        else:
            self._run.hold(self.target.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


class _BufferedBytes:
    def __init__(self, target: Any, run: BufferedRun) -> None:
        self._target = target
        self._run = run

    def write(self, data: Any) -> int:
        kept = bytes(data)
        self._run.hold(lambda: self._target.write(kept))
        return len(kept)

    def flush(self) -> None:
        self._run.hold(self._target.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)
