"""Which files of the project the tests of this process have imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


def imported_code(config: pytest.Config) -> Iterator[Path]:
    """The Python files below the rootdir that are in use, the conftest.py files among them."""
    root, plugins = config.rootpath, config.pluginmanager.get_plugins()
    for module in {id(each): each for each in (*sys.modules.values(), *plugins)}.values():
        path = Path(getattr(module, "__dict__", {}).get("__file__") or "")
        if path.suffix == ".py" and path.is_relative_to(root) and "site-packages" not in path.parts:
            yield path
