"""All that is private of pytest, here, in `terminal_internals` and in `planned_tests`: tested on the oldest
and newest supported.
"""

from __future__ import annotations

import logging
import pdb
import sys
import tempfile
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from _pytest import subtests as _subtests
from _pytest._code.code import ExceptionChainRepr, ReprEntry, ReprFileLocation, ReprTraceback
from _pytest.debugging import pytestPDB as _PytestPDB
from _pytest.junitxml import xml_key as _xml_key
from _pytest.outcomes import Skipped as Skipped
from _pytest.threadexception import thread_exceptions as _thread_exceptions


class BufferedLogs(logging.Filter):
    """Holds what would go to the live log or the log file, with the phase it belongs to."""

    def __init__(self, handler: Any, hold: Callable[[Callable[[], object]], object]) -> None:
        """:param hold: takes what is to happen later."""
        super().__init__()
        self._handler = handler
        self._hold = hold
        handler.addFilter(self)

    def remove(self) -> None:
        self._handler.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        when = getattr(self._handler, "_when", None)
        self._hold(lambda: self._emit(when, record))
        return False

    def _emit(self, when: str | None, record: logging.LogRecord) -> None:
        if when is not None and self._handler._when != when:
            self._handler.set_when(when)
        self._handler.acquire()
        try:
            self._handler.emit(record)
        finally:
            self._handler.release()


def log_handlers(config: pytest.Config) -> list[Any]:
    """The handlers of the live log and of the log file; none without pytest's own logging."""
    plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    return [] if plugin is None else [plugin.log_cli_handler, plugin.log_file_handler]


class Traces:
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
        self._suite_properties = list(_suite_properties(item.config))

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
        _suite_properties(item.config)[:] = self._suite_properties

    @contextmanager
    def suite_properties_stay(self) -> Generator[None]:
        """What a shared fixture records of the test suite inside, it records only once: no run undoes it."""
        recorded = _suite_properties(self._item.config)
        kept, before = len(self._suite_properties), len(recorded)
        try:
            yield
        finally:
            self._suite_properties[kept:] = recorded[before:]  # a fixture inside this one has kept its own


def _failed_subtests(config: pytest.Config) -> Any:
    return config.stash.get(_subtests.failed_subtests_key, {})


def forget_failed_subtests(item: pytest.Item) -> None:
    """Keep pytest from failing a test for its subtests, which it does whenever a report is shown or sent."""
    failed = _failed_subtests(item.config)
    for name in (item.nodeid, getattr(item, "id", None)):  # the second since pytest 9.2
        failed.pop(name, None)


def _suite_properties(config: pytest.Config) -> list[tuple[str, str]]:
    xml = config.stash.get(_xml_key, None)
    return [] if xml is None else xml.global_properties


def _unhandled(config: pytest.Config) -> Any:
    return config.stash.get(_thread_exceptions, [])


def forget_instance(item: pytest.Item) -> None:
    """Let the next run make a new instance of the test class, as every first run does."""
    if isinstance(item, pytest.Function) and isinstance(item.parent, pytest.Class):
        for name in ("_instance", "_obj"):
            item.__dict__.pop(name, None)


def free_number(config: pytest.Config, directory: Path) -> None:
    """Let `tmp_path` give the name of `directory`, which is gone, to the next one."""
    # pytest 9.2 counts the folders that it makes instead of looking which names are free.
    factory = getattr(config, "_tmp_path_factory", None)
    counters: dict[str, int] = getattr(factory, "_next_number", {})
    for prefix, following in counters.items():
        if directory.name.lower() == f"{prefix}{following - 1}":
            counters[prefix] = following - 1


def call_without_plugins(config: pytest.Config, relay: Any, hook: str, plugins: Collection[Any]) -> Any:
    """The caller of `hook` that a node's `relay` gives, without some plugins."""
    # Of a folder the relay is a proxy, without the conftests of other folders.
    elsewhere = getattr(relay, "remove_mods", ())
    return config.pluginmanager.subset_hook_caller(hook, remove_plugins=[*elsewhere, *plugins])


