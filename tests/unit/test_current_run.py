"""What a case hands to a thread pool is the case's, however late it comes to its turn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from pytest_promptopt.replay.current_run import follow_executors, own_run, unfollow_executors
from pytest_promptopt.replay.run import Run


def test_what_outlives_its_case_is_not_of_the_next_one() -> None:
    first: Run[Any] = Run(cast("Any", None), cast("Any", None))
    second: Run[Any] = Run(cast("Any", None), cast("Any", None))
    running: list[Run[Any]] = [first]
    current = lambda: running[-1] if running else None  # noqa: E731
    follow_executors(current)
    try:
        go_on = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(lambda: (go_on.wait(10), own_run())[1])
            running[:] = [second]
            of_second = pool.submit(own_run)
            running.clear()
            of_nobody = pool.submit(own_run)
            go_on.set()
        assert late.result() is first
        assert of_second.result() is second
        assert of_nobody.result() is None
        assert own_run() is None
    finally:
        unfollow_executors(current)
