"""The project's own folder, `.promptopt/`: private to its owner and kept out of version control by itself."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pytest_promptopt import unpatched


def ensure_home(home: Path) -> Path:
    """Create `home` (owner-only) and its `.gitignore` if missing; several processes may do so at once.

    A `.gitignore` that is there already is left as it is: the user may want to commit a part of the folder.
    """
    unpatched.os.makedirs(home, mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        descriptor = unpatched.os.open(home / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        unpatched.os.write(descriptor, b"*\n")
        unpatched.os.close(descriptor)
    return home


def process_exists(process: int) -> bool:
    """Whether there is such a process; on Windows, where the question would end it, only this one is."""
    if process == os.getpid():
        return True
    if os.name == "nt":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
