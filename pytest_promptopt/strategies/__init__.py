"""The ways to search, by name."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from importlib.metadata import version

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.optimizer.strategy import ScoringNeeds, Strategy, scoring_needs
from pytest_promptopt.settings import Settings
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.hybrid import Hybrid
from pytest_promptopt.strategies.refine.search import RefineSearch

BUILT_IN: Mapping[str, Strategy] = {"refine": RefineSearch, "evolve": Evolve, "hybrid": Hybrid}

#: Engines of other libraries: the packages that they need, and where the adapter is.
EXTERNAL: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "gepa": (("gepa",), "pytest_promptopt.strategies.external.gepa_engine", "Gepa"),
    "dspy-gepa": (("dspy", "gepa"), "pytest_promptopt.strategies.external.dspy_gepa", "DspyGepa"),
    "dspy-miprov2": (("dspy", "optuna"), "pytest_promptopt.strategies.external.miprov2", "Miprov2"),
}


def load_strategy(name: str, offered: Mapping[str, Strategy]) -> Strategy:
    """The strategy called `name`.

    Raises `SettingsError` that lists what there is, or names the extra that is missing.

    :param offered: those of the user's hooks; they go before the built-in ones.
    """
    if name in offered:
        return offered[name]
    if name in EXTERNAL:
        return _external(name)
    if name not in BUILT_IN:
        accepted = ", ".join({**BUILT_IN, **EXTERNAL, **offered})
        raise SettingsError(f"--promptopt-strategy: there is no {name!r}; accepted: {accepted}")
    return BUILT_IN[name]


def declared_needs(strategies: Mapping[str, Strategy], settings: Settings) -> list[ScoringNeeds]:
    """What each strategy needs. Raises `SettingsError` where it is a model that writes and there is none."""
    needs = {name: scoring_needs(each) for name, each in strategies.items()}
    wanting = [name for name, each in needs.items() if each.optimizer_model]
    if wanting and not settings.writing:
        other = [name for name, each in BUILT_IN.items() if not scoring_needs(each).optimizer_model]
        raise SettingsError(
            f"--promptopt-optimizer-model={settings.optimizer_model}: the strategy {', '.join(wanting)} "
            f"needs a model that writes; name one, or use --promptopt-strategy={' or '.join(other)}"
        )
    return list(needs.values())


def _external(name: str) -> Strategy:
    packages, module, attribute = EXTERNAL[name]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise SettingsError(
            f"--promptopt-strategy: {name!r} needs {' and '.join(missing)}, which is not installed: "
            f"pip install 'pytest-promptopt[{name}]'"
        )
    try:
        found: Strategy = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        installed = ", ".join(f"{package} {version(package)}" for package in packages)
        raise SettingsError(
            f"--promptopt-strategy: {name!r} cannot be used with {installed}, which is too old or too new "
            f"({error}): pip install 'pytest-promptopt[{name}]'"
        ) from None
    return found
