"""A score as a share of bars that an answer clears."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.optimizer.score_bars import Bars, all_bars, cleared_by_side, joined, with_verdicts
from pytest_promptopt.optimizer.verdict_model import LUCK

scores = st.floats(min_value=0, max_value=1)

UNKNOWN: Bars = ((1.0, (0.5,) * len(LUCK)),)


def verdicts(bars: Bars, score: float) -> dict[bool | None, float]:
    """The share of the bars with each verdict."""
    found: dict[bool | None, float] = {}
    for share, _, passed in with_verdicts(bars, score):
        found[passed] = found.get(passed, 0.0) + share
    return found


@given(before=scores, after=scores)
def test_the_shares_of_all_bars_make_one_and_those_cleared_make_the_score(
    before: float, after: float
) -> None:
    bars = joined(with_verdicts(UNKNOWN, before))
    found = verdicts(bars, after)
    assert sum(found.values()) == pytest.approx(1)
    assert found.get(True, 0.0) == pytest.approx(after, abs=1e-6)
    assert sorted(end for end, _ in bars) == [end for end, _ in bars]


def test_a_rise_from_two_to_four_fifths_fixes_two_fifths_of_a_case() -> None:
    passing, failing = (1.0,) * len(LUCK), (0.0,) * len(LUCK)
    parts = list(with_verdicts(((0.4, passing), (1.0, failing)), 0.8))
    assert [(chances, passed) for _, chances, passed in parts] == [
        (passing, True),
        (failing, True),
        (failing, False),
    ]
    assert [share for share, _, _ in parts] == pytest.approx([0.4, 0.4, 0.2])


@pytest.mark.parametrize(("rate", "passed"), [(0.0, False), (1.0, True), (None, None)])
def test_a_whole_case_stays_whole(rate: float | None, passed: bool | None) -> None:
    assert list(with_verdicts(UNKNOWN, rate)) == [(1.0, UNKNOWN[0][1], passed)]
    assert joined(with_verdicts(UNKNOWN, rate)) == UNKNOWN


@given(first=scores, second=scores)
def test_a_case_as_a_whole_has_the_mean_of_its_bars(first: float, second: float) -> None:
    bars: Bars = ((0.25, (first,) * len(LUCK)), (1.0, (second,) * len(LUCK)))
    assert all_bars(bars) == (pytest.approx(0.25 * first + 0.75 * second),) * len(LUCK)


@given(before=scores, after=scores)
def test_what_is_cleared_on_either_side_makes_the_score(before: float, after: float) -> None:
    found = dict(cleared_by_side(before, after))
    assert all(-1e-9 <= share <= 1 + 1e-9 for share in found.values())
    assert before * found[True] + (1 - before) * found[False] == pytest.approx(after)
    assert dict(cleared_by_side(None, after)) == {True: after, False: after}


def test_bars_lie_in_order() -> None:
    three: Bars = ((0.2, (0.9,) * len(LUCK)), (0.5, (0.4,) * len(LUCK)), (1.0, (0.1,) * len(LUCK)))
    shares = [share for share, _, _ in with_verdicts(three, None)]
    assert shares == pytest.approx([end - start for start, end in pairwise([0.0, 0.2, 0.5, 1.0])])
    assert [end for end, _ in joined(with_verdicts(three, 0.3))] == pytest.approx([0.3, 1.0])
