"""Everything private of pytest that the engine needs, in one file.

Tested on the oldest and newest pytest supported.

The unit is a *held run*: one ordinary execution of an item (`pytest_runtest_protocol` with every plugin in
place) whose traces (reports, warnings, live logs, output under ``-s``) are held back until somebody decides.
`release` lets them go in their order, as if they had just happened; `drop` undoes the run, so that nothing
tells it from one that never was.
"""

from __future__ import annotations

import logging
import pdb
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from _pytest import subtests as _subtests
from _pytest.outcomes import Skipped as Skipped
from _pytest.threadexception import thread_exceptions as _thread_exceptions

#: Hooks whose calls are held. `pytest_warning_recorded` is historic, the others are plain calls.
HELD_HOOKS = frozenset(
    {
        "pytest_runtest_logstart",
        "pytest_runtest_logreport",
        "pytest_runtest_logfinish",
        "pytest_warning_recorded",
    }
)


class HeldRun:
    """One execution of `item`; use as a context manager around the call of `pytest_runtest_protocol`.

    When its call phase has ended (or its setup has not succeeded), a run that may be reported is released and
    goes on as any run does. Any other stays held, to be dropped, and keeps the fixtures that the item shares
    with others alive.

    :param void: whether the run has shown to be incomplete, so that nothing it does can count.
    :param silent: never to be reported, whatever it does.
    """

    def __init__(self, item: pytest.Item, *, void: Callable[[], bool], silent: bool = False) -> None:
        self.item = item
        self.void = void
        self.silent = silent
        self.released = False
        #: Called with the report that decides the run, just before everything is released.
        self.before_release: Callable[[pytest.TestReport], object] = lambda report: None
        self.reports: list[pytest.TestReport] = []
        self._held: list[Callable[[], object]] = []
        self._before = _Traces(item)
        self._streams: list[tuple[Any, str, Any]] = []
        self._directories: list[Path] = []

    def reportable(self) -> bool:
        """Whether it may be reported, as far as it has come."""
        return not (self.silent or self.void())

    def __enter__(self) -> HeldRun:
        session: Any = self.item.session
        path = self.item.path
        self._previous = session.__dict__.get("gethookproxy")
        original = session.gethookproxy
        own = _Hooks(original(path), self)
        session.gethookproxy = lambda fspath: own if fspath is path else _Hooks(original(fspath), self)
        self._log_filters = [_HeldLogs(handler, self) for handler in _log_handlers(self.item.config)]
        self._streams = [(*place, getattr(*place)) for place in _open_streams(self.item.config)]
        for holder, name, stream in self._streams:
            setattr(holder, name, HeldStream(stream, self))
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind is not None and self.reportable():
            self.release()  # interrupted: what has been shown up to here is part of the session
        session: Any = self.item.session
        if self._previous is None:
            del session.gethookproxy
        else:
            session.gethookproxy = self._previous
        for log_filter in self._log_filters:
            log_filter.remove()
        for holder, name, stream in self._streams:
            setattr(holder, name, stream)

    def hold(self, event: Callable[[], object]) -> None:
        """Keep `event` for `release`; after it, events happen at once."""
        if self.released:
            event()
        else:
            self._held.append(event)

    def reported(self, report: pytest.TestReport, event: Callable[[], object]) -> None:
        """Take note of a report; the one that decides the run releases it if it may be reported."""
        self.reports.append(report)
        decides = not is_subtest(report) and (
            report.when == "call" or (report.when == "setup" and not report.passed)
        )
        if (decides or self._ends_session(report)) and self.reportable():
            if decides:
                self.before_release(report)
            self.release()
        self.hold(event)

    def _ends_session(self, report: pytest.TestReport) -> bool:
        # Under -x a failed subtest ends its test there and then, so nothing that comes later can be missing.
        limit = self.item.config.getoption("maxfail", 0)
        failed = self.item.session.testsfailed + sum(each.failed for each in self.reports)
        return bool(limit) and is_subtest(report) and report.failed and failed >= limit

    def release(self) -> None:
        """Let everything held happen, in order; from now on nothing is held."""
        self.released = True
        held, self._held = self._held, []
        for event in held:
            event()

    def drop(self) -> None:
        """Undo the run: the item, the session and the temporary folders are as they were before it."""
        self._held = []
        self._before.restore()
        _forget_instance(self.item)
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)
            _free_number(self.item.config, directory)

    def owns_directory(self, directory: Path) -> None:
        """Note the run's ``tmp_path``: with its folder gone the next run gets the same name."""
        self._directories.append(directory)


