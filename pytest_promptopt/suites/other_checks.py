"""Checks of what an answer took, and those that code or a judge decides."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_promptopt.assertions.operand_capture import failure_of, failure_of_check, failure_of_expression
from pytest_promptopt.completion import Completion
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.records import Answer
from pytest_promptopt.suites.checks import Check, CheckContext, Found
from pytest_promptopt.text import cut_end, value_text

if TYPE_CHECKING:
    from pytest_promptopt.suites.file_case import FileCase

#: What a judge is shown besides the answer, as its arguments and the options of a check are called.
JUDGE_SEES = ("context", "reference")
#: The name of a case's expected answer, where inputs are named.
EXPECTED = "expected"
#: What an expression may use besides builtins.
NAMES = ("answer", "case")
#: How a function of a file is written.
FUNCTION = re.compile(r"(?P<file>[^\n]+\.py)::(?P<function>[^\W\d]\w*)")
#: What a check can be, by its name in a file.
_DEFINED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
#: Characters of another error's message.
MAX_MESSAGE = 300


def latency(check: Check, answer: str, context: CheckContext) -> Found:
    return _measured(check, answer, "latency", " s")


def cost(check: Check, answer: str, context: CheckContext) -> Found:
    return _measured(check, answer, "cost", " US dollars")


def _measured(check: Check, answer: str, name: str, unit: str) -> Found:
    value = getattr(answer, name, None)
    if value is None:
        model = getattr(answer, "model", "") or "the model"
        raise SettingsError(f"{check.where}: {check.name}: the {name} of an answer of {model} is not known")
    why = f"it took {value:g}{unit}"
    return Found(value <= check.value, "<=", f"answer.{name}", f"{check.value:g}", value, why=why)


def rubric(check: Check, answer: str, context: CheckContext) -> Found:
    if context.judge is None:
        raise SettingsError(f"{check.where}: {check.name}: there is no judge; give case.check(answer, judge)")
    shown = {name: _named(context.case, check.options.get(name)) for name in JUDGE_SEES}
    verdict = context.judge(answer, check.value, **shown)
    least = verdict.threshold if check.threshold is None else check.threshold
    said = "; ".join(verdict.issues) or verdict.reasons
    why = f"the judge gives {verdict.score:.2f}{': ' if said else ''}{said}"
    left = f"judge(answer, {check.value!r}).score"
    return Found(verdict.score >= least, ">=", left, f"{least:g}", verdict.score, why=why)


def _named(case: FileCase, names: Sequence[str] | None) -> str | None:
    """What a case has under these names; with several each is called by its name."""
    if not names:
        return None
    values = {name: value_text(case.expected if name == EXPECTED else case[name]) for name in names}
    if len(values) == 1:
        return next(iter(values.values()))
    return "\n\n".join(f"{name}: {value}" for name, value in values.items())


def python(check: Check, answer: str, context: CheckContext) -> Found:
    """An expression of `answer` and `case`, or a function of them in a file."""
    __tracebackhide__ = True
    file = check.options.get("file")
    if file is None:
        names = dict(zip(NAMES, (answer, context.case), strict=True))
        # As globals: a comprehension or a lambda inside sees no locals of `eval`.
        found = eval(expression_code(check.value, check.where), {"__name__": "promptopt_check", **names})
        failure = None if found else failure_of_expression(check.value, names, where=check.where)
    else:
        function = function_in(Path(file), check.options["function"], check.where)
        given = (answer, context.case) if _takes_case(function) else (answer,)
        try:
            found = function(*given)
        except AssertionError as error:
            told = failure_of(error, (), (), rootdir=str(Path(file).parent), rewritten=False)
            return Found(False, None, check.value, "", answer, failure=told)
        if found is None:
            found = _has_asserted(function, f"{check.where}: python: {check.value}")
        failure = None if found else failure_of_check(function, _told(answer), (), said="", where=check.where)
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        least = 1.0 if check.threshold is None else check.threshold
        return Found(found >= least, ">=", _call(check), f"{least:g}", found, why=f"got {found:g}")
    return Found(bool(found), None, _call(check), "", str(answer), failure=failure)


def _has_asserted(function: Callable[..., Any], name: str) -> bool:
    """What a function has decided that returned nothing: its asserts hold. Raises `SettingsError`.

    One without an assert has decided nothing: somebody has forgotten to return what was found.
    """
    with suppress(OSError, TypeError, SyntaxError):
        tree = ast.parse(dedent(inspect.getsource(function)))
        if any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(tree)):
            return True
    raise SettingsError(f"{name} returned None; a check returns True, False or a number, or it asserts")


def _told(answer: str) -> Completion:
    return answer if isinstance(answer, Completion) else Completion(Answer(answer, "", "", None, None, 0.0))


def _call(check: Check) -> str:
    function = check.options.get("function")
    return str(check.value) if function is None else f"{function}(answer)"


@functools.cache
def expression_code(text: str, where: str) -> Any:
    """Raises `SyntaxError`.

    :param where: ``file:line``, for tracebacks.
    """
    return compile(ast.parse(text.strip(), mode="eval"), f"<{where}>", "eval")


def unknown_name(expression: str) -> str | None:
    """A name in a readable expression that is none of `NAMES`, no builtin, and not bound in it."""
    nodes = list(ast.walk(ast.parse(expression.strip(), mode="eval")))
    named = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in named if not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    known = {*NAMES, *bound, *dir(builtins)}
    return next((node.id for node in named if node.id not in known), None)


def _takes_case(function: Callable[..., Any]) -> bool:
    given = inspect.signature(function).parameters.values()
    places = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(places) > 1 or any(p.kind is p.VAR_POSITIONAL for p in given)


def problem_of_function(file: Path, name: str) -> str:
    """What can be seen to be wrong with a function of a file without running the file; empty for nothing."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        return f"{file.name}:{error.lineno}: it is no Python: {error.msg}"
    except (OSError, ValueError, RecursionError) as error:
        return f"{file.name} cannot be read: {error}"
    named = [each for each in ast.walk(tree) if isinstance(each, ast.Name)]
    functions = {each.name: each for each in tree.body if isinstance(each, _DEFINED)}
    imported = [alias for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) for alias in each.names]
    bound = {each.id for each in named} | {alias.asname or alias.name for alias in imported}
    found = functions.get(name)
    # What decorates or replaces a function may take other parameters.
    replaced = any(each.id == name and isinstance(each.ctx, ast.Store) for each in named)
    if not (found is None or isinstance(found, ast.ClassDef) or found.decorator_list or replaced):
        return _unfit(found)
    if found is not None or name in bound or "*" in bound:
        return ""
    near = get_close_matches(name, functions, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(functions) or 'none'}"
    return f"{file.name} has no function {name!r}; {hint}"


def _unfit(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Why a function cannot be called with an answer, or an answer and its case; empty when it can."""
    if isinstance(function, ast.AsyncFunctionDef):
        return f"{function.name} is async; a check is a plain function"
    given = function.args
    places = [*given.posonlyargs, *given.args]
    needed = places[: len(places) - len(given.defaults)]
    by_name = [arg for arg, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is None]
    if len(needed) <= 2 and not by_name and (places or given.vararg):
        return ""
    takes = ", ".join(each.arg for each in (*needed, *by_name)) or "nothing"
    return f"{function.name} takes {takes}; a check is called with the answer, or the answer and the case"


def function_in(file: Path, name: str, where: str) -> Callable[..., Any]:
    """A function of a Python file. Raises `SettingsError`."""
    try:
        module = _module(file)
    except Exception as error:
        said = cut_end(f"{type(error).__name__}: {error}", MAX_MESSAGE)
        raise SettingsError(f"{where}: python: {file} cannot be imported: {said}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise SettingsError(f"{where}: python: {file.name} has no function {name!r}")
    found: Callable[..., Any] = function
    return found


@functools.cache
def _module(file: Path) -> ModuleType:
    name = f"promptopt_checks_{sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
