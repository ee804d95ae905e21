"""How many connections this process may have: each takes one of its file descriptors."""

from __future__ import annotations

import errno
from contextlib import suppress

from pytest_promptopt.unpatched import os

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

#: Descriptors that are left to the tests, their imports, the cache, the journal and the account.
SPARE = 32

#: The number assumed open where it cannot be counted.
USUAL = 16

_EXHAUSTED = (errno.EMFILE, errno.ENFILE)


def reserve_descriptors(wanted: int) -> int:
    """How many of `wanted` connections fit beside what is open; at least one.

    The limit of this process is raised as far as that takes and the system lets it.
    """
    if resource is None:
        return wanted
    used = _used() + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < used + wanted:
        most = used + wanted if hard == resource.RLIM_INFINITY else min(used + wanted, hard)
        if most > soft:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max(1, min(wanted, soft - used))
    return wanted


def ran_out_of_descriptors(error: BaseException | None) -> bool:
    """Whether a connection failed since this process, or the system, has no descriptor left."""
    for _ in range(10):
        if error is None:
            return False
        if getattr(error, "errno", None) in _EXHAUSTED or "Too many open files" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _used() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return len(os.listdir(folder))
    return USUAL
