"""Test functions that run once, each in a thread of its own: cases with ``replay=False`` whose calls block.

Only functions that need nothing but their parameters: then pytest's set-up has nothing to do for them, and
their bodies can run before their turn. At its turn a case takes over what its body has shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from inspect import iscoroutinefunction
from itertools import islice
from typing import Any

import pytest

from pytest_promptopt.models.client import SLICE
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.records import Overlay
from pytest_promptopt.replay.current_run import run_in_thread
from pytest_promptopt.replay.run import Run

#: A sample of a case under an overlay.
Wanted = tuple[PromptCase, Overlay, int]


class ThreadedBodies:
    """Bodies under way, and those that are over and whose turn has not come.

    :param open_run: makes the run of a sample.
    :param limit: how many may be under way.
    :param items: of the session, in order.
    :param mine: which cases this process may run ahead of their turns.
    """

    def __init__(
        self,
        open_run: Callable[..., Run[PromptCase]],
        limit: int,
        items: Sequence[pytest.Item],
        cases: Mapping[pytest.Item, PromptCase],
        mine: Callable[[pytest.Item], bool],
    ) -> None:
        self._open_run = open_run
        self._limit = limit
        self._items = items
        self._cases = cases
        self._mine = mine
        self._upcoming: Iterator[Wanted] = iter(())
        self._runs: dict[tuple[object, ...], tuple[Run[PromptCase], Future[None]]] = {}

    def run_ahead_from(self, item: pytest.Item) -> None:
        """Start `item` and what comes after it, unless that is under way already."""
        if not self._runs and can_run_ahead(self._cases[item]):
            self.follow(self._following(item))

    def _following(self, item: pytest.Item) -> Iterator[Wanted]:
        """Up to the first test that is not ours or has other wider fixtures."""
        key = internals.scope_key(item)
        for other in islice(self._items, self._items.index(item), None):
            case = self._cases.get(other)
            if case is None or internals.scope_key(other) != key:
                return
            if len(case.samples) == 1 and (other is item or self._mine(other)):
                yield case, {}, case.samples.start

    def follow(self, wanted: Iterator[Wanted]) -> None:
        """From now on start these, in order, as far as they can be."""
        self._upcoming = (each for each in wanted if can_run_ahead(each[0]))
        self._top_up()

    def take(self, case: PromptCase, overlay: Overlay, sample: int) -> Run[PromptCase] | None:
        """The run of a sample whose body was started; its turn has come."""
        found = self._runs.pop(_key(case, overlay, sample), None)
        self._top_up()
        return None if found is None else found[0]

    def clear(self) -> None:
        """Begin no further body, and have nothing to do with those that were begun."""
        self._upcoming = iter(())
        self._runs.clear()

    def _top_up(self) -> None:
        under_way = sum(not body.done() for _, body in self._runs.values())
        while under_way < self._limit:
            wanted = next(self._upcoming, None)
            if wanted is None:
                return
            case, overlay, sample = wanted
            key = _key(*wanted)
            if key not in self._runs:
                run = self._open_run(case, overlay, sample=sample, attempt=0)
                run.body = run_in_thread(run, lambda item=case.item: call_body(item))  # type: ignore[misc]
                self._runs[key] = run, run.body
                under_way += 1


def can_run_ahead(case: PromptCase) -> bool:
    """Whether its test is a plain function of its parameters that is not run again for its answers."""
    item: Any = case.item
    if case.replays or not case.intercepts or not isinstance(item, pytest.Function) or item.cls is not None:
        return False
    if iscoroutinefunction(item.obj):
        return False
    return internals.has_parameters_only(item)


def call_body(item: pytest.Item) -> None:
    function: Any = item
    values: dict[str, Any] = function.callspec.params if hasattr(function, "callspec") else {}
    function.obj(**values)


def end_of(body: Future[None]) -> None:
    """Wait for a body, and raise what it has raised. Ctrl-C gets in."""
    while not body.done():
        try:
            body.exception(SLICE)
        except TimeoutError:
            continue
    body.result()


def _key(case: PromptCase, overlay: Overlay, sample: int) -> tuple[object, ...]:
    return (case.item, sample, *sorted(overlay.items()))
