"""Where in the user's project an exception was raised."""

from __future__ import annotations

import traceback
from pathlib import Path

PACKAGE = Path(__file__).parent


def raised_inside(error: BaseException, rootdir: Path) -> str:
    """``file:line`` of the innermost frame in the project at `rootdir`; empty when there is none.

    :param rootdir: resolved.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        inside = file.is_relative_to(rootdir) and "site-packages" not in file.parts
        if inside and not file.is_relative_to(PACKAGE):
            return f"{file.relative_to(rootdir).as_posix()}:{frame.lineno}"
    return ""
