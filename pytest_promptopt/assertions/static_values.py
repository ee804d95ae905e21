"""The value of an expression in a test's source, found without running any of the user's code.

Only plain data is looked up, put together and read; whatever would call a function or a method that is not
known to be harmless has no value here.
"""

from __future__ import annotations

import ast
import datetime
import decimal
import enum
import fractions
import json
import operator
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MemberDescriptorType, ModuleType
from typing import Any

#: A longer text or list is not built: it would tell nobody more, and might not fit into memory.
MAX_SIZE = 100_000

#: A class whose items are those of a dict that it stores names the attribute of it so.
ITEMS = "__stored_items__"

_SCALARS = (str, int, float, bool, type(None))
_SEQUENCES = (str, list, tuple)
#: Values of other types may answer a comparison or a subscript with any code.
_PLAIN = (*_SCALARS, list, tuple, dict, set, frozenset)

_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    str, int, float, bool, len, abs, min, max, round, sorted, list, tuple, dict, set, json.loads, json.dumps,
    decimal.Decimal, datetime.date, datetime.datetime, datetime.time, fractions.Fraction, uuid.UUID,
)  # fmt: skip
_TEXT_METHODS = (
    "strip", "lstrip", "rstrip", "lower", "upper", "casefold", "title", "capitalize", "swapcase", "replace",
    "split", "splitlines", "removeprefix", "removesuffix", "startswith", "endswith", "join",
)  # fmt: skip
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(_TEXT_METHODS),
    dict: frozenset(("get",)),
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {
    ast.Not: operator.not_, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip
_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_SYMBOLS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is", ast.IsNot: "is not", ast.Lt: "<", ast.LtE: "<=",
    ast.Gt: ">", ast.GtE: ">=", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
#: What a comparison comes to, by its symbol.
COMPARED: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "is": operator.is_, "is not": operator.is_not,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "in": lambda one, many: one in many, "not in": lambda one, many: one not in many,
}  # fmt: skip
_CONVERSIONS: Mapping[str, Callable[[Any], str]] = {"s": str, "r": repr, "a": ascii}
#: ``:.2f``, ``:>10``, ``:,``: no width that fills the memory.
_FORMAT = re.compile(r"[<>^]?\d{0,3},?(?:\.\d{1,2})?[a-z%]?")


class NoValue(Exception):
    """The expression has no value that can be found safely."""


