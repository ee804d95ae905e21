"""What the source of a test function says: its text, and what its assert compares the answer with."""

from __future__ import annotations

import ast
import copy
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import Any

from pytest_promptopt.assertions.plain_values import readable_value
from pytest_promptopt.assertions.source_file import Function, SourceFile, source_file
from pytest_promptopt.assertions.static_values import NoValue, value_of
from pytest_promptopt.weak_cache import WeakCache

#: Characters of a test's source that are kept: what stands in a request is paid for every time.
MAX_CHECK = 1_000
#: Characters of a function of the same file that is kept beside the test that calls it.
MAX_HELPER = 300
#: In a longer source, characters of a literal list or dict.
MAX_TABLE = 200
#: The fixtures that ask the model.
ASKING = frozenset(("prompt", "prompts"))
#: Functions and methods whose results are no value of the answer.
_MEASURES = frozenset(("len", "sum", "count", "find", "index", "type", "bool", "any", "all", "isinstance"))
#: unittest's names for ``==``.
_EQUAL = re.compile(r"assert(?:Dict|List|Tuple|Set|Sequence|MultiLine|Count)?Equals?")

_UNKNOWN = object()


@dataclass(frozen=True)
class Equality:
    """One ``==`` of a test.

    :param path: where in the answer's JSON the compared value stands, when the source says so.
    :param measure: a measure of the answer is compared, like its length.
    """

    expected: ast.expr
    path: tuple[str | int, ...] = ()
    measure: bool = False


