"""The figures of a run, counted again from the lines of its journal, without any code of the package.

Slow and plain on purpose: whoever doubts a report reads this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from math import fsum
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "heldout")
SEARCHED = ("train", "validation")
ROLES = ("target", "optimizer", "judge", "embedding")

#: Stands before the training cases that a text shows as examples.
EXAMPLES = "promptopt: examples"

Event = dict[str, Any]


def lines_of(path: Path) -> list[Event]:
    """The events of a journal; a torn last line is none."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def last_process(events: Sequence[Event]) -> list[Event]:
    """What the last process of a run did."""
    begun = max(place for place, event in enumerate(events) if event["event"] in ("opened", "resumed"))
    return list(events[begun:])


def named(events: Iterable[Event], *names: str) -> list[dict[str, Any]]:
    return [event["data"] for event in events if event["event"] in names]


# ------------------------------------------------------------------------------------------------------ spend


def spend(events: Iterable[Event]) -> dict[str, list[float]]:
    """Of each role: calls, input tokens, output tokens, dollars, calls without a price."""
    total = {role: [0.0] * 5 for role in ROLES}
    for call in named(events, "call"):
        total[call["role"]] = [a + b for a, b in zip(total[call["role"]], call["spend"], strict=True)]
    return total


def told_spend(run: dict[str, Any]) -> dict[str, list[float]]:
    """The same from the JSON report; without a call of a role nobody knows a price."""
    keys = ("calls", "input_tokens", "output_tokens", "cost", "unpriced")
    told = {role: [run["spend"].get(role, {}).get(key) or 0.0 for key in keys] for role in ROLES}
    return {role: [round(figure, 9) for figure in figures] for role, figures in told.items()}


def rounded(total: dict[str, list[float]]) -> dict[str, list[float]]:
    return {role: [round(figure, 9) for figure in figures] for role, figures in total.items()}


# ----------------------------------------------------------------------------------------- texts and results


