"""Plain data as JavaScript writes and compares it: what Nunjucks prints is not what Python prints.

A value here is one of JSON, or `UNDEFINED`. What cannot be done exactly as JavaScript does it raises
`NotTheSame`, with the reason in a sentence: another text is never an answer.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, Final, TypeGuard


class NotTheSame(ValueError):
    """Python cannot be shown to come to what JavaScript comes to."""


class Undefined:
    """The value of what is not given; there is one."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Final = Undefined()

#: Above it JavaScript's numbers are no longer exact.
_MAX_EXACT = 2**53

#: Where JavaScript goes over to writing an exponent.
_MAX_PLAIN, _MIN_PLAIN = 1e21, 1e-6


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether JavaScript has a number for it: True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def truthy(value: object) -> bool:
    """Lists and mappings are true in JavaScript, even empty ones."""
    if isinstance(value, list | dict):
        return True
    if isinstance(value, float) and math.isnan(value):
        return False
    return value is not UNDEFINED and bool(value)


def number_text(value: int | float) -> str:
    """``1.0`` is ``1``, ``1e-07`` is ``1e-7``."""
    if isinstance(value, int):
        if abs(value) > _MAX_EXACT:
            raise NotTheSame(f"{value} is more than a JavaScript number can hold exactly")
        return str(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    digits = Decimal(repr(value))
    if _MIN_PLAIN <= abs(value) < _MAX_PLAIN:
        text = format(digits, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    sign, figures, exponent = digits.normalize().as_tuple()
    assert isinstance(exponent, int)
    written = "".join(map(str, figures))
    power = exponent + len(written) - 1
    mantissa = written[0] + (f".{written[1:]}" if len(written) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"


def text_of(value: object) -> str:
    """``String(value)``."""
    if value is UNDEFINED:
        return "undefined"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, list):
        return ",".join("" if item is None or item is UNDEFINED else text_of(item) for item in value)
    if isinstance(value, dict):
        return "[object Object]"
    raise NotTheSame(f"a {type(value).__name__} is written in another way")


def length_of(text: str) -> int:
    """JavaScript counts UTF-16 units."""
    return len(text) + sum(ord(character) > 0xFFFF for character in text)


def keys_of(value: dict[str, Any]) -> list[str]:
    """The keys in JavaScript's order: those that are whole numbers come first there."""
    for key in value:
        if key.isdigit() and (key == "0" or not key.startswith("0")):
            raise NotTheSame(f"the key {key!r} is a number, which JavaScript puts before the others")
    return list(value)


def json_text(value: object, *, indent: int | None = None) -> str:
    """``JSON.stringify(value, null, indent)``."""
    if isinstance(value, list):
        return _enclosed("[", [json_text(item, indent=indent) for item in value], "]", indent)
    if isinstance(value, dict):
        between = ": " if indent else ":"
        items = [
            json.dumps(key, ensure_ascii=False) + between + json_text(value[key], indent=indent)
            for key in keys_of(value)
            if value[key] is not UNDEFINED
        ]
        return _enclosed("{", items, "}", indent)
    if value is UNDEFINED:
        return "null"  # in a list
    if value is None or isinstance(value, bool):
        return text_of(value)
    if isinstance(value, str):
        return _json_string(value)
    if isinstance(value, int | float):
        return number_text(value) if math.isfinite(value) else "null"
    raise NotTheSame(f"a {type(value).__name__} is no value of JSON")


def _json_string(text: str) -> str:
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise NotTheSame("half of a surrogate pair is written in another way")
    return json.dumps(text, ensure_ascii=False)


def _enclosed(opening: str, items: list[str], closing: str, indent: int | None) -> str:
    if not items:
        return opening + closing
    if not indent:
        return opening + ",".join(items) + closing
    inner = ",\n".join(items)
    # A line break inside of a string is written as \n, so each line here begins an item.
    indented = "\n".join(" " * indent + line for line in inner.split("\n"))
    return f"{opening}\n{indented}\n{closing}"


def strictly_equal(left: object, right: object) -> bool:
    """``===``, for all but lists and mappings, which are equal only if they are the same one."""
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        if isinstance(left, list | dict) and isinstance(right, list | dict) and left == right:
            raise NotTheSame("whether two lists or mappings are the same one is not known here")
        return False
    if is_number(left) and is_number(right):
        return left == right
    return type(left) is type(right) and left == right


def loosely_equal(left: object, right: object) -> bool:
    """``==``, for values of one kind."""
    if left is None or left is UNDEFINED:
        return right is None or right is UNDEFINED
    if right is None or right is UNDEFINED:
        return False
    if type(left) is type(right) or (is_number(left) and is_number(right)):
        return strictly_equal(left, right)
    raise NotTheSame(f"JavaScript converts {text_of(left)!r} and {text_of(right)!r} before it compares them")


def less(left: object, right: object) -> bool:
    """``<``, for two numbers or two texts."""
    if is_number(left) and is_number(right):
        return left < right
    if isinstance(left, str) and isinstance(right, str):
        return left.encode("utf-16-be", "surrogatepass") < right.encode("utf-16-be", "surrogatepass")
    raise NotTheSame(f"JavaScript converts {text_of(left)!r} and {text_of(right)!r} before it compares them")


def added(left: object, right: object) -> object:
    """``+``: of numbers the sum, with a text the two texts together."""
    if is_number(left) and is_number(right):
        return arithmetic("+", left, right)
    if isinstance(left, str) or isinstance(right, str):
        return text_of(left) + text_of(right)
    raise NotTheSame("+ is only for numbers and texts here")


def arithmetic(operator: str, left: object, right: object) -> int | float:
    """``+``, ``-``, ``*`` and ``/`` of two numbers."""
    if not (is_number(left) and is_number(right)):
        raise NotTheSame(f"{operator} is only for two numbers here")
    if operator == "/":
        if right == 0:
            raise NotTheSame("it divides by zero")
        result: float = left / right
    else:
        result = {"+": left + right, "-": left - right, "*": left * right}[operator]
    if abs(result) > _MAX_EXACT:
        raise NotTheSame("the result is more than a JavaScript number can hold exactly")
    return int(result) if float(result).is_integer() else result
