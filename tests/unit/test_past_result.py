"""The result of an earlier run from its journal: of older versions, of several processes, of a torn one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.journal import Journal, JournalError
from pytest_promptopt.records import Role, Spend
from pytest_promptopt.results import PromptOutcome
from pytest_promptopt.runs.past import PastRun
from pytest_promptopt.runs.past_result import past_result
from pytest_promptopt.runs.showing import past_report
from pytest_promptopt.runs.stored_values import read_value
from tests.reported_session import ROUTE, RUN

OPENED = {"mode": "optimize", "options": {}, "selection": "", "fingerprint": {"prompts": {}}}
#: A run whose result JSON gives back as it is.
TOLD = replace(RUN, spend={role: Spend() for role in Role})


def journaled(folder: Path, *events: tuple[str, Mapping[str, Any]]) -> PastRun:
    journal = Journal.create(folder, folder.name)
    for event, data in events:
        journal.append(event, **data)
    journal.close()
    return PastRun.load(folder)


def started(prose: str = "Route.") -> tuple[str, Mapping[str, Any]]:
    settings = {"strategy": ["refine"], "alpha": 0.05}
    case = {"id": "t.py::t", "prompts": [ROUTE], "split": "train"}
    return "start", {"prompts": {ROUTE: prose}, "cases": [case], "settings": settings}


def call(role: Role = Role.TARGET) -> tuple[str, Mapping[str, Any]]:
    return "call", {"role": role, "spend": [1, 10, 2, 0.5, 0]}


class TestAWholeRun:
    def test_is_told_as_it_told_itself(self, tmp_path: Path) -> None:
        run = journaled(tmp_path / "run-1", ("opened", OPENED), ("end", asdict(TOLD)))
        found = past_result(run, tmp_path)
        assert found == replace(TOLD, id="run-1", journal="run-1/journal.jsonl")

    def test_has_what_became_known_after_its_end(self, tmp_path: Path) -> None:
        """Calls of pytest's own loop, and what had to be said of the files."""
        run = journaled(
            tmp_path / "run-1",
            ("opened", OPENED),
            ("end", asdict(TOLD)),
            ("notes", {"notes": ["route.md was put back"]}),
            call(),
            call(Role.JUDGE),
        )
        found = past_result(run, tmp_path)
        assert found.notes == ("route.md was put back",)
        assert found.spend[Role.TARGET] == found.spend[Role.JUDGE] == Spend(1, 10, 2, 0.5)

    def test_of_one_of_several_strategies_keeps_what_it_would_have_paid_alone(self, tmp_path: Path) -> None:
        opened = {**OPENED, "fingerprint": {"settings": {"strategy": ["refine", "evolve"]}}}
        run = journaled(tmp_path / "run-1", ("opened", opened), ("end", asdict(TOLD)), call())
        assert past_result(run, tmp_path).spend == TOLD.spend

    def test_of_an_older_version_is_told_with_what_it_has(self, tmp_path: Path) -> None:
        """It had neither a field of the result nor one of a prompt; a later one may have others."""
        told = {name: value for name, value in asdict(TOLD).items() if name not in ("errors", "compared")}
        old = [{"later": 1, **each} for each in told["prompts"]]
        for prompt in old:
            del prompt["verbosity"], prompt["migration"], prompt["caught_up"]
        run = journaled(tmp_path / "run-1", ("opened", OPENED), ("end", {**told, "prompts": old}))
        assert past_result(run, tmp_path).prompts == TOLD.prompts

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"prompts": [{"prompt": ROUTE}]}, r"RunResult.prompts\[0\].before is missing"),
            ({"prompts": 3}, "RunResult.prompts: expected list, got int"),
            ({"elapsed": "long"}, "RunResult.elapsed: expected float, got str"),
            ({"spend": {"nobody": {}}}, "'nobody' is not a valid Role"),
        ],
    )
    def test_that_this_version_cannot_read_is_named_with_its_line(
        self, tmp_path: Path, change: Mapping[str, Any], said: str
    ) -> None:
        run = journaled(tmp_path / "run-1", ("opened", OPENED), ("end", {**asdict(TOLD), **change}))
        with pytest.raises(JournalError, match=rf"journal.jsonl:2: not what a run .*{said}"):
            past_result(run, tmp_path)


