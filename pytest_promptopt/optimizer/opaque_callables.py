"""Functions that can be called but not inspected.

What a strategy is handed must not lead to held-out cases, and every ordinary reference would: a method
has its object, a closure its cells. So the function is kept in a table of this module, under the object
that stands for it, and is dropped together with this object or when it has had its time. No code finds it
by chance; code that reads this module's table, frames or files still can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

P = ParamSpec("P")
T = TypeVar("T")


class _OpaqueCallable:
    """Stands for a function, without a reference to it."""

    __slots__ = ("__weakref__",)

    def __call__(self, *args: Any, **given: Any) -> Any:
        function = _FUNCTIONS.get(self)
        if function is None:
            raise RuntimeError("the search that this was a part of is over")
        return function(*args, **given)

    def __copy__(self) -> _OpaqueCallable:
        return self  # a function has no copies either

    def __deepcopy__(self, memo: object) -> _OpaqueCallable:
        return self


_FUNCTIONS: WeakKeyDictionary[_OpaqueCallable, Callable[..., Any]] = WeakKeyDictionary()


def make_opaque(function: Callable[P, T]) -> Callable[P, T]:
    """`function` in a form that can only be called."""
    front = _OpaqueCallable()
    _FUNCTIONS[front] = function
    return front


def drop_opaque(front: object) -> None:
    """Drop the function behind `front`, if it is such; a later call raises `RuntimeError`.

    Where the function leads to somebody who keeps `front`, neither would ever be freed by itself: the table
    keeps the one, and so the other.
    """
    if isinstance(front, _OpaqueCallable):
        _FUNCTIONS.pop(front, None)
