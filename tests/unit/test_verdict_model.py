"""What a run learns of new texts: how many verdicts they change, and how far a verdict is luck."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.optimizer.verdict_model import (
    LUCK,
    MOST_TOLD,
    OTHER_KINDS,
    RATES,
    Change,
    Kind,
    Seen,
    VerdictModel,
    chance_of_pass_verdict,
    chance_to_pass,
    sum_taught,
    variance_from_running,
)
from tests.changing_world import Texts

#: Two bands of luck, each of about one order of magnitude.
BANDS = ((0.0, 0.03), (0.03, 0.3))


def sure(passing: bool, passed: bool | None, count: float) -> Seen:
    """Cases that the base is known to pass, or to fail."""
    return Seen((0.99 if passing else 0.01,) * len(LUCK), passed, count)


def luck(learning: VerdictModel) -> float:
    return math.fsum(weight * share for weight, share in zip(learning.luck, LUCK, strict=True))


def family_mean(learning: VerdictModel, kind: Kind) -> tuple[float, float]:
    """The expected rates of breaking and of fixing of a new text of this kind."""
    pairs = [(breaks, fixes) for breaks in RATES for fixes in RATES]
    shares = list(zip(learning.family(kind), pairs, strict=True))
    return sum(w * breaks for w, (breaks, _) in shares), sum(w * fixes for w, (_, fixes) in shares)


def harmful(learning: VerdictModel, kind: Kind, texts: int = 12) -> None:
    """Learn of texts that break four of ten passing cases and fix nothing."""
    for _ in range(texts):
        seen = [sure(True, False, 4), sure(True, True, 6), sure(False, False, 10)]
        learning.learn(kind, learning.belief(kind, seen))


# ----------------------------------------------------------------------------- luck before anything is known


def test_luck_of_one_in_a_hundred_is_as_likely_as_of_one_in_ten() -> None:
    """Each order of magnitude has about the same weight: a tenfold luck is no surprise."""
    before = dict(zip(LUCK, VerdictModel().luck, strict=True))
    few, many = (math.fsum(before[share] for share in LUCK if low <= share < high) for low, high in BANDS)
    assert few == pytest.approx(many, rel=0.2)


def test_one_text_that_turns_many_verdicts_both_ways_says_that_much_is_luck() -> None:
    learning = VerdictModel()
    before = luck(learning)
    seen = [sure(True, False, 9), sure(True, True, 16), sure(False, True, 9), sure(False, False, 16)]
    learning.learn(Kind.REWRITE, learning.belief(Kind.REWRITE, seen))
    assert luck(learning) > 2 * before


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=40))
def test_no_more_cases_fail_by_their_meaning_than_there_are(rates: list[float]) -> None:
    assert 0 <= VerdictModel().failing_by_meaning(rates) <= 1 + 1e-9


def test_few_failures_among_many_cases_are_luck_where_much_is_luck() -> None:
    learning = VerdictModel()
    rates = [1.0] * 24 + [0.0] * 1
    before = learning.failing_by_meaning(rates)
    assert 0 < before < 1 / 25
    seen = [sure(True, False, 9), sure(True, True, 16), sure(False, True, 9), sure(False, False, 16)]
    learning.learn(Kind.REWRITE, learning.belief(Kind.REWRITE, seen))
    assert learning.failing_by_meaning(rates) < before
    assert learning.failing_by_meaning([0.0] * 10) > 0.95


# ----------------------------------------------------------------------------- one text


def test_a_new_text_is_expected_to_fix_more_than_it_breaks() -> None:
    belief = VerdictModel().belief(Kind.REWRITE, [])
    assert 0 < belief.breaks[0] < belief.fixes[0] < 0.5
    assert math.fsum(weight for weight, _ in belief.parts) == pytest.approx(1)


def test_what_was_seen_of_a_text_moves_what_is_believed_of_it() -> None:
    learning = VerdictModel()
    unknown = learning.belief(Kind.REWRITE, [])
    good = learning.belief(Kind.REWRITE, [sure(False, True, 10), sure(True, True, 10)])
    bad = learning.belief(Kind.REWRITE, [sure(False, False, 10), sure(True, False, 10)])
    assert bad.fixes[0] < unknown.fixes[0] < good.fixes[0]
    assert good.breaks[0] < unknown.breaks[0] < bad.breaks[0]
    assert good.fixes[1] < unknown.fixes[1], "more is known"


def test_cases_that_pass_in_part_lie_between_those_that_failed_and_those_that_passed() -> None:
    failed, half, passed = (
        VerdictModel().belief(Kind.REWRITE, [sure(False, True, part), sure(False, False, 6 - part)]).fixes[0]
        for part in (0, 2.5, 6)
    )
    assert failed < half < passed


def test_cases_that_were_not_run_tell_nothing() -> None:
    learning = VerdictModel()
    assert learning.belief(Kind.REWRITE, [sure(False, None, 30)]) == learning.belief(Kind.REWRITE, [])


# ----------------------------------------------------------------------------- kinds


def test_what_cuts_do_is_expected_of_the_next_cut_and_less_of_other_kinds() -> None:
    learning = VerdictModel()
    before = family_mean(learning, Kind.CUT)
    assert before == family_mean(learning, Kind.REWRITE)
    harmful(learning, Kind.CUT)
    cut, other = family_mean(learning, Kind.CUT), family_mean(learning, Kind.REWRITE)
    assert before[0] < other[0] < cut[0]
    assert before[1] > other[1] > cut[1]


def test_a_text_of_another_kind_counts_half() -> None:
    one, two = VerdictModel(), VerdictModel()
    belief = one.belief(Kind.CUT, [sure(True, False, 4), sure(True, True, 6)])
    one.learn(Kind.CUT, belief)
    for _ in range(round(1 / OTHER_KINDS)):
        two.learn(Kind.CUT, belief)
    assert two.family(Kind.MERGE) == pytest.approx(one.family(Kind.CUT))


def test_texts_that_are_run_side_by_side_tell_of_one_another_and_none_of_itself() -> None:
    learning = VerdictModel()
    seen = [sure(True, False, 6), sure(True, True, 4)]
    alone = learning.belief(Kind.REWRITE, seen, "1.1")
    learning.learn(Kind.REWRITE, alone, "1.1")
    assert learning.belief(Kind.REWRITE, seen, "1.1") == alone
    unknown = [learning.belief(Kind.REWRITE, [], name).breaks[0] for name in ("1.1", "1.2")]
    assert unknown[0] < unknown[1], "its own verdicts do not count twice"


def test_what_is_learned_of_a_text_later_takes_the_place_of_what_was_learned_before() -> None:
    first, later = [sure(True, False, 6)], [sure(True, False, 6), sure(True, True, 30)]
    twice, once = VerdictModel(), VerdictModel()
    for seen in (first, later):
        twice.learn(Kind.CUT, twice.belief(Kind.CUT, seen, "1.1"), "1.1")
    once.learn(Kind.CUT, once.belief(Kind.CUT, later, "1.1"), "1.1")
    assert twice.family(Kind.CUT) == once.family(Kind.CUT)
    assert twice.luck == once.luck


def test_a_thousand_surprising_verdicts_are_no_trouble() -> None:
    learning = VerdictModel()
    belief = learning.belief(
        Kind.REWRITE, [sure(True, False, 3000), sure(True, True, 3000), sure(False, False, 3000)]
    )
    learning.learn(Kind.REWRITE, belief)
    assert math.fsum(learning.family(Kind.REWRITE)) == pytest.approx(1)
    assert math.fsum(learning.luck) == pytest.approx(1)
    assert family_mean(learning, Kind.REWRITE)[0] > family_mean(VerdictModel(), Kind.REWRITE)[0]


def test_a_later_run_begins_with_what_was_learned_as_far_as_it_may_weigh() -> None:
    first = VerdictModel()
    harmful(first, Kind.CUT, texts=30)
    told = sum_taught([first.taught()])
    assert math.fsum(map(math.fsum, told.values())) == pytest.approx(MOST_TOLD)
    later = family_mean(VerdictModel(told), Kind.CUT)
    assert family_mean(VerdictModel(), Kind.CUT)[0] < later[0] < family_mean(first, Kind.CUT)[0]
    assert VerdictModel().taught() == {}


# ----------------------------------------------------------------------------- luck


@pytest.mark.parametrize(("flips", "low", "high"), [(0.0, 0.0, 0.04), (0.08, 0.03, 0.14), (0.2, 0.13, 0.27)])
def test_how_far_verdicts_are_luck_is_learned_from_a_dozen_texts(
    flips: float, low: float, high: float
) -> None:
    believed = []
    for seed in range(4):
        world = Texts(seed, flips, size=50)
        for _ in range(12):
            text = world.made(world.original)
            text.run(world.some(30))
            text.posterior.settle()
        believed.append(luck(world.learning))
    assert low <= sum(believed) / len(believed) <= high, believed


def test_before_anything_is_learned_some_luck_is_expected() -> None:
    assert 0.04 < luck(VerdictModel()) < 0.12


# ----------------------------------------------------------------------------- figures


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.45))
def test_chances_are_chances(base: float, breaks: float, fixes: float, share: float) -> None:
    meant = chance_to_pass(base, Change(0, breaks, fixes))
    assert -1e-12 <= meant <= 1 + 1e-12
    assert -1e-12 <= chance_of_pass_verdict(meant, share) <= 1 + 1e-12


@given(st.floats(0.01, 0.99), st.floats(0, 1), st.integers(1, 60), st.data())
def test_running_more_cases_tells_more(mean: float, spread: float, cases: int, data: st.DataObject) -> None:
    variance = spread * mean * (1 - mean)
    few = data.draw(st.integers(0, cases))
    many = data.draw(st.integers(few, cases))
    told = [variance_from_running(mean, variance, cases, run) for run in (0, few, many, cases)]
    assert told[0] == 0
    assert told == sorted(told) or all(abs(a - b) < 1e-9 for a, b in zip(told, sorted(told), strict=True))
    assert variance_from_running(mean, variance, cases, 10 * cases) == pytest.approx(told[-1])


SEEN = st.builds(
    Seen,
    st.floats(0, 1).map(lambda chance: (chance,) * len(LUCK)),
    st.sampled_from([None, False, True]),
    st.floats(0, 40),
)


@given(st.lists(SEEN, max_size=6), st.sampled_from(Kind))
def test_whatever_was_seen_beliefs_are_chances(seen: list[Seen], kind: Kind) -> None:
    learning = VerdictModel()
    belief = learning.belief(kind, seen)
    assert math.fsum(weight for weight, _ in belief.parts) == pytest.approx(1)
    assert all(0 <= rate <= 1 for pair in belief.means for rate in pair)
    assert LUCK[0] <= belief.luck <= LUCK[-1]
    learning.learn(kind, belief)
    assert math.fsum(learning.luck) == pytest.approx(1)
    assert math.fsum(learning.family(kind)) == pytest.approx(1)
