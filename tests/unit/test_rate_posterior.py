"""What is known and foreseen of a text that was run on some cases only."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.optimizer.acceptance import PROBABLY, compare_estimates
from pytest_promptopt.optimizer.lead import _Unrun
from pytest_promptopt.optimizer.rate_posterior import RatePosterior, posterior_of
from pytest_promptopt.optimizer.verdict_model import Change, Kind, VerdictModel
from tests.changing_world import Texts, made_from, original, result, results

EXACT = pytest.approx


# ----------------------------------------------------------------------------- how much is known


def test_of_a_text_that_was_not_run_the_interval_is_wide_and_it_narrows_with_every_batch() -> None:
    base = original("P" * 20 + "F" * 20)
    widths = []
    for run in (0, 6, 12, 24, 36):
        ran = "P" * (run // 2) + "-" * (20 - run // 2)
        foresight = made_from(base, ran + ran).foresight()
        assert foresight.run == run
        assert foresight.low <= foresight.rate <= foresight.high
        widths.append(foresight.high - foresight.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0.3
    assert widths[-1] < 0.1


def test_when_all_cases_were_run_the_rate_is_what_was_counted() -> None:
    foresight = made_from(original("PPFF"), "PFPH").foresight()
    assert (foresight.rate, foresight.low, foresight.high, foresight.sd) == (0.625, 0.625, 0.625, 0)
    assert (foresight.run, foresight.cases) == (4, 4)


def test_of_the_original_all_is_known() -> None:
    posterior = original("PPF")
    assert posterior.unrun == ()
    assert posterior.foresight().rate == EXACT(2 / 3)
    assert posterior.foresight().sd == 0


def test_where_it_was_not_run_a_text_is_expected_to_do_much_as_its_base() -> None:
    posterior = made_from(original("P" * 10 + "F" * 10), "P" * 3 + "-" * 7 + "F" * 3 + "-" * 7)
    passing, failing = posterior.chance("09"), posterior.chance("19")
    assert passing > 0.7 > 0.3 > failing


def test_a_text_that_fixed_what_it_was_run_on_is_expected_to_fix_more() -> None:
    base = original("F" * 20)
    assert (
        made_from(base, "F" * 6 + "-" * 14).chance("19")
        < made_from(base, "-" * 20).chance("19")
        < made_from(base, "P" * 6 + "-" * 14).chance("19")
    )


def test_without_a_case_nothing_is_known() -> None:
    foresight = RatePosterior([], VerdictModel(), base=original("")).foresight()
    assert (foresight.rate, foresight.run, foresight.cases) == (0.0, 0, 0)


# ----------------------------------------------------------------------------- scores and shares


def scored(scores: list[float], base: RatePosterior | None = None) -> RatePosterior:
    """A text whose cases earn these scores; the original without a base."""
    found = {f"{number:02}": score for number, score in enumerate(scores)}
    if base is None:
        return posterior_of(found, VerdictModel())
    text = RatePosterior(base.cases, base._learning, base=base)
    text.add(results(dict(found)))
    return text


@pytest.mark.parametrize(("before", "after"), [(0.4, 0.8), (0.7, 0.8), (0.1, 0.3), (0.85, 0.95)])
def test_a_text_that_raises_every_score_is_ahead_though_no_case_passes(before: float, after: float) -> None:
    base = scored([before] * 40)
    lead = scored([after] * 40, base).lead(base)
    assert lead.chance > PROBABLY
    assert 0 < lead.mean < 1.25 * 40 * (after - before)
    back = scored([after] * 40)
    assert scored([before] * 40, back).lead(back).chance < 1 - PROBABLY


def test_equal_scores_are_no_change() -> None:
    base = scored([0.4, 0.5, 0.6, 0.9] * 10)
    assert scored([0.4, 0.5, 0.6, 0.9] * 10, base).lead(base).chance < 0.2


def test_scores_at_random_put_no_text_far_ahead() -> None:
    """Each is about as often ahead as behind, and seldom thought to be surely one of them."""
    rng = random.Random(3)
    chances = []
    for _ in range(40):
        base = scored([rng.random() for _ in range(30)])
        chances.append(scored([rng.random() for _ in range(30)], base).lead(base).chance)
    assert 0.3 < statistics.mean(chances) < 0.6
    assert sum(chance > 0.95 for chance in chances) <= 6


def test_later_texts_do_not_turn_a_score_into_a_pass() -> None:
    """Ten texts get about the same: the first one's seven tenths were no bad luck."""
    base = scored([0.7] * 20)
    for number in range(10):
        text = scored([0.7 + 0.01 * (number % 3)] * 20, base)
        text.settle()
    assert base.expected("00") == EXACT(0.7, abs=0.08)