class _Sibling:
    """A neighbour of an item in all its collectors, never run: only the item's own scope is torn down."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def listchain(self) -> list[Any]:
        return [*self._item.listchain()[:-1], self]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._item, name)


def item_of_same_scopes(item: pytest.Item) -> Any:
    """What to pass as ``nextitem`` to tear down the function scope of `item` and nothing else."""
    return _Sibling(item)


class _Bare:
    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[Any]:
        return [self._session]


def tear_down_below_session(session: pytest.Session) -> None:
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
    _setup_state(item.session).teardown_exact(item_of_same_scopes(item))


def tear_down_unfinished(item: pytest.Item) -> None:
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


#: Plugins whose fixtures run coroutines, or are pytest's own or ours.
_HARMLESS = frozenset({"_pytest", "pytest_promptopt", "pytest_asyncio", "anyio"})


def installed_fixtures(item: pytest.Item) -> bool:
    """Whether a fixture of an installed plugin is set up for every run of `item`: `fs`, `mocker`."""
    info = getattr(item, "_fixtureinfo", None)
    definitions = [] if info is None else [d for some in info.name2fixturedefs.values() for d in some]
    for definition in definitions:
        module = str(getattr(definition.func, "__module__", "") or "")
        file = getattr(sys.modules.get(module), "__file__", None) or ""
        known = module.partition(".")[0] in _HARMLESS
        if definition.scope == "function" and not known and "site-packages" in file:
            return True
    return False


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


def is_strict_xpass(report: pytest.TestReport) -> bool:
    """Whether a test passed that must not: its mark `xfail` is wrong, not the answer."""
    told = report.longrepr
    return report.failed and isinstance(told, str) and told.startswith("[XPASS(strict)]")


def rewrite_failure(longrepr: object, rewrite: Callable[[str], str]) -> object:
    """Rewrite every text of a failure's representation, in place where possible; returns it."""
    if isinstance(longrepr, str):
        return rewrite(longrepr)
    for traceback, crash, _ in getattr(longrepr, "chain", ()):
        for entry in traceback.reprentries:
            entry.lines[:] = map(rewrite, entry.lines)
            for part in (getattr(entry, "reprlocals", None), getattr(entry, "reprfuncargs", None)):
                if part is not None and hasattr(part, "lines"):
                    part.lines[:] = map(rewrite, part.lines)
        if crash is not None:
            crash.message = rewrite(crash.message)
    return longrepr


def load_conftest(config: pytest.Config, path: Path) -> None:
    """Register a conftest.py file, as collecting the tests below it does; again it does nothing."""
    config.pluginmanager._importconftest(
        path,
        importmode=config.getoption("importmode"),
        rootpath=config.rootpath,
        consider_namespace_packages=config.getini("consider_namespace_packages"),
    )


def temporary_root(config: pytest.Config) -> Path:
    """The folder of the session's temporary folders, which pytest removes; the system's without one."""
    factory: pytest.TempPathFactory | None = getattr(config, "_tmp_path_factory", None)
    return factory.getbasetemp() if factory is not None else Path(tempfile.gettempdir())


class _NoDebugger:
    def set_trace(self, frame: object) -> None:
        pass


@contextmanager
def debugger_off() -> Generator[None]:
    """While inside, nothing opens a debugger: only the run that is reported may stop in one."""
    private: Any = _PytestPDB
    before = sys.breakpointhook, pdb.set_trace, vars(_PytestPDB)["_init_pdb"]
    sys.breakpointhook = pdb.set_trace = lambda *args, **kwargs: None
    # `pytest.set_trace` may have been imported by its name; it asks here for what it opens.
    private._init_pdb = lambda method, *args, **kwargs: _NoDebugger()
    try:
        yield
    finally:
        sys.breakpointhook, pdb.set_trace, private._init_pdb = before


