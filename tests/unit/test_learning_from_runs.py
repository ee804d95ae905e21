"""What one run has learned of new texts is believed at the start of the next, as far as it should be."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest

from pytest_promptopt.optimizer.verdict_model import (
    LUCK,
    MOST_TOLD,
    RATES,
    Belief,
    Kind,
    Seen,
    Taught,
    VerdictModel,
    parse_taught,
    sum_taught,
)

FAILS, PASSES = tuple(0.02 for _ in LUCK), tuple(0.98 for _ in LUCK)


def verdicts(base: Sequence[float], passed: bool, count: int) -> Seen:
    return Seen(tuple(base), passed, count)


def run_that_saw(kind: Kind, *, fixed: int, texts: int = 4, told: Taught | None = None) -> VerdictModel:
    """A run whose texts fix so many of ten failing cases and break none of ten passing ones."""
    learning = VerdictModel(told)
    for _ in range(texts):
        seen = [verdicts(FAILS, True, fixed), verdicts(FAILS, False, 10 - fixed), verdicts(PASSES, True, 10)]
        learning.learn(kind, learning.belief(kind, [each for each in seen if each[2]]))
    return learning


def fixes(learning: VerdictModel, kind: Kind = Kind.REWRITE) -> float:
    """The share of failing cases that a new text is expected to fix."""
    belief: Belief = learning.belief(kind, [])
    return belief.fixes[0]


def weight(taught: Taught) -> float:
    return math.fsum(math.fsum(weighed) for weighed in taught.values())


def test_a_later_run_begins_with_what_an_earlier_one_found() -> None:
    nothing = fixes(VerdictModel())
    good = fixes(VerdictModel(sum_taught([run_that_saw(Kind.REWRITE, fixed=9).taught()])))
    bad = fixes(VerdictModel(sum_taught([run_that_saw(Kind.REWRITE, fixed=0).taught()])))
    assert bad < nothing - 0.05
    assert good > nothing + 0.1


def test_texts_of_the_same_kind_are_told_of_first() -> None:
    told = VerdictModel(sum_taught([run_that_saw(Kind.EXAMPLES, fixed=9).taught()]))
    assert fixes(told, Kind.EXAMPLES) > fixes(told, Kind.REWRITE) > fixes(VerdictModel(), Kind.REWRITE)


def test_many_earlier_texts_weigh_no_more_than_a_few() -> None:
    one = sum_taught([run_that_saw(Kind.REWRITE, fixed=9, texts=30).taught()])
    five = sum_taught([run_that_saw(Kind.REWRITE, fixed=9, texts=30).taught() for _ in range(5)])
    assert weight(one) == pytest.approx(MOST_TOLD)
    assert weight(five) == pytest.approx(MOST_TOLD)
    few = run_that_saw(Kind.REWRITE, fixed=9, texts=1).taught()
    assert weight(sum_taught([few])) == pytest.approx(weight(few))


def test_what_this_run_sees_outweighs_what_it_was_told() -> None:
    told = sum_taught([run_that_saw(Kind.REWRITE, fixed=9, texts=30).taught()])
    assert fixes(run_that_saw(Kind.REWRITE, fixed=0, texts=8, told=told)) < fixes(VerdictModel())


def test_what_was_told_is_not_passed_on_as_if_it_were_new() -> None:
    told = sum_taught([run_that_saw(Kind.REWRITE, fixed=9, texts=30).taught()])
    own = run_that_saw(Kind.REWRITE, fixed=1, texts=2, told=told).taught()
    assert weight(own) == pytest.approx(2, abs=1e-3)
    assert weight(VerdictModel(told).taught()) == 0


def test_all_earlier_runs_have_their_share() -> None:
    good, bad = (run_that_saw(Kind.REWRITE, fixed=fixed, texts=10).taught() for fixed in (9, 0))
    assert fixes(VerdictModel(sum_taught([bad]))) < fixes(VerdictModel(sum_taught([good, bad])))
    assert fixes(VerdictModel(sum_taught([good, bad]))) < fixes(VerdictModel(sum_taught([good])))


def test_a_journal_gives_back_what_was_written() -> None:
    taught = run_that_saw(Kind.MERGE, fixed=3).taught()
    told = sum_taught([taught])
    assert parse_taught(json.loads(json.dumps(taught))) == taught
    assert parse_taught(json.loads(json.dumps(told))) == told, "to the last digit: what follows is the same"


PAIRS = len(RATES) ** 2


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        "rewrite",
        {"rewrite": None},
        {"rewrite": [1.0]},
        {"rewrite": [1.0] * (PAIRS + 1)},
        {"rewrite": [-1.0] * PAIRS},
        {"rewrite": [math.nan] * PAIRS},
        {"rewrite": [math.inf] * PAIRS},
        {"rewrite": ["1"] * PAIRS},
        {"guess": [1.0] * PAIRS},
    ],
)
def test_anything_else_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match=r"weights|guess"):
        parse_taught(found)