# ----------------------------------------------------------------------------- what counts


def test_cases_that_stand_in_a_text_as_examples_are_in_none_of_its_figures() -> None:
    base = original("PPFFFF")
    posterior = RatePosterior(["00", "02", "03"], base._learning, base=base, kind=Kind.EXAMPLES)
    posterior.add(results({"00": 1.0, "01": 1.0, "02": 1.0, "03": 0.0, "04": 1.0, "05": 1.0}))
    foresight = posterior.foresight()
    assert foresight.rate == EXACT(2 / 3)
    assert (foresight.cases, foresight.run) == (3, 3)
    assert set(posterior.known) == {"00", "02", "03"}
    assert posterior.lead(base).mean < 1.5, "one of the three was fixed"


def test_a_text_made_from_one_with_examples_is_counted_where_these_are_none_any_more() -> None:
    base = original("P" * 6 + "F" * 6)
    shown = RatePosterior(base.cases[2:], base._learning, base=base, kind=Kind.EXAMPLES)
    shown.add(results(dict.fromkeys(shown.cases, 1.0)))
    without = RatePosterior(base.cases, base._learning, base=shown)
    assert without.foresight().cases == 12
    assert set(without.unrun) == set(base.cases)


def test_a_case_without_an_answer_counts_no_more_and_is_not_asked_again() -> None:
    posterior = made_from(original("PPFF"), "P-P-")
    posterior.add([result("01", None), result("02", None)])
    assert posterior.unrun == ("03",)
    assert posterior.foresight().cases == 3, "what was answered before stays"


def test_half_passed_cases_count_as_half() -> None:
    base = original("FFFFFF")
    leads = [made_from(base, letters).lead(base).mean for letters in ("FFFFFF", "HHHHHH", "PPPPPP")]
    assert leads == sorted(leads)
    assert made_from(base, "HHHHHH").foresight().rate == 0.5


def test_a_suite_that_is_widened_counts_for_every_text_of_the_line() -> None:
    base = original("PPFF")
    child = made_from(base, "PPPF")
    grandchild = made_from(child, "PP--")
    grandchild.widen(["10", "11"])
    base.add(results({"10": 0.0, "11": 1.0}))
    assert [len(each.cases) for each in (base, child, grandchild)] == [6, 6, 6]
    assert grandchild.unrun == ("02", "03", "10", "11")
    assert 0 < grandchild.foresight().rate < 1
    assert grandchild.lead(base).variance > child.lead(base).variance - 1e-9
    base.widen(["10"])
    assert len(base.cases) == 6, "once"


# ----------------------------------------------------------------------------- which is better


def test_a_text_that_fixed_cases_is_ahead_and_one_that_broke_some_is_behind() -> None:
    base = original("P" * 12 + "F" * 12)
    good, bad = made_from(base, "P" * 24), made_from(base, "F" * 24)
    assert good.lead(base).mean > 4
    assert good.lead(base).chance > 0.95
    assert bad.lead(base).mean < -4
    assert bad.lead(base).chance < 0.05
    assert good.lead(bad).mean > good.lead(base).mean


def test_a_text_that_broke_most_of_what_passed_is_not_taken_for_a_lucky_one() -> None:
    """On a weak model most new texts answer anew; to call this luck would have nothing count."""
    base = original("P" * 12 + "F" * 12)
    text = made_from(base, "FFFFPP" + "-" * 6 + "PPPFFF" + "-" * 6)
    assert text.belief.breaks[0] > 0.3
    assert text.belief.luck < 0.2
    assert text.lead(base).mean < 0


def test_what_is_counted_is_believed_less_than_it_says() -> None:
    """Some of what was fixed is luck; so winners are not as good as they look."""
    base = original("P" * 10 + "F" * 10)
    lucky = made_from(base, "P" * 12 + "F" * 8)
    assert 0 < lucky.lead(base).mean < 2


