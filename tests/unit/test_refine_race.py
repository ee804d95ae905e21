"""Candidates are run on no more training cases than decide: what is run, in which order, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.refine.acceptance import compare, estimate
from pytest_promptopt.refine.attempts import REJECTED, Attempt, Results, Version
from pytest_promptopt.refine.evaluator import Trial
from pytest_promptopt.refine.race import FIRST_RUNG, GUARDS, race, rerun

STATUS = {"P": Status.PASSED, "F": Status.FAILED, "E": Status.ERRORED}


def results(letters: str, cases: Sequence[int] | None = None) -> Results:
    """``P`` passed, ``F`` failed, ``E`` errored, for all cases or the numbers in `cases`."""
    return tuple(
        CaseResult(
            Case(f"{number:03}", ("p",), Split.TRAIN),
            (Outcome(f"{number:03}", STATUS[letters[number]], float(letters[number] == "P")),),
        )
        for number in (range(len(letters)) if cases is None else cases)
    )


@dataclass
class Track:
    """Runs cases: the text of a candidate spells what becomes of each. It notes how many were asked."""

    before: str
    owed: Sequence[int] = ()
    rounds: list[list[int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def run(self, trials: Sequence[Trial]) -> list[Results]:
        self.rounds.append([len(trial.cases) for trial in trials])
        self.asked += [case for trial in trials for case in trial.cases]
        return [results(trial.overlay["p"], [int(case) for case in trial.cases]) for trial in trials]

    @property
    def incumbent(self) -> Version:
        measured = [number for number in range(len(self.before)) if number not in self.owed]
        training = {Split.TRAIN: results(self.before, measured)}
        return Version("0", {}, training, owed=results(self.before, self.owed))

    def race(self, *texts: str, seed: str = "0", sideways: bool = False) -> list[Attempt]:
        attempts = [Attempt(str(n), ("p",), "", overlay={"p": text}) for n, text in enumerate(texts)]
        race(attempts, self.incumbent, self.run, seed=seed, sideways=sideways)
        return attempts


# ----------------------------------------------------------------------------- the race of one


def test_who_fixes_nothing_is_dropped_after_the_failing_cases() -> None:
    track = Track("FFPPPP")
    (attempt,) = track.race("FFPPPP")
    assert attempt.verdict == REJECTED
    assert attempt.why == "it fixes none of the 2 failing training cases"
    assert track.rounds == [[2]]


def test_to_escape_from_a_plateau_it_may_fix_nothing_if_it_breaks_nothing() -> None:
    track = Track("FFPPPP")
    (attempt,) = track.race("FFPPPP", sideways=True)
    assert (attempt.verdict, track.rounds) == ("", [[2], [4]])
    (attempt,) = Track("FFPPPP").race("FFFPPP", sideways=True)
    assert attempt.why.startswith("it breaks more than it fixes: ")


def test_who_breaks_as_much_as_it_fixes_has_lost_and_is_run_no_further() -> None:
    track = Track("F" + "P" * 40)
    (attempt,) = track.race("P" + "F" * 40)
    assert attempt.verdict == REJECTED
    assert attempt.why.endswith(f"1 fixed, {GUARDS} broken, {40 - GUARDS} not run")
    assert track.rounds == [[1], [GUARDS]]
    assert attempt.harmful


@pytest.mark.parametrize(("broken", "harmful"), [(1, False), (2, True)])
def test_one_broken_case_may_lose_but_only_two_are_worth_a_search_for_the_passage(
    broken: int, harmful: bool
) -> None:
    track = Track("F" + "P" * GUARDS + "P" * 40, owed=range(1, GUARDS + 1))
    (attempt,) = track.race("P" + "F" * broken + "P" * (GUARDS - broken) + "P" * 40)
    assert (attempt.verdict, attempt.harmful) == (REJECTED, harmful)
    assert track.rounds == [[1], [GUARDS]]


@pytest.mark.parametrize(("broken", "harmful"), [(2, False), (3, True)])
def test_it_is_harmful_from_where_a_mere_change_of_wording_hardly_breaks_so_much(
    broken: int, harmful: bool
) -> None:
    """Wald's test over the first round: two of six may be chance, three are not."""
    track = Track("F" * 20 + "P" * GUARDS + "P" * 200, owed=range(20, 20 + GUARDS))
    (attempt,) = track.race("P" * 20 + "F" * broken + "P" * (GUARDS - broken) + "P" * 200)
    assert (attempt.verdict, attempt.harmful) == ("", harmful)
    assert (track.rounds == [[20], [GUARDS]]) is harmful, "what is shown needs no further round"


