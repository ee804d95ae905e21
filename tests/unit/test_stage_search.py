"""Where a search of a pipeline sends its requests: to the stage at fault, and to no other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from pytest_promptopt.journal import Journal, read_events
from pytest_promptopt.settings import Accept
from tests.stage_world import Stages


def searched(*, journal: Journal | None = None, **settings: Any) -> Stages:
    world = Stages(**{"stages": 5, "fault": 1, **settings})
    world.run(journal=journal, candidates=3, max_iterations=8, max_calls=1, accept=Accept.BEST)
    return world


def test_a_graded_stage_gets_all_requests() -> None:
    world = searched(graded=True)
    assert set(world.requests_for) == {"s1.md"}
    assert set(world.calls_for) == {"s1.md"}
    assert set(world.written) == {"s1.md"}


def test_without_any_evidence_the_stages_take_turns_and_each_has_a_plateau_of_its_own() -> None:
    world = searched()
    order = [iteration.prompts for iteration in world.search.iterations]  # type: ignore[union-attr]
    assert order[:4] == [("s4.md",), ("s3.md",), ("s2.md",), ("s1.md",)], "the last one first"
    assert world.requests_for["judge"] == 1, "a judge that names no stage is not asked again"
    assert set(world.written) == {"s1.md"}


def test_a_judge_spares_the_others_their_requests() -> None:
    world = searched(judging=True, accuracy=1.0)
    assert set(world.requests_for) == {"judge", "s1.md"}
    assert world.search is not None
    assert all(fault.stage == "s1.md" for fault in world.search.last.values())


def test_a_judge_that_is_wrong_is_outvoted_by_what_the_stage_does_not_mend() -> None:
    world = searched(judging=True, accuracy=0.0)
    tried = [iteration.prompts for iteration in world.search.iterations]  # type: ignore[union-attr]
    assert len(set(tried[:4])) > 1, "the stage that it names gives way"
    assert world.requests_for["judge"] == 1, "it is asked once about a text"


def test_a_few_runs_tell_where_known_ones_do_not(tmp_path: Path) -> None:
    tried: list[dict[str, Any]] = []
    runs = 0
    for seed in range(4):
        journal = Journal.create(tmp_path / str(seed), "run")
        world = searched(stages=3, fault=0, noise=0.2, seed=seed, journal=journal)
        journal.close()
        found = [event.data for event in read_events(journal.path) if event.event == "stage_tried"]
        assert world.tries <= len(found) * world.stages
        tried += found
        runs += world.tries
    assert runs
    assert any(each["passes"] for each in tried), "with the answer of a passing run the case passes"


def test_a_stage_that_repeats_its_input_gets_one_request_at_most() -> None:
    world = searched(identity=4)
    assert world.requests_for["s4.md"] <= 1
    assert set(world.written) == {"s1.md"}


def test_a_frozen_stage_gets_none_and_is_named_all_the_same() -> None:
    world = searched(graded=True, frozen=1)
    assert world.search is not None
    faults = world.search.at_fault
    assert Counter((fault.stage, fault.frozen) for fault in faults).most_common(1)[0][0] == ("s1.md", True)
    assert "s1.md" not in world.requests_for


def test_the_journal_says_which_stage_and_why(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, "run")
    searched(graded=True, journal=journal)
    journal.close()
    events = [event for event in read_events(journal.path) if event.event == "stages_at_fault"]
    first = events[0].data["cases"][0]
    assert (first["stage"], first["by"], first["why"]) == ("s1.md", "grade", "its test graded it 0")


def test_runs_that_are_known_cost_no_try() -> None:
    world = searched(graded=True, noise=0.1)
    assert world.tries == 0
