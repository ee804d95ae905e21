"""A run begins with what earlier runs of the same cases have taught, and goes on with these numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.journal import Event, _checksum, read_events
from tests.acceptance.desk import HOPELESS, TRAIN, WEAK, Desk

DECISIONS = ("candidate", "results", "iteration", "stop", "confirmation", "heldout", "written")
#: What differs between two runs with the same answers: clocks, what was paid in which process, fresh samples.
UNLIKE = {"spend", "elapsed", "calls", "why", "sample"}
#: A call while the first candidates are evaluated.
MOMENT = 11
#: A run that goes another way.
ANOTHER = ("--promptopt-seed=1",)


@pytest.fixture
def desk(pytester: pytest.Pytester) -> Desk:
    desk = Desk(pytester)
    desk.cases(train=[*TRAIN, HOPELESS])
    return desk


def optimize(desk: Desk, *args: str) -> Path:
    """The folder of a run from the weak text on, with few iterations."""
    desk.prompt.write_text(WEAK, encoding="utf-8")
    known = set(folders(desk))
    result = desk.run("--optimize", "--tb=no", "--promptopt-max-iterations=3", *args)
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    (folder,) = set(folders(desk)) - known
    return folder


def folders(desk: Desk) -> list[Path]:
    return sorted(desk.path.glob(".promptopt/runs/*"))


def events(folder: Path) -> list[Event]:
    return read_events(folder / "journal.jsonl")


def told(folder: Path) -> Any:
    """What the search of the run began with, by each of its processes."""
    starts = [
        {name: each["taught"] for each in event.data["told"] for name in each["prompts"]}
        for event in events(folder)
        if event.event == "start"
    ]
    return starts if len(starts) > 1 else starts[0]


def weight(numbers: dict[str, list[float]]) -> float:
    return sum(map(sum, numbers.values()))


def decisions(folder: Path) -> list[tuple[str, Any]]:
    """What the last process of a run decided, in order."""
    found = events(folder)
    start = max(number for number, event in enumerate(found) if event.event in ("opened", "resumed"))
    return [(e.event, _alike(e.data)) for e in found[start:] if e.event in DECISIONS]


def _alike(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _alike(value) for name, value in data.items() if name not in UNLIKE}
    return [_alike(value) for value in data] if isinstance(data, list) else data


def test_a_second_run_begins_with_what_the_first_has_taught(desk: Desk) -> None:
    first, second = optimize(desk), optimize(desk, *ANOTHER)
    assert told(first) == {"prompts/sort.md": {}}
    (learned,) = [event.data for event in events(first) if event.event == "learned"]
    assert learned["prompts"] == ["prompts/sort.md"]
    assert weight(learned["taught"]) > 0
    assert 0 < weight(told(second)["prompts/sort.md"]) <= 2.5
    assert set(told(second)["prompts/sort.md"]) == set(learned["taught"])


def test_what_is_taught_are_numbers_and_no_text(desk: Desk) -> None:
    (learned,) = [event.data for event in events(optimize(desk)) if event.event == "learned"]
    assert set(learned) == {"prompts", "rates", "taught"}
    assert all(isinstance(each, float) for weighed in learned["taught"].values() for each in weighed)


@pytest.mark.parametrize("how", ["option", "ini"])
def test_switched_off_it_begins_with_nothing(desk: Desk, how: str) -> None:
    optimize(desk)
    if how == "ini":
        desk.ini("promptopt_model = demo", "promptopt_optimizer_model = demo", "promptopt_learn = off")
    second = optimize(desk, *ANOTHER, *["--promptopt-learn=off"] * (how == "option"))
    assert told(second) == {"prompts/sort.md": {}}


def test_runs_of_other_cases_or_prompts_teach_nothing(desk: Desk) -> None:
    optimize(desk, "-k", "arrived or today")
    assert told(optimize(desk)) == {"prompts/sort.md": {}}
    other = desk.prompt.with_name("other.md")
    other.write_text(WEAK, encoding="utf-8")
    tests = desk.path / "test_it.py"
    tests.write_text(tests.read_text(encoding="utf-8").replace("sort.md", "other.md"))
    assert told(optimize(desk)) == {"prompts/other.md": {}}


def test_the_same_run_once_more_goes_the_same_way_from_the_cache(desk: Desk) -> None:
    """A dry run, and then the run that writes: what it would be told are its own answers."""
    desk.run("--optimize-dry-run", "--tb=no", "--promptopt-max-iterations=3")
    (first,) = folders(desk)
    second = optimize(desk)
    assert told(second) == {"prompts/sort.md": {}}
    assert _searched(second) == _searched(first)


@pytest.mark.parametrize("option", ["--promptopt-accept=best", "--promptopt-alpha=0.2", "--tb=short"])
def test_who_judges_otherwise_or_tidies_up_finds_the_text_that_was_just_found(
    desk: Desk, option: str
) -> None:
    desk.run("--optimize-dry-run", "--tb=no", "--promptopt-max-iterations=3")
    (first,) = folders(desk)
    helper = desk.path / "conftest.py"
    helper.write_text(helper.read_text(encoding="utf-8") + "# a further word\n", encoding="utf-8")
    second = optimize(desk, option)
    assert told(second) == {"prompts/sort.md": {}}
    assert _searched(second) == _searched(first)


def _searched(folder: Path) -> list[tuple[str, Any]]:
    """What a run decided before its gain was confirmed, in an order that each run draws for itself."""
    found = decisions(folder)
    return found[: [kind for kind, _ in found].index("confirmation")]


def unreadable(journal: Path) -> None:
    journal.write_bytes(b"\xff\x00 not a journal\n" * 3)


def damaged(journal: Path) -> None:
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[3] = lines[3].replace("a", "b")
    journal.write_text("".join(lines), encoding="utf-8")


def other_schema(journal: Path) -> None:
    _rewritten(journal, lambda event: event | {"schema": 0})


def other_grid(journal: Path) -> None:
    """As a version with other rates has written it."""
    _rewritten(
        journal, lambda event: event | {"data": {**event["data"], "rates": [0.0, 0.5]}}, only="learned"
    )


def no_weights(journal: Path) -> None:
    taught = {"taught": {"rewrite": [None]}}
    _rewritten(journal, lambda event: event | {"data": {**event["data"], **taught}}, only="learned")


def cut_off(journal: Path) -> None:
    """As a killed run leaves it."""
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = "".join(line for line in lines if '"event": "end"' not in line)
    journal.write_text(whole, encoding="utf-8")


def _rewritten(journal: Path, change: Callable[[dict[str, Any]], dict[str, Any]], *, only: str = "") -> None:
    """Each event as `change` has it, whole and with the right checksum."""
    lines = []
    for line in journal.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        del event["checksum"]
        event = change(event) if only in ("", event["event"]) else event
        lines.append(json.dumps({**event, "checksum": _checksum(event)}))
    journal.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("harm", [unreadable, damaged, other_schema, other_grid, no_weights, cut_off])
def test_a_journal_that_cannot_teach_is_passed_over(desk: Desk, harm: Callable[[Path], None]) -> None:
    first = optimize(desk)
    harm(first / "journal.jsonl")
    desk.prompt.write_text(WEAK, encoding="utf-8")
    result = desk.run("--optimize", "--tb=no", "--promptopt-max-iterations=3", *ANOTHER)
    assert told(folders(desk)[-1]) == {"prompts/sort.md": {}}
    said = result.stdout.str() + result.stderr.str()
    assert first.name not in said
    assert "journal.jsonl:" not in said
    assert "written:  prompts/sort.md" in said


def test_a_continued_run_goes_on_with_its_own_numbers_whatever_the_folder_holds(desk: Desk) -> None:
    first = optimize(desk)
    whole = optimize(desk, "--promptopt-cache=off", *ANOTHER)
    searched, written, began = _searched(whole), desk.text, told(whole)
    assert weight(began["prompts/sort.md"])
    shutil.rmtree(whole)
    (desk.path / "asked.log").unlink()
    desk.prompt.write_text(WEAK, encoding="utf-8")
    desk.write("ctrl-c", str(MOMENT))
    options = ("-p", "no:asyncio", "--promptopt-max-iterations=3", "--promptopt-cache=off", *ANOTHER)
    desk.pytester.runpytest_subprocess("--optimize", *options, timeout=60)
    (desk.path / "ctrl-c").unlink()
    shutil.rmtree(first)
    (second,) = folders(desk)
    desk.run("--optimize-resume", "--tb=no")
    assert told(second) == [began, began]
    assert _searched(second) == searched
    assert desk.text == written


def test_a_run_that_was_begun_before_there_was_anything_to_learn_goes_on_without(desk: Desk) -> None:
    first = optimize(desk)
    second = optimize(desk, "--promptopt-learn=off", *ANOTHER)
    decided = decisions(second)
    assert first.exists()
    desk.run(f"--optimize-resume={second.name}", "--tb=no")
    assert told(second) == [{"prompts/sort.md": {}}] * 2
    assert decisions(second) == decided
