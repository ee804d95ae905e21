"""Finds functions of a model's modules that a test has replaced by plain assignment."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType

from pytest_promptopt.pytest_engine.patches import ASKING, Patch

#: Kinds of values that only a mock replaces. Other values may be set anew by a program itself.
_LASTING = (FunctionType, BuiltinFunctionType, type, classmethod, staticmethod, property)

#: Packages that calls go through in all their modules; of others only those that are named.
_IN_FULL = ("httpx", "httpcore", "aiohttp", *ASKING)


class AssignedMocks:
    """Functions and classes of modules, and methods of their classes, as they are now.

    Whole dictionaries are copied, since there are thousands of modules: whether a mock replaces what is in
    them is asked of what has changed only.

    :param modules: None for all that a model can have.
    """

    def __init__(self, modules: frozenset[str] | None) -> None:
        self._of: list[tuple[str, object, Mapping[str, object]]] = []
        for name in _all() if modules is None else _named(modules):
            module = sys.modules.get(name)
            if issubclass(type(module), ModuleType):
                parts = dict(_dict(module))
                own = [part for part in parts.values() if issubclass(type(part), type)]
                self._of.append((name, module, parts))
                self._of += [
                    (name, kind, dict(_dict(kind))) for kind in own if _dict(kind).get("__module__") == name
                ]

    def exchanged(self, modules: frozenset[str] | None = None) -> list[Patch]:
        """Those that are not what they were.

        :param modules: only of these.
        """
        wanted = None if modules is None else frozenset(_named(modules))
        return [
            Patch(owner, part)
            for name, owner, parts in self._of
            if wanted is None or name in wanted
            for part in _changed(_dict(owner), parts)
            if _lasts(parts[part])
        ]


def _changed(now: Mapping[str, object], before: Mapping[str, object]) -> list[str]:
    return [name for name, value in before.items() if now.get(name) is not value]


def _lasts(value: object) -> bool:
    # Not `isinstance`: it asks the value, which may be a stand-in that looks for what it stands for.
    if not issubclass(type(value), _LASTING):
        return False
    # Clocks and the disk are everybody's, also where a module has them by name (freezegun, pyfakefs).
    is_class = issubclass(type(value), type)
    home = _dict(value).get("__module__") if is_class else getattr(value, "__module__", None)
    top = str(home).partition(".")[0]
    return top in ASKING or top not in sys.stdlib_module_names


def _dict(owner: object) -> Mapping[str, object]:
    """The attributes of a module or class, without loading one that loads itself at the first access."""
    kind = ModuleType if issubclass(type(owner), ModuleType) else type
    found: Mapping[str, object] = kind.__getattribute__(owner, "__dict__")
    return found


def _named(modules: Iterable[str]) -> Iterator[str]:
    yield from modules
    full = tuple(f"{name}." for name in _IN_FULL if name in modules)
    if full:
        yield from (name for name in list(sys.modules) if name.startswith(full))


def _all() -> Iterator[str]:
    ours = ("pytest_promptopt", "_pytest", "pytest", "pluggy")
    for name in list(sys.modules):
        top = name.partition(".")[0]
        if top in ASKING or (top not in sys.stdlib_module_names and top not in ours):
            yield name
