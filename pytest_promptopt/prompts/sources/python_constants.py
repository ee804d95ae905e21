"""``app/triage.py::PROMPT``: a constant of a module or of a class, or an item of one; nothing is run.

``app/triage.py::Triage`` is the docstring of a class, which are the instructions of a `dspy.Signature`.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.layout import FramedText, decode, usual_line_end
from pytest_promptopt.prompts.sources.key_paths import KeyPath, item_number, missing
from pytest_promptopt.prompts.sources.python_literals import Literal
from pytest_promptopt.prompts.sources.source import SourceText

#: What a constant may be, for messages.
ACCEPTED = (
    "accepted is a string (plain, triple-quoted, raw or joined), also within dedent(...), cleandoc(...), "
    "string.Template(...) or with .strip()"
)

_LINE_END = re.compile(r"\r\n|\r|\n")
_END_OF_LINE = re.compile(r"[ \t]*(?:[\r\n]|\Z)")
_NESTED = (ast.If, ast.Try, ast.With)

Step = Callable[[str], str]

#: Functions that a constant may be passed through: full name -> what it does to a text.
_FUNCTIONS: dict[str, Step] = {
    "textwrap.dedent": textwrap.dedent,
    "inspect.cleandoc": inspect.cleandoc,
    "string.Template": lambda text: text,
    "jinja2.Template": lambda text: text,
}
_LANGUAGES = {"string.Template": "template", "jinja2.Template": "jinja2"}

#: The class whose docstring, or second argument, is the instructions of a predictor of DSPy.
_SIGNATURE = "dspy.Signature"

#: The template language of these: nothing is filled in.
_NONE = "none"
_METHODS = ("strip", "lstrip", "rstrip")


@dataclass(frozen=True)
class PythonConstant:
    """A string that a module or a class gives a name to, once, or that stands in a dict or list with a name.

    :param path: ``PROMPT``, ``Triage.PROMPT``, ``PROMPTS.triage``.
    """

    path: KeyPath

    def read(self, content: bytes, *, name: str) -> SourceText:
        text, target = decode(content, name=name), str(self.path)
        module, shift = _parsed(text, name=name)
        constant = _Constant.find(module, self.path, name=name)
        lines = _LineStarts(text, shift)
        start, end = lines.span(constant.node)
        try:
            after = text[end:]
            literal = Literal.parse(
                text[start:end],
                line_end=usual_line_end(text),
                ends_its_line=_END_OF_LINE.match(after) is not None,
            )
        except ValueError as error:
            raise PromptFileError(name, constant.node.lineno, f"{error}; {ACCEPTED}") from None
        if literal.text != constant.node.value:
            raise PromptFileError(name, constant.node.lineno, f"{target} cannot be read; {ACCEPTED}")
        frame = FramedText.of(constant.applied(literal.text))
        if not frame.body.strip():
            raise PromptFileError(name, constant.node.lineno, f"the prompt is empty: {target} has no text")

        around = constant.around(module)

        def replaced(prose: str) -> str:
            for wanted in constant.written_as(literal.text, frame.with_prose(prose)):
                changed = text[:start] + literal.with_text(wanted) + after
                if _around(changed, self.path, name=name) == around:
                    return changed
            if constant.steps:
                raise ValueError(f"what {target} is passed through (dedent, strip) would change it")
            raise ValueError("it cannot be written as a string literal of Python")

        return SourceText(
            prose=frame.prose,
            first_line=_first_line(constant.node.lineno, literal, frame),
            replaced=replaced,
            edges=frame.edges,
            language=constant.language,
            is_dspy=constant.language == _NONE,
        )


def _first_line(line: int, literal: Literal, frame: FramedText) -> int:
    if not literal.tokens[0].is_triple:
        return line
    body = literal.tokens[0].body
    return line + body.count("\n", 0, max(body.find(frame.body[:20].split("\n")[0]), 0))


def _parsed(text: str, *, name: str) -> tuple[ast.Module, int]:
    """The module, and how many characters of `text` stand before what was parsed."""
    body = text.removeprefix("\ufeff")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(body), len(text) - len(body)
        except SyntaxError as error:
            raise PromptFileError(name, error.lineno, f"is not valid Python: {error.msg}") from None
        except (RecursionError, MemoryError, ValueError) as error:
            raise PromptFileError(name, None, f"cannot be read as Python: {error}") from None


class _LineStarts:
    """From the lines and columns of a syntax tree, which count bytes, to places in the text."""

    def __init__(self, text: str, shift: int) -> None:
        self._text = text
        self._starts = [shift, *(found.end() for found in _LINE_END.finditer(text, shift))]

    def span(self, node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._place(node.lineno, node.col_offset), self._place(node.end_lineno, node.end_col_offset)

    def _place(self, line: int, column: int) -> int:
        start = self._starts[line - 1]
        before = self._text[start : start + column].encode()[:column]
        return start + len(before.decode())


@dataclass(frozen=True)
class _Constant:
    """The string of a constant.

    :param steps: what its text goes through, innermost first.
    :param margin: before further lines, where it has one line so far.
    """

    node: ast.Constant
    steps: tuple[Step, ...]
    language: str
    margin: str = ""

    @classmethod
    def find(cls, module: ast.Module, path: KeyPath, *, name: str) -> _Constant:
        """Raises `PromptFileError`."""
        target = str(path)
        given, keys = _assigned(module, path, name=name)
        if len(given) > 1:
            lines = ", ".join(str(node.lineno) for node, _ in given)
            said = f"{target} is given a value several times (lines {lines}); it must be one, given once"
            raise PromptFileError(name, given[1][0].lineno, said)
        ((statement, value),) = given
        if isinstance(statement, ast.AugAssign) or value is None:
            raise PromptFileError(name, statement.lineno, f"{target} is no plain assignment; {ACCEPTED}")
        for number, key in enumerate(keys, len(path.steps) - len(keys)):
            try:
                value = _item(value, key, str(KeyPath(path.steps[:number])))
            except ValueError as error:
                raise PromptFileError(name, value.lineno, str(error)) from None
        imported = dict(_imported(module))
        steps: list[Step] = []
        language = ""
        node = value
        while not isinstance(node, ast.Constant):
            node, step, said = _unwrapped(node, imported, target, name=name)
            steps.insert(0, step)
            language = said or language
        margin = ""
        if isinstance(statement, ast.ClassDef):  # its docstring
            steps, margin = [inspect.cleandoc], " " * node.col_offset
            language = _NONE if _is_signature(statement, imported) else ""
        if not isinstance(node.value, str):
            kind = type(node.value).__name__
            raise PromptFileError(name, node.lineno, f"{target} is {kind}, not a string; {ACCEPTED}")
        return cls(node, tuple(steps), language, margin)

    def applied(self, text: str) -> str:
        for step in self.steps:
            text = step(text)
        return text

    def written_as(self, before: str, wanted: str) -> Iterator[str]:
        """Texts of the literal that come out as `wanted`; the one that looks most like `before` first."""
        lines = before.split("\n")
        later = [line for line in lines[1:] if line.strip()]
        margin = _common_indent(later) if later else self.margin
        opening, closing = re.match(r"(?:[ \t]*\n)*", before), re.search(r"(?:\n[ \t]*)*\Z", before)
        assert opening is not None
        assert closing is not None
        body = wanted.strip("\n")
        indented = "\n".join(margin + line if line.strip() else line for line in body.split("\n"))
        ways = (indented, indented[len(margin) :], body)
        if not opening[0]:  # its first line stands beside the quotes
            ways = (ways[1], ways[0], body)
        for middle in dict.fromkeys(ways):
            for framed in (opening[0] + middle + closing[0], middle, wanted):
                if self.applied(framed) == wanted:
                    yield framed
        if not self.steps:
            yield wanted

    def around(self, module: ast.Module) -> str:
        """The module but for this string: equal for modules that differ in it alone."""
        text, self.node.value = self.node.value, ""
        shape = ast.dump(module)
        self.node.value = text
        return shape


def _around(text: str, path: KeyPath, *, name: str) -> str:
    """`_Constant.around` of a module's text; empty when there is no such constant in it."""
    try:
        module, _ = _parsed(text, name=name)
        return _Constant.find(module, path, name=name).around(module)
    except PromptFileError:
        return ""


