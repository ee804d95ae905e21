"""Where in the user's project an exception was raised."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

PACKAGE = Path(__file__).parent


def raised_inside(error: BaseException, rootdir: Path) -> str:
    """``file:line`` of the innermost frame in the project at `rootdir`; empty when there is none.

    :param rootdir: resolved.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if _is_inside(file, rootdir):
            return f"{file.relative_to(rootdir).as_posix()}:{frame.lineno}"
    return ""


def leave_out_libraries(error: BaseException, rootdir: Path) -> None:
    """Let the traceback of `error` end with the project's last frame, without causes that never came so far.

    For an error that is raised in the depths of a library and says itself all that there is to say.

    :param rootdir: resolved.
    """
    seen = {id(error)}
    while True:
        last = None
        for entry in _entries(error.__traceback__):
            if _is_inside(Path(entry.tb_frame.f_code.co_filename), rootdir):
                last = entry
        if last is not None:
            last.tb_next = None
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None or id(cause) in seen:
            return
        if not raised_inside(cause, rootdir):
            error.__cause__ = error.__context__ = None
            return
        seen.add(id(cause))
        error = cause


def _entries(entry: TracebackType | None) -> Iterator[TracebackType]:
    while entry is not None:
        yield entry
        entry = entry.tb_next


def _is_inside(file: Path, rootdir: Path) -> bool:
    own = file.is_relative_to(PACKAGE)
    return file.is_relative_to(rootdir) and "site-packages" not in file.parts and not own
