"""A failed run as data: what its assert expected and got, its message and its place."""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType, TracebackType
from typing import Any

from pytest_promptopt.assertions.assert_reason import Comparison, Reason, reason_of
from pytest_promptopt.assertions.comparison_sides import ComparisonContext
from pytest_promptopt.assertions.function_source import ASKING, arguments_of, root_of, source_of
from pytest_promptopt.assertions.matchers import is_matcher, replace_matched
from pytest_promptopt.assertions.plain_values import readable_value
from pytest_promptopt.assertions.source_file import source_file
from pytest_promptopt.assertions.source_location import SourceLocation, traceback_entries
from pytest_promptopt.assertions.static_values import NoValue, value_of
from pytest_promptopt.completion import Completion
from pytest_promptopt.failed_checks import CheckFailed
from pytest_promptopt.records import Call, Failure
from pytest_promptopt.text import MAX_REPR, without_addresses

#: Lines of the exception's message that are kept.
MAX_MESSAGE_LINES = 12
#: Frames of these do not compare anything on a test's behalf.
_MACHINERY = (
    os.sep + "_pytest" + os.sep,
    os.sep + "pluggy" + os.sep,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
)
#: unittest's checks: the comparison, and the names of its sides in the frame of the method.
_UNITTEST: Mapping[str, tuple[str, str, str]] = {
    "assertEqual": ("==", "first", "second"),
    "assertNotEqual": ("!=", "first", "second"),
    "assertCountEqual": ("==", "first", "second"),
    "assertAlmostEqual": ("==", "first", "second"),
    "assertMultiLineEqual": ("==", "first", "second"),
    "assertSequenceEqual": ("==", "seq1", "seq2"),
    "assertListEqual": ("==", "list1", "list2"),
    "assertTupleEqual": ("==", "tuple1", "tuple2"),
    "assertSetEqual": ("==", "set1", "set2"),
    "assertDictEqual": ("==", "d1", "d2"),
    "assertIn": ("in", "member", "container"),
    "assertNotIn": ("not in", "member", "container"),
    "assertIs": ("is", "expr1", "expr2"),
    "assertIsNot": ("is not", "expr1", "expr2"),
    "assertLess": ("<", "a", "b"),
    "assertLessEqual": ("<=", "a", "b"),
    "assertGreater": (">", "a", "b"),
    "assertGreaterEqual": (">=", "a", "b"),
}
#: Those that compare nothing, as the assert that they stand for.
_UNITTEST_ASSERTS: Mapping[str, str] = {
    "assertTrue": "{0}",
    "assertFalse": "not ({0})",
    "assertIsNone": "({0}) is None",
    "assertIsNotNone": "({0}) is not None",
    "assertIsInstance": "isinstance({0}, {1})",
    "assertNotIsInstance": "not isinstance({0}, {1})",
    "assertRegex": "re.search({1}, {0})",
    "assertNotRegex": "not re.search({1}, {0})",
    "assertStartsWith": "({0}).startswith({1})",
    "assertNotStartsWith": "not ({0}).startswith({1})",
    "assertEndsWith": "({0}).endswith({1})",
    "assertNotEndsWith": "not ({0}).endswith({1})",
}
#: ``numpy.testing.assert_equal(actual, desired)`` and the like.
_EQUAL_CALL = re.compile(r"assert_\w*equal")


