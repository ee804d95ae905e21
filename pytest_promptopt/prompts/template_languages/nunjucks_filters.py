"""The filters of Nunjucks that come to the same text here: those of the same name in Jinja2 often do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cmp_to_key
from typing import Any

from pytest_promptopt.prompts.template_languages.javascript_values import (
    UNDEFINED,
    NotTheSame,
    is_number,
    json_text,
    keys_of,
    length_of,
    less,
    text_of,
    truthy,
)
from pytest_promptopt.text import value_of_json

#: What JavaScript's ``\s`` and `trim` take away.
WHITESPACE = " \t\n\v\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028"
WHITESPACE += "\u2029\u202f\u205f\u3000\ufeff"

_MAX_PRECISION = 10

Filter = Callable[..., Any]


def call_filter(name: str, subject: object, given: list[object]) -> object:
    """Raises `NotTheSame` where Nunjucks fails, or cannot be followed."""
    try:
        return FILTERS[name](subject, *given)
    except TypeError:
        raise NotTheSame(f"the filter `{name}` is given {len(given)} values") from None


def _text(value: object, name: str) -> str:
    """A text that a filter works on; what says nothing is an empty one, as Nunjucks has it."""
    if value is None or value is UNDEFINED or value is False:
        return ""
    if not isinstance(value, str):
        raise NotTheSame(f"the filter `{name}` works on a text, not on {text_of(value)!r}")
    return value


def single_units(text: str) -> str:
    """The same text; raises where JavaScript takes a character of it for two."""
    if length_of(text) != len(text):
        raise NotTheSame("JavaScript takes a character beyond U+FFFF for two")
    return text


def _capitalize(value: object) -> str:
    text = _text(value, "capitalize").lower()
    return text[:1].upper() + text[1:] if length_of(text[:1]) < 2 else text


def _title(value: object) -> str:
    return " ".join(_capitalize(word) for word in _text(value, "title").split(" "))


def _trim(value: object) -> str:
    if not isinstance(value, str):
        raise NotTheSame(f"the filter `trim` works on a text, not on {text_of(value)!r}")
    return value.strip(WHITESPACE)


def _default(value: object, default: object = UNDEFINED, also_false: object = False) -> object:
    if truthy(also_false):
        return value if truthy(value) else default
    return default if value is UNDEFINED else value


def _join(value: object, between: object = "", attribute: object = None) -> str:
    if not isinstance(value, list):
        raise NotTheSame(f"the filter `join` works on a list, not on {text_of(value)!r}")
    if truthy(attribute):
        if not all(isinstance(item, dict) for item in value):
            raise NotTheSame("the filter `join` with an attribute works on mappings")
        value = [item.get(text_of(attribute), UNDEFINED) for item in value]
    texts = ["" if item is None or item is UNDEFINED else text_of(item) for item in value]
    return (text_of(between) if truthy(between) else "").join(texts)


def _length(value: object) -> int:
    if isinstance(value, list | dict):
        return len(value)
    return length_of(_text(value, "length"))


def _dump(value: object, indent: object = None) -> object:
    if value is UNDEFINED:
        return UNDEFINED
    if indent is None or indent is UNDEFINED:
        return json_text(value)
    if not isinstance(indent, int) or isinstance(indent, bool) or not 0 <= indent <= _MAX_PRECISION:
        raise NotTheSame(f"`dump` is given {text_of(indent)!r} for the width of its indent")
    return json_text(value, indent=indent)


def _safe(value: object) -> str:
    return "" if value is None or value is UNDEFINED else text_of(value)


def _replace(value: object, old: object, new: object, most: object = -1) -> object:
    if not isinstance(value, str) or not isinstance(old, str) or not isinstance(new, str) or not old:
        raise NotTheSame("`replace` is followed for texts only, and not for an empty one")
    if not isinstance(most, int) or isinstance(most, bool):
        raise NotTheSame("`replace` is given no number of times")
    return value.replace(old, new, most)


def _items(value: object, name: str) -> list[Any]:
    if isinstance(value, str):
        return list(single_units(value))
    if not isinstance(value, list):
        raise NotTheSame(f"the filter `{name}` works on a list or a text, not on {text_of(value)!r}")
    return value


def _first(value: object) -> object:
    items = _items(value, "first")
    return items[0] if items else UNDEFINED


def _last(value: object) -> object:
    items = _items(value, "last")
    return items[-1] if items else UNDEFINED


def _reverse(value: object) -> object:
    backwards = _items(value, "reverse")[::-1]
    return "".join(backwards) if isinstance(value, str) else backwards


def _sort(value: object) -> list[object]:
    if not isinstance(value, list):
        raise NotTheSame(f"the filter `sort` works on a list, not on {text_of(value)!r}")

    def compared(left: object, right: object) -> int:
        if isinstance(left, str) and isinstance(right, str):
            left, right = left.lower(), right.lower()
        return -1 if less(left, right) else int(less(right, left))

    return sorted(value, key=cmp_to_key(compared))


def _round(value: object, precision: object = 0, method: object = "") -> int | float:
    if not is_number(value) or not isinstance(precision, int) or not 0 <= precision <= _MAX_PRECISION:
        raise NotTheSame("`round` is followed for a number and up to 10 decimals")
    if method not in ("", "common", "ceil", "floor"):
        raise NotTheSame(f"`round` is given {method!r}")
    scaled = float(value) * 10**precision
    below = math.floor(scaled)
    up = method == "ceil" and scaled > below
    up |= method in ("", "common") and scaled - below >= 0.5
    result = (below + up) / 10**precision
    return int(result) if result.is_integer() else result


def _abs(value: object) -> int | float:
    if not is_number(value):
        raise NotTheSame("`abs` is followed for a number only")
    return abs(value)


def _indent(value: object, width: object = 4, first: object = False) -> str:
    text = _text(value, "indent")
    if not isinstance(width, int) or isinstance(width, bool) or not 0 <= width <= 1000:
        raise NotTheSame(f"`indent` is given {text_of(width)!r} for its width")
    spaces = " " * (width or 4)
    lines = text.split("\n")
    begun = [spaces + lines[0] if truthy(first) and text else lines[0]]
    return "\n".join(begun + [spaces + line for line in lines[1:]])


def _load(value: object) -> object:
    """promptfoo's own: the value that a text of JSON is."""
    if not isinstance(value, str):
        raise NotTheSame("the filter `load` works on a text of JSON")
    try:
        return value_of_json(value)
    except ValueError as error:
        raise NotTheSame(f"the filter `load`: {error}") from None


#: By their names in Nunjucks; another one is not followed.
FILTERS: Mapping[str, Filter] = {
    "abs": _abs,
    "capitalize": _capitalize,
    "d": _default,
    "default": _default,
    "dump": _dump,
    "first": _first,
    "indent": _indent,
    "join": _join,
    "last": _last,
    "length": _length,
    "load": _load,
    "lower": lambda value: _text(value, "lower").lower(),
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "safe": _safe,
    "sort": _sort,
    "title": _title,
    "trim": _trim,
    "upper": lambda value: _text(value, "upper").upper(),
}


def pairs(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """Keys and values in JavaScript's order."""
    return [(key, value[key]) for key in keys_of(value)]
