"""Where in the user's code something went wrong: the frame, its names, the statement as it is written."""

from __future__ import annotations

import ast
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType, FunctionType, TracebackType
from typing import Any

from pytest_promptopt.assertions.assert_reason import Reason
from pytest_promptopt.assertions.source_file import Function, source_file
from pytest_promptopt.assertions.static_values import NoValue, value_of
from pytest_promptopt.assertions.table_lookups import looked_up
from pytest_promptopt.completion import Completion

#: A name that pytest puts into the modules whose asserts it explains.
_REWRITTEN = "@pytest_ar"
_FAIL = ("pytest.fail(", "fail(")


def traceback_entries(traceback: TracebackType | None) -> list[tuple[FrameType, int]]:
    """Frames and lines, the innermost last."""
    found = []
    while traceback is not None:
        found.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return found


def location_of(traceback: TracebackType | None, rootdir: str) -> str:
    """``file:line`` of the innermost frame inside the project, else of the innermost one."""
    return SourceLocation.of(traceback, rootdir).where


@dataclass(frozen=True)
class SourceLocation:
    """A line of the user's code.

    :param where: ``file:line``.
    :param innermost: whether nothing deeper was at work: what went wrong is the statement itself.
    :param statement: the statement of that line, None without a source.
    :param text: its source.
    :param condition: the condition of the ``if`` around it.
    :param function: the function around it.
    """

    where: str = ""
    frame: FrameType | None = None
    innermost: bool = False
    statement: ast.stmt | None = None
    text: str = ""
    condition: ast.expr | None = None
    function: Function | None = None
    rootdir: str = ""

    @classmethod
    def of(cls, traceback: TracebackType | None, rootdir: str) -> SourceLocation:
        """The innermost place inside the project; without one, the innermost of all."""
        found = traceback_entries(traceback)
        if not found:
            return cls()
        inside = [entry for entry in found if is_inside(entry[0].f_code.co_filename, rootdir)]
        frame, line = inside[-1] if inside else found[-1]
        file = frame.f_code.co_filename
        source = source_file(file)
        statement = source.statement_at(line)
        return cls(
            where=f"{file[len(rootdir) :].lstrip('/') if inside else file}:{line}",
            frame=frame,
            innermost=frame is found[-1][0],
            statement=statement,
            text="" if statement is None else source.text_of(statement),
            condition=None if statement is None else source.condition_of(statement),
            function=source.function_of(frame.f_code),
            rootdir=rootdir,
        )

    @property
    def local(self) -> Mapping[str, Any]:
        return {} if self.frame is None else self.frame.f_locals

    @property
    def names(self) -> Mapping[str, Any]:
        """What names mean there; an answer is read as the text that it is."""
        if self.frame is None:
            return {}
        local = self.local.items()
        answers = {name: str(value) for name, value in local if issubclass(type(value), Completion)}
        return ChainMap(answers, dict(self.local), self.frame.f_globals)

    @property
    def told(self) -> str:
        """The statement with what this run looks up, without what it could have looked up and comments."""
        if self.statement is None or hasattr(self.statement, "body"):
            return self.text
        found = ast.unparse(looked_up(self.statement, self.names))
        return self.text if found == ast.unparse(self.statement) and "#" not in self.text else found

    @property
    def asserted(self) -> ast.expr | None:
        """What was asserted, when that is what did not hold."""
        return self.statement.test if self.innermost and isinstance(self.statement, ast.Assert) else None

    @property
    def forbidden(self) -> ast.expr | None:
        """The condition that must not hold: of an ``if`` around ``raise`` or ``pytest.fail()``."""
        raises = isinstance(self.statement, ast.Raise) or self.text.partition(": ")[2].startswith(_FAIL)
        return self.condition if raises else None

    @property
    def explained(self) -> bool:
        """Whether pytest explains the asserts there."""
        return self.frame is not None and _REWRITTEN in self.frame.f_globals

    def covers(self, line: int) -> bool:
        """Whether `line` is one of the statement's; without a source, whether it may be."""
        lines = self.statement
        return lines is None or lines.lineno <= line <= (lines.end_lineno or lines.lineno)

    def hint(self, reason: Reason | None) -> str:
        """How the assert could tell more; empty when it tells enough."""
        if self.asserted is None or self.frame is None:
            return ""
        if not self.explained:
            name = self.frame.f_globals.get("__name__", "")
            return (
                f"the assert at {self.where} shows no values, since pytest does not rewrite it: "
                f"pytest.register_assert_rewrite({name!r}) in conftest.py, before it is imported"
            )
        called = _function_of(reason.check, self.names) if reason is not None else None
        if called is None or not is_inside(called.__code__.co_filename, self.rootdir):
            return ""
        return (
            f"the assert at {self.where} shows no values, only what {called.__name__}(...) returned: "
            f"compare values in the assert, or assert inside {called.__name__}"
        )


def is_inside(file: str, rootdir: str) -> bool:
    """Whether `file` is the project's own."""
    return file.startswith(rootdir) and "site-packages" not in file


def _function_of(node: ast.expr | None, names: Mapping[str, Any]) -> FunctionType | None:
    """The function that a check calls, when it is one that Python code defines."""
    if isinstance(node, ast.Await):
        node = node.value
    if not isinstance(node, ast.Call):
        return None
    try:
        found = value_of(node.func, names)
    except NoValue:
        return None
    return found if isinstance(found, FunctionType) else None