#: Inside of these an expression may not have been reached, or several times.
_SKIPPING = (ast.BoolOp, ast.IfExp, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Operands:
    """Both sides of a comparison that pytest explains, as real objects, and the frame that compared them.

    :param position: where in the code of the frame: what one assert explains comes in order.
    """

    operator: str
    left: Any
    right: Any
    frame: FrameType | None = None
    line: int = 0
    position: int = -1

    @classmethod
    def here(cls, operator: str, left: Any, right: Any) -> Operands:
        """The comparison that runs now in the innermost frame that is neither pytest's nor ours."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and any(part in frame.f_code.co_filename for part in _MACHINERY):
            frame = frame.f_back
        if frame is None:
            return cls(operator, left, right)
        return cls(operator, left, right, frame, frame.f_lineno, frame.f_lasti)


def failure_of(
    error: BaseException,
    compared: Sequence[Operands],
    calls: Sequence[Call],
    *,
    rootdir: str,
    stated: Any | None = None,
    failing: tuple[type[BaseException], ...] = (AssertionError,),
    rewritten: bool = True,
) -> Failure:
    """The failure of a run that ended with `error`.

    :param compared: what pytest has explained in the run, in order, whether or not that ended it.
    :param failing: the errors by which a check says that it does not hold.
    :param rewritten: whether pytest runs the case and so could explain its asserts.
    :param stated: what the source of the test says that it expects, None if not known.
    """
    error, traceback = _innermost(error, error.__traceback__)
    if isinstance(error, CheckFailed):
        return error.failure
    place = SourceLocation.of(traceback, rootdir)
    failure = Failure(type(error).__name__, _message(error), place.where, check=place.told)
    if not isinstance(error, failing):
        return failure
    try:
        if not rewritten:
            return _read(failure, place, calls, stated=stated)
        return _explained(failure, place, traceback, compared, calls, stated=stated)
    except Exception:  # an object of the user's may raise whatever it is asked: then less is told
        return failure


def failure_of_check(
    check: Callable[..., Any], answer: Completion, calls: Sequence[Call], *, said: str, where: str
) -> Failure:
    """The failure of a function that was given `answer` and has returned that it is not right.

    :param said: what it returned, as a sentence.
    """
    name = getattr(check, "__name__", type(check).__name__)
    failure = Failure(
        "AssertionError",
        said,
        where,
        actual=str(answer),
        constraint=None if name == "<lambda>" else f"{name}(answer)",
        check=source_of(check).check,
    )
    found = _returned(check)
    if found is None:
        return failure
    argument, test = found
    outer = {**getattr(check, "__globals__", {}), **inspect.getclosurevars(check).nonlocals}
    names = {**outer, argument: str(answer)}
    failure = replace(failure, check=failure.check or ast.unparse(test))
    try:
        reason = reason_of(test, None, names)
        context = ComparisonContext(calls, local={argument: answer}, names=names)
        read = replace(failure, constraint=None, actual=None)
        return failure if reason is None else _with_reason(read, reason, context)
    except Exception:  # an object of the user's may raise whatever it is asked: then less is told
        return failure


def failure_of_expression(text: str, names: Mapping[str, Any], *, where: str) -> Failure:
    """The failure of an expression of `answer` that is not true.

    :param names: what its names mean.
    """
    test = ast.parse(text.strip(), mode="eval").body
    failure = Failure("AssertionError", "", where, check=f"assert {text.strip()}")
    answer = names["answer"]
    names = {**names, "answer": str(answer)}
    try:
        reason = reason_of(test, None, names)
        context = ComparisonContext((), local={"answer": answer}, names=names)
        if reason is not None:
            return _with_reason(failure, reason, context)
    except Exception:  # an object of the user's may raise whatever it is asked: then less is told
        pass
    return replace(failure, constraint=text.strip(), actual=str(answer))


def _returned(check: Callable[..., Any]) -> tuple[str, ast.expr] | None:
    """The parameter of a function and what it returns, when that is all it does."""
    code = getattr(check, "__code__", None)
    if code is None:
        return None
    file = source_file(code.co_filename)
    found = file.lambda_of(code) if code.co_name == "<lambda>" else file.function_of(code)
    if found is None or not found.args.args:
        return None
    argument = found.args.args[0].arg
    if isinstance(found, ast.Lambda):
        return argument, found.body
    match [each for each in found.body if not _is_docstring(each)]:
        case [ast.Return(value=ast.expr() as value)]:
            return argument, value
    return None


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _explained(
    failure: Failure,
    place: SourceLocation,
    traceback: TracebackType | None,
    compared: Sequence[Operands],
    calls: Sequence[Call],
    *,
    stated: Any | None,
) -> Failure:
    """`failure` with why it is one."""
    if place.asserted is not None:
        told = _of_one_assert(compared, place) if place.explained else None
        reason = reason_of(place.asserted, told, place.names)
        failure = replace(failure, message=_first_lines(failure.message), hint=place.hint(reason))
    elif place.forbidden is not None:
        reason = reason_of(ast.UnaryOp(ast.Not(), place.forbidden), None, place.names)
    elif isinstance(place.statement, ast.Expr) and isinstance(place.statement.value, ast.Call):
        reason = _called_reason(place.statement.value, traceback, place)
    else:
        reason = reason_of(None, _of_one_assert(compared, place), {}) if place.statement is None else None
    context = ComparisonContext(
        calls, function=place.function, local=place.local, names=place.names, stated=stated
    )
    return failure if reason is None else _with_reason(failure, reason, context)


def _read(failure: Failure, place: SourceLocation, calls: Sequence[Call], *, stated: Any | None) -> Failure:
    """`failure` with why it is one, where nobody has explained it: both sides are read from the source and
    the names of the frame, and no code of the user's is run for it.
    """
    if place.statement is None:
        unread = "the source of the check cannot be read, so what it compares is not told"
        return replace(
            failure, message=f"{failure.message} ({unread})".strip(), hint=f"{place.where}: {unread}"
        )
    names: Mapping[str, Any] = {**place.names, **_answer_by_call_source(place, calls)}
    reason = None
    if place.asserted is not None:
        failure = replace(failure, message=failure.message or place.told)
        reason = reason_of(place.asserted, None, names)
    elif place.forbidden is not None:
        reason = reason_of(ast.UnaryOp(ast.Not(), place.forbidden), None, names)
    if place.asserted is not None and (reason is None or not reason.comparisons):
        hint = (
            f"the assert at {place.where} shows no values: compare names, literals and parts of the answer "
            "in it, and call other functions before it"
        )
        failure = replace(failure, hint=hint)
    context = ComparisonContext(calls, function=place.function, local=place.local, names=names, stated=stated)
    return failure if reason is None else _with_reason(failure, reason, context)


def _answer_by_call_source(place: SourceLocation, calls: Sequence[Call]) -> dict[str, str]:
    """The answer to the one call of the prompt that stands in the assert, under the source of that call.

    Empty where the call may not have been reached, or where there are several.
    """
    if place.asserted is None or place.function is None or not calls:
        return {}
    roots = ASKING & arguments_of(place.function)
    inside = list(ast.walk(place.asserted))
    if any(isinstance(each, _SKIPPING) or len(getattr(each, "ops", ())) > 1 for each in inside):
        return {}
    asked = [each for each in inside if isinstance(each, ast.Call) and root_of(each.func) in roots]
    asked = [each for each in asked if not any(each in ast.walk(other.func) for other in asked)]
    if len({ast.unparse(each) for each in asked}) != 1 or len(asked) != 1:
        return {}
    return {form: calls[-1].text for form in (ast.unparse(asked[0]), f"await {ast.unparse(asked[0])}")}


def _innermost(
    error: BaseException, traceback: TracebackType | None
) -> tuple[BaseException, TracebackType | None]:
    """A task group wraps what one of its tasks has raised."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error, traceback = error.exceptions[0], error.exceptions[0].__traceback__
    return error, traceback


def _of_one_assert(compared: Sequence[Operands], place: SourceLocation) -> list[tuple[str, Any, Any]]:
    """What the assert that ended the run has compared: the last at its place, in order."""
    found: list[Operands] = []
    for each in reversed(compared):
        if each.frame is not place.frame or not place.covers(each.line):
            break
        if found and each.position >= found[-1].position:
            break  # the same assert, run before: a loop, or a retry
        found.append(each)
    return [(each.operator, each.left, each.right) for each in reversed(found)]


def _called_reason(call: ast.Call, traceback: TracebackType | None, place: SourceLocation) -> Reason | None:
    """Why a method of unittest, or a function like numpy's ``assert_equal``, has raised."""
    given = (call.args[0], call.args[1]) if len(call.args) > 1 else None
    for frame, _ in traceback_entries(traceback):
        sides = _UNITTEST.get(frame.f_code.co_name)
        if sides is not None and frame.f_globals.get("__name__") == "unittest.case":
            symbol, *names = sides
            left, right = (frame.f_locals.get(name) for name in names)
            return Reason((Comparison(symbol, left, right, given),))
    if (stands_for := _as_assert(call)) is not None:
        return reason_of(stands_for, None, place.names)
    if given is None or not _EQUAL_CALL.match(ast.unparse(call.func).rpartition(".")[2]):
        return None
    try:
        left, right = (value_of(side, place.names) for side in given)
    except NoValue:
        return None
    return Reason((Comparison("==", left, right, given),))


def _as_assert(call: ast.Call) -> ast.expr | None:
    """What is asserted by a method like ``assertTrue``; None for other calls."""
    form = _UNITTEST_ASSERTS.get(call.func.attr if isinstance(call.func, ast.Attribute) else "")
    if form is None or len(call.args) < 1 + ("{1}" in form):
        return None
    try:
        return ast.parse(form.format(*map(ast.unparse, call.args)), mode="eval").body
    except SyntaxError:
        return None


def _with_reason(failure: Failure, reason: Reason, context: ComparisonContext) -> Failure:
    if reason.check is not None:
        told = context.check(reason.check, negated=reason.negated)
        return replace(failure, constraint=told, message=_with_check(failure.message, told))
    turned = [context.turned(comparison) for comparison in reason.comparisons]
    first, right = turned[0]
    actual = first.right if right else first.left
    if len(turned) == 1 and first.operator == "==":
        wanted = replace_matched(first.right, actual)
        if context.measures(first):
            return _constrained(failure, "matches", actual, context.constraint(first, actual_right=False))
        if not is_matcher(wanted):
            return replace(
                failure, operator="==", expected=readable_value(wanted), actual=readable_value(actual)
            )
        first = replace(first, operator="matches")
    elif len(turned) > 1 and all(_is_set(each, actual) for each, _ in turned):
        first = Comparison("in", actual, [readable_value(each.right) for each, _ in turned])
    elif len(turned) > 1:
        told = " or ".join(context.constraint(each, actual_right=side) for each, side in turned)
        return _constrained(failure, "or", actual, told)
    return _constrained(failure, first.operator, actual, context.constraint(first, actual_right=right))


def _is_set(comparison: Comparison, actual: Any) -> bool:
    """Whether it is one of several values that `actual` could equal."""
    return comparison.operator == "==" and comparison.left is actual and not is_matcher(comparison.right)


def _constrained(failure: Failure, symbol: str, actual: Any, constraint: str) -> Failure:
    constraint = without_addresses(constraint)
    if "{" in failure.message:  # the order of a set differs from process to process
        failure = replace(failure, message=_with_check(failure.message, constraint))
    return replace(failure, operator=symbol, actual=readable_value(actual), constraint=constraint)


def _with_check(message: str, check: str) -> str:
    """`message` with `check` in place of pytest's explanation, its last line."""
    lines = message.splitlines()
    explained = bool(lines) and lines[-1].startswith("assert ")
    return "\n".join([*lines[:-1], f"assert {check}"]) if explained else message


def _message(error: BaseException) -> str:
    try:
        text = without_addresses(str(error))
    except Exception as second:
        text = f"<{type(error).__name__} whose text raises {type(second).__name__}>"
    return "\n".join(text.splitlines()[:MAX_MESSAGE_LINES])[:MAX_REPR]


def _first_lines(message: str) -> str:
    """What the test says, and the first line of pytest's explanation; the rest is kept as data."""
    lines = message.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("assert ")), len(lines))
    return "\n".join(lines[: first + 1])
