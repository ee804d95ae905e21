"""The objects that a test works with, as data: what has structure keeps it, the rest becomes its `repr`."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pytest_promptopt.records.content import ToolCall
from pytest_promptopt.text import MAX_REPR, cut_end, encodable, json_text, safe_repr, without_addresses

#: Nesting and length limits keep a cyclic or huge operand from hanging a run.
MAX_DEPTH, MAX_ITEMS = 8, 200
#: Python writes no longer number in digits, unless it is allowed to.
MAX_BITS = 2_000
#: Characters of one parameter of a test.
MAX_PARAMETER = 1_000


def plain_value(
    value: Any, *, depth: int = 0, show: Callable[[object], Any] = safe_repr, text: Callable[[str], str] = str
) -> Any:
    """`value` as JSON-like data: what has structure keeps it, the rest becomes what `show` makes of it.

    An object may raise whatever it is asked; then it is told as `show` tells it, which must not raise.

    :param text: makes a plain text of one that may be of a type of its own.
    """
    try:
        return _plain(value, depth=depth, show=show, text=text)
    except Exception:
        return show(value)


def _plain(value: Any, *, depth: int, show: Callable[[object], Any], text: Callable[[str], str]) -> Any:
    def inside(item: Any) -> Any:
        return plain_value(item, depth=depth + 1, show=show, text=text)

    if isinstance(value, int) and int.bit_length(value) > MAX_BITS:
        return hex(value)[:MAX_REPR]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return text(value)[:MAX_REPR]
    if depth >= MAX_DEPTH:
        return show(value)
    if isinstance(value, Mapping):
        pairs = list(value.items())[:MAX_ITEMS]
        return {str.__str__(str(key)): inside(item) for key, item in pairs}
    if isinstance(value, (list, tuple)):
        return [inside(item) for item in value[:MAX_ITEMS]]
    if isinstance(value, (set, frozenset)):
        return sorted(map(inside, list(value)[:MAX_ITEMS]), key=repr)
    if isinstance(value, ToolCall):  # two with other ids are the same call
        return inside(value.plain())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value)]
        return {name: inside(getattr(value, name, None)) for name in fields}
    dump = getattr(value, "model_dump", None)
    return inside(dump()) if callable(dump) and not isinstance(value, type) else show(value)


def readable_value(value: Any) -> Any:
    """`value` as JSON-like data that is the same in every process: without addresses of objects."""
    return _exact(plain_value(value, show=_described, text=str.__str__))


def _described(value: object) -> Any:
    """What an object stands for: the value of an enum, the text of a date, numpy's numbers."""
    with suppress(Exception):
        return _stands_for(value)
    return without_addresses(safe_repr(value))


def _stands_for(value: object) -> Any:
    if isinstance(value, enum.Enum):
        return readable_value(value.value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath)):
        return str(value)
    dump = getattr(value, "tolist", None)
    if callable(dump) and hasattr(value, "dtype"):
        return plain_value(dump(), depth=1, show=lambda inner: without_addresses(safe_repr(inner)))
    return without_addresses(safe_repr(value))


#: Python's own types of what is no text.
_EXACT = frozenset({int, float, bool, type(None)})


def _exact(value: Any, text: Callable[[str], str] = str.__str__) -> Any:
    """`value` in Python's own types: neither JSON nor xdist carries an enum that is a number.

    :param text: what becomes of each text.
    """
    kind = type(value)
    if kind is str:  # what nearly all is: all of a case goes through here
        return text(value)
    if kind in _EXACT:
        return value
    # What Python's type makes of it: one of the user's may return itself once more, or raise.
    if isinstance(value, str):
        return text(str.__str__(value))
    if isinstance(value, (list, tuple)):
        return [_exact(item, text) for item in value]
    if kind is dict or isinstance(value, Mapping):
        return {text(str.__str__(key)): _exact(item, text) for key, item in value.items()}
    return float.__pos__(value) if isinstance(value, float) else int.__pos__(value)


def to_plain_types(value: Any) -> Any:
    """JSON-like data as xdist can carry it: in Python's own types, without half characters."""
    return _exact(value, text=encodable)


def parameter_text(value: Any) -> str:
    """A parameter of a test as text: a string as it is, anything else as JSON."""
    value = value if type(value) is str else readable_value(value)
    return cut_end(value if isinstance(value, str) else json_text(value), MAX_PARAMETER)
