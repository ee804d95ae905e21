"""Every figure of a run's report equals a recount of its journal, and the journal alone gives the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.journal import Journal
from pytest_promptopt.records import Role, Spend
from pytest_promptopt.reports.json_report import report_json
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.results import RunResult
from pytest_promptopt.runs.past import PastRun
from pytest_promptopt.runs.past_result import past_result
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.hybrid import Hybrid
from tests import recount
from tests.noise_world import Noise, noisy_cases
from tests.paid_world import Paid
from tests.refine_world import HELDOUT, SETTINGS, VALIDATION, FakePrompt, Need, World, needs
from tests.rule_world import Rules, messages
from tests.unit.test_strategies import learner

ALL = needs("a b c -") + needs("a b", VALIDATION) + needs("a c z", HELDOUT)

TWO = [FakePrompt("one.md"), FakePrompt("two.md")]


def of_prompt(name: str, *found: Need) -> list[Need]:
    return [replace(need, id=f"{name}-{need.id}", prompts=(name,)) for need in found]


def rules(seed: int) -> World:
    """Where a search is long, and leaves out cases."""
    return Rules(messages(30, 10, seed), seed=seed, budget=160)


#: What a world is, and what a run of it is set to.
WORLDS: dict[str, tuple[Callable[[], World], dict[str, Any]]] = {
    "improved": (lambda: World(ALL, learner), {"candidates": 2, "max_iterations": 8}),
    "a dry run": (lambda: World(ALL, learner), {"dry": True}),
    "evolved": (lambda: World(ALL, learner, strategy=Evolve), {"candidates": 2, "max_iterations": 8}),
    "hybrid": (lambda: World(ALL, learner, strategy=Hybrid), {"candidates": 2, "max_iterations": 8}),
    "nothing better": (lambda: World(needs("a b")), {}),
    "nothing failing": (lambda: World(needs("- -") + needs("z", HELDOUT)), {}),
    "no usable answer": (lambda: World([*needs("a b"), Need("train-9", "a", errs=True)], learner), {}),
    "a gain of luck": (lambda: World(needs("a b -"), learner, luck=True), {}),
    "a loss on held-out": (
        lambda: World(
            needs("a a a a a a a a") + needs("r r r r r r r r", HELDOUT),
            ["a not r"],
            [FakePrompt(prose="Route {{ ticket }}. r")],
        ),
        {},
    ),
    "a fall on validation": (
        lambda: World(
            needs("a a b") + needs("z z", VALIDATION),
            ["a not z", "a b not z", "b"],
            [FakePrompt(prose="Route {{ ticket }}. z")],
        ),
        {},
    ),
    "a pipeline": (
        lambda: World([replace(need, prompts=("one.md", "two.md")) for need in ALL], learner, TWO),
        {"max_iterations": 8},
    ),
    "two prompts": (
        lambda: World([*of_prompt("one.md", *ALL), *of_prompt("two.md", *ALL)], learner, TWO),
        {"max_iterations": 6},
    ),
    "a ceiling": (lambda: Paid(needs("a b c d -"), learner, ceiling=30), {"max_iterations": 8}),
    "noise": (lambda: Noise(noisy_cases(30, 10, 10), seed=3), {"candidates": 2}),
    "rules 1": (partial(rules, 1), {"candidates": 3, "max_iterations": 4}),
    "rules 2": (partial(rules, 2), {"candidates": 3, "max_iterations": 4}),
    **{
        f"Ctrl-C at {moment}": (partial(World, ALL, learner, interrupt=moment), {})
        for moment in ("evaluate 1", "evaluate 3", "ask 2", "confirm 1")
    },
}


def run_journaled(world: World, folder: Path, settings: dict[str, Any]) -> RunResult:
    """Run a world with a journal that has its calls, as that of a real run has."""
    journal = Journal.create(folder, folder.name)
    journal.append("opened", mode="optimize", options={}, selection="", fingerprint={"prompts": {}})
    noted = dict.fromkeys(Role, 0)

    def noting(act: Callable[[Any], Any], *given: Any) -> Any:
        try:
            return act(*given)
        finally:
            for role, spend in world.spend().items():
                for _ in range(spend.calls - noted[role]):
                    journal.append("call", role=role, spend=astuple(Spend(calls=1)))
                noted[role] = spend.calls

    evaluate, ask = world.evaluate, world.ask
    world.evaluate = lambda trials: noting(evaluate, trials)  # type: ignore[method-assign]
    world.ask = lambda requests: noting(ask, requests)  # type: ignore[method-assign]
    result = world.run(journal=journal, **settings)
    journal.close()
    return result


def told(run: RunResult, folder: Path) -> dict[str, Any]:
    """The object ``run`` of the JSON report.

    :param folder: of its journal.
    """
    spend = {role: run.spend.get(role, Spend()) for role in Role}
    run = replace(run, spend=spend, journal="journal.jsonl")
    report = SessionReport((), run, {}, replace(SETTINGS, rootdir=folder), "1")
    found: dict[str, Any] = report_json(report)["run"]
    return found


@pytest.mark.parametrize("name", WORLDS)
def test_the_figures_of_a_run_equal_a_recount_of_its_journal(name: str, tmp_path: Path) -> None:
    make, settings = WORLDS[name]
    live = told(run_journaled(make(), tmp_path / "run", settings), tmp_path / "run")
    read = told(past_result(PastRun.load(tmp_path / "run"), tmp_path), tmp_path / "run")
    assert read == live, "the journal alone gives the report"
    recount.check_report(live, recount.lines_of(tmp_path / "run" / "journal.jsonl"))


@pytest.mark.parametrize("name", ["improved", "a pipeline", "two prompts", "a fall on validation", "rules 1"])
def test_wherever_a_run_is_cut_off_the_figures_equal_a_recount_of_what_is_left(
    name: str, tmp_path: Path
) -> None:
    make, settings = WORLDS[name]
    run_journaled(make(), tmp_path / "whole", settings)
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    shown = 0
    (tmp_path / "cut").mkdir()
    for count in range(1, len(lines)):
        if json.loads(lines[count - 1])["event"] == "call" and count % 10:
            continue
        path = tmp_path / "cut" / "journal.jsonl"
        path.write_bytes(b"".join(lines[:count]) + lines[count][:30])
        run = told(past_result(PastRun.load(tmp_path / "cut"), tmp_path), tmp_path / "cut")
        assert run["interrupted"]
        check_cut_off(run, recount.lines_of(path))
        shown += bool(run["prompts"] and run["prompts"][0]["iterations"])
    assert shown > 5


def check_cut_off(run: dict[str, Any], events: Sequence[recount.Event]) -> None:
    """As of a whole run; besides, the candidates that were not judged any more are there."""
    made = {(c["id"], *c["prompts"]) for c in recount.named(events, "candidate")}
    listed = [c for p in run["prompts"] for i in p["iterations"] for c in i["candidates"]]
    assert {(c["id"], *c["prompts"]) for c in listed} == made
    for prompt in run["prompts"]:
        whole = [i for i in prompt["iterations"] if any(c["verdict"] for c in i["candidates"])]
        prompt["iterations"] = whole
    if run["prompts"]:
        recount.check_report(run, events)