class Search:
    """What the journal says of the search of one group of prompts.

    :param group: their names.
    """

    def __init__(self, process: Sequence[Event], group: Sequence[str]) -> None:
        self.process, self.group = process, group
        (start,) = named(process, "start")
        self.before = {name: start["prompts"][name] for name in group}
        self.cases = {c["id"]: c for c in start["cases"] if set(c["prompts"]) & set(group)}
        self.iterations = [i for i in named(process, "iteration") if set(i["prompts"]) & set(group)]
        self.candidates = [c for c in named(process, "candidate") if set(c["prompts"]) & set(group)]
        self.final = self._final()
        self.has_examples = any(
            EXAMPLES in (text or "") for c in self.candidates for text in c["texts"].values()
        )

    def _final(self) -> str:
        """The id of the text that was confirmed, or was the best when nothing was confirmed."""
        confirmed = [c for c in named(self.process, "confirmation") if c["prompts"] == list(self.group)]
        if confirmed:
            return str(confirmed[-1]["candidate"])
        found = "0"
        for event in self.process:
            data = event["data"]
            if event["event"] == "iteration" and set(data["prompts"]) & set(self.group):
                found = data["incumbent"]
            if event["event"] == "overfitted" and data["candidate"] == found:
                found = data["kept"]
        return found

    def rates(self, candidate: str, until: int | None = None) -> dict[str, float | None]:
        """The last known rate of each case under a candidate; `until` is how many events count."""
        found: dict[str, float | None] = {}
        for data in named(self.process[:until], "results"):
            if data["candidate"] == candidate:
                found |= {case: rate for case, rate in data["rates"].items() if case in self.cases}
        return found

    def calls_since(self, over: int) -> float:
        """The calls before the event of this place, since an iteration was over or the original measured."""
        calls = 0.0
        for event in reversed(self.process[:over]):
            data = event["data"]
            if event["event"] == "iteration" or (event["event"] == "results" and data["candidate"] == "0"):
                break
            calls += data["spend"][0] if event["event"] == "call" else 0.0
        return calls

    def of_splits(self, rates: dict[str, float | None], *splits: str) -> dict[str, float]:
        """Those with an answer, in the order of the cases."""
        known = ((case, rates.get(case)) for case, each in self.cases.items() if each["split"] in splits)
        return {case: rate for case, rate in known if rate is not None}

    def mean(self, rates: dict[str, float]) -> float | None:
        weights = [self.cases[case]["weight"] for case in rates]
        rated = zip(rates.values(), weights, strict=True)
        return fsum(r * w for r, w in rated) / fsum(weights) if rates else None

    def scores(self, examples: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The rates of each split before and after, on the cases that both texts were run on."""
        old_all, new_all = self.rates("0"), self.rates(self.final)
        found = []
        for split in SPLITS:
            old, new = (
                {case: rate for case, rate in self.of_splits(rates, split).items() if case not in examples}
                for rates in (old_all, new_all)
            )
            ran = [case for case in new_all if self.cases[case]["split"] == split and case not in examples]
            unrun = [case for case in old if case not in new_all] if split != "heldout" else []
            if ran or unrun:
                old = {case: rate for case, rate in old.items() if case in ran}
            fixed, broken = flips(old, new)
            found.append(
                {
                    "split": split,
                    "before": self.mean(old),
                    "after": self.mean(new),
                    "fixed": len(fixed),
                    "broken": len(broken),
                    "errored": sum(new_all[case] is None for case in ran),
                }
            )
        return found

    def flipped(self, examples: Sequence[str] = ()) -> tuple[list[str], list[str]]:
        """The train and validation cases that are fixed and broken."""
        old, new = (
            {c: r for c, r in self.of_splits(self.rates(id), *SEARCHED).items() if c not in examples}
            for id in ("0", self.final)
        )
        return flips(old, new)


def flips(old: dict[str, float], new: dict[str, float]) -> tuple[list[str], list[str]]:
    both = [case for case in new if case in old]
    fixed = [case for case in both if old[case] < 1 - 1e-9 <= new[case]]
    return sorted(fixed), sorted(case for case in both if new[case] < 1 - 1e-9 <= old[case])


# ----------------------------------------------------------------------------------------------- the report


def told_scores(prompt: dict[str, Any]) -> list[dict[str, Any]]:
    """What a report tells of the splits that were measured."""
    keys = ("split", "before", "after", "fixed", "broken", "errored")
    return [{key: score[key] for key in keys} for score in prompt["scores"]]


def measured(scores: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those with a rate, which are rounded: sums of floats differ with their order."""
    rates = ("before", "after")
    return [
        {k: round(v, 9) if k in rates and v is not None else v for k, v in score.items()}
        for score in scores
        if score["before"] is not None or score["after"] is not None
    ]


def check_report(run: dict[str, Any], events: Sequence[Event]) -> None:
    """Hold the object ``run`` of a JSON report against a recount of the events of its journal."""
    process = last_process(events)
    assert told_spend(run) == rounded(spend(events))
    for prompt in run["prompts"]:
        group = prompt["pipeline"] or [prompt["prompt"]]
        texts = {p["prompt"]: (p["before"], p["after"]) for p in run["prompts"]}
        search = Search(process, group)
        if all(before == after for before, after in map(texts.__getitem__, group)):
            search.final = "0"  # the best text gave way at last
        check_prompt(prompt, search)


def check_prompt(prompt: dict[str, Any], search: Search) -> None:
    """Hold what is told of a prompt against a recount."""
    changed = prompt["before"] != prompt["after"]
    assert prompt["before"] == search.before[prompt["prompt"]]
    if changed:
        texts = {c["id"]: c["texts"] for c in search.candidates}
        own = texts[search.final].get(prompt["prompt"])
        assert own is None or own == prompt["after"]
    told = measured(told_scores(prompt))
    counted = measured(search.scores(prompt["examples"]))
    assert told == counted
    if changed:
        fixed, broken = search.flipped(prompt["examples"])
        assert (sorted(prompt["fixed"]), sorted(prompt["broken"])) == (fixed, broken)
        assert prompt["rates"].keys() == {*fixed, *broken}
    check_iterations(prompt, search)
    check_passages(prompt, search)


def check_iterations(prompt: dict[str, Any], search: Search) -> None:
    """Each iteration and candidate: what it was told, and the cases that it was run on, fixed and broke."""
    name = prompt["prompt"]
    journaled = [i for i in search.iterations if any(name in c["prompts"] for c in i["candidates"])]
    assert [i["number"] for i in prompt["iterations"]] == [i["number"] for i in journaled]
    made = {c["id"]: c for c in search.candidates}
    for told, counted in zip(prompt["iterations"], journaled, strict=True):
        for key in ("phase", "before", "best", "unverified", "critiques", "foresight", "elapsed"):
            assert told[key] == counted[key]
        assert [c["id"] for c in told["candidates"]] == [c["id"] for c in counted["candidates"]]
        over = next(
            place
            for place, event in enumerate(search.process)
            if event["event"] == "iteration"
            and event["data"]["number"] == told["number"]
            and event["data"]["prompts"] == counted["prompts"]
        )
        assert told["spend"]["calls"] == search.calls_since(over)
        for candidate in told["candidates"]:
            assert candidate["direction"] == made[candidate["id"]]["direction"]
            assert candidate["reason"] == made[candidate["id"]]["reason"]
            check_candidate(candidate, search, over)


def check_candidate(candidate: dict[str, Any], search: Search, over: int) -> None:
    """By what was known when its iteration was over."""
    if candidate["split"] is None:
        assert (candidate["rate"], candidate["run"], candidate["fixed"]) == (None, 0, [])
        return
    rates = search.rates(candidate["id"], over)
    own = search.of_splits(rates, candidate["split"])
    if search.has_examples:  # no figure counts the cases that stand in either text: fewer are told
        assert candidate["run"] <= len(own)
        assert {*candidate["fixed"], *candidate["broken"]} <= rates.keys()
        return
    assert candidate["run"] == len(own)
    if len(own) == sum(case["split"] == candidate["split"] for case in search.cases.values()):
        assert abs(candidate["rate"] - (search.mean(own) or 0.0)) < 1e-9
    number = int(candidate["id"].partition(".")[0])
    parent = max(
        (i for i in search.iterations if i["number"] < number), key=lambda i: i["number"], default={}
    )
    old = search.of_splits(search.rates(parent.get("incumbent", "0"), over), *SEARCHED)
    fixed, broken = flips(old, search.of_splits(rates, *SEARCHED))
    assert (sorted(candidate["fixed"]), sorted(candidate["broken"])) == (fixed, broken)


# ------------------------------------------------------------------------------------------------- passages


def passages_of(text: str) -> list[str]:
    """The lines and sentences of a text without a region of examples and without code in its variables."""
    return [piece.strip() for piece in re.split(r"(?<=[.!?;])\s+|\n+", text) if piece.strip()]


def lacks(whole: list[str], part: list[str]) -> list[str] | None:
    """What `part` lacks of `whole`, where it has all else in the same order."""
    missing, rest = [], list(part)
    for piece in whole:
        if rest and rest[0] == piece:
            rest.pop(0)
        else:
            missing.append(piece)
    return None if rest else missing


def check_passages(prompt: dict[str, Any], search: Search) -> None:
    """Each set of passages: on how many cases texts with and without it were run, and what came of it."""
    if search.has_examples:
        return
    name, flaky = prompt["prompt"], {each["case"] for each in prompt["flaky"]}
    overlays = {c["id"]: {**c.get("beside", {}), **c["texts"]} for c in search.candidates} | {"0": {}}
    versions = [
        (
            passages_of(overlay.get(name) or search.before[name]),
            {other: text for other, text in overlay.items() if other != name},
            search.of_splits(search.rates(id), *SEARCHED),
        )
        for id, overlay in overlays.items()
    ]
    for told in prompt["passages"]["tried"]:
        pairs: dict[str, list[tuple[float, float]]] = {}
        for pieces, beside, rates in versions:
            for fewer, beside_fewer, rates_fewer in versions:
                if beside == beside_fewer and lacks(pieces, fewer) == told["passages"]:
                    for case in rates.keys() & rates_fewer.keys() - flaky:
                        pairs.setdefault(case, []).append((rates[case], rates_fewer[case]))
        means = [
            tuple(fsum(side) / len(found) for side in zip(*found, strict=True)) for found in pairs.values()
        ]
        needed = sum(without < 1 - 1e-9 <= with_it for with_it, without in means)
        spoiled = sum(with_it < 1 - 1e-9 <= without for with_it, without in means)
        assert (told["cases"], told["needed"], told["spoiled"]) == (len(means), needed, spoiled)
        failing: dict[str, bool] = {}
        for ablation in named(search.process, "ablation"):
            for tried in ablation["tries"]:
                if tried["prompt"] == name and tried["without"] == told["passages"]:
                    failing |= {c: r >= 1 - 1e-9 for c, r in tried["rates"].items() if r is not None}
        counted = {case: mended for case, mended in failing.items() if case not in flaky}
        assert (told["failing"], told["mended"]) == (len(counted), sum(counted.values()))
