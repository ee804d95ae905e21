"""Which files of the project this process has imported."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from pathlib import Path


def imported_code(root: Path, plugins: Collection[object] = ()) -> Iterator[Path]:
    """The Python files below `root` that are in use, those of `plugins` (conftest.py files) among them."""
    for module in {id(each): each for each in (*sys.modules.values(), *plugins)}.values():
        path = Path(getattr(module, "__dict__", {}).get("__file__") or "")
        if path.suffix == ".py" and path.is_relative_to(root) and "site-packages" not in path.parts:
            yield path
