"""The ways to search, by name."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.refine.search import Search
from pytest_promptopt.refine.strategy import Strategy
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.hybrid import Hybrid

BUILT_IN: Mapping[str, Strategy] = {"refine": Search, "evolve": Evolve, "hybrid": Hybrid}


def strategy(name: str, offered: Mapping[str, Strategy]) -> Strategy:
    """The strategy called `name`.

    Raises `SettingsError` that lists what there is, or names the extra that is missing.

    :param offered: those of the user's hooks; they go before the built-in ones.
    """
    known = {**BUILT_IN, **offered}
    if name not in known:
        raise SettingsError(f"--promptopt-strategy: there is no {name!r}; accepted: {', '.join(known)}")
    return known[name]
