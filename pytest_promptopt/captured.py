"""Clocks and files as they were before a test could exchange them.

Tests put something else in the place of these for their own length (freezegun, pyfakefs, mock), while our
calls and files go on in another thread. What they exchange is found in modules, so what is kept here is none.
"""

from __future__ import annotations

import datetime as _datetime
import os as _os
import time as _time
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
    # time-machine moves `monotonic` in place, and nobody moves the other; they are the same clock.
    time = SimpleNamespace(**{**vars(_time), "monotonic": _time.perf_counter})

    class datetime(_datetime.datetime):
        """A name of our own: freezegun looks for the class itself."""