@pytest.mark.parametrize(("fixed", "rounds"), [(4, [[4], [GUARDS]]), (3, [[3], [GUARDS], [GUARDS]])])
def test_a_gain_larger_than_what_the_cases_not_run_may_hide_ends_the_race(
    fixed: int, rounds: list[list[int]]
) -> None:
    track = Track("F" * fixed + "P" * 30)
    (attempt,) = track.race("P" * (fixed + 30))
    assert (attempt.verdict, attempt.harmful) == ("", False)
    assert track.rounds == rounds


def test_a_small_gain_is_run_on_every_passing_case() -> None:
    track = Track("F" + "P" * 11)
    (attempt,) = track.race("P" * 12)
    assert track.rounds == [[1], [GUARDS], [5]]
    assert attempt.compared[Split.TRAIN].unrun == 0


def test_with_nothing_failing_it_may_break_nothing() -> None:
    (attempt,) = Track("P" * 10).race("F" + "P" * 9, sideways=True)
    assert attempt.verdict == REJECTED
    (attempt,) = Track("P" * 10).race("P" * 10, sideways=True)
    assert not attempt.verdict


def test_the_passing_cases_that_are_owed_come_first_then_the_others_by_the_seed() -> None:
    def order(seed: str) -> list[str]:
        track = Track("F" + "P" * 20, owed=[3, 4, 5])
        track.race("P" * 21, seed=seed)
        return track.asked

    asked = order("0")
    assert asked[0] == "000"
    assert sorted(asked[1:4]) == ["003", "004", "005"]
    assert set(asked) <= {f"{number:03}" for number in range(21)}
    assert order("0") == asked
    assert order("1")[4:] != asked[4:] != sorted(asked[4:])


def test_a_candidate_cut_from_another_is_run_where_that_one_broke_cases_and_taken_to_be_it_elsewhere() -> (
    None
):
    track = Track("FFFPPPP")
    cured = Attempt("2", ("p",), "", overlay={"p": "FFFPPPP"}, taken=results("PPF-PP-", [0, 1, 2, 4, 5]))
    rerun(cured, ["003"], track.incumbent, track.run)
    assert track.asked == ["003"]
    compared = cured.compared[Split.TRAIN]
    assert (compared.fixed, compared.broken, compared.unrun) == (("000", "001"), (), 1)
    kept = cured.kept(track.incumbent)
    assert [result.case.id for result in kept.owed] == ["000", "001", "002", "004", "005", "006"]
    assert sum(result.failing is not None for result in kept.standing(Split.TRAIN)) == 1


# ----------------------------------------------------------------------------- the race of several


def test_of_several_the_worse_half_leaves_after_each_rung() -> None:
    track = Track("F" * 210 + "P" * 20)
    fixing = [4, 8, 12, 16, 40, 45, 90, 210]
    attempts = track.race(*("P" * count + "F" * (210 - count) + "P" * 20 for count in fixing))
    assert track.rounds == [[25] * 8, [25] * 4, [50] * 2, [110], [GUARDS]]
    left = [attempt.why.partition(":")[0].removeprefix("others fix more of the ") for attempt in attempts]
    assert left == [
        *["first 25 failing training cases"] * 4,
        *["first 50 failing training cases"] * 2,
        "first 100 failing training cases",
        "",
    ]


def test_among_equals_the_longer_text_leaves() -> None:
    track = Track("F" * 30)
    training = {Split.TRAIN: results(track.before)}
    long, short = (
        Attempt(str(growth), ("p",), "", overlay={"p": "P" * 30}, growth=growth) for growth in (9, -9)
    )
    race([long, short], Version("0", {}, training), track.run, seed="0")
    assert (long.verdict, short.verdict) == (REJECTED, "")


