"""What a ceiling on calls buys, known before the first call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.evaluation.plan import Plan
from pytest_promptopt.records import Case, Split
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.halting import Phase
from pytest_promptopt.settings import Settings

SPLITS = [Split.TRAIN] * 6 + [Split.VALIDATION] * 4 + [Split.HELDOUT] * 3


def plan(*, samples: int = 1, prompts: tuple[str, ...] = ("p.md",), **settings: Any) -> Plan:
    cases = tuple(Case(str(n), prompts, split, samples=samples) for n, split in enumerate(SPLITS))
    return Plan([Group((), cases)], Settings(rootdir=Path(), **settings))


def test_what_is_behind_is_not_set_aside_any_more() -> None:
    # 4 validation runs, 60 pairs of fresh answers, 3 held-out runs before and after.
    assert [plan().scoring(phase) for phase in Phase] == [130, 126, 6, 0]
    assert plan(samples=2).scoring(Phase.TRAINING) == 8 + 120 + 12


def test_of_a_pipeline_every_stage_makes_a_call() -> None:
    both = plan(prompts=("plan.md", "code.md"))
    assert [both.scoring(phase) for phase in Phase] == [260, 252, 12, 0]
    sentence = str(plan(prompts=("plan.md", "code.md"), max_calls=100).bought())
    assert "buys at least 1 iteration: few, raise it; 52 calls are set aside" in sentence
    assert "32 of them for confirming a gain" in sentence
    poor = str(plan(prompts=("plan.md", "code.md"), max_calls=71).bought())
    assert poor.endswith("none for confirming a gain, so none will be written: it takes a ceiling of 72")


def test_without_a_ceiling_everything_is_bought() -> None:
    plan().check()
    assert plan().bought() is None


def test_strategies_that_are_compared_share_the_ceiling() -> None:
    both = plan(max_calls=200, strategy=("refine", "evolve"))
    alone = plan(max_calls=100)
    assert both.scoring(Phase.TRAINING) == alone.scoring(Phase.TRAINING)
    assert str(both.bought()).startswith(
        "promptopt: --promptopt-max-calls=200 (100 for each of 2 strategies) buys at least 4 iterations; "
        "42 calls are set aside for scoring the result, 32 of them for confirming a gain: "
    )


def test_a_ceiling_that_leaves_nothing_for_the_search_is_refused() -> None:
    plan(max_calls=11).check()
    with pytest.raises(
        SettingsError, match=r"--promptopt-max-calls=10: .* takes 10 calls, which leaves none"
    ):
        plan(max_calls=10).check()


def test_few_iterations_are_said_to_be_few() -> None:
    assert "buys at least 0 iterations: few, raise it; 10 calls are set aside" in str(
        plan(max_calls=20).bought()
    )