class _Hooks:
    """The item's hook relay, with the calls that leave traces intercepted."""

    def __init__(self, relay: Any, run: HeldRun) -> None:
        self._relay = relay
        self._run = run

    def __getattr__(self, name: str) -> Any:
        caller = getattr(self._relay, name)
        if name in HELD_HOOKS:
            return _HeldCaller(name, caller, self._run)
        if name == "pytest_runtest_teardown":
            return lambda **kwargs: caller(**self._teardown(kwargs))
        if name == "pytest_exception_interact":
            return lambda **kwargs: self._interact(caller, kwargs)
        setattr(self, name, caller)
        return caller

    def _interact(self, caller: Any, kwargs: dict[str, Any]) -> None:
        if self._run.reportable():
            if self._run.item.config.getoption("usepdb", False):
                self._run.release()  # a debugger opens on a subtest: what was printed comes first
            caller(**kwargs)

    def _teardown(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        # A held run is followed by another of the same item: what the item shares with others must live on.
        return kwargs if self._run.released else {**kwargs, "nextitem": sibling(self._run.item)}


class _HeldCaller:
    def __init__(self, name: str, caller: Any, run: HeldRun) -> None:
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


class _HeldLogs(logging.Filter):
    """Holds what would go to the live log or the log file, with the phase it belongs to."""

    def __init__(self, handler: Any, run: HeldRun) -> None:
        super().__init__()
        self._handler = handler
        self._run = run
        handler.addFilter(self)

    def remove(self) -> None:
        self._handler.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        when = getattr(self._handler, "_when", None)
        self._run.hold(lambda: self._emit(when, record))
        return False

    def _emit(self, when: str | None, record: logging.LogRecord) -> None:
        if when is not None and self._handler._when != when:
            self._handler.set_when(when)
        self._handler.acquire()
        try:
            self._handler.emit(record)
        finally:
            self._handler.release()


def _log_handlers(config: pytest.Config) -> list[Any]:
    plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    return [] if plugin is None else [plugin.log_cli_handler, plugin.log_file_handler]


def _open_streams(config: pytest.Config) -> list[tuple[Any, str]]:
    """Where a test's output goes straight to the terminal: whose attributes hold the streams."""
    capture = config.getoption("capture", "no")
    if capture == "no":
        return [(sys, "stdout"), (sys, "stderr")]
    if capture == "tee-sys":
        manager: Any = config.pluginmanager.get_plugin("capturemanager")
        both = manager._global_capturing
        return [(both.out.tmpfile, "_other"), (both.err.tmpfile, "_other")]
    return []


class HeldStream:
    """Stands in for a stream until the run is released.

    Everything but writing is the real stream's.
    """

    def __init__(self, target: Any, run: HeldRun) -> None:
        self.target = target
        self._run = run
        self._texts: deque[str] = deque()

    def write(self, text: str) -> int:
        self._texts.append(text)
        self._run.hold(lambda: self._let_go())
        return len(text)

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
        self._run.hold(self.target.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


class _Traces:
    """What a run changes outside itself, as it was before."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._sections = list(item._report_sections)
        self._properties = list(item.user_properties)
        self._markers = list(item.own_markers)
        session: Any = item.session
        self._session = (session.testsfailed, session._shouldfail, session._shouldstop)
        self._failed_subtests = dict(_failed_subtests(item.config))
        self._thread_exceptions = len(_unhandled(item.config))

    def restore(self) -> None:
        item, session = self._item, self._item.session
        item._report_sections[:] = self._sections
        item.user_properties[:] = self._properties
        item.own_markers[:] = self._markers
        private: Any = session
        session.testsfailed, private._shouldfail, private._shouldstop = self._session
        failed = _failed_subtests(item.config)
        failed.clear()
        failed.update(self._failed_subtests)
        unhandled = _unhandled(item.config)
        while len(unhandled) > self._thread_exceptions:
            unhandled.pop()


def _failed_subtests(config: pytest.Config) -> Any:
    return config.stash.get(_subtests.failed_subtests_key, {})


def _unhandled(config: pytest.Config) -> Any:
    return config.stash.get(_thread_exceptions, [])


def _forget_instance(item: pytest.Item) -> None:
    """Let the next run make a new instance of the test class, as every first run does."""
    if isinstance(item, pytest.Function) and isinstance(item.parent, pytest.Class):
        for name in ("_instance", "_obj"):
            item.__dict__.pop(name, None)


def _free_number(config: pytest.Config, directory: Path) -> None:
    # pytest 9.2 counts the folders that it makes instead of looking which names are free.
    factory = getattr(config, "_tmp_path_factory", None)
    counters: dict[str, int] = getattr(factory, "_next_number", {})
    for prefix, following in counters.items():
        if directory.name.lower() == f"{prefix}{following - 1}":
            counters[prefix] = following - 1


class _Sibling:
    """An inert neighbour of an item.

    Shares all its collectors, so only what the item alone holds is torn down.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def listchain(self) -> list[Any]:
        return [*self._item.listchain()[:-1], self]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._item, name)


def sibling(item: pytest.Item) -> Any:
    """What to pass as ``nextitem`` to tear down the function scope of `item` and nothing else."""
    return _Sibling(item)


class _Bare:
    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[Any]:
        return [self._session]


def leave(session: pytest.Session) -> None:
    """Tear down everything below the session; session-scoped fixtures live on."""
    _setup_state(session).teardown_exact(_Bare(session))


def can_follow(item: pytest.Item) -> bool:
    """Whether `item` can run now without tearing down a fixture that is set up."""
    chain = item.listchain()
    stack = _setup_state(item.session).stack
    # Each node's first finalizer is its own teardown; every further one belongs to a live fixture.
    return all(node in chain or len(finalizers) <= 1 for node, (finalizers, _) in stack.items())


def make_room(item: pytest.Item) -> None:
    """Tear down the collectors that `item` does not share, so that it can be set up."""
    _setup_state(item.session).teardown_exact(sibling(item))


def abandon(item: pytest.Item) -> None:
    """Tear down a run of `item` that ended in the middle of a phase, so that it can be run again."""
    with suppress(Exception):
        make_room(item)
    private: Any = item
    if isinstance(item, pytest.Function):
        private._request, private.funcargs = False, None


def _setup_state(session: pytest.Session) -> Any:
    return session._setupstate


def scope_key(item: pytest.Item) -> frozenset[tuple[str, str, object]]:
    """What an item shares with others through fixtures above function scope; equal keys can run in any order.

    One entry per fixture: its name, where it lives, and which parameter it has. Session fixtures without
    parameters are left out: they are set up once per process whatever the order.
    """
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return frozenset()
    callspec = getattr(item, "callspec", None)
    indices: Mapping[str, int] = callspec.indices if callspec is not None else {}
    entries = set()
    for name, definitions in info.name2fixturedefs.items():
        for definition in definitions:
            scope = definition.scope
            parameter = indices.get(name) if definition.params is not None or name in indices else None
            if scope == "function" or (scope == "session" and parameter is None):
                continue
            entries.add((name, _home_of(item, scope), parameter))
    for name, scope in (callspec._arg2scope if callspec is not None else {}).items():
        if scope.value != "function":
            entries.add((name, _home_of(item, scope.value), indices.get(name)))
    return frozenset(entries)


def _home_of(item: pytest.Item, scope: str) -> str:
    if scope == "session":
        return ""
    node: pytest.Collector | None
    if scope == "class":
        node = item.getparent(pytest.Class) or item.getparent(pytest.Module)
    elif scope == "module":
        node = item.getparent(pytest.Module)
    else:
        node = item.getparent(pytest.Package)
    return node.nodeid if node is not None else ""


def is_subtest(report: pytest.TestReport) -> bool:
    return isinstance(report, _subtests.SubtestReport)


def parameter_marks(metafunc: pytest.Metafunc) -> list[tuple[str, list[str]]]:
    """Per parameter set of a function: its id and the names of its own marks."""
    return [(call.id, [mark.name for mark in call.marks]) for call in metafunc._calls]


def temporary_root(config: pytest.Config) -> Path:
    """The folder of the session's temporary folders, which pytest removes; the system's without one."""
    factory: pytest.TempPathFactory | None = getattr(config, "_tmp_path_factory", None)
    return factory.getbasetemp() if factory is not None else Path(tempfile.gettempdir())


@contextmanager
def debugger_off() -> Generator[None]:
    """``breakpoint()`` and ``pdb.set_trace()`` do nothing: the run that is reported is the one to stop in."""
    before = sys.breakpointhook, pdb.set_trace
    sys.breakpointhook = pdb.set_trace = lambda *args, **kwargs: None
    try:
        yield
    finally:
        sys.breakpointhook, pdb.set_trace = before


@contextmanager
def quiet_progress(config: pytest.Config) -> Generator[None]:
    """Suspend pytest's output capturing, for writing to the terminal in the middle of the session."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    if capture is None:
        yield
    else:
        with capture.global_and_fixture_disabled():
            yield
