"""The texts that a search tried and what it went on with, as the journal of its run has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.journal import Event, read_events
from pytest_promptopt.records import Overlay, Split
from pytest_promptopt.results import RunResult

#: The text of the file, as the journal calls it among candidates.
ORIGINAL = "0"


@dataclass(frozen=True)
class TriedCut:
    """A candidate's text without a passage, run on cases that fail with it.

    :param pieces: the lines and sentences of the passage.
    :param rates: of each case that it was run on.
    """

    candidate: str
    prompt: str
    pieces: tuple[str, ...]
    rates: Mapping[str, float | None]


@dataclass(frozen=True)
class TriedTexts:
    """What only the journal knows of a search.

    :param texts: of each candidate, by its id and then by prompt: searches of several groups of prompts use
        the same ids.
    :param incumbents: the best candidate after each iteration, by its number and each prompt it was about.
    :param cases: of each prompt those that a search may see, by their ids.
    :param rates: of each candidate, and of the original, the rate of each case that it was run on; None for a
        case without an answer. Groups share ids of candidates here, but no cases.
    :param beside: of each candidate, as in `texts`, those of the prompts of its pipeline that it leaves.
    :param cuts: what was tried to find a passage that does harm.
    """

    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    incumbents: Mapping[tuple[int, str], str] = field(default_factory=dict)
    cases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rates: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cuts: Sequence[TriedCut] = ()

    @classmethod
    def of(cls, events: Iterable[Event]) -> TriedTexts:
        texts: dict[str, dict[str, str]] = {}
        incumbents: dict[tuple[int, str], str] = {}
        cases: dict[str, list[str]] = {}
        rates: dict[str, dict[str, float | None]] = {}
        beside: dict[str, dict[str, str]] = {}
        cuts: dict[tuple[str, str, tuple[str, ...]], dict[str, float | None]] = {}
        for event in events:
            data = event.data
            if event.event == "start":
                cases = _searched(data.get("cases", ()))
            if event.event == "results":
                rates.setdefault(str(data.get("candidate")), {}).update(data.get("rates", {}))
            if event.event == "candidate" and isinstance(data.get("texts"), dict):
                texts.setdefault(str(data.get("id")), {}).update(_whole(data["texts"]))
                beside.setdefault(str(data.get("id")), {}).update(_whole(data.get("beside", {})))
            if event.event == "ablation":
                for tried in data.get("tries", ()):
                    cut = str(data.get("candidate")), str(tried["prompt"]), tuple(map(str, tried["without"]))
                    cuts.setdefault(cut, {}).update(tried["rates"])
            if event.event == "iteration" and "incumbent" in data:
                number = data.get("number", 0)
                incumbents |= {(number, name): str(data["incumbent"]) for name in data.get("prompts", ())}
        found = [TriedCut(*cut, of_cut) for cut, of_cut in cuts.items()]
        return cls(texts, incumbents, cases, rates, beside, found)

    def text(self, candidate: str, prompt: str) -> str | None:
        """None where the journal has none of this candidate for `prompt`."""
        return self.texts.get(candidate, {}).get(prompt)

    def overlay(self, candidate: str, prompts: Sequence[str]) -> Overlay:
        """All texts of a candidate that differ from the files; empty for the original.

        :param prompts: those that are refined together.
        """
        known = {**self.beside.get(candidate, {}), **self.texts.get(candidate, {})}
        return {prompt: known[prompt] for prompt in prompts if prompt in known}

    def incumbent(self, number: int, prompts: Sequence[str]) -> str | None:
        """The best candidate after an iteration; None where the journal does not tell.

        :param prompts: those that are refined together.
        """
        return next((self.incumbents[number, p] for p in prompts if (number, p) in self.incumbents), None)


def _searched(cases: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The ids of train and validation cases, by each of their prompts."""
    found: dict[str, list[str]] = {}
    for case in cases:
        if case.get("split") != Split.HELDOUT and not case.get("reference"):
            for prompt in case.get("prompts", ()):
                found.setdefault(prompt, []).append(str(case.get("id")))
    return found


def _whole(texts: Mapping[str, Any]) -> dict[str, str]:
    """Without the prompts for which there is no text: their reply was none."""
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def read_journal(run: RunResult, root: Path) -> TriedTexts:
    """What the journal of a run tells; nothing when it is gone or cannot be read."""
    if not run.journal:
        return TriedTexts()
    try:
        return TriedTexts.of(read_events(root / run.journal))
    except (PromptoptError, OSError):
        return TriedTexts()