@dataclass(frozen=True)
class TestSource:
    """A test function as it is written.

    :param check: its source without decorators, docstring, and what its parameters are given.
    :param helpers: that of each short function of the same file that it calls: what these do to an answer
        tells what passes.
    :param equalities: what its asserts compare the answer with.
    :param measured: whether they compare but measures of it: its length says nothing of how it reads.
    :param steps: the assignments before them that their names depend on; None is a value that is not known.
    :param outer: what the names mean that are neither parameters nor assigned in the test.
    """

    __test__ = False

    check: str = ""
    helpers: tuple[str, ...] = ()
    equalities: tuple[Equality, ...] = ()
    steps: tuple[tuple[ast.expr, ast.expr | None], ...] = ()
    outer: Mapping[str, Any] = field(default_factory=dict)
    measured: bool = False

    def expected(self, parameters: Mapping[str, Any]) -> Any:
        """The value that the answer is compared with; several parts of one answer are put together.

        Raises `NoValue`.
        """
        if not self.equalities:
            raise NoValue("no comparison")
        names = self._names(parameters)
        if len(self.equalities) == 1:
            return value_of(self.equalities[0].expected, names)
        return _together([(each.path, value_of(each.expected, names)) for each in self.equalities])

    def known_expected(self, parameters: Mapping[str, Any]) -> Any | None:
        """`expected` as JSON-like data; None where that is not known."""
        try:
            return readable_value(self.expected(parameters))
        except NoValue:
            return None

    def _names(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        names = {**self.outer, **parameters}
        for target, value in self.steps:
            try:
                found = _UNKNOWN if value is None else value_of(value, names)
            except NoValue:
                found = _UNKNOWN
            _assign(target, found, names)
        return names


def _assign(target: ast.expr, value: Any, names: dict[str, Any]) -> None:
    """Give the names of `target` their parts of `value`, or take them away when it is not known."""
    for name in _names_in(target):
        names.pop(name, None)
    if value is _UNKNOWN:
        return
    if isinstance(target, ast.Name):
        names[target.id] = value
    elif isinstance(target, (ast.Tuple, ast.List)) and type(value) in (tuple, list):
        plain = not any(isinstance(part, ast.Starred) for part in target.elts)
        for part, item in zip(target.elts, value, strict=False) if plain else ():
            _assign(part, item, names)


def _names_in(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _together(parts: Iterable[tuple[tuple[str | int, ...], Any]]) -> Any:
    """``{"a": 1, "b": 2}`` of what stands at ``["a"]`` and at ``["b"]``."""
    whole: dict[str, Any] = {}
    for path, value in parts:
        if not path or not all(isinstance(key, str) for key in path):
            raise NoValue("several comparisons")
        inside = whole
        for key in path[:-1]:
            inside = inside.setdefault(str(key), {})
            if type(inside) is not dict:
                raise NoValue("several comparisons")
        if path[-1] in inside:
            raise NoValue("several comparisons")
        inside[str(path[-1])] = value
    return whole


#: By test function and parameters: the source, and the names that it has from its module.
_READ = WeakCache[tuple[TestSource, frozenset[str]]]()


def source_of(function: Callable[..., Any] | None, parameters: frozenset[str] = frozenset()) -> TestSource:
    """The source of `function`, read once; empty where there is none.

    :param parameters: the names that the test is parametrized with: its other arguments are fixtures.
    """
    while (wrapped := getattr(function, "__wrapped__", None)) is not None:
        function = wrapped
    code = getattr(function, "__code__", None)
    if code is None:
        return TestSource()
    source, outside = _READ.get(function, lambda: _read_code(code, parameters), parameters)
    if not outside:
        return source
    given = getattr(function, "__globals__", {})
    return replace(source, outer={name: given[name] for name in outside if name in given})


def _read_code(code: CodeType, parameters: frozenset[str]) -> tuple[TestSource, frozenset[str]]:
    file = source_file(code.co_filename)
    found = file.function_of(code)
    return (TestSource(), frozenset()) if found is None else _read(found, file, parameters)


def _read(node: Function, file: SourceFile, known: frozenset[str]) -> tuple[TestSource, frozenset[str]]:
    arguments = arguments_of(node)
    compared = list(_compared(node.body))
    of_all = _equalities(node, compared, arguments, arguments - known) if compared else []
    found = [each for each in of_all if not each.measure]
    needed = {name for each in found for name in _names_in(each.expected)}
    steps = []
    own = set(arguments)
    for target, value in reversed(list(_steps(node.body))) if needed else ():
        names = _names_in(target)
        own |= names
        if names & needed:
            steps.append((target, value))
            needed |= set() if value is None else _names_in(value)
    measured = bool(of_all) and not found
    source = TestSource(
        check=_text_of(node, file.lines),
        helpers=_helpers(node, file),
        equalities=tuple(found),
        steps=tuple(reversed(steps)),
        measured=measured,
    )
    return source, frozenset(needed - own)


def arguments_of(node: Function) -> frozenset[str]:
    """The names of a function's parameters."""
    given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return frozenset(each.arg for each in given)


def _helpers(node: Function, file: SourceFile) -> tuple[str, ...]:
    """The short functions of its file that the body of a test calls, without their docstrings."""
    inside = [each for statement in node.body for each in ast.walk(statement)]
    called = [e.func.id for e in inside if isinstance(e, ast.Call) and isinstance(e.func, ast.Name)]
    own = {e.id for e in inside if isinstance(e, ast.Name) and isinstance(e.ctx, ast.Store)}
    own |= arguments_of(node)
    found = (file.plain_function(name) for name in dict.fromkeys(called) if name not in own)
    texts = (_text_with_parameters(helper) for helper in found if helper is not None)
    return tuple(text for text in texts if len(text) <= MAX_HELPER)


def _text_with_parameters(node: Function) -> str:
    """A function whole, since its defaults may decide what passes."""
    whole = copy.copy(node)
    whole.body = _without_docstring(node)
    return ast.unparse(whole)


def _without_docstring(node: Function) -> list[ast.stmt]:
    body = node.body
    told = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and len(body) > 1
    return body[1:] if told else body


def _text_of(node: Function, lines: Sequence[str]) -> str:
    body = _without_docstring(node)
    first, last = body[0].lineno, body[-1].end_lineno or body[-1].lineno
    if lines[first - 1].encode()[: body[0].col_offset].strip():  # its head ends on this line
        text = "\n".join(ast.unparse(each) for each in body)
    else:
        text = textwrap.dedent("\n".join(lines[first - 1 : last]))
    keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    head = f"{keyword} {node.name}({', '.join(a.arg for a in node.args.args)}):\n"
    whole = head + textwrap.indent(text, "    ")
    return whole if len(whole) <= MAX_CHECK else head + _end_of(body, MAX_CHECK - len(head))


def _end_of(body: Sequence[ast.stmt], room: int) -> str:
    """The last statements, which assert something, as many as fit, without long tables; it can be parsed."""
    end = ""
    for statement in reversed(body):
        text = textwrap.indent(ast.unparse(_WithoutTables().visit(copy.deepcopy(statement))), "    ")
        if len(text) + len(end) + len("    ...\n\n") > room:
            return f"    ...\n{end}".rstrip()
        end = f"{text}\n{end}"
    return end.rstrip()


class _WithoutTables(ast.NodeTransformer):
    def _shortened(self, node: ast.expr) -> ast.AST:
        return ast.Constant(...) if len(ast.unparse(node)) > MAX_TABLE else node

    visit_Dict = visit_List = visit_Tuple = visit_Set = _shortened


def _equalities(
    node: Function,
    compared: Sequence[tuple[ast.expr, ast.expr]],
    arguments: frozenset[str],
    fixtures: frozenset[str],
) -> list[Equality]:
    """The asserts about the prompt's answer, else about what a fixture gives, else the only one there is."""
    assigned, named = list(_assignments(node)), assigned_once(node)
    for roots in (ASKING & arguments, fixtures - ASKING):
        known = _spread(assigned, roots, set())
        about = [
            (one, two, comes_from_calls(one, roots, known), comes_from_calls(two, roots, known))
            for one, two in compared
        ]
        found = [
            _equality(one, two, named) if left else _equality(two, one, named)
            for one, two, left, right in about
            if left is not right
        ]
        if found or any(left for _, _, left, _ in about):
            return found
    # No side is known to be the answer: as pytest's own messages read, the right one is what is expected.
    return [_equality(*compared[0], named)] if len(compared) == 1 else []


def _equality(answer: ast.expr, expected: ast.expr, named: Mapping[str, ast.expr]) -> Equality:
    return Equality(expected, _path(answer), is_measure(answer, named))


def _compared(body: Iterable[ast.stmt]) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Both sides of every ``==`` that must hold."""
    for statement in body:
        if isinstance(statement, ast.Assert):
            yield from _equal_parts(statement.test)
        elif isinstance(statement, (ast.With, ast.AsyncWith)):
            yield from _compared(statement.body)
        elif isinstance(statement, ast.If) and _fails(statement.body[-1]):
            yield from _equal_parts(ast.UnaryOp(ast.Not(), statement.test))
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            function, given = statement.value.func, statement.value.args
            if isinstance(function, ast.Attribute) and _EQUAL.fullmatch(function.attr) and len(given) >= 2:
                yield given[0], given[1]


def is_measure(side: ast.expr, named: Mapping[str, ast.expr]) -> bool:
    """Whether a side is a length, a count or a type, and not a value itself.

    :param named: what names are made of.
    """
    if isinstance(side, ast.Name) and side.id in named:
        return is_measure(named[side.id], {})
    if isinstance(side, ast.BinOp):
        return is_measure(side.left, named) or is_measure(side.right, named)
    if not isinstance(side, ast.Call):
        return False
    function = side.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in _MEASURES


def _equal_parts(test: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        for part in test.values:
            yield from _equal_parts(part)
    elif isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        yield test.left, test.comparators[0]
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        match test.operand:
            case ast.Compare(left=left, ops=[ast.NotEq()], comparators=[right]):
                yield left, right


def _fails(statement: ast.stmt) -> bool:
    """Whether it is ``raise AssertionError`` or ``pytest.fail(...)``."""
    if isinstance(statement, ast.Raise) and statement.exc is not None:
        return ast.unparse(statement.exc).startswith("AssertionError")
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith(("pytest.fail(", "fail("))


def names_from_calls(node: Function, roots: Set[str], given: Iterable[str] = ()) -> set[str]:
    """The names that hold what came from a call of one of `roots`, from one of `given`, or from these."""
    return _spread(list(_assignments(node)), roots, set(given))


def assigned_once(node: Function) -> dict[str, ast.expr]:
    """What those names are made of that one plain assignment makes."""
    found: dict[str, list[ast.expr | None]] = {}
    for each in ast.walk(node):
        if isinstance(each, ast.Assign) and len(each.targets) == 1 and isinstance(each.targets[0], ast.Name):
            found.setdefault(each.targets[0].id, []).append(each.value)
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            found.setdefault(each.id, []).append(None)
    # An assignment is met twice: as itself, and as the name that it stores.
    sources = {name: values for name, values in found.items() if len(values) == 2}
    return {name: value for name, values in sources.items() for value in values if value is not None}


def _spread(assigned: Sequence[tuple[ast.expr, ast.expr]], roots: Set[str], known: set[str]) -> set[str]:
    before = -1
    while len(known) > before:
        before = len(known)
        for target, value in assigned:
            if comes_from_calls(value, roots, known):
                known |= _names_in(target)
    return known


def _assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    for each in ast.walk(node):
        if isinstance(each, ast.Assign):
            yield from ((target, each.value) for target in each.targets)
        elif isinstance(each, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and each.value is not None:
            yield each.target, each.value
        elif isinstance(each, (ast.For, ast.AsyncFor, ast.comprehension)):
            yield each.target, each.iter
        elif isinstance(each, ast.withitem) and each.optional_vars is not None:
            yield each.optional_vars, each.context_expr


def comes_from_calls(expression: ast.expr, roots: Set[str], known: Set[str]) -> bool:
    """Whether the value of `expression` comes from a call of one of `roots`, or from a name in `known`.

    A function that is handed the prompt, ``route(prompt.acall, text)``, calls it.
    """
    if not roots and not known:
        return False
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and node.id in known:
            return True
        if isinstance(node, ast.Call):
            handed = {root_of(each) for each in (*node.args, *(each.value for each in node.keywords))}
            if root_of(node.func) in roots or handed & roots & ASKING:
                return True
    return False


def root_of(expression: ast.expr) -> str:
    """``prompts`` of ``prompts["plan"]``, ``prompt`` of ``prompt.acall``."""
    while isinstance(expression, (ast.Attribute, ast.Subscript)):
        expression = expression.value
    return expression.id if isinstance(expression, ast.Name) else ""


def _path(expression: ast.expr) -> tuple[str | int, ...]:
    """``("a", 0)`` of ``answer["a"][0]``, of ``answer.get("a")[0]`` and of ``answer.a[0]``."""
    match expression:
        case ast.Subscript(value=inside, slice=ast.Constant(value=(str() | int()) as key)):
            return (*_path(inside), key)
        case ast.Call(func=ast.Attribute(value=inside, attr="get"), args=[ast.Constant(value=str() as key)]):
            return (*_path(inside), key)
        case ast.Attribute(value=inside, attr=key):
            return (*_path(inside), key)
    return ()


def _steps(body: Iterable[ast.stmt]) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Assignments in order; None as the value of a name that is changed where it cannot be followed."""
    for statement in body:
        if isinstance(statement, ast.Assign):
            yield from ((target, statement.value) for target in statement.targets)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield statement.target, statement.value
        elif isinstance(statement, (ast.With, ast.AsyncWith)):
            opened = (item.optional_vars for item in statement.items)
            yield from ((target, None) for target in opened if target is not None)
            yield from _steps(statement.body)
        elif not isinstance(statement, ast.Assert):
            yield from ((ast.Name(name, ast.Store()), None) for name in sorted(_changed(statement)))


def _changed(statement: ast.stmt) -> set[str]:
    """The names that a statement may give another value: loops, branches, ``expected.append(...)``."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return {root_of(statement.value.func)}
    stored = (
        node
        for node in ast.walk(statement)
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load)
    )
    return {root_of(node) for node in stored}
