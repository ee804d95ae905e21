"""One flight per answer over processes: a lock per key that its owner's death releases."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pytest_promptopt.unpatched import fcntl, os

#: Hex digits of a key that choose its byte: 60 bits, as far as an offset reaches; no two keys meet there.
_DIGITS = 15

#: Locks of a descriptor. Those of a process are all gone once it closes any descriptor of the file, as a test
#: does that copies its project. Elsewhere than on Linux they look different, or there are none.
_OF_A_DESCRIPTOR = getattr(fcntl, "F_OFD_SETLK", None) if sys.platform == "linux" else None


class SingleFlight:
    """Locks by key between processes that share a folder, each a byte of one file that has none.

    A lock file for each key would cost more than the rest of a call (five system calls, each giving up the
    interpreter lock); this costs two. Within one process everybody has the lock: `ModelClient` sees to that.

    :param path: the file; created with the first lock, for the owner only.
    :param warn: told once when the file can be made, but not locked.
    """

    def __init__(self, path: Path, *, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        self._descriptor = -1
        self._works = fcntl is not None

    def take(self, key: str) -> bool:
        """Try to become the one process that asks for `key`; does not wait.

        Where locks do not work everybody is the one: an answer may then be paid twice, but none is lost.
        """
        if not self._works:
            return True
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # whoever cannot make the folder either says so when an answer is to be stored
            self._works = False
            return True
        try:
            _lock(self._descriptor, int(key[:_DIGITS], 16))
        except (BlockingIOError, PermissionError):  # POSIX leaves open which of the two it is
            return False
        except OSError as error:
            self._works = False
            self._warn(f"{self._path} cannot be locked, so processes may pay for the same answer: {error}")
        return True

    def give(self, key: str) -> None:
        """Let the next process have `key`."""
        if self._works and self._descriptor >= 0:
            with suppress(OSError):  # the answer is there; what stays locked ends with the process
                _lock(self._descriptor, int(key[:_DIGITS], 16), release=True)

    def close(self) -> None:
        """Give back everything; a later `take` opens the file again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _lock(descriptor: int, byte: int, *, release: bool = False) -> None:
    """Lock or release one byte, at once. Raises `OSError`."""
    if _OF_A_DESCRIPTOR is None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN if release else fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        return
    kind = fcntl.F_UNLCK if release else fcntl.F_WRLCK
    # struct flock: kind, from where, first byte, length, and the process, which has to be 0.
    fcntl.fcntl(descriptor, _OF_A_DESCRIPTOR, struct.pack("hhqqi0q", kind, os.SEEK_SET, byte, 1, 0))
