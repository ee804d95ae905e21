"""What tests exchange for a while (`monkeypatch`, `unittest.mock`), and whether a model call needs it.

Model calls are made between the runs of tests, so a mock would be gone when the call is made that it is meant
for, and would be met by calls of others.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

#: The packages that calls of our own models go through; the first is the provider's name, or all others.
PACKAGES = {
    "demo": frozenset[str](),
    "anthropic": frozenset({"anthropic", "httpx", "httpcore"}),
    "": frozenset({"litellm", "openai", "httpx", "httpcore", "aiohttp"}),
}

#: Modules of the standard library by which a program asks another one, and so may a model that imports them.
ASKING = frozenset({"http", "subprocess", "urllib"})

#: These run the tests, and do not belong to what an application exchanges.
_OURS = frozenset({"pytest_promptopt", "pytest", "_pytest", "pluggy"})


@dataclass(frozen=True)
class Patch:
    """Something that is not what it was: an attribute of `target`, or an entry."""

    target: Any
    name: str

    @property
    def module(self) -> str:
        """The module that it belongs to; empty for a mapping, which may be anybody's."""
        target = self.target
        if isinstance(target, str):  # of `monkeypatch`: the path of the attribute
            parts = target.split(".")
            paths = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
            return next((path for path in paths if path in sys.modules), parts[0])
        if target is sys.modules:
            return self.name
        if isinstance(target, os.environ.__class__):
            return "os"
        if isinstance(target, ModuleType):
            return target.__name__
        if isinstance(target, pytest.Item):
            return ""  # pytest-asyncio does so with every test
        if isinstance(target, (dict, list)):
            return ""
        return str(getattr(target, "__module__", None) or type(target).__module__)

    @property
    def of_process(self) -> bool:
        """Whether it belongs to the whole process: the environment, or the standard library."""
        return self.module.partition(".")[0] in sys.stdlib_module_names

    def belongs_to(self, modules: frozenset[str]) -> bool:
        """Whether it is an exchange in one of `modules`, named in full or by their package."""
        if self.module:
            names = {self.module, self.module.partition(".")[0]}
            return not modules.isdisjoint(names)
        values = (vars(sys.modules[name]).values() for name in modules if name in sys.modules)
        return any(value is self.target for some in values for value in some)

    def __str__(self) -> str:
        target = self.target
        where = target if isinstance(target, str) else getattr(target, "__qualname__", "") or self.module
        return ".".join(part for part in (str(where), self.name) if part)


@dataclass
class Patches:
    """Those that are in place now; `install` has them noted down.

    :param before: called before something is exchanged.
    """

    before: Callable[[Patch], object]
    live: dict[int, list[Patch]] = field(default_factory=dict)
    _mocks_watched: bool = False
    _undo: list[tuple[Any, str, Any]] = field(default_factory=list)

    def install(self) -> None:
        for name in ("setattr", "delattr", "setitem", "delitem"):
            self._wrap(pytest.MonkeyPatch, name, _given)
        self._wrap(pytest.MonkeyPatch, "undo", None)

    def watch_mock(self) -> None:
        """`install` for `unittest.mock`, once somebody has imported it."""
        # By its package: who takes it out of `sys.modules`, as pytester does, does not take it from there.
        mock: Any = getattr(sys.modules.get("unittest"), "mock", None)
        if self._mocks_watched or mock is None:
            return
        self._mocks_watched = True
        one: Any = mock._patch
        several: Any = mock._patch_dict
        self._wrap(one, "__enter__", lambda patch: (patch.getter(), patch.attribute))
        self._wrap(one, "__exit__", None)
        self._wrap(several, "_patch_dict", lambda patch: (_mapping(patch.in_dict), ""))
        self._wrap(several, "_unpatch_dict", None)

    def remove(self) -> None:
        while self._undo:
            setattr(*self._undo.pop())

    def __iter__(self) -> Iterator[Patch]:
        return (exchange for some in self.live.values() for exchange in some)

    def __bool__(self) -> bool:
        return bool(self.live)

    def _wrap(self, owner: Any, name: str, what: Callable[..., tuple[Any, Any]] | None) -> None:
        """:param what: target and name of the exchange that a call makes; None for a call that ends some."""
        original = vars(owner)[name]

        @wraps(original)
        def watched(patcher: Any, /, *args: Any, **named: Any) -> Any:
            __tracebackhide__ = True
            if what is not None:
                target, key = what(patcher, *args, **named)
                named_apart = isinstance(key, str) and not isinstance(target, str)
                exchange = Patch(target, key if named_apart else "")
                self.before(exchange)
                self.live.setdefault(id(patcher), []).append(exchange)
            try:
                return original(patcher, *args, **named)
            finally:
                if what is None:
                    self.live.pop(id(patcher), None)

        self._undo.append((owner, name, original))
        setattr(owner, name, watched)


def _given(
    patcher: Any, target: Any = None, key: Any = "", *rest: Any, dic: Any = None, name: Any = "", **named: Any
) -> tuple[Any, Any]:
    """Target and name of a call of `monkeypatch`, which names its parameters in two ways."""
    return (target if dic is None else dic), key or name


def _mapping(given: Any) -> Any:
    return os.environ if given == "os.environ" else given


def modules_of(kind: type) -> frozenset[str]:
    """The modules that code of a model's class can reach by imports.

    Of the standard library only those by which it can ask another program; the others belong to everybody.
    """
    seen: set[str] = set()
    todo = [_module_of(base) for base in kind.__mro__]
    todo += [name for base in kind.__mro__ for value in vars(base).values() for name in _imports(value)]
    while todo:
        name = todo.pop()
        top = name.partition(".")[0]
        module = sys.modules.get(name)
        if top in ASKING:
            seen.add(top)
        if name in seen or not isinstance(module, ModuleType) or top in sys.stdlib_module_names | _OURS:
            continue
        seen.add(name)
        for value in list(vars(module).values()):
            if isinstance(value, ModuleType):
                todo.append(value.__name__)
            else:
                todo.append(_module_of(value if isinstance(value, (type, FunctionType)) else type(value)))
    return frozenset(seen)


def _module_of(value: type | FunctionType) -> str:
    """The module that it says to be of; empty for something else: a class may have a property there."""
    name: object = value.__module__
    return name if isinstance(name, str) else ""


def _imports(value: object) -> Iterator[str]:
    """Modules that a function imports by itself."""
    code = getattr(value, "__code__", None)
    todo = [code] if isinstance(code, CodeType) else []
    while todo:
        found = todo.pop()
        yield from found.co_names
        todo += [constant for constant in found.co_consts if isinstance(constant, CodeType)]


def process_state() -> object:
    """What calls need of the process and a test may change without asking anybody: equal if unchanged.

    Environment, clocks, the disk (pyfakefs puts another `os` into every module) and sockets.
    """
    made = socket.socket
    sockets = made, getattr(made, "connect", None), socket.create_connection, socket.getaddrinfo
    return _environment(), time.time, time.monotonic, os, sockets


def _environment() -> dict[Any, Any]:
    """All variables but pytest's own, to be compared only: on most systems bytes, as Python keeps them.

    Asked for around every call; to decode them takes ten times as long.
    """
    kept = getattr(os.environ, "_data", None)
    found = dict(kept if type(kept) is dict else os.environ)
    for name in ("PYTEST_CURRENT_TEST", b"PYTEST_CURRENT_TEST"):
        found.pop(name, None)
    return found
