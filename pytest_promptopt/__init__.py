"""pytest-promptopt: `pytest` checks the prompts of a repository, `pytest --optimize` improves them.

Scripts and notebooks import `optimize` (`aoptimize`), `Case` and `load_prompt` from here; everything public
is in `pytest_promptopt.api`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_promptopt.api import (
        Case,
        PromptoptError,
        RunResult,
        SettingsError,
        aoptimize,
        load_prompt,
        optimize,
    )
    from pytest_promptopt.pytest_engine.case_files import cases

__version__ = "0.1.0"

__all__ = [
    "Case",
    "PromptoptError",
    "RunResult",
    "SettingsError",
    "aoptimize",
    "cases",
    "load_prompt",
    "optimize",
]

#: Where each name is; imported at its first use, since every pytest session imports this package.
_PLACES = {
    "Case": "scripting.given_cases",
    "PromptoptError": "errors",
    "RunResult": "results",
    "SettingsError": "errors",
    "aoptimize": "scripting.optimize",
    "cases": "pytest_engine.case_files",
    "load_prompt": "loaded_prompt",
    "optimize": "scripting.optimize",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
