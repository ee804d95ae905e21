"""The project's own folder, `.promptopt/`: private to its owner and kept out of version control by itself."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def ensure_home(home: Path) -> Path:
    """Create `home` (owner-only) and its `.gitignore` if missing; several processes may do so at once.

    A `.gitignore` that is there already is left as it is: the user may want to commit a part of the folder.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError), (home / ".gitignore").open("x", encoding="utf-8") as file:
        file.write("*\n")
    return home