def write_to_junit(config: pytest.Config, report: pytest.TestReport, text: str) -> None:
    """Write `text` as what a test case of the JUnit report has printed; nowhere without such a report."""
    junit: Any = config.stash.get(_xml_key, None)
    if junit is not None:
        junit.node_reporter(report)._write_content(report, text, "system-out")


def add_to_junit(config: pytest.Config, report: pytest.TestReport, text: str = "") -> None:
    """Add a test case that no item stands for to the JUnit report; to none without such a report.

    :param text: what it is to have printed.
    """
    junit: Any = config.stash.get(_xml_key, None)
    if junit is not None:
        junit.pytest_runtest_logreport(report)
        if text:
            write_to_junit(config, report, text)
        junit.finalize(report)


def remember_failure(config: pytest.Config, nodeid: str) -> None:
    """Have ``--lf`` run a test again whose report passed."""
    last: Any = config.pluginmanager.get_plugin("lfplugin")
    if last is not None:
        last.lastfailed[nodeid] = True


def left_out_by_lf(config: pytest.Config) -> bool:
    """Whether ``--lf`` has left tests out while they were collected, so that nobody hears of them.

    It does not where nothing of what failed last is there any more; what it leaves out later is deselected.
    """
    return bool(config.pluginmanager.has_plugin("lfplugin-collskip"))


def record_fixture_failure(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest, error: BaseException
) -> None:
    """Note what a fixture ended with: pytest does so for no other `BaseException` than its own."""
    private: Any = fixturedef
    private.cached_result = (None, private.cache_key(request), (error, error.__traceback__))


def has_parameters_only(item: pytest.Function) -> bool:
    """Whether a test has no fixture, not even an automatic one, besides its parameters.

    Those of plugins that run coroutines do nothing for a plain function.
    """
    private: Any = item
    callspec = getattr(item, "callspec", None)
    values: Mapping[str, Any] = {} if callspec is None else callspec.params
    known = private._fixtureinfo.name2fixturedefs

    def is_nothing(name: str) -> bool:
        made = [definition.func for definition in known.get(name, ())]
        if name in values:
            return all(each.__name__ == "get_direct_param_fixture_func" for each in made)
        return bool(made) and all(_package_of(each) in ("pytest_asyncio", "anyio") for each in made)

    return all(map(is_nothing, item.fixturenames))


def _package_of(function: Any) -> str:
    return str(getattr(function, "__module__", "")).partition(".")[0]


@contextmanager
def compared_in_threads(compare: Callable[[str, object, object], None]) -> Iterator[None]:
    """Tell of comparisons that fail while no test is run in the main thread; pytest tells of the others."""
    from _pytest.assertion import util

    before = util._reprcompare
    util._reprcompare = lambda op, left, right: compare(op, left, right)
    try:
        yield
    finally:
        util._reprcompare = before


def cases_of_function(
    collector: pytest.Module, name: str, function: Callable[..., object], make: type[pytest.Function]
) -> Iterator[pytest.Function]:
    """The items of a test function, as collecting a module makes them, as items of the class `make`."""
    private: Any = collector
    setattr(collector.obj, name, function)
    for item in private._genfunctions(name, function):
        callspec = getattr(item, "callspec", None)
        yield make.from_parent(
            collector,
            name=item.name,
            callspec=callspec,
            callobj=function,
            fixtureinfo=item._fixtureinfo,
            keywords={} if callspec is None else {callspec.id: True},
            originalname=name,
        )


def told_failure(lines: Sequence[str], file: str, line: int, message: str) -> Any:
    """A failure that is told in sentences, with its place in place of a traceback.

    :param message: what stands in the short summary.
    """
    entry = ReprEntry([f"E   {each}" for each in lines], None, None, None, "long")
    place = ReprFileLocation(file, line, message)
    return ExceptionChainRepr([(ReprTraceback([entry], None, "long"), place, None)])
