"""All that is reached from an object by ordinary references, as somebody would look who has it in hand.

Attributes, slots, the cells of closures, the objects of methods, the parts of partials, defaults, weak
references and containers are followed; modules, the globals of functions, frames and the garbage collector
are not.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

#: What leads from functions and methods to other objects.
LINKS = ("__self__", "__func__", "__wrapped__", "__defaults__", "__kwdefaults__")


def reachable(start: object) -> Iterator[tuple[str, object]]:
    """Every object once, with the way to it in words."""
    seen: dict[int, object] = {}  # holds the objects, so that no id comes twice
    waiting = deque([("it", start)])
    while waiting:
        way, found = waiting.popleft()
        if id(found) in seen or isinstance(found, types.ModuleType):
            continue
        seen[id(found)] = found
        yield way, found
        waiting.extend((f"{way}{step}", each) for step, each in _neighbours(found))


def _neighbours(found: Any) -> Iterator[tuple[str, object]]:
    if isinstance(found, str | bytes | int | float | complex | None):
        yield from _attributes(found)
        return
    yield from _items(found)
    yield from _attributes(found)
    if isinstance(found, types.FunctionType):
        for number, cell in enumerate(found.__closure__ or ()):
            if cell != types.CellType():
                yield f".__closure__[{number}]", cell.cell_contents
    if isinstance(found, functools.partial):
        yield from ((".func", found.func), (".args", found.args), (".keywords", found.keywords))
    if isinstance(found, weakref.ref):
        yield "()", found()
    if isinstance(found, types.FunctionType | types.MethodType | types.BuiltinFunctionType):
        for link in LINKS:
            yield f".{link}", getattr(found, link, None)
    if isinstance(found, property):
        yield from ((".fget", found.fget), (".fset", found.fset))
    if isinstance(found, classmethod | staticmethod):
        yield ".__func__", found.__func__
    yield ".__class__", type(found)


def _items(found: Any) -> Iterator[tuple[str, object]]:
    if isinstance(found, dict | types.MappingProxyType):
        for key, value in list(found.items()):
            yield f".key({key!r:.30})", key
            yield f"[{key!r:.30}]", value
    elif isinstance(found, list | tuple | set | frozenset | deque):
        for number, each in enumerate(list(found)):
            yield f"[{number}]", each


def _attributes(found: Any) -> Iterator[tuple[str, object]]:
    kind = type(found)
    if isinstance(found, type):
        if found.__module__ == "builtins":
            return
        yield from ((f".{name}", value) for name, value in vars(found).items())
        yield ".__mro__", found.__mro__
        return
    for name, value in list(getattr(found, "__dict__", {}).items()):
        yield f".{name}", value
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            hidden = f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") else name
            if name != "__weakref__" and hasattr(found, hidden):
                yield f".{hidden}", getattr(found, hidden)
