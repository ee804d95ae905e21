"""Objects of a test as data: whatever they are made of, and whatever they raise."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import json
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from pytest_promptopt.assertions.matchers import is_matcher
from pytest_promptopt.assertions.plain_values import parameter_text, plain_value, readable_value
from pytest_promptopt.text import safe_repr, value_text, without_addresses


def refuse(*_: object, **__: object) -> Any:
    raise RuntimeError("no")


class Table(collections.abc.Mapping[str, int]):
    __getitem__ = refuse

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


class Key:
    __str__ = __repr__ = refuse


class Items(list[int]):
    __getitem__ = refuse


class Members(set[int]):
    __iter__ = refuse


class Word(str):
    __getitem__ = __len__ = __str__ = refuse


class Itself(str):
    def __str__(self) -> str:
        return self


class Kind(type):
    __getattr__ = refuse


class OfKind(metaclass=Kind):
    pass


class Masked:
    __class__ = property(refuse)


class Everything:
    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *_: object) -> Any:
        return self


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Row:
    a: int

    def __getattribute__(self, name: str) -> Any:
        return refuse() if name == "a" else object.__getattribute__(self, name)


MADE: dict[str, Callable[[], Any]] = {
    "a mapping that cannot be read": Table,
    "a key without a text": lambda: {Key(): 1},
    "no text": Key,
    "a list that is not sliced": lambda: Items([1]),
    "a set that is not read": lambda: Members([1]),
    "a text that is not read": lambda: Word("a"),
    "a text that is its own text": lambda: Itself("a"),
    "a class that answers nothing": lambda: OfKind,
    "an object of such a class": OfKind,
    "an object of no class": Masked,
    "an object that is everything": Everything,
    "a field that is not read": lambda: Row(1),
    "a mock": mock.MagicMock,
    "a number without end": lambda: 10**5000,
    "a number below all others": lambda: -(10**5000),
    "an enum that is a number": lambda: Level.HIGH,
    "infinity": lambda: float("inf"),
    "bytes": lambda: b"\xff",
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"a": [value]}])
def test_every_object_is_told(make: Callable[[], Any], wrap: Callable[[Any], Any]) -> None:
    value = wrap(make())
    told = readable_value(value)
    assert told == readable_value(value)
    assert " at 0x" not in json.dumps(told)
    assert parameter_text(value)
    json.dumps(plain_value(value))
    assert is_matcher(value) in (True, False)


def exact(value: Any) -> bool:
    """Whether only Python's own types are in it, as xdist wants it."""
    if type(value) is dict:
        return all(type(key) is str and exact(item) for key, item in value.items())
    return (
        all(map(exact, value)) if type(value) is list else type(value) in (str, int, float, bool, type(None))
    )


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_what_is_told_is_of_pythons_own_types(make: Callable[[], Any]) -> None:
    assert exact(readable_value([make(), {Itself("a"): make()}]))


def test_numbers_and_texts_stay_what_they_are() -> None:
    assert readable_value([Level.HIGH, Itself("a"), Word("b"), 2**1_000]) == [3, "a", "b", 2**1_000]


def test_objects_that_cannot_be_told_apart_are_not_the_same_case() -> None:
    """Of what has an address, a case is told apart by its id."""
    assert " at 0x" in plain_value(Key())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<object object at 0x7f0012ab>", "<object object>"),
        ("[<function f at 0x7F>]", "[<function f>]"),
        ("<bound method A.b of <A object at 0x1>>", "<bound method A.b of <A object>>"),
        pytest.param(safe_repr(Key()), "<Key whose repr raises RuntimeError>", id="unspeakable"),
        ("It crashed at 0x7f0012ab, twice.", "It crashed at 0x7f0012ab, twice."),
    ],
)
def test_where_an_object_lives_is_told_nowhere(text: str, told: str) -> None:
    assert without_addresses(text) == told
    assert value_text(Key()) == "<Key whose repr raises RuntimeError>"