class TestACutOffRun:
    def test_without_a_search_has_its_calls(self, tmp_path: Path) -> None:
        found = past_result(journaled(tmp_path / "run-1", ("opened", OPENED), call()), tmp_path)
        assert (found.prompts, found.interrupted, found.spend[Role.TARGET].calls) == ((), True, 1)
        assert "no search had begun: no prompt was measured yet" in found.notes

    def test_that_was_written_was_decided(self, tmp_path: Path) -> None:
        confirmation = {
            **{"prompts": [ROUTE], "candidate": "1.1", "verdict": "improved", "estimate": 0.5, "p": 0.01},
            **{"pairs": 9, "better": 8, "worse": 0, "calls": 18, "detectable": None},
        }
        run = journaled(
            tmp_path / "run-1",
            ("opened", OPENED),
            started(),
            ("results", {"candidate": "0", "rates": {"t.py::t": 0.0}}),
            ("candidate", made("1.1", "Route well.")),
            ("results", {"candidate": "1.1", "rates": {"t.py::t": 1.0}}),
            ("confirmation", confirmation),
            ("written", {"prompt": ROUTE, "why": "", "text": "Route well."}),
        )
        (prompt,) = past_result(run, tmp_path).prompts
        assert (prompt.outcome, prompt.after, prompt.written) == (PromptOutcome.IMPROVED, "Route well.", True)
        assert prompt.fixed == ("t.py::t",)
        assert prompt.rates == {"t.py::t": (0.0, 1.0)}

    def test_shows_the_candidates_that_nobody_judged_any_more(self, tmp_path: Path) -> None:
        run = journaled(
            tmp_path / "run-1",
            ("opened", OPENED),
            started(),
            call(),
            ("results", {"candidate": "0", "rates": {"t.py::t": 0.0}}),
            call(Role.OPTIMIZER),
            ("candidate", made("1.1", "Route well.")),
            ("candidate", made("1.2", None)),
        )
        (prompt,) = past_result(run, tmp_path).prompts
        (iteration,) = prompt.iterations
        told = [(c.id, c.direction, c.verdict, c.why) for c in iteration.candidates]
        why = "the run was cut off before it was judged"
        assert told == [("1.1", "be clear", "", why), ("1.2", "be clear", "", why)]
        assert iteration.spend.calls == 1, "those before the original was measured are not of it"
        assert prompt.after == "Route."

    def test_of_several_processes_is_told_by_the_one_that_came_furthest(self, tmp_path: Path) -> None:
        """A continued run goes the same way again; killed early, it has less to tell than before."""
        run = journaled(
            tmp_path / "run-1",
            ("opened", OPENED),
            started("Route."),
            ("results", {"candidate": "0", "rates": {"t.py::t": 0.0}}),
            call(),
            ("end", asdict(replace(TOLD, interrupted=True))),
            ("resumed", {"mode": "optimize", "options": {}}),
            call(),
            started("Route."),
        )
        found = past_result(run, tmp_path)
        assert found.prompts == TOLD.prompts
        assert found.spend[Role.TARGET].calls == 1, "the first call is in what the first process told"
        assert found.notes[-1].startswith("a later process of this run was killed, or is at work")


def made(id: str, text: str | None) -> Mapping[str, Any]:
    return {"id": id, "prompts": [ROUTE], "texts": {ROUTE: text}, "direction": "be clear", "reason": "why"}


def test_a_page_tells_what_the_run_was(tmp_path: Path) -> None:
    opened = {**OPENED, "mode": "dry-run", "selection": "-k route", "options": {"samples": "2"}}
    run = journaled(tmp_path / "run-1", ("opened", opened), started(), ("end", asdict(TOLD)))
    report = past_report(run, tmp_path)
    facts = dict(report.past)
    assert facts.pop("begun")
    assert facts == {
        "run": "run-1",
        "state": "finished",
        "cases chosen with": "-k route",
        "options": "samples=2",
        "mode": "dry run",
    }
    assert (report.checks, report.settings.alpha) == ((), 0.05)


def test_the_page_of_a_run_without_a_search_names_no_optimizer(tmp_path: Path) -> None:
    run = journaled(tmp_path / "run-1", ("opened", OPENED))
    assert not past_report(run, tmp_path).settings.optimizing


def test_a_journal_that_says_nothing_of_its_options_is_refused(tmp_path: Path) -> None:
    run = journaled(tmp_path / "run-1", ("opened", {"fingerprint": {}}), ("end", asdict(TOLD)))
    with pytest.raises(JournalError, match=r"journal\.jsonl: not of a run of this version: KeyError"):
        past_report(run, tmp_path)


@dataclass(frozen=True)
class Inner:
    role: Role
    pair: tuple[str, int] = ("", 0)


@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...]
    rate: float | None = None
    by_name: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class TestStoredValues:
    def test_come_back_as_they_were(self) -> None:
        value = Outer((Inner(Role.JUDGE, ("a", 1)),), 0.5, {"x": (1.0, 2.0)})
        as_json = {
            "inner": [{"role": "judge", "pair": ["a", 1]}],
            "rate": 0.5,
            "by_name": {"x": [1, 2.0]},
        }
        assert read_value(Outer, as_json) == value

    @pytest.mark.parametrize(
        ("stored", "said"),
        [
            ({}, "Outer.inner is missing"),
            ({"inner": [{"role": "x"}]}, r"Outer.inner\[0\].role: 'x' is not a valid Role"),
            ({"inner": [{"role": "judge", "pair": ["a"]}]}, "pair: expected 2 values, got 1"),
            ({"inner": [], "rate": True}, "Outer.rate: expected float, got bool"),
            ([], "Outer: expected dict, got list"),
        ],
    )
    def test_that_do_not_fit_are_named(self, stored: Any, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            read_value(Outer, stored)
