"""A race of candidates: the next calls go where they most likely change the decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from pytest_promptopt.optimizer.race import BATCH, HOPELESS, Move, Race, Runner, in_turns
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.records import Case, CaseResult, Failure, Outcome, Split, Status
from tests.changing_world import answers, original, rates, results

#: What a call could win elsewhere, in cases: nearly nothing, and much.
CHEAP, DEAR = 0.0005, 0.08


class Track:
    """Candidates whose letters spell what becomes of each case; it notes who was run on what."""

    def __init__(self, before: str, *texts: str, unrun: Sequence[int] = ()) -> None:
        root = original(before)
        self.incumbent = root
        if unrun:
            self.incumbent = RatePosterior(root.cases, root._learning, base=root)
            known = {case: rate for case, rate in rates(before).items() if int(case) not in unrun}
            self.incumbent.add(results(known))
        self.texts = {f"1.{number}": answers(text) for number, text in enumerate(texts, 1)}
        self.runners = [
            Runner(id, RatePosterior(root.cases, root._learning, base=self.incumbent, kind=Kind.REWRITE))
            for id in self.texts
        ]
        self.rounds: list[dict[str, int]] = []
        self.asked: dict[str, list[str]] = {id: [] for id in self.texts}

    def race(self, price: float, *, sideways: bool = False, calls: float = 1.0) -> Track:
        race = Race(self.runners, self.incumbent, self.incumbent.cases, calls=calls, sideways=sideways)
        while moves := race.moves(price):
            assert len(self.rounds) < 100, "a race ends"
            self.rounds.append({move.runner.id: len(move.cases) for move in moves})
            for move in moves:
                self.asked[move.runner.id] += move.cases
                verdicts = self.texts[move.runner.id]
                move.runner.posterior.add(results({case: verdicts[case] for case in move.cases}))
        return self

    def ran(self, id: str = "1.1") -> int:
        return len(self.asked[id])


# ----------------------------------------------------------------------------- the incumbent


def test_where_only_the_leader_was_run_the_incumbent_is_run_as_well_if_that_decides() -> None:
    """It fixes nothing where both were run; elsewhere it may be ahead, or pass what the incumbent passes."""
    both, text = "P" * 6 + "F" * 6, "PPPPPPPFFFFF"
    track = Track(both + "FP" * 6, both + text, unrun=range(12, 24))
    (runner,) = track.runners
    race = Race([runner], track.incumbent, track.incumbent.cases)
    assert not race.incumbent_move([], CHEAP), "the leader was run on nothing"
    runner.posterior.add(results(answers(both + text)))
    assert race.incumbent_move([], CHEAP) == track.incumbent.cases[12:]
    assert not race.incumbent_move([Move(runner, (), value=1000)], CHEAP), "another run promises more"
    assert not race.incumbent_move([], 1000)
    track.incumbent.add(results(answers(both + "FP" * 6)))
    runner.posterior.see_base_again()
    assert runner.posterior.before("12") < 0.3 < 0.7 < runner.posterior.before("13")
    assert not race.incumbent_move([], CHEAP), "nothing is left to run it on"


# ----------------------------------------------------------------------------- the first look


def test_the_first_cases_to_be_run_are_of_every_label() -> None:
    """However rare a label is, and whatever was answered."""
    labels = ["common"] * 36 + ["rare"] * 6 + ["rarest"] * 6
    wrong = [
        CaseResult(
            Case(f"{number:02}", ("p.md",), Split.TRAIN),
            (
                Outcome(
                    f"{number:02}",
                    Status.FAILED,
                    0.0,
                    failure=Failure("AssertionError", "assert", "t.py:1", "==", label, "other"),
                ),
            ),
        )
        for number, label in enumerate(labels)
    ]
    for seed in range(20):
        order = in_turns(wrong, seed=str(seed))
        assert sorted(order) == [result.case.id for result in wrong]
        assert {labels[int(case)] for case in order[:10]} == {"common", "rare", "rarest"}
    assert in_turns(wrong, seed="1") != in_turns(wrong, seed="2")


def test_every_candidate_that_was_asked_for_is_looked_at_whatever_a_call_costs() -> None:
    track = Track("P" * 20 + "F" * 20, "P" * 40, "F" * 40, "P" * 20 + "F" * 20).race(price=1000)
    assert track.rounds == [{"1.1": BATCH, "1.2": BATCH, "1.3": BATCH}], "all at once, and no more"


def test_a_first_look_is_at_cases_of_both_sorts() -> None:
    track = Track("P" * 20 + "F" * 20, "P" * 40).race(price=1000)
    numbers = [int(case) for case in track.asked["1.1"]]
    assert any(number < 20 for number in numbers)
    assert any(number >= 20 for number in numbers)


def test_a_candidate_that_gives_no_answer_is_not_looked_at_again_and_again() -> None:
    track = Track("P" * 50 + "F" * 50, "E" * 100).race(price=1000)
    assert track.ran() == BATCH


def test_where_everything_fails_or_passes_there_is_one_sort_only() -> None:
    assert Track("F" * 10, "P" * 10).race(price=1000).ran() == BATCH
    assert Track("P" * 10, "P" * 10).race(price=1000, sideways=True).ran() == BATCH


def test_a_small_suite_is_run_whole_and_nothing_twice() -> None:
    track = Track("PFF", "PPP").race(CHEAP)
    assert sorted(track.asked["1.1"]) == ["00", "01", "02"]


def test_cases_that_the_incumbent_was_run_on_come_first() -> None:
    """There the two can be compared."""
    track = Track("F" * 20, "P" * 20, unrun=range(10)).race(price=1000)
    assert all(int(case) >= 10 for case in track.asked["1.1"])


# ----------------------------------------------------------------------------- going on


def test_the_dearer_a_call_the_sooner_a_race_is_over() -> None:
    def ran(price: float) -> int:
        return Track("P" * 30 + "F" * 30, "P" * 30 + "PFF" * 10).race(price).ran()

    cheap, dear = ran(CHEAP), ran(DEAR)
    assert dear < cheap
    assert [ran(price) for price in (0.002, 0.01, 0.05)] == sorted(
        (ran(price) for price in (0.002, 0.01, 0.05)), reverse=True
    )


def test_a_case_that_takes_several_calls_is_so_much_dearer() -> None:
    def moves(calls: float) -> float:
        track = Track("P" * 10 + "F" * 10, "P" * 20)
        (move,) = Race(track.runners, track.incumbent, track.incumbent.cases, calls=calls).moves(0.0)
        return move.value

    assert moves(3) == pytest.approx(moves(1) / 3)


def test_batches_grow_with_what_is_known() -> None:
    track = Track("P" * 60 + "F" * 60, "P" * 60 + "PF" * 30, "P" * 60 + "FP" * 30).race(price=0.0)
    ran = 0
    for sizes in (each["1.1"] for each in track.rounds if "1.1" in each):
        assert sizes <= max(BATCH, ran // 2)
        ran += sizes
    assert max(each.get("1.1", 0) for each in track.rounds) > BATCH


def test_close_candidates_are_run_further_than_one_that_is_far_behind() -> None:
    good, other, bad = "P" * 20 + "PPF" * 7, "P" * 20 + "PFP" * 7, "F" * 41
    track = Track("P" * 20 + "F" * 21, good, other, bad).race(price=0.005)
    assert track.ran("1.3") < min(track.ran("1.1"), track.ran("1.2"))
    assert track.ran("1.3") <= 2 * BATCH


# ----------------------------------------------------------------------------- hopeless ones


def test_a_text_that_fixed_none_of_eight_failing_cases_gets_no_further_batch() -> None:
    track = Track("P" * 30 + "F" * 30, "P" * 30 + "F" * 30).race(price=0.0)
    failing = [case for case in track.asked["1.1"] if int(case) >= 30]
    assert HOPELESS <= len(failing) < HOPELESS + BATCH
    assert track.ran() < 60


def test_nor_does_one_that_fixed_none_of_all_there_are() -> None:
    track = Track("P" * 20 + "F" * 2, "P" * 20 + "F" * 2)
    race = Race(track.runners, track.incumbent, track.incumbent.cases)
    assert race.moves(price=0.0)
    track.runners[0].posterior.add(results({"20": 0.0}))
    assert race.moves(price=0.0), "one is open"
    track.runners[0].posterior.add(results({"21": 0.0}))
    assert race.moves(price=0.0) == []


def test_one_whose_answers_are_foreseen_gets_no_further_batch() -> None:
    track = Track("P" * 30 + "F" * 30, "P" * 20 + "F" * 20 + "P" * 20)
    race = Race(track.runners, track.incumbent, track.incumbent.cases)
    assert race.moves(price=0.0)
    race.foreseen.add("1.1")
    assert race.moves(price=0.0) == []


def test_one_that_fixed_a_case_by_half_is_not_hopeless() -> None:
    hopeless, half = "P" * 10 + "F" * 20, "P" * 10 + "H" * 20
    assert (
        Track("P" * 10 + "F" * 20, half).race(0.0).ran()
        > Track("P" * 10 + "F" * 20, hopeless).race(0.0).ran()
    )


def test_cases_that_fail_in_part_are_failing_ones() -> None:
    track = Track("P" * 30 + "H" * 30, "P" * 30 + "H" * 30).race(price=0.0)
    failing = [case for case in track.asked["1.1"] if int(case) >= 30]
    assert HOPELESS <= len(failing) < HOPELESS + BATCH


def test_to_escape_from_a_plateau_a_text_may_fix_nothing() -> None:
    track = Track("P" * 10 + "F" * 10, "P" * 10 + "F" * 10).race(price=0.0, sideways=True)
    assert track.ran() == 20


# ----------------------------------------------------------------------------- what it depends on


@pytest.mark.parametrize("price", [CHEAP, DEAR])
def test_the_same_answers_give_the_same_race(price: float) -> None:
    def race() -> Track:
        return Track("P" * 15 + "F" * 15, "P" * 15 + "PPF" * 5, "F" * 5 + "P" * 25).race(price)

    assert race().rounds == race().rounds
    assert race().asked == race().asked


def test_the_leads_of_all_are_told() -> None:
    track = Track("P" * 10 + "F" * 10, "P" * 20, "F" * 20).race(CHEAP)
    race = Race(track.runners, track.incumbent, track.incumbent.cases)
    leads = race.leads()
    assert leads["1.1"].mean > 0 > leads["1.2"].mean


def test_nobody_runs_where_nobody_is() -> None:
    assert Race([], original("PF"), ["00", "01"]).moves(0.0) == []


Verdicts = Callable[[str], str]


@pytest.mark.parametrize("change", [str.upper, lambda text: text.replace("F", "H"), lambda text: text[::-1]])
def test_a_race_ends_and_runs_no_case_twice(change: Verdicts) -> None:
    before = "PPFFH" * 8
    track = Track(before, change(before), "P" * 40).race(price=0.0, sideways=True)
    for asked in track.asked.values():
        assert len(asked) == len(set(asked))
