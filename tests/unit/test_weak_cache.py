"""What was worked out for a function or class is kept as long as that, and no longer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest

from pytest_promptopt.weak_cache import WeakCache


class Counting:
    """Counts how often a value was made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> int:
        self.made += 1
        return self.made


def some_function() -> Callable[[], None]:
    def function() -> None: ...

    return function


def test_a_value_is_made_once_for_each_owner_and_key() -> None:
    cache, make = WeakCache[int](), Counting()
    one, other = some_function(), some_function()
    assert [cache.get(one, make), cache.get(one, make), cache.get(other, make)] == [1, 1, 2]
    assert [cache.get(one, make, "key"), cache.get(one, make, "key"), cache.get(one, make)] == [3, 3, 1]


def test_a_method_is_found_again_and_is_not_its_function() -> None:
    class Owner:
        def method(self) -> None: ...

    cache, make, owner = WeakCache[int](), Counting(), Owner()
    assert [cache.get(owner.method, make), cache.get(owner.method, make)] == [1, 1]
    assert cache.get(Owner.method, make) == 2


def test_what_cannot_be_referred_to_weakly_is_made_each_time() -> None:
    cache, make = WeakCache[int](), Counting()
    assert [cache.get(7, make), cache.get(7, make)] == [1, 2]


def test_an_owner_is_not_kept_alive() -> None:
    cache, function = WeakCache[int](), some_function()
    cache.get(function, Counting())
    seen = weakref.ref(function)
    del function
    gc.collect()
    assert seen() is None


def test_a_value_that_could_not_be_made_is_tried_again() -> None:
    cache, function = WeakCache[int](), some_function()

    def fails() -> int:
        raise ValueError("not today")

    with pytest.raises(ValueError, match="not today"):
        cache.get(function, fails)
    assert cache.get(function, Counting()) == 1
