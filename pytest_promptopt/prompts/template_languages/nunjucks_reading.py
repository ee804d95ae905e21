"""What of a template Jinja2 reads as Nunjucks does: all else is refused by name, with its line.

The two languages look alike and often differ: in what is true, in how numbers and lists are printed, in
which operator binds tighter, in filters of the same name. Jinja2 reads the text here, and `Checked` lets only
such trees through as Nunjucks would have read; `nunjucks_rendering` then follows them as JavaScript does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Any, NoReturn

from jinja2 import Environment, TemplateSyntaxError, nodes

from pytest_promptopt.prompts.template_languages.nunjucks_filters import FILTERS

#: Names that every JavaScript object has; what they hold is printed as a function.
_OF_OBJECTS = frozenset(
    (
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
        "__proto__",
    )
)
_GLOBALS = frozenset(("range", "cycler", "joiner"))

LOOP = ("index", "index0", "revindex", "revindex0", "first", "last", "length")

_TESTS = ("defined", "undefined", "none", "null")
_ARITHMETIC = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div)
_SCALARS = (nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Filter)

_RAW = re.compile(r"\{%(?P<dash>[-+]?)\s*(?P<word>raw|endraw|verbatim|endverbatim)\s*(?P<end>[-+]?)%\}")
_ESCAPE = re.compile(r"\\[nrt\\'\"]")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_ODD_SPACE = re.compile("[\x1c-\x1f\x85\ufeff\r]")


class NotFollowed(Exception):
    """Part of a template that Nunjucks may read otherwise; `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


@cache
def environment() -> Environment:
    """Reads, and runs nothing."""
    return Environment(keep_trailing_newline=True, autoescape=False)


def read(source: str) -> nodes.Template:
    """The tree of a template that both languages read alike. Raises `NotFollowed`."""
    try:
        _check_tokens(source)
        tree = environment().parse(source)
    except TemplateSyntaxError as error:
        raise NotFollowed(error.lineno, f"template syntax error: {error.message}") from None
    except (RecursionError, ValueError) as error:
        raise NotFollowed(1, f"the template cannot be read: {error}") from None
    _Checked().statements(tree.body, inside=())
    return tree


def names_in(tree: nodes.Template) -> dict[str, int]:
    """The variables that a template takes, with the line of their first use."""
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    found: dict[str, int] = {}
    for name in tree.find_all(nodes.Name):
        if name.ctx == "load" and name.name not in own | {"loop", "null"}:
            found[name.name] = min(name.lineno, found.get(name.name, name.lineno))
    return dict(sorted(found.items(), key=lambda each: each[1]))


def _line(source: str, offset: int) -> int:
    return source.count("\n", 0, offset) + 1


def _check_tokens(source: str) -> None:
    odd = _ODD_SPACE.search(source)
    if odd:
        said = f"the character U+{ord(odd[0]):04X} may be a space or not"
        raise NotFollowed(_line(source, odd.start()), said)
    opened = False
    for found in _RAW.finditer(source):
        line = _line(source, found.start())
        if found["dash"] or found["end"] or found["word"].endswith("verbatim"):
            raise NotFollowed(line, f"`{found[0]}` is not followed; write {{% raw %}} and {{% endraw %}}")
        if opened is (found["word"] == "raw"):
            raise NotFollowed(line, "{% raw %} in {% raw %} is not followed")
        opened = not opened
    for (line, kind, value), (_, *following) in pairwise([*environment().lex(source), (0, "", "")]):
        if kind == "data" and "#}" in value:
            raise NotFollowed(line + value.count("\n", 0, value.index("#}")), "`#}` ends no comment")
        if refused := _token_refused(kind, value, tuple(following)):
            raise NotFollowed(line, refused)


def _token_refused(kind: str, value: str, following: tuple[object, ...]) -> str:
    """Why a token is not followed, in a sentence; empty when it is."""
    if kind == "string" and "\\" in _ESCAPE.sub("", value):
        return f"the escape in {value} is not followed"
    if kind in ("integer", "float") and not _NUMBER.fullmatch(value):
        return f"the number {value} is not followed"
    if kind == "name" and value in ("True", "False", "None"):
        return f"`{value}` is a variable in Nunjucks; write `{value.lower()}`"
    if kind == "name" and value == "r" and following == ("operator", "/"):
        return "regular expressions are not followed"
    if kind == "operator" and value in ("//", "**", "%"):
        return f"the operator {value} is not followed"
    if kind == "operator" and value == "." and following[:1] in (("integer",), ("float",)):
        return "an item by its number is written [0]"
    return f"`{value}` is not followed" if kind.endswith("_begin") and value.endswith("+") else ""


