"""The ways to search by name; each is a `Strategy`."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_promptopt.refine.search import Search
from pytest_promptopt.refine.strategy import Strategy

BUILT_IN: Mapping[str, Strategy] = {"refine": Search}
