"""Clocks and files as they were before a test could exchange them.

Tests put something else in the place of these for their own length (freezegun, pyfakefs, mock), while our
calls and files go on in another thread. What they exchange is found in modules, so what is kept here is none.
Of `json`, `hashlib`, `sqlite3` and `threading`, functions imported by name are enough: keys, answers and the
journal need no more of them.
"""

from __future__ import annotations

import datetime as _datetime
import os as _os
import time as _time
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fcntl as fcntl
    import os as os
    import time as time
    from datetime import datetime as datetime
else:
    fcntl = None  # Windows has none
    with suppress(ImportError):
        import fcntl as _fcntl

        fcntl = SimpleNamespace(**vars(_fcntl))
    os = SimpleNamespace(**vars(_os))
    # time-machine moves clocks in place, all but this one: what counts on from the start is the same time.
    _start, _counted = _time.time(), _time.perf_counter()

    def _now(count: Callable[[], float] = _time.perf_counter) -> float:
        return _start + count() - _counted

    time = SimpleNamespace(
        **{
            **vars(_time),
            "monotonic": _time.perf_counter,
            "monotonic_ns": _time.perf_counter_ns,
            "time": _now,
            "time_ns": lambda: int(_now() * 1e9),
        }
    )

    class datetime(_datetime.datetime):
        """A name of our own: freezegun looks for the class itself."""

        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return cls.fromtimestamp(_now(), tz)