def test_few_failing_cases_are_run_for_all_at_once() -> None:
    track = Track("F" * FIRST_RUNG + "P")
    one, two = track.race("P" * FIRST_RUNG + "P", "P" + "F" * (FIRST_RUNG - 1) + "P")
    assert (one.verdict, two.verdict) == ("", "")
    assert track.rounds == [[FIRST_RUNG] * 2, [1, 1]]


# ----------------------------------------------------------------------------- cases without an answer


def test_a_failing_case_without_an_answer_is_not_fixed() -> None:
    (attempt,) = Track("FFP").race("EEP")
    assert attempt.why == "it fixes none of the 2 failing training cases"


def test_a_passing_case_without_an_answer_is_not_broken() -> None:
    (attempt,) = Track("FP").race("PE")
    assert (attempt.verdict, attempt.compared[Split.TRAIN].cases) == ("", 1)


def test_a_case_that_the_incumbent_has_no_answer_for_is_not_run_since_it_would_tell_nothing() -> None:
    track = Track("FEEPP")
    track.race("PPPPP")
    assert sorted(track.asked) == ["000", "003", "004"]


def test_a_case_that_the_incumbent_has_no_answer_for_is_not_won() -> None:
    (attempt,) = Track("F" + "P" * 2 + "E" * 8).race("P" + "FF" + "P" * 8)
    assert attempt.why.startswith("it breaks as much as it fixes: 66.7% to 33.3% of 3 train cases")


# ----------------------------------------------------------------------------- estimates

LETTERS = st.text(alphabet="PFE", min_size=1, max_size=12)


@given(st.data(), LETTERS)
def test_after_all_cases_were_run_the_estimate_is_the_comparison(data: st.DataObject, before: str) -> None:
    after = data.draw(st.text(alphabet="PFE", min_size=len(before), max_size=len(before)))
    assert estimate(results(before), results(after), split=Split.TRAIN, growth=3) == compare(
        results(before), results(after), growth=3
    )


@given(st.data(), LETTERS)
def test_an_estimated_rate_is_a_rate_and_more_passes_never_lower_it(data: st.DataObject, before: str) -> None:
    after = data.draw(st.text(alphabet="PFE", min_size=len(before), max_size=len(before)))
    ran = sorted(data.draw(st.sets(st.integers(0, len(before) - 1))))
    found = estimate(results(before), results(after, ran), split=Split.TRAIN)
    assert -1e-12 <= found.after <= 1 + 1e-12
    assert 0 <= found.before <= 1
    assert found.unrun == sum(n not in ran and letter != "E" for n, letter in enumerate(before))
    better = estimate(results(before), results(after.replace("F", "P"), ran), split=Split.TRAIN)
    assert better.after >= found.after - 1e-12


def test_the_cases_not_run_keep_failing_and_lose_what_the_passing_ones_lost_on_average() -> None:
    before, after = "FFFF" + "P" * 8, "PPFF" + "FPPP" + "PPPP"
    found = estimate(results(before), results(after, range(8)), split=Split.TRAIN)
    assert (found.cases, found.unrun) == (12, 4)
    assert (found.before, found.after) == (8 / 12, (2 + 3 + 3) / 12)
    assert str(found).endswith("66.7% of 12 train cases, 2 fixed, 1 broken, 4 not run")
    unknown = estimate(results(before), results(after, range(4)), split=Split.TRAIN)
    assert unknown.after == (2 + 8) / 12, "without a passing case that was run all are taken to pass"


def test_a_passing_case_without_an_answer_says_nothing_of_those_not_run() -> None:
    found = estimate(results("PPPP"), results("FEPP", [0, 1]), split=Split.TRAIN)
    assert (found.cases, found.unrun, found.after) == (3, 2, 0.0)
    assert estimate(results("PPPP"), results("PEPP", [0, 1]), split=Split.TRAIN).after == 1.0
