"""Frozen values of ours as a journal holds them, read back: what `dataclasses.asdict` made of them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read_value(kind: type[T], stored: Any) -> T:
    """`stored` as a value of the dataclass `kind`.

    A field that the journal of an older version lacks has its default, and one that this version does not
    know is left out. Raises `ValueError` that names the field for anything else that does not fit.
    """
    found: T = _read(kind, stored, kind.__name__)
    return found


def _read(kind: Any, stored: Any, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (kind,) = (each for each in inner if each is not types.NoneType)
        return None if stored is None else _read(kind, stored, where)
    if origin is tuple:
        return _tuple(inner, stored, where)
    if origin is Mapping:
        items = _fitting(dict, stored, where).items()
        return {
            _read(inner[0], key, where): _read(inner[1], value, f"{where}[{key}]") for key, value in items
        }
    if is_dataclass(kind):
        return _fields(kind, stored, where)
    if issubclass(kind, Enum):
        try:
            return kind(stored)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if kind is float and type(stored) is int:
        return float(stored)
    return _fitting(kind, stored, where)


def _tuple(inner: tuple[Any, ...], stored: Any, where: str) -> tuple[Any, ...]:
    items = _fitting(list, stored, where)
    if inner[-1] is Ellipsis:
        return tuple(_read(inner[0], each, f"{where}[{place}]") for place, each in enumerate(items))
    if len(items) != len(inner):
        raise ValueError(f"{where}: expected {len(inner)} values, got {len(items)}")
    return tuple(_read(kind, each, where) for kind, each in zip(inner, items, strict=True))


def _fields(kind: Any, stored: Any, where: str) -> Any:
    known, hints = _fitting(dict, stored, where), get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in known:
            values[field.name] = _read(hints[field.name], known[field.name], f"{where}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where}.{field.name} is missing")
    return kind(**values)


def _fitting(kind: type[T], stored: Any, where: str) -> T:
    if type(stored) is not kind:  # a bool is no int here
        raise ValueError(f"{where}: expected {kind.__name__}, got {type(stored).__name__}")
    return stored