def test_what_breaks_validation_cases_is_not_believed_to_keep_the_training_cases_that_were_not_run() -> None:
    """Run on failing training cases alone it looks well ahead; what passes it breaks, as validation shows."""
    trained = made_from(original("P" * 14 + "F" * 10), "-" * 14 + "PPPF" + "-" * 6)
    validated = made_from(original("P" * 11 + "F" * 5), "F" * 10 + "P" + "PPFFF")
    assert trained.base is not None
    assert validated.base is not None
    apart = trained.lead(trained.base) + validated.lead(validated.base)
    assert trained.lead(trained.base).mean > 2
    trained.see_beside(validated)
    together = trained.lead_on_both()
    assert together.mean < apart.mean - 2


def test_without_cases_on_the_other_side_the_lead_is_that_of_one_side() -> None:
    trained = made_from(original("P" * 6 + "F" * 6), "PPF---PPF---")
    assert trained.base is not None
    alone = trained.lead(trained.base)
    trained.see_beside(made_from(original(""), ""))
    assert trained.lead_on_both() == alone == trained.lead(trained.base)


def test_what_fixes_nothing_on_validation_cases_is_believed_to_fix_less_in_training() -> None:
    text, same = (made_from(original("P" * 10 + "F" * 10), "-" * 20) for _ in "12")
    assert text.base is not None
    assert same.base is not None
    text.see_beside(made_from(original("P" * 10 + "F" * 5), "-" * 10 + "F" * 5))
    assert 0 < text.belief.fixes[0] < same.belief.fixes[0] / 2
    assert text.lead(text.base).mean < same.lead(same.base).mean
    same.see_beside(made_from(original("P" * 10 + "F" * 5), "-" * 10 + "PPPFF"))
    assert same.belief.fixes[0] > 2 * text.belief.fixes[0]


def test_a_text_is_no_better_than_itself() -> None:
    base = original("PF")
    lead = base.lead(base)
    assert (lead.mean, lead.variance, lead.chance) == (0, 0, 0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 9)), max_size=6), st.floats(0, 1), st.floats(0, 1))
def test_what_cases_that_were_not_run_promise_is_the_sum_over_them(
    cases: list[tuple[float, float]], breaks: float, fixes: float
) -> None:
    mean = variance = 0.0
    for passed, count in cases:
        step = (1 - passed) * fixes - passed * breaks
        mean += count * step
        variance += count * ((1 - passed) * fixes + passed * breaks - step * step)
    assert _Unrun.of(cases).lead(Change(0, breaks, fixes)) == EXACT((mean, variance), abs=1e-12)


# ----------------------------------------------------------------------------- luck


def test_where_verdicts_flip_the_passes_of_a_text_are_believed_less() -> None:
    def believed(flips: float) -> float:
        world = Texts(7, flips, size=60, breaks=(1, 30), fixes=(1, 30))
        for _ in range(10):
            text = world.made(world.original)
            text.run(world.cases)
            text.posterior.settle()
        # Cases that happened to pass under the original and under no text made from it since.
        return statistics.fmean(
            world.original.posterior.expected(case) for case, rate in world.original.verdicts.items() if rate
        )

    assert believed(0.2) < believed(0.0)
    assert believed(0.0) > 0.95


def test_a_pass_that_no_later_text_repeats_was_luck() -> None:
    base = original("P" * 12 + "F" * 12)
    before = base.expected("00")
    for _ in range(3):
        made_from(base, "F" + "P" * 11 + "F" * 12).settle()
    assert base.expected("00") < before - 0.3
    assert base.expected("01") > before - 0.05


def test_a_text_that_was_never_run_teaches_nothing() -> None:
    base = original("PF")
    before = base._learning.luck
    made_from(base, "--").settle()
    base.settle()
    assert base._learning.luck == before


# ----------------------------------------------------------------------------- calibration


