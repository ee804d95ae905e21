"""What a failed run says, as data: the operands of the assertion that ended it, its message, its place."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any

import pytest

from pytest_promptopt.records import Call, Completion, Failure

#: Enough for any sensible expected value; a longer text tells an optimizer nothing more.
MAX_TEXT = 20_000
#: Nesting and length limits keep a cyclic or huge operand from hanging a run.
MAX_DEPTH, MAX_ITEMS = 8, 200
#: Lines of the exception's message that are kept.
MAX_MESSAGE_LINES = 12

NEGATED = {"==": "!=", "!=": "==", "in": "not in", "not in": "in"}
COMPARISONS: Mapping[str, Callable[[Any, Any], object]] = {"==": operator.eq, "!=": operator.ne}


@dataclasses.dataclass(frozen=True)
class Operands:
    """Both sides of a failed comparison, as real objects, and the frame that compared them."""

    operator: str
    left: Any
    right: Any
    frame: FrameType | None


def plain(value: Any, *, depth: int = 0) -> Any:
    """`value` as JSON-like data: what has structure keeps it, the rest becomes its `repr`."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)[:MAX_TEXT]
    if depth >= MAX_DEPTH:
        return shown(value)
    if isinstance(value, Mapping):
        pairs = list(value.items())[:MAX_ITEMS]
        return {str(key): plain(item, depth=depth + 1) for key, item in pairs}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth=depth + 1) for item in value[:MAX_ITEMS]]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item, depth=depth + 1) for item in list(value)[:MAX_ITEMS]), key=repr)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: plain(getattr(value, f.name, None), depth=depth + 1) for f in dataclasses.fields(value)
        }
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        try:
            return plain(dump(), depth=depth + 1)
        except Exception:
            return shown(value)
    return shown(value)


def shown(value: object) -> str:
    """`repr` that cannot fail and has an end."""
    try:
        return repr(value)[:MAX_TEXT]
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def failure_of(
    excinfo: pytest.ExceptionInfo[BaseException],
    operands: Operands | None,
    calls: list[Call],
    *,
    rootdir: str,
) -> Failure:
    """The failure of a run that ended with `excinfo`.

    :param operands: the last that were compared and found wanting, whether or not that ended the run.
    """
    kind = type(excinfo.value).__name__
    message = "\n".join(_message(excinfo.value).splitlines()[:MAX_MESSAGE_LINES])[:MAX_TEXT]
    where = place_of(excinfo.tb, rootdir)
    ended_it = (
        operands is not None
        and isinstance(excinfo.value, AssertionError)
        and (operands.frame is None or operands.frame in _frames(excinfo.tb))
    )
    if operands is None or not ended_it:
        return Failure(kind, message, where)
    last = calls[-1].text if calls else None
    left_is, right_is = _is_actual(operands.left, last), _is_actual(operands.right, last)
    if operands.operator == "==":
        actual, expected = (
            (operands.right, operands.left) if right_is and not left_is else (operands.left, operands.right)
        )
        return Failure(kind, message, where, "==", expected=plain(expected), actual=plain(actual))
    constraint = f"{_brief(operands.left, left_is)} {operands.operator} {_brief(operands.right, right_is)}"
    actual = operands.right if right_is and not left_is else operands.left
    return Failure(kind, message, where, operands.operator, actual=plain(actual), constraint=constraint)


def _is_actual(side: Any, last: str | None) -> bool:
    """Whether a side of a comparison is what the model said: its answer, the text, or a value in it."""
    if isinstance(side, Completion):
        return True
    if last is None:
        return False
    if isinstance(side, str) and side.strip().casefold() == last.strip().casefold():
        return True
    return _is_part(side, last)


def _is_part(side: Any, text: str) -> bool:
    import json

    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return False
    todo = [whole]
    while todo:
        value = todo.pop()
        if type(value) is type(side) and value == side:
            return True
        todo.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    return False


def _brief(side: Any, is_actual: bool) -> str:
    return "answer" if is_actual else shown(plain(side))[:500]


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:
        return f"<{type(error).__name__} whose text raises {type(second).__name__}>"


def _frames(traceback: TracebackType | None) -> list[FrameType]:
    frames = []
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames


def place_of(traceback: TracebackType | None, rootdir: str) -> str:
    """``file:line`` of the innermost frame inside the project, else of the innermost one."""
    inside = last = ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        last = f"{file}:{traceback.tb_lineno}"
        if file.startswith(rootdir) and "site-packages" not in file:
            inside = f"{file[len(rootdir) :].lstrip('/')}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return inside or last