def value_of(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of `node`, names looked up in `names`. Raises `NoValue`.

    :param names: also holds, under their source (``prompt(ticket=ticket)``), calls whose result is known.
    """
    try:
        value = _value(node, names)
        if isinstance(value, _SEQUENCES) and len(value) > MAX_SIZE:
            raise NoValue("too large")
        return value
    except NoValue:
        raise
    except Exception as error:  # a missing key, a wrong type: the test would have met it too
        raise NoValue(type(error).__name__) from None


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    reader = _READERS.get(type(node))
    if reader is None:
        raise NoValue(type(node).__name__)
    return reader(node, names)


def _plain(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of `node`, which must be of a type whose own methods are known."""
    value = value_of(node, names)
    if type(value) not in _PLAIN:
        raise NoValue(type(value).__name__)
    return value


def _name(node: ast.Name, names: Mapping[str, Any]) -> Any:
    if node.id not in names:
        raise NoValue(node.id)
    return names[node.id]


def _dict(node: ast.Dict, names: Mapping[str, Any]) -> Any:
    built: dict[Any, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            built.update(_plain(value, names))
        else:
            built[_plain(key, names)] = value_of(value, names)
    return built


def _items(node: ast.List | ast.Tuple | ast.Set, names: Mapping[str, Any]) -> Any:
    built: list[Any] = []
    for item in node.elts:
        if isinstance(item, ast.Starred):
            built.extend(_plain(item.value, names))
        else:
            built.append(_plain(item, names) if isinstance(node, ast.Set) else value_of(item, names))
    return tuple(built) if isinstance(node, ast.Tuple) else set(built) if isinstance(node, ast.Set) else built


def _subscript(node: ast.Subscript, names: Mapping[str, Any]) -> Any:
    whole = value_of(node.value, names)
    if isinstance(inside := vars(type(whole)).get(ITEMS), str):
        whole = stored_attribute(whole, inside)
    if type(whole) not in (str, list, tuple, dict):
        raise NoValue(type(whole).__name__)
    if not isinstance(node.slice, ast.Slice):
        return whole[_plain(node.slice, names)]
    ends = (node.slice.lower, node.slice.upper, node.slice.step)
    return whole[slice(*(None if end is None else _plain(end, names) for end in ends))]


def _attribute(node: ast.Attribute, names: Mapping[str, Any]) -> Any:
    """A field that is stored in the object itself, never one that some code computes."""
    return stored_attribute(value_of(node.value, names), node.attr)


def stored_attribute(value: Any, name: str) -> Any:
    """The attribute `name` of `value` as it is stored there. Raises `NoValue`."""
    if isinstance(value, enum.Enum) and name in ("value", "name"):
        return value._value_ if name == "value" else value._name_
    own = getattr(value, "__dict__", {})
    if type(own) is dict and name in own:
        return own[name]
    kind = next((vars(each)[name] for each in type(value).__mro__ if name in vars(each)), None)
    if isinstance(kind, MemberDescriptorType):  # a slot
        return getattr(value, name)
    if isinstance(value, tuple) and name in getattr(type(value), "_fields", ()):
        return tuple.__getitem__(value, type(value)._fields.index(name))  # type: ignore[attr-defined]
    if isinstance(value, type) and issubclass(value, enum.Enum) and name in value.__members__:
        return value.__members__[name]
    raise NoValue(name)


def _text(node: ast.JoinedStr, names: Mapping[str, Any]) -> str:
    parts = []
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
            continue
        assert isinstance(part, ast.FormattedValue)
        value = _plain(part.value, names)
        form = "" if part.format_spec is None else value_of(part.format_spec, names)
        if not isinstance(value, _SCALARS) or not _FORMAT.fullmatch(form):
            raise NoValue("format")
        if part.conversion != -1:
            value = _CONVERSIONS[chr(part.conversion)](value)
        parts.append(format(value, form))
    return "".join(parts)


def _binary(node: ast.BinOp, names: Mapping[str, Any]) -> Any:
    one, two = _plain(node.left, names), _plain(node.right, names)
    numbers = isinstance(one, (int, float)) and isinstance(two, (int, float))
    joined = isinstance(node.op, ast.Add) and type(one) is type(two) and isinstance(one, _SEQUENCES)
    if type(node.op) not in _BINARY or not (numbers or joined):
        raise NoValue("operator")
    return _BINARY[type(node.op)](one, two)


def _unary(node: ast.UnaryOp, names: Mapping[str, Any]) -> Any:
    if type(node.op) not in _UNARY:
        raise NoValue("operator")
    return _UNARY[type(node.op)](_plain(node.operand, names))


def _compare(node: ast.Compare, names: Mapping[str, Any]) -> bool:
    sides: Sequence[Any] = [_plain(side, names) for side in (node.left, *node.comparators)]
    symbols = [symbol_of(each) for each in node.ops]
    if not {"is", "is not"}.isdisjoint(symbols):  # these values are made anew, so they are never the same
        raise NoValue("operator")
    pairs = zip(symbols, sides, sides[1:], strict=False)
    return all(bool(COMPARED[symbol](one, two)) for symbol, one, two in pairs)


def symbol_of(node: ast.cmpop) -> str:
    """``==`` of its node."""
    return _SYMBOLS[type(node)]


def _boolean(node: ast.BoolOp, names: Mapping[str, Any]) -> Any:
    value: Any = None
    for part in node.values:
        value = _plain(part, names)
        if bool(value) is isinstance(node.op, ast.Or):
            break
    return value


def chosen_branch(node: ast.IfExp, names: Mapping[str, Any]) -> ast.expr | None:
    """The one of the two expressions that counts; None when that cannot be told."""
    try:
        return node.body if _plain(node.test, names) else node.orelse
    except NoValue:
        return None


def _either(node: ast.IfExp, names: Mapping[str, Any]) -> Any:
    return value_of(node.body if _plain(node.test, names) else node.orelse, names)


def _call(node: ast.Call, names: Mapping[str, Any]) -> Any:
    function = node.func
    if (known := ast.unparse(node)) in names:
        return names[known]
    if ast.unparse(function) in ("approx", "pytest.approx") and node.args:
        return value_of(node.args[0], names)
    if (fields := _fields_of(function, names)) is not None:
        return _record(node, fields, names)
    given = [_plain(each, names) for each in node.args]
    named = {each.arg: _plain(each.value, names) for each in node.keywords if each.arg is not None}
    if len(named) < len(node.keywords) or not set(named) <= {"default", "reverse", "sort_keys", "maxsplit"}:
        raise NoValue("keywords")
    if isinstance(function, ast.Attribute):
        try:
            whole = value_of(function.value, names)
        except NoValue:
            whole = None
        if function.attr == "json" and type(whole) is str:
            return json.loads(whole)  # only an answer has such a method
        if function.attr in _METHODS.get(type(whole), ()):
            return getattr(whole, function.attr)(*given, **named)
    return _function(function, names)(*given, **named)


def _await(node: ast.Await, names: Mapping[str, Any]) -> Any:
    if (known := ast.unparse(node)) in names:
        return names[known]
    raise NoValue("await")


def _function(node: ast.expr, names: Mapping[str, Any]) -> Callable[..., Any]:
    named = _named(node, names)
    found: list[Callable[..., Any]] = [harmless for harmless in _FUNCTIONS if harmless is named]
    if found:
        return found[0]
    raise NoValue("call")


def _named(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What ``name`` or ``module.name`` stands for; None when it is not known."""
    if isinstance(node, ast.Name):
        return names.get(node.id, _BUILTIN.get(node.id))
    if isinstance(node, ast.Attribute):
        module = _named(node.value, names)
        return vars(module).get(node.attr) if isinstance(module, ModuleType) else None
    return None


def _fields_of(node: ast.expr, names: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The fields of the dataclass or pydantic model that `node` names, with their defaults; else None."""
    found = _named(node, names)
    if not isinstance(found, type):
        return None
    fields = found.__dict__.get("__dataclass_fields__") or found.__dict__.get("__pydantic_fields__")
    return None if fields is None else {name: field.default for name, field in fields.items()}


def _record(node: ast.Call, fields: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that an object would have, as far as its class leaves them as they are given."""
    if len(node.args) > len(fields) or any(isinstance(each, ast.Starred) for each in node.args):
        raise NoValue("arguments")
    given = dict(zip(fields, (value_of(each, names) for each in node.args), strict=False))
    given |= {each.arg or "": value_of(each.value, names) for each in node.keywords}
    if not given.keys() <= fields.keys():
        raise NoValue("arguments")
    defaults = {name: value for name, value in fields.items() if type(value) in _PLAIN}
    return {name: {**defaults, **given}[name] for name in fields if name in defaults or name in given}


_BUILTIN = {each.__name__: each for each in _FUNCTIONS if each.__module__ == "builtins"}

_READERS: Mapping[type, Callable[[Any, Mapping[str, Any]], Any]] = {
    ast.Constant: lambda node, names: node.value,
    ast.Name: _name,
    ast.Dict: _dict,
    ast.List: _items,
    ast.Tuple: _items,
    ast.Set: _items,
    ast.Subscript: _subscript,
    ast.Attribute: _attribute,
    ast.JoinedStr: _text,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.BoolOp: _boolean,
    ast.IfExp: _either,
    ast.Call: _call,
    ast.Await: _await,
}
