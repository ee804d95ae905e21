"""What a failed run says, as data: the operands of the assertion that ended it, its message, its place."""

from __future__ import annotations

import dataclasses
from types import FrameType, TracebackType
from typing import Any

import pytest

from pytest_promptopt.evaluation.values import MAX_TEXT, readable, shown, without_addresses
from pytest_promptopt.records import Call, Completion, Failure

#: Lines of the exception's message that are kept.
MAX_MESSAGE_LINES = 12


@dataclasses.dataclass(frozen=True)
class Operands:
    """Both sides of a failed comparison, as real objects, and the frame that compared them."""

    operator: str
    left: Any
    right: Any
    frame: FrameType | None


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
        return Failure(kind, message, where, "==", expected=readable(expected), actual=readable(actual))
    constraint = f"{_brief(operands.left, left_is)} {operands.operator} {_brief(operands.right, right_is)}"
    actual = operands.right if right_is and not left_is else operands.left
    return Failure(kind, message, where, operands.operator, actual=readable(actual), constraint=constraint)


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
    return "answer" if is_actual else shown(readable(side))[:500]


def _message(error: BaseException) -> str:
    try:
        return without_addresses(str(error))
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
