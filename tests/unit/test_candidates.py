"""Candidates are values: what becomes of one is a new one, and an iteration holds the newest of each."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from pytest_promptopt.optimizer.acceptance import compare
from pytest_promptopt.optimizer.candidates import ACCEPTED, REFUSED, REJECTED, Candidate, OpenIteration
from pytest_promptopt.optimizer.halting import Phase
from pytest_promptopt.optimizer.rate_posterior import posterior_of
from pytest_promptopt.optimizer.verdict_model import VerdictModel
from pytest_promptopt.records import CaseResult, Split
from tests.refine_world import TRAIN, VALIDATION, Need

NEW = Candidate("1.1", ("route.md",), "go", overlay={"route.md": "Route {{ ticket }}. a"})


def result(need: Need) -> CaseResult:
    return CaseResult(need.record(), (need.run({"route.md": "a"}),))


def test_a_candidate_does_not_change_when_something_becomes_of_it() -> None:
    before, after = (result(Need("one", "b")),), (result(Need("one", "a")),)
    ran = NEW.ran(after).judged_by(compare(before, after))
    decided = ran.decided(ACCEPTED, "it is better")
    assert (NEW.results, NEW.compared, NEW.verdict) == ({}, {}, "")
    assert (ran.latest, ran.verdict) == (compare(before, after), "")
    assert (decided.verdict, decided.why, decided.results) == ("accepted", "it is better", ran.results)
    with pytest.raises(FrozenInstanceError):
        decided.verdict = REJECTED  # type: ignore[misc]


def test_results_stand_under_their_split_in_the_order_in_which_they_came() -> None:
    one, two, three = (
        result(Need(id, "", split)) for id, split in (("1", TRAIN), ("2", VALIDATION), ("3", TRAIN))
    )
    assert NEW.ran((one, two)).ran((three,)).results == {TRAIN: (one, three), VALIDATION: (two,)}
    assert NEW.ran((one,)).to_evaluated().evidence(Split.TRAIN) == (one,)


def test_nothing_that_was_measured_of_a_refused_candidate_counts() -> None:
    posterior = posterior_of({"one": 1.0}, VerdictModel())
    ran = Candidate("1.1", ("route.md",), "go", posterior=posterior).ran((result(Need("one", "a")),))
    refused = ran.refused("it cannot be rendered")
    assert (refused.verdict, refused.why) == (REFUSED, "it cannot be rendered")
    assert (refused.results, refused.compared, refused.posterior) == ({}, {}, None)


def test_an_open_iteration_has_the_newest_of_each_candidate_in_the_order_of_their_ids() -> None:
    iteration = OpenIteration(3, Phase.TRAINING)
    first, second = (Candidate(iteration.next_id, (), ""), Candidate("3.2", (), ""))
    iteration.put(first, second)
    iteration.put(first.decided(REJECTED, "it breaks a case"))
    assert [(each.id, each.verdict) for each in iteration] == [("3.1", "rejected"), ("3.2", "")]
    assert iteration.newest([second, first]) == [second, first.decided(REJECTED, "it breaks a case")]
    assert (iteration.undecided(), iteration.undecided([first])) == ([second], [])
    assert (iteration.next_id, len(iteration), "3.2" in iteration, "3.3" in iteration) == (
        "3.3",
        2,
        True,
        False,
    )
