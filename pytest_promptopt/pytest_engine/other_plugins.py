"""Other plugins that watch how tests end: they see only the runs that are reported."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

from pytest_promptopt.pytest_engine.hook_inspection import changes_report, ends_test

#: A plugin that implements one of these makes something of results: a file, a database, a later skip.
RESULTS = ("pytest_runtest_makereport", "pytest_runtest_logreport")
PHASES = ("pytest_runtest_setup", "pytest_runtest_call", "pytest_runtest_teardown")
FIXTURES = ("pytest_fixture_setup", "pytest_fixture_post_finalizer")

#: Whose plugins run tests; theirs are needed in every run.
_PYTEST = ("_pytest", "pytest_promptopt")


class OtherPlugins:
    """Which hooks of which plugins are left out of a run that nobody is to see.

    Of plugins that make something of results: what wraps a phase of a test, and the making of its reports. Of
    installed ones also what else they do in a phase, since that depends on results (pytest-dependency skips).
    A conftest's own setup stays, and so does all of a plugin that decides how tests end (soft asserts): a run
    without it would have another verdict. Of every plugin: what runs a test in another way, as it is for a
    run that counts (reruns).
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        #: Hook -> plugins that are left out of it.
        self._left_out: dict[str, list[Any]] = {}
        self._own: set[int] = set()
        watching = {id(impl.plugin) for name in RESULTS for impl in self._foreign(name)} - self._judges()
        for name in ("pytest_runtest_makereport", *PHASES, *FIXTURES):
            for impl in self._foreign(name):
                own = self._belongs_to_project(impl.plugin)
                wraps = _wraps(impl) or name == "pytest_runtest_makereport"
                if id(impl.plugin) in watching and (wraps or (not own and name in PHASES)):
                    self._left_out.setdefault(name, []).append(impl.plugin)
                    if own:
                        self._own.add(id(impl.plugin))
        for impl in self._foreign("pytest_runtest_protocol"):
            if id(impl.plugin) in watching or not _wraps(impl):
                self._left_out.setdefault("pytest_runtest_protocol", []).append(impl.plugin)

    def __bool__(self) -> bool:
        return bool(self._left_out)

    def left_out(self, hook: str) -> list[Any]:
        return self._left_out.get(hook, [])

    def let_in_own(self) -> bool:
        """Let the project's own hooks see every run, for its fixtures; False if they did before."""
        news = bool(self._own)
        for plugins in self._left_out.values():
            plugins[:] = [plugin for plugin in plugins if id(plugin) not in self._own]
        self._own.clear()
        return news

    def _judges(self) -> set[int]:
        """The plugins whose hooks decide how a test ends, without those that run it once more."""
        reports, wraps = self._foreign("pytest_runtest_makereport"), map(self._foreign, PHASES)
        around = [impl for some in wraps for impl in some if _wraps(impl)]
        found = [impl for impl in reports if changes_report(impl.function)]
        found += [impl for impl in around if ends_test(impl.function)]
        runs = {id(impl.plugin) for impl in self._foreign("pytest_runtest_protocol") if not _wraps(impl)}
        return {id(impl.plugin) for impl in found} - runs

    def _foreign(self, hook: str) -> Iterable[Any]:
        for impl in getattr(self._config.hook, hook).get_hookimpls():
            if _module_of(impl.plugin).partition(".")[0] not in _PYTEST:
                yield impl

    def _belongs_to_project(self, plugin: Any) -> bool:
        """A conftest, or a plugin module that lies in the project and is not installed there."""
        file = getattr(plugin, "__file__", None) or ""
        inside = file.startswith(str(self._config.rootpath) + os.sep) and "site-packages" not in file
        return inside or os.path.basename(file) == "conftest.py"


def _wraps(impl: Any) -> bool:
    return bool(impl.wrapper or impl.hookwrapper)


def _module_of(plugin: Any) -> str:
    return str(getattr(plugin, "__name__", None) or type(plugin).__module__)
