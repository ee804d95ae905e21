"""Follows a checked template as Nunjucks would: values are plain data, and nothing is called.

Steps and sizes are limited, since a candidate comes from a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import nodes

from pytest_promptopt.prompts.template_languages.javascript_values import (
    UNDEFINED,
    NotTheSame,
    added,
    arithmetic,
    is_number,
    length_of,
    less,
    loosely_equal,
    strictly_equal,
    text_of,
    truthy,
)
from pytest_promptopt.prompts.template_languages.nunjucks_filters import call_filter, pairs, single_units
from pytest_promptopt.prompts.templates import MAX_RENDERED_CHARACTERS

MAX_STEPS = 2_000_000

Scope = Mapping[str, Any]


class NotRendered(Exception):
    """A template fails on its values, or is not followed with them; `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def render(tree: nodes.Template, variables: Mapping[str, object]) -> str:
    """The text for these values; a variable that is not given is empty. Raises `NotRendered`."""
    return _Rendering(dict(variables)).text(tree)


class _Rendering:
    def __init__(self, variables: dict[str, Any]) -> None:
        self._top = variables
        self._pieces: list[str] = []
        self._size = self._steps = 0
        self._line = 1

    def text(self, tree: nodes.Template) -> str:
        try:
            self._body(tree.body, {})
        except (NotTheSame, OverflowError, RecursionError) as error:
            raise NotRendered(self._line, str(error)) from None
        return "".join(self._pieces)

    def _grow(self, size: int) -> None:
        self._size += size
        self._steps += 1
        if self._size > MAX_RENDERED_CHARACTERS or self._steps > MAX_STEPS:
            raise OverflowError(f"the text grows beyond {MAX_RENDERED_CHARACTERS:,} characters")

    def _put(self, text: str) -> None:
        self._grow(len(text))
        self._pieces.append(text)

    def _body(self, body: Iterable[nodes.Node], scope: Scope) -> None:
        for node in body:
            self._line = node.lineno
            if isinstance(node, nodes.Output):
                self._output(node, scope)
            elif isinstance(node, nodes.If):
                self._branch(node, scope)
            elif isinstance(node, nodes.For):
                self._loop(node, scope)
            elif isinstance(node, nodes.Assign):
                assert isinstance(node.target, nodes.Name)
                self._top[node.target.name] = self._value(node.node, scope)
            elif isinstance(node, nodes.AssignBlock):
                self._capture(node, scope)

    def _output(self, node: nodes.Output, scope: Scope) -> None:
        for each in node.nodes:
            if isinstance(each, nodes.TemplateData):
                self._put(each.data)
                continue
            self._line = each.lineno
            value = self._value(each, scope)
            self._put("" if value is None or value is UNDEFINED else text_of(value))

    def _capture(self, node: nodes.AssignBlock, scope: Scope) -> None:
        before, self._pieces = self._pieces, []
        self._body(node.body, scope)
        assert isinstance(node.target, nodes.Name)
        self._top[node.target.name] = "".join(self._pieces)
        self._pieces = before

    def _branch(self, node: nodes.If, scope: Scope) -> None:
        for branch in (node, *node.elif_):
            if truthy(self._value(branch.test, scope)):
                self._body(branch.body, scope)
                return
        self._body(node.else_, scope)

    def _loop(self, node: nodes.For, scope: Scope) -> None:
        given = self._value(node.iter, scope)
        if isinstance(node.target, nodes.Tuple):
            names = [each.name for each in node.target.items if isinstance(each, nodes.Name)]
            rounds = [dict(zip(names, pair, strict=True)) for pair in _pairs(given)]
        else:
            assert isinstance(node.target, nodes.Name)
            rounds = [{node.target.name: item} for item in _sequence(given)]
        for number, names_of_round in enumerate(rounds):
            self._grow(0)
            left = len(rounds) - number
            loop = {
                "index": number + 1,
                "index0": number,
                "revindex": left,
                "revindex0": left - 1,
                "first": number == 0,
                "last": left == 1,
                "length": len(rounds),
            }
            given_here = {name: value for name, value in names_of_round.items() if value is not UNDEFINED}
            self._body(node.body, {**scope, **given_here, "loop": loop})
        if not rounds:
            self._body(node.else_, scope)

    # ------------------------------------------------------------------------------------ expressions

    def _value(self, node: nodes.Node | None, scope: Scope) -> Any:
        self._grow(0)
        if node is None:
            return UNDEFINED
        if isinstance(node, nodes.Const):
            return node.value
        if isinstance(node, nodes.Name):
            return self._named(node.name, scope)
        if isinstance(node, nodes.List):
            return [self._value(each, scope) for each in node.items]
        if isinstance(node, nodes.Getattr):
            return _item(self._value(node.node, scope), node.attr)
        if isinstance(node, nodes.Getitem):
            return _item(self._value(node.node, scope), self._value(node.arg, scope))
        if isinstance(node, nodes.Filter):
            given = [self._value(each, scope) for each in node.args]
            result = call_filter(node.name, self._value(node.node, scope), given)
            self._grow(len(result) if isinstance(result, str | list) else 0)
            return result
        if isinstance(node, nodes.Test):
            return _holds(node.name, self._value(node.node, scope))
        return self._operation(node, scope)

    def _named(self, name: str, scope: Scope) -> Any:
        if name in scope:
            return scope[name]
        if name in self._top:
            return self._top[name]
        return None if name == "null" else UNDEFINED

    def _operation(self, node: nodes.Node, scope: Scope) -> Any:
        if isinstance(node, nodes.And | nodes.Or):
            left = self._value(node.left, scope)
            is_and = isinstance(node, nodes.And)
            return self._value(node.right, scope) if truthy(left) is is_and else left
        if isinstance(node, nodes.Not):
            return not truthy(self._value(node.node, scope))
        if isinstance(node, nodes.CondExpr):
            chosen = node.expr1 if truthy(self._value(node.test, scope)) else node.expr2
            return self._value(chosen, scope)
        if isinstance(node, nodes.Compare):
            other = self._value(node.ops[0].expr, scope)
            return _compared(node.ops[0].op, self._value(node.expr, scope), other)
        if isinstance(node, nodes.Neg):
            return arithmetic("-", 0, self._value(node.node, scope))
        if isinstance(node, nodes.Concat):
            together = "".join(text_of(self._value(each, scope)) for each in node.nodes)
            self._grow(len(together))
            return together
        assert isinstance(node, nodes.BinExpr)
        left, right = self._value(node.left, scope), self._value(node.right, scope)
        if isinstance(node, nodes.Add):
            result = added(left, right)
            self._grow(len(result) if isinstance(result, str) else 0)
            return result
        return arithmetic(node.operator, left, right)


def _holds(test: str, value: Any) -> bool:
    if test in ("none", "null"):
        return value is None
    return (value is UNDEFINED) is (test == "undefined")


def _item(value: Any, key: Any) -> Any:
    """``value[key]``."""
    if value is None or value is UNDEFINED:
        return UNDEFINED
    if isinstance(value, dict):
        return value.get(text_of(key), UNDEFINED)
    if isinstance(value, str | list):
        if key == "length":
            return len(value) if isinstance(value, list) else length_of(value)
        if is_number(key):
            items = single_units(value) if isinstance(value, str) else value
            return items[int(key)] if 0 <= key < len(items) and key == int(key) else UNDEFINED
    kind = "a text" if isinstance(value, str) else "a list" if isinstance(value, list) else text_of(value)
    raise NotTheSame(f"`{text_of(key)}` of {kind} is not followed")


def _sequence(value: Any) -> list[Any]:
    if isinstance(value, str):
        return list(single_units(value))
    return value if isinstance(value, list) else []


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    """What a loop with two names goes through."""
    if isinstance(value, dict):
        return list(pairs(value))
    if value is None or value is UNDEFINED or value is False or value == "":
        return []
    if isinstance(value, list) and all(isinstance(each, list) for each in value):
        return [((*each, UNDEFINED, UNDEFINED)[0], (*each, UNDEFINED, UNDEFINED)[1]) for each in value]
    raise NotTheSame(f"a loop with two names over {text_of(value)!r} is not followed")


def _compared(operator: str, left: Any, right: Any) -> bool:
    if operator in ("eq", "ne"):
        return loosely_equal(left, right) is (operator == "eq")
    if operator in ("in", "notin"):
        return _contains(left, right) is (operator == "in")
    if operator in ("lt", "gteq"):
        return less(left, right) is (operator == "lt")
    return less(right, left) is (operator == "gt")


def _contains(key: Any, value: Any) -> bool:
    if isinstance(value, str) and isinstance(key, str):
        return key in value
    if isinstance(value, list):
        return any(strictly_equal(key, each) for each in value)
    if isinstance(value, dict) and isinstance(key, str):
        return key in value
    raise NotTheSame(f"`in` is followed for lists, mappings and texts, not for {text_of(value)!r}")
