"""How often the cases of a run were asked before: what is tried often enough succeeds by luck."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_promptopt.journal import JournalError
from pytest_promptopt.records import Split
from pytest_promptopt.refine.confirmation import Begun, History
from pytest_promptopt.refine.frame import SEARCHED
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.runs.past import PastRun, folders


@dataclass(frozen=True)
class Asked:
    """A confirmation or a scoring of held-out cases in an earlier run."""

    prompts: frozenset[str]
    cases: frozenset[str]
    event: str


class Histories:
    """What earlier runs asked, and earlier processes of this one; called with a group of prompts.

    :param run: the id of this run; only runs begun before it count.
    :param past: this run as its earlier processes left it; None for a new one.
    """

    def __init__(self, home: Path, run: str, past: PastRun | None) -> None:
        self._earlier = [
            asked for folder in folders(home) if folder.name < run for asked in _asked_in(folder)
        ]
        self._past = past

    def __call__(self, group: Group) -> History:
        names = {prompt.name for prompt in group.prompts}
        return History(
            confirmations=self._count("confirmation", names, group.ids(*SEARCHED)),
            heldout=self._count("heldout", names, group.ids(Split.HELDOUT)),
            begun=dict(_begun(self._past, names)),
        )

    def _count(self, event: str, names: Collection[str], cases: Collection[str]) -> int:
        """How many there were about these prompts and at least half of these cases."""
        return sum(
            asked.event == event
            and not asked.prompts.isdisjoint(names)
            and 2 * len(asked.cases.intersection(cases)) >= len(asked.cases | set(cases)) > 0
            for asked in self._earlier
        )


def _begun(past: PastRun | None, names: Collection[str]) -> Iterator[tuple[int, Begun]]:
    for event in past.events if past else ():
        if event.event == "confirming" and not names.isdisjoint(event.data["prompts"]):  # type: ignore[attr-defined]
            yield event.data["sample"], Begun(event.data["limit"], tuple(event.data["looked"]))


def _asked_in(folder: Path) -> Iterator[Asked]:
    """What a run has asked, each once, however often it was continued."""
    try:
        run = PastRun.load(folder)
        yield from {asked: None for asked in _asked(run)}
    except (JournalError, OSError, KeyError, TypeError, ValueError):
        return


def _asked(run: PastRun) -> Iterator[Asked]:
    cases: list[Mapping[str, Any]] = []
    for event in run.events:
        if event.event == "start":
            cases = event.data["cases"]
        elif event.event == "confirmation" and event.data["pairs"]:
            names = frozenset(event.data["prompts"])
            searched = (
                c["id"] for c in cases if c["split"] in SEARCHED and not names.isdisjoint(c["prompts"])
            )
            yield Asked(names, frozenset(searched), event.event)
        elif event.event == "heldout" and "cases" in event.data:
            yield Asked(frozenset(event.data["prompts"]), frozenset(event.data["cases"]), event.event)