def _common_indent(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    first, last = min(lines), max(lines)
    indent = len(first) - len(first.lstrip(" \t"))
    same = next((at for at in range(indent) if at >= len(last) or last[at] != first[at]), indent)
    return first[:same]


def _assigned(
    module: ast.Module, path: KeyPath, *, name: str
) -> tuple[list[tuple[ast.stmt, ast.expr | None]], tuple[str | int, ...]]:
    """The statements that give the constant a value, and these values; and the keys within the value.

    Raises when there is none.
    """
    body: Iterable[ast.stmt] = module.body
    steps, owner = path.steps, ""
    while len(steps) > 1 and (found := [each for each in _classes(body) if each.name == steps[0]]):
        body, steps, owner = found[-1].body, steps[1:], f"{owner}{steps[0]}."
    wanted, *keys = steps
    assigned = [(node, key, value) for node in _statements(body) for key, value in _names(node)]
    given = [(node, value) for node, key, value in assigned if key == wanted]
    if given:
        return given, tuple(keys)
    if not keys and (found := [each for each in _classes(body) if each.name == wanted]):
        return [(found[-1], _docstring(found[-1], f"{owner}{wanted}", name))], ()
    dicts = [key for _, key, value in assigned if isinstance(value, ast.Dict | ast.List | ast.Tuple)]
    if keys:
        what = "class or dict" if dicts else "class"
        known = [*(each.name for each in _classes(body)), *dicts]
    else:
        what, known = "constant", [key for _, key, value in assigned if _looks_like_text(value)]
    raise PromptFileError(name, None, _missing(f"{what} {owner}{wanted}", str(wanted), known))


def _classes(body: Iterable[ast.stmt]) -> Iterator[ast.ClassDef]:
    return (node for node in _statements(body) if isinstance(node, ast.ClassDef))


def _docstring(node: ast.ClassDef, target: str, name: str) -> ast.expr:
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return first.value
    said = f"{target} is a class without a docstring; {ACCEPTED}, or the docstring of a class"
    raise PromptFileError(name, node.lineno, said)


def _is_signature(node: ast.ClassDef, imported: Mapping[str, str]) -> bool:
    """Whether a class is a signature of DSPy, also by a base of the project's own that is called so."""
    bases = (_called(base, imported) or ast.unparse(base) for base in node.bases)
    return any(base.endswith("Signature") for base in bases)


def _item(node: ast.expr, step: str | int, place: str) -> ast.expr:
    """The value of a key, or an item of a list; raises `ValueError` when it is not written out there."""
    if isinstance(node, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        number = next((n for n in reversed(range(len(keys))) if keys[n] == step), None)
        if number is None:
            raise ValueError(missing(step, (key for key in keys if key is not None), place))
        if None in node.keys[number:]:
            raise ValueError(f"`**` comes after `{step}` in {place} and may give it another value")
        return node.values[number]
    items = node.elts if isinstance(node, ast.List | ast.Tuple) else []
    if items and not any(isinstance(each, ast.Starred) for each in items):
        return items[item_number(step, len(items), place)]
    shown = ast.unparse(node).split("\n")[0][:60]
    raise ValueError(f"{place} is no dict or list that is written out: {shown}")


def _missing(what: str, wanted: str, known: Sequence[str]) -> str:
    near = get_close_matches(wanted, known, n=1)
    others = f"; it has {', '.join(dict.fromkeys(known))}" if known else ""
    return f"there is no {what}" + (f"; did you mean {near[0]}?" if near else others)


def _looks_like_text(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) or (isinstance(value, ast.Constant) and isinstance(value.value, str))


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """All that run when the module is imported, but not those within classes and functions."""
    for node in body:
        yield node
        if isinstance(node, _NESTED):
            for part in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, part, ()))
            for handler in getattr(node, "handlers", ()):
                yield from _statements(handler.body)


