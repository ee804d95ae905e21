"""Objects that stand in a test's expected value and decide by themselves what equals them: no expected text.

``pytest.approx``, ``unittest.mock.ANY``, dirty-equals, snapshots and their like.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any

#: Their comparison has no effect but its result; a snapshot counts how often it is compared.
_HARMLESS = ("unittest.mock", "dirty_equals", "_pytest")
_VALUES = (
    str, bytes, int, float, complex, type(None), list, tuple, set, frozenset, Mapping, enum.Enum,
    datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, fractions.Fraction, uuid.UUID,
    pathlib.PurePath,
)  # fmt: skip


def is_matcher(value: object) -> bool:
    """Whether `value` stands for all that it calls equal, and not for itself."""
    try:
        return _is_matcher(value)
    except Exception:  # of a type that raises whatever it is asked
        return False


def _is_matcher(value: object) -> bool:
    kind = type(value)
    if isinstance(value, type):
        return kind.__eq__ is not type.__eq__
    if isinstance(value, _VALUES) or hasattr(kind, "model_dump") or hasattr(kind, "dtype"):
        return False
    own = kind.__eq__
    if own is object.__eq__:
        return False
    code = getattr(own, "__code__", None)
    # What dataclasses and attrs generate compares field by field.
    made = code is not None and code.co_filename.startswith("<")
    return not (made or (dataclasses.is_dataclass(value) and code is None))


def is_approx(value: object) -> bool:
    """Whether `value` is a ``pytest.approx``."""
    kind = type(value)
    return str(kind.__module__).startswith("_pytest.") and kind.__name__.startswith("Approx")


def replace_matched(expected: Any, actual: Any, *, depth: int = 0) -> Any:
    """`expected` with what its matchers accept taken from `actual`, so that only the rest differs."""
    if depth > 8:
        return expected
    if is_approx(expected):
        return actual if _accepts(expected, actual) else _resolve_approx(expected, actual, depth)
    if is_matcher(expected):
        return actual if _accepts(expected, actual) else expected
    if isinstance(expected, dict) and isinstance(actual, Mapping):
        return {
            key: replace_matched(value, actual[key], depth=depth + 1) if key in actual else value
            for key, value in expected.items()
        }
    if type(expected) in (list, tuple) and isinstance(actual, (list, tuple)) and len(expected) == len(actual):
        return [replace_matched(one, two, depth=depth + 1) for one, two in zip(expected, actual, strict=True)]
    return expected


def _resolve_approx(approx: Any, actual: Any, depth: int) -> Any:
    """The numbers of an approx; those that are near enough are as they are in `actual`."""
    scalar = getattr(approx, "_approx_scalar", None)
    whole = approx.expected
    if scalar is None or not isinstance(whole, (dict, list, tuple)):
        return whole
    parts: Any
    if isinstance(whole, dict):
        parts = {key: scalar(value) for key, value in whole.items()}
    else:
        parts = [scalar(value) for value in whole]
    return replace_matched(parts, actual, depth=depth + 1)


def _accepts(matcher: Any, actual: Any) -> bool:
    kind = matcher if isinstance(matcher, type) else type(matcher)
    if not str(kind.__module__).startswith(_HARMLESS):  # a class may have a property of that name
        return False
    try:
        return bool(matcher == actual)
    except Exception:
        return False
