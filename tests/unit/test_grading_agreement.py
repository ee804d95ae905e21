"""Precision, recall and kappa say what textbooks say."""

from __future__ import annotations

import random
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.grading.agreement import (
    MOST_LABELS,
    TAIL,
    Confusion,
    bootstrap_kappas,
    enough_for_kappa,
    enough_for_share,
    kappa_of,
    proportion,
)
from pytest_promptopt.rate_interval import at_least, at_most


def tail(count: int, of: int, chance: float) -> float:
    """The chance of `count` or more, exactly."""
    p = Fraction(chance)
    return float(sum(comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(count, of + 1)))


@given(of=st.integers(1, 60), data=st.data(), chance=st.floats(0.01, 0.99))
def test_tails_are_the_sums_of_a_binomial(of: int, data: st.DataObject, chance: float) -> None:
    count = data.draw(st.integers(0, of))
    assert at_least(count, of, chance) == pytest.approx(tail(count, of, chance), abs=1e-12)
    assert at_most(count, of, chance) == pytest.approx(1 - tail(count + 1, of, chance), abs=1e-12)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        # Clopper-Pearson intervals as tables and R's binom.test have them.
        (8, 10, 0.4439, 0.9748),
        (0, 10, 0.0, 0.3085),
        (10, 10, 0.6915, 1.0),
        (1, 1, 0.025, 1.0),
        (50, 100, 0.3983, 0.6017),
    ],
)
def test_the_exact_interval_is_that_of_tables(count: int, of: int, low: float, high: float) -> None:
    estimate = proportion(count, of)
    assert (estimate.value, estimate.method) == (count / of, "Clopper-Pearson")
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


def test_nothing_counted_says_nothing() -> None:
    assert (proportion(0, 0).low, proportion(0, 0).high, proportion(0, 0).method) == (0, 1, "nothing counted")


def test_the_interval_holds_the_truth_in_95_of_100_draws_or_more() -> None:
    for of, chance in ((20, 0.9), (50, 0.7), (50, 0.95)):
        held = 0.0
        for count in range(of + 1):
            estimate = proportion(count, of)
            if estimate.low <= chance <= estimate.high:
                held += at_least(count, of, chance) - at_least(count + 1, of, chance)
        assert held >= 0.95


class TestKappa:
    def test_of_a_textbook(self) -> None:
        # 20 yes-yes, 15 no-no, 5 and 10 in between: .70 seen, .50 by chance.
        assert kappa_of(20, 5, 10, 15) == pytest.approx(0.4)

    def test_no_better_than_chance_is_0_and_always_wrong_is_below(self) -> None:
        assert kappa_of(40, 40, 10, 10) == 0
        assert kappa_of(0, 10, 10, 0) == -1

    def test_a_judge_that_says_always_the_same_has_none(self) -> None:
        kappa = Confusion(tp=85, fp=15, fn=0, tn=0).kappa
        assert (kappa.value, kappa.low, kappa.high) == (0, 0, 0)
        assert Confusion(100, 0, 0, 0).kappa.low <= 0

    @pytest.mark.parametrize(
        ("table", "kappa"),
        [
            # GPT-4 with the prompt "Vanilla" on two parts of LLMBar, in one order. Kappa by hand is
            # (seen - chance) / (1 - chance).
            (Confusion(40, 3, 2, 55), (0.95 - 0.5112) / (1 - 0.5112)),
            (Confusion(17, 6, 5, 18), (35 / 46 - 1058 / 2116) / (1 - 1058 / 2116)),
        ],
    )
    def test_of_recorded_verdicts(self, table: Confusion, kappa: float) -> None:
        assert table.kappa.value == pytest.approx(kappa, abs=5e-5)

    def test_the_interval_is_that_of_labels_drawn_again(self) -> None:
        table = Confusion(tp=60, fp=12, fn=8, tn=40)
        labels = ["tp"] * 60 + ["fp"] * 12 + ["fn"] * 8 + ["tn"] * 40
        rng = random.Random(1)
        drawn = sorted(
            kappa_of(*(sample.count(cell) for cell in ("tp", "fp", "fn", "tn")))
            for sample in (rng.choices(labels, k=120) for _ in range(4000))
        )
        assert (table.kappa.low, table.kappa.high) == pytest.approx((drawn[100], drawn[-101]), abs=0.02)
        assert table.kappa.method == "bootstrap, 10,000 draws"

    def test_the_same_table_has_the_same_interval(self) -> None:
        table = Confusion(20, 5, 10, 15)
        assert bootstrap_kappas(table) == bootstrap_kappas(table)

    def test_few_labels_without_an_error_are_not_certain(self) -> None:
        few, many = Confusion(5, 0, 0, 5).kappa, Confusion(50, 0, 0, 50).kappa
        assert few.value == many.value == 1
        assert few.low < 0.5 < 0.9 < many.low


class TestHowManyLabelsWouldDo:
    def test_so_many_do_and_one_fewer_does_not(self) -> None:
        needed = enough_for_share(23, 25, 0.85)
        assert needed is not None
        assert proportion(23 * needed // 25, needed).low >= 0.85
        assert all(proportion(23 * n // 25, n).low < 0.85 for n in range(1, needed))

    @given(of=st.integers(1, 12), data=st.data())
    def test_it_is_the_first_number_whose_bound_reaches_the_floor(self, of: int, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, of))
        needed = enough_for_share(count, of, 0.4)
        if needed is None:
            assert at_least(count * MOST_LABELS // of, MOST_LABELS, 0.4) > TAIL
        else:
            assert at_least(count * needed // of, needed, 0.4) <= TAIL
            assert needed == 1 or at_least(count * (needed - 1) // of, needed - 1, 0.4) > TAIL

    def test_a_share_below_the_floor_never_reaches_it(self) -> None:
        assert enough_for_share(7, 10, 0.7) is None
        assert enough_for_share(0, 0, 0.7) is None

    def test_kappa_is_above_0_with_so_many_labels(self) -> None:
        small = Confusion(20, 15, 10, 12)
        needed = enough_for_kappa(small)
        assert needed is not None
        assert small.kappa.low <= 0
        cells = (round(cell * needed * 1.1 / 57) for cell in (20, 15, 10, 12))
        assert Confusion(*cells).kappa.low > 0
        cells = (round(cell * needed * 0.6 / 57) for cell in (20, 15, 10, 12))
        assert Confusion(*cells).kappa.low <= 0

    def test_no_number_lifts_a_kappa_of_0(self) -> None:
        assert enough_for_kappa(Confusion(40, 40, 10, 10)) is None

    def test_a_kappa_above_0_needs_no_more(self) -> None:
        assert enough_for_kappa(Confusion(40, 5, 5, 40)) == 90
