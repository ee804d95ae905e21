"""What was worked out for an object of the user's, kept for as long as that object is there."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import MethodType
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class WeakCache(Generic[T]):
    """Keeps values by functions or classes of the user's, and keeps none of these alive.

    `functools.cache` would: a test function leads to its module, that to pytest's loader, and so to the whole
    session. A value must not lead to its function or class either, or both stay for good.
    """

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Any, dict[Hashable, T]] = WeakKeyDictionary()

    def get(self, owner: object, make: Callable[[], T], *key: Hashable) -> T:
        """The value of `owner`, made the first time; each time for what cannot be referred to weakly.

        :param owner: of a method its function counts, for methods are made anew whenever they are asked for.
        :param key: tells apart several values of one owner; must not lead to it.
        """
        bound = isinstance(owner, MethodType)
        try:
            values = self._kept.setdefault(owner.__func__ if isinstance(owner, MethodType) else owner, {})
        except TypeError:
            return make()
        if (bound, *key) not in values:
            values[bound, *key] = make()
        return values[bound, *key]