def _names(node: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    """What a statement gives a value to, and the value; None for one that is put together."""
    targets: Sequence[ast.expr] = ()
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value is not None:
        targets = [node.target]  # of an annotation alone there is no value
    for target in targets:
        if isinstance(target, ast.Name):
            yield target.id, getattr(node, "value", None)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            yield target.value.id, None  # an item of it
        elif isinstance(target, ast.Tuple | ast.List):
            yield from ((each.id, None) for each in target.elts if isinstance(each, ast.Name))


def _imported(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Names that imports give, with what they mean: ``dedent`` -> ``textwrap.dedent``."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _unwrapped(
    node: ast.expr, imported: Mapping[str, str], target: str, *, name: str
) -> tuple[ast.expr, Step, str]:
    """What is within ``dedent(...)`` or before ``.strip()``; raises `PromptFileError` for all else."""
    if isinstance(node, ast.Call) and _called(node.func, imported) == _SIGNATURE:
        named = [each.value for each in node.keywords if each.arg == "instructions"]
        if instructions := [*node.args[1:2], *named]:
            return instructions[0], inspect.cleandoc, _NONE
    if isinstance(node, ast.Call) and not node.keywords:
        function = node.func
        called = _called(function, imported)
        if called in _FUNCTIONS and len(node.args) == 1:
            return node.args[0], _FUNCTIONS[called], _LANGUAGES.get(called, "")
        if isinstance(function, ast.Attribute) and function.attr in _METHODS and len(node.args) <= 1:
            given = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if not node.args or isinstance(given, str):
                return function.value, _stripping(function.attr, given), ""
    kinds = {ast.JoinedStr: "an f-string", ast.BinOp: "put together with an operator"}
    what = next((said for kind, said in kinds.items() if isinstance(node, kind)), "no string")
    shown = ast.unparse(node).split("\n")[0][:60]
    raise PromptFileError(name, node.lineno, f"{target} is {what}: {shown}; {ACCEPTED}")


def _called(function: ast.expr, imported: Mapping[str, str]) -> str:
    if isinstance(function, ast.Name):
        return imported.get(function.id, "")
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return f"{imported.get(function.value.id, '')}.{function.attr}"
    return ""


def _stripping(method: str, given: object) -> Step:
    return lambda text: str(getattr(text, method)(given))