class _Checked:
    """Goes through a tree; whatever it does not know is refused."""

    def statements(self, body: Iterable[nodes.Node], *, inside: tuple[str, ...]) -> None:
        for node in body:
            self._statement(node, inside)

    def _statement(self, node: nodes.Node, inside: tuple[str, ...]) -> None:
        if isinstance(node, nodes.Output):
            for each in node.nodes:
                if not isinstance(each, nodes.TemplateData):
                    self._printed(each, inside)
        elif isinstance(node, nodes.If):
            for branch in (node, *node.elif_):
                self.expression(branch.test, inside)
                self.statements(branch.body, inside=inside)
            self.statements(node.else_, inside=inside)
        elif isinstance(node, nodes.For):
            self._loop(node, inside)
        elif isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name):
            self._refuse_in_loop(node, inside)
            self.expression(node.node, inside)
        elif (
            isinstance(node, nodes.AssignBlock)
            and node.filter is None
            and isinstance(node.target, nodes.Name)
        ):
            self._refuse_in_loop(node, inside)
            self.statements(node.body, inside=inside)
        else:
            _refuse(node, f"`{{% {type(node).__name__.lower()} %}}` is not followed")

    def _refuse_in_loop(self, node: nodes.Node, inside: tuple[str, ...]) -> None:
        if "loop" in inside:
            _refuse(node, "`{% set %}` in a loop sets another variable in Nunjucks")

    def _loop(self, node: nodes.For, inside: tuple[str, ...]) -> None:
        if node.test is not None or node.recursive:
            _refuse(node, "`{% for %}` with `if` or `recursive` is not followed")
        targets = node.target.items if isinstance(node.target, nodes.Tuple) else [node.target]
        if len(targets) > 2 or not all(isinstance(each, nodes.Name) for each in targets):
            _refuse(node, "`{% for %}` is followed for one name, or two")
        self.expression(node.iter, inside)
        self.statements(node.body, inside=(*inside, "loop"))
        self.statements(node.else_, inside=inside)

    def _printed(self, node: nodes.Node, inside: tuple[str, ...]) -> None:
        """An expression that is printed as a whole, which `safe` may end."""
        if isinstance(node, nodes.Filter) and node.name == "safe" and not node.args:
            inner = node.node
            if inner is not None and not isinstance(inner, nodes.Test | nodes.Not):
                node = inner
        self.expression(node, inside)

    def expression(self, node: nodes.Node, inside: tuple[str, ...]) -> None:
        kinds: list[tuple[Any, Any]] = [
            (nodes.Const, lambda *_: None),
            (nodes.Name, self._name),
            ((nodes.Getattr, nodes.Getitem), self._lookup),
            (nodes.Filter, self._filter),
            (nodes.Test, self._test),
            (nodes.Compare, self._compare),
            ((nodes.And, nodes.Or), self._logic),
            (nodes.Not, self._not),
            (nodes.CondExpr, self._choice),
            ((*_ARITHMETIC, nodes.Concat), self._operator),
            (nodes.Neg, self._negative),
            (nodes.List, self._all),
        ]
        for kind, check in kinds:
            if isinstance(node, kind):
                check(node, inside)
                return
        said = {"Call": "a call", "Dict": "a mapping", "Tuple": "several values"}.get(type(node).__name__)
        _refuse(node, f"{said or f'`{type(node).__name__.lower()}`'} in an expression is not followed")

    def _all(self, node: nodes.Node, inside: tuple[str, ...]) -> None:
        for each in node.iter_child_nodes():
            self.expression(each, inside)

    def _name(self, node: nodes.Name, inside: tuple[str, ...]) -> None:
        if node.name == "env":
            _refuse(node, "`env` takes values from the environment, which is not done here")
        if node.name in _OF_OBJECTS | _GLOBALS:
            _refuse(node, f"`{node.name}` is a function of Nunjucks, and not followed")
        if node.name == "loop" and "loop" in inside:
            _refuse(node, f"`loop` is followed as {', '.join(f'loop.{name}' for name in LOOP)}")

    def _lookup(self, node: nodes.Getattr | nodes.Getitem, inside: tuple[str, ...]) -> None:
        if isinstance(node, nodes.Getattr):
            if node.attr in _OF_OBJECTS:
                _refuse(node, f"`.{node.attr}` is not followed")
            if isinstance(node.node, nodes.Name) and node.node.name == "loop" and "loop" in inside:
                if node.attr not in LOOP:
                    _refuse(node, f"`loop.{node.attr}` is not followed")
                return
        elif isinstance(node.arg, nodes.Const) and (
            isinstance(node.arg.value, str | int) and node.arg.value not in _OF_OBJECTS
        ):
            pass
        elif isinstance(node.arg, nodes.Name):
            self.expression(node.arg, inside)
        else:
            _refuse(node, "an item is followed by a name, a number or a text only")
        self.expression(node.node, inside)

    def _filter(self, node: nodes.Filter, inside: tuple[str, ...]) -> None:
        if node.node is None or node.name not in FILTERS:
            _refuse(node, f"the filter `{node.name}` is not followed; followed are {', '.join(FILTERS)}")
        if node.name == "safe":
            _refuse(node, "the filter `safe` is followed at the end of an expression only")
        if node.kwargs or node.dyn_args or node.dyn_kwargs:
            _refuse(node, f"the filter `{node.name}` with named values is not followed")
        if isinstance(node.node, nodes.Test | nodes.Not):
            _refuse(node, "a filter after a test is not followed")
        for each in (node.node, *node.args):
            self.expression(each, inside)

    def _test(self, node: nodes.Test, inside: tuple[str, ...]) -> None:
        if node.name not in _TESTS or node.args or not isinstance(node.node, _SCALARS):
            _refuse(node, f"the test `is {node.name}` is not followed here")
        self.expression(node.node, inside)

    def _compare(self, node: nodes.Compare, inside: tuple[str, ...]) -> None:
        if len(node.ops) > 1:
            _refuse(node, "a chain of comparisons is not followed")
        self._operands((node.expr, node.ops[0].expr), (nodes.Compare, nodes.Test, nodes.Not), inside)

    def _logic(self, node: nodes.Node, inside: tuple[str, ...]) -> None:
        self._operands(node.iter_child_nodes(), (nodes.CondExpr,), inside)

    def _not(self, node: nodes.Not, inside: tuple[str, ...]) -> None:
        inner = node.node
        is_in = isinstance(inner, nodes.Compare) and inner.ops[0].op in ("in", "notin")
        if not is_in and not isinstance(inner, (*_SCALARS, nodes.Test, nodes.Not)):
            _refuse(node, "`not` is followed for a variable, a test or `in`: Nunjucks binds it tighter")
        self.expression(inner, inside)

    def _choice(self, node: nodes.CondExpr, inside: tuple[str, ...]) -> None:
        self._operands(node.iter_child_nodes(), (nodes.CondExpr,), inside)

    def _operator(self, node: nodes.Node, inside: tuple[str, ...]) -> None:
        other = tuple(kind for kind in (*_ARITHMETIC, nodes.Concat) if not isinstance(node, kind))
        refused = (nodes.Compare, nodes.Test, nodes.Not, nodes.And, nodes.Or, nodes.CondExpr, *other)
        self._operands(node.iter_child_nodes(), refused, inside)

    def _operands(
        self, operands: Iterable[nodes.Node], refused: tuple[Any, ...], inside: tuple[str, ...]
    ) -> None:
        """What the two languages may put into other brackets is refused."""
        for each in operands:
            if isinstance(each, refused):
                _refuse(each, "which operator binds tighter differs; set a variable for the inner one")
            self.expression(each, inside)

    def _negative(self, node: nodes.Neg, inside: tuple[str, ...]) -> None:
        if not isinstance(node.node, nodes.Const) or not isinstance(node.node.value, int | float):
            _refuse(node, "a minus is followed before a number only")


def _refuse(node: nodes.Node, reason: str) -> NoReturn:
    raise NotFollowed(node.lineno, reason)
