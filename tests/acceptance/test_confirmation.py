"""Fresh answers, whatever was asked before, and within whatever calls are left."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_promptopt import journal
from pytest_promptopt.records import Role
from tests.acceptance.desk import HELDOUT, HOPELESS, TRAIN, WEAK, Desk

#: Calls in which this text is found, and that leave too few to confirm it.
SHORT = 20


@pytest.fixture
def desk(pytester: pytest.Pytester) -> Desk:
    return Desk(pytester)


def samples(path: Path) -> list[int]:
    """Those of the confirmation, of every call that was paid for."""
    calls = [event.data for event in journal.read_events(path) if event.event == "call"]
    return [call["sample"] for call in calls if call["role"] == Role.TARGET and call["sample"]]


def test_no_answer_of_another_run_is_fresh_and_earlier_runs_are_counted(desk: Desk) -> None:
    desk.optimize()
    first = desk.report["run"]["prompts"][0]
    desk.prompt.write_text(WEAK)
    result = desk.optimize()
    second = desk.report["run"]["prompts"][0]
    for prompt in (first, second):
        assert prompt["confirmation"]["calls"] == 2 * prompt["confirmation"]["pairs"]
    one, two = (samples(path) for path in sorted(desk.path.glob(".promptopt/runs/*/journal.jsonl")))
    assert one
    assert not {*one} & {*two}
    assert (first["asked_before"], first["heldout_before"]) == (0, 0)
    assert (second["asked_before"], second["heldout_before"]) == (1, 1)
    result.stdout.fnmatch_lines(
        [
            "*1 earlier run asked these cases; chance alone confirms one of 20",
            "*1 earlier run scored these held-out cases: *",
        ]
    )


def test_other_cases_were_not_asked_before(desk: Desk) -> None:
    desk.optimize()
    desk.prompt.write_text(WEAK)
    desk.cases(train=[(f"please, {message}", label) for message, label in TRAIN], validation=[])
    desk.optimize()
    prompt = desk.report["run"]["prompts"][0]
    assert (prompt["asked_before"], prompt["heldout_before"]) == (0, 1)


def test_a_text_that_could_not_be_confirmed_is_kept_and_a_higher_ceiling_pays_only_that(desk: Desk) -> None:
    result = desk.optimize(f"--promptopt-max-calls={SHORT}", "--promptopt-cache=off")
    (prompt,) = desk.report["run"]["prompts"]
    assert (prompt["outcome"], desk.text) == ("not shown", WEAK)
    needed, spent = prompt["confirmation"]["needed"], len(desk.told)
    assert needed
    result.stdout.fnmatch_lines([f"  needed: * about {needed} more calls would confirm it: *"])
    assert f"--promptopt-max-calls={spent + needed}" in result.stdout.str().replace("\n", " ")
    found = prompt["after"]

    searched = sum(event.event == "iteration" for event in desk.events)
    resume(desk, spent + needed)
    (prompt,) = desk.report["run"]["prompts"]
    assert (prompt["outcome"], prompt["written"], prompt["after"]) == ("improved", True, found)
    assert len(desk.told) <= spent + needed, "what was said suffices"
    iterations = [event for event in desk.events if event.event == "iteration"]
    assert len(iterations) == 2 * searched, "told again, not made anew"


def test_calls_in_plenty_do_not_begin_the_search_anew(desk: Desk) -> None:
    """Though the text is not perfect, and further iterations are allowed now."""
    desk.cases(train=[*TRAIN, HOPELESS])
    desk.optimize(f"--promptopt-max-calls={SHORT}", "--promptopt-max-iterations=1", "--promptopt-cache=off")
    (prompt,) = desk.report["run"]["prompts"]
    assert prompt["confirmation"]["needed"], "there is something to confirm"
    requests = optimizer_calls(desk)
    resume(desk, 500, "--promptopt-max-iterations=9")
    assert optimizer_calls(desk) == requests
    (prompt,) = desk.report["run"]["prompts"]
    assert (prompt["outcome"], len(prompt["iterations"])) == ("improved", 1)
    assert prompt["scores"][0]["after"] < 1


def resume(desk: Desk, ceiling: int, *args: str) -> None:
    options = ("--tb=no", "--promptopt-report=report.json", f"--promptopt-max-calls={ceiling}", *args)
    desk.run("--optimize-resume", *options)


def optimizer_calls(desk: Desk) -> int:
    return sum(event.event == "call" and event.data["role"] == Role.OPTIMIZER for event in desk.events)


def test_a_confirmation_that_a_ceiling_cut_off_goes_on_where_it_was(desk: Desk) -> None:
    desk.optimize("--promptopt-max-calls=28", "--promptopt-cache=off")
    first = desk.report["run"]["prompts"][0]["confirmation"]
    paid = len(desk.told)
    resume(desk, 90)
    second = desk.report["run"]["prompts"][0]["confirmation"]
    assert first["verdict"] == "improved" or second["pairs"] > first["pairs"]
    assert second["verdict"] == "improved"
    asked = [event.data["key"] for event in desk.events if event.event == "call"]
    assert len(asked) == len(set(asked)), "nothing is paid twice"
    assert len(desk.told) >= paid


@pytest.mark.parametrize("written", [True, False])
def test_held_out_cases_beyond_the_ceiling_are_skipped_and_said(desk: Desk, written: bool) -> None:
    """A sample takes a third of the calls, if an iteration leaves it; no other is run by pytest neither."""
    many = [(f"{message} {number}", label) for number in range(20) for message, label in HELDOUT]
    desk.cases(heldout=many)
    ceiling = 48 if written else 14
    result = desk.optimize(f"--promptopt-max-calls={ceiling}", "--promptopt-cache=off")
    assert len(desk.told) <= ceiling
    counts = result.parseoutcomes()
    scored = ceiling // 6 if written else 0
    assert counts["skipped"] >= len(many) - scored
    assert "error" not in counts
    sample = f"({scored} of 40, drawn at random)" if written else "none for the 40 held-out cases"
    result.stdout.fnmatch_lines([f"promptopt: *{sample}"])
    results = desk.report["prompts"][0]["results"]
    assert all(each["error"] is None for each in results)
    if written:
        (prompt,) = desk.report["run"]["prompts"]
        assert prompt["scores"][-1]["cases"] == scored
        assert f"{scored} of 40 held-out cases, drawn at random, are scored" in prompt["note"]
