"""Has the transports ask the gate, once in a process: those that are imported already, and later ones.

Nothing is imported for it. A finder on `sys.meta_path` that knows a few names sees the import of the others:
an application may import its SDK inside the very function that is tested.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from pytest_promptopt.interception import (
    aiohttp_transport,
    dspy_cache,
    httpcore_transport,
    lm15_transport,
    urllib3_transport,
)

#: The package, and the copy that DSPy brings.
_LM15 = ("lm15", "dspy._vendor.lm15")

_PATCHES: Mapping[str, Callable[[Any], None]] = {
    "httpcore": httpcore_transport.patch,
    "httpcore2": httpcore_transport.patch,
    "urllib3.connectionpool": urllib3_transport.patch,
    "aiohttp.connector": aiohttp_transport.patch,
    "dspy.clients.cache": dspy_cache.patch,
    **{f"{lm15}.transports._sync": lm15_transport.patch_sync for lm15 in _LM15},
    **{f"{lm15}.transports._async": lm15_transport.patch_async for lm15 in _LM15},
}

#: Modules whose classes ask the gate by now.
_patched: dict[str, ModuleType] = {}


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self._looking = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in _PATCHES or self._looking:
            return None
        self._looking = True
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            return None
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Patches a module as soon as it is executed; all else is done by the real loader."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:  # whoever reads the module's files asks its real loader
            spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _patch(module.__name__, module)


_finder = _Finder()


def watch() -> None:
    """Patch what is imported, and what will be, until `unwatch`."""
    for name in _PATCHES:
        if name in sys.modules:
            _patch(name, sys.modules[name])
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def unwatch() -> None:
    """What is imported later is not patched; what is patched asks a closed gate."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


def _patch(name: str, module: ModuleType) -> None:
    if _patched.get(name) is not module:
        _patched[name] = module
        _PATCHES[name](module)