@pytest.mark.parametrize("flips", [0.03, 0.2])
def test_nine_of_ten_intervals_hold_the_truth_and_errors_even_out(flips: float) -> None:
    """Also of the best of several, which luck has chosen as well."""
    inside, errors, best_errors = [], [], []
    for seed in range(20):
        world = Texts(seed, flips)
        for _ in range(3):
            texts = [world.made(world.original) for _ in range(3)]
            for text in texts:
                text.run(world.some(world.rng.choice((6, 12, 18))))
            for text in texts:
                foresight = text.posterior.foresight()
                inside.append(foresight.low - 1e-9 <= text.rate <= foresight.high + 1e-9)
                errors.append(foresight.rate - text.rate)
            best = max(texts, key=lambda text: text.posterior.foresight().rate)
            best_errors.append(best.posterior.foresight().rate - best.rate)
            for text in texts:
                text.posterior.settle()
    assert 0.80 <= statistics.fmean(inside) <= 0.97, statistics.fmean(inside)
    assert abs(statistics.fmean(errors)) < 0.04, statistics.fmean(errors)
    assert abs(statistics.fmean(best_errors)) < 0.06, statistics.fmean(best_errors)


# ----------------------------------------------------------------------------- whatever was run

LETTERS = st.text(alphabet="PFH", min_size=1, max_size=14)


def drawn(data: st.DataObject, base: RatePosterior) -> RatePosterior:
    letters = data.draw(st.text(alphabet="PFH-", min_size=len(base.cases), max_size=len(base.cases)))
    return made_from(base, letters, kind=data.draw(st.sampled_from(Kind)))


@settings(max_examples=40, deadline=None)
@given(st.data(), LETTERS)
def test_a_foresight_lies_between_what_is_known_and_what_is_possible(
    data: st.DataObject, before: str
) -> None:
    base = original(before)
    for text in (drawn(data, base), drawn(data, made_from(base, before))):
        foresight, count = text.foresight(), len(text.cases)
        passed = sum(text.known.values())
        failed = sum(1 - rate for rate in text.known.values())
        assert passed / count - 1e-9 <= foresight.low <= foresight.rate + 1e-9
        assert foresight.rate - 1e-9 <= foresight.high <= 1 - failed / count + 1e-9
        assert foresight.sd >= 0
        for case in text.cases:
            assert 0 <= text.chance(case) <= 1
            assert 0 <= text.expected(case) <= 1
            assert all(0 <= chance <= 1 for chance in text.chances_without_luck(case))


@settings(max_examples=25, deadline=None)
@given(st.data(), LETTERS)
def test_a_lead_one_way_is_a_lag_the_other_way(data: st.DataObject, before: str) -> None:
    base = original(before)
    one, two = drawn(data, base), drawn(data, base)
    child = drawn(data, one)
    texts = [base, one, two, child, drawn(data, child)]
    for first in texts:
        for second in texts:
            lead, back = first.lead(second), second.lead(first)
            assert lead.mean == EXACT(-back.mean, abs=1e-9)
            assert lead.variance == EXACT(back.variance, abs=1e-9)
            assert 0 <= lead.chance <= 1
            assert lead.chance + back.chance <= 1.02, "where both are even, neither is better"


@settings(max_examples=20, deadline=None)
@given(st.data(), LETTERS)
def test_results_may_come_in_any_order_and_any_number_of_times(data: st.DataObject, before: str) -> None:
    base = original(before)
    text = drawn(data, base)
    found = [result(case, rate) for case, rate in text.known.items()]
    again = RatePosterior(base.cases, base._learning, base=base, kind=text.kind)
    for each in data.draw(st.permutations(found)):
        again.add([each, result("unheard of", 1.0)])
        again.add([each])
        again.foresight()
        again.lead(base)
    assert again.foresight() == text.foresight()
    assert again.lead(base).mean == EXACT(text.lead(base).mean)
    again.settle()
    assert 0 <= base.expected(base.cases[0]) <= 1


def test_no_rate_depends_on_the_order_in_which_cases_are_summed_up() -> None:
    """Of one process to the next the order of a set of names is another one."""
    base = original("PPFHPFFHPH" * 7)
    after = made_from(base, "P-F-P-H-FP" * 7)
    for cases in (base.cases, tuple(reversed(base.cases))):
        after.cases = cases
        found = compare_estimates(base, after, (), ())
        assert found.after == math.fsum(after.chance(case) for case in cases) / 70
        assert found.before == math.fsum(base.chance(case) for case in cases) / 70
