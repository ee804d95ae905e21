"""What a ceiling on calls buys, known before the first call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.records import Case, Split
from pytest_promptopt.runs.budget_plan import BudgetPlan
from pytest_promptopt.settings import Settings


def plan(
    train: int = 50,
    validation: int = 25,
    heldout: int = 20,
    *,
    samples: int = 1,
    prompts: tuple[str, ...] = ("p.md",),
    **settings: Any,
) -> BudgetPlan:
    splits = [Split.TRAIN] * train + [Split.VALIDATION] * validation + [Split.HELDOUT] * heldout
    cases = tuple(Case(str(n), prompts, split, samples=samples) for n, split in enumerate(splits))
    return BudgetPlan([PromptGroup((), cases)], Settings(rootdir=Path(), **settings))


def test_it_says_what_the_ceiling_buys_and_what_for() -> None:
    assert plan(max_calls=350).bought() == (
        "promptopt: --promptopt-max-calls=350 buys about 4 iterations; of the calls 75 run the prompt as it "
        "is, 30 complete the best text's results and 68 confirm its gain, 40 for scoring the held-out cases "
        "(all)"
    )
    assert "buys about 23 iterations; of" in str(plan(max_calls=1000).bought())


def test_few_iterations_are_said_to_be_few() -> None:
    assert "buys about 2 iterations: few, raise it; of the calls" in str(plan(max_calls=300).bought())
    assert "buys about 0 iterations: few, raise it; of the calls" in str(plan(max_calls=110).bought())


def test_of_a_pipeline_every_stage_makes_a_call() -> None:
    both = str(plan(prompts=("plan.md", "code.md"), max_calls=1000).bought())
    assert "150 run the prompt as it is, 60 complete the best text's results and 136 confirm its gain" in both
    assert "150 run the prompt" in str(plan(samples=2, max_calls=1000).bought())


def test_without_a_ceiling_everything_is_bought() -> None:
    plan().check()
    assert plan().bought() is None
    assert len(plan().heldout) == 20


def test_held_out_cases_take_a_third_of_the_ceiling_at_most_and_then_a_sample_of_them_is_scored() -> None:
    poor = plan(heldout=80, max_calls=300)
    assert len(poor.heldout) == 50
    assert poor.heldout == plan(heldout=80, max_calls=300).heldout, "the same for the same seed"
    assert poor.heldout != plan(heldout=80, max_calls=300, seed=1).heldout
    assert len(poor.heldout | poor.left_out) == 80
    assert str(poor.bought()).endswith("100 for scoring the held-out cases (50 of 80, drawn at random)")
    assert not plan(heldout=50, max_calls=300).left_out, "these take a third"
    assert len(plan(heldout=50, max_calls=300, samples=3).heldout) == 16


def test_a_ceiling_too_low_for_held_out_cases_leaves_them_out() -> None:
    tiny = plan(2, 0, 3, max_calls=5)
    assert not tiny.heldout
    assert str(tiny.bought()).endswith("confirm its gain, none for the 3 held-out cases")


def test_strategies_that_are_compared_share_the_ceiling() -> None:
    both, alone = plan(max_calls=600, strategy=("refine", "evolve")), plan(max_calls=300)
    assert str(both.bought()).partition(" buys ")[2] == str(alone.bought()).partition(" buys ")[2]
    assert "--promptopt-max-calls=600 (300 for each of 2 strategies) buys" in str(both.bought())


def test_what_holds_the_first_scoring_and_an_iteration_is_enough() -> None:
    plan(max_calls=75 + 34).check()
    with pytest.raises(SettingsError) as refused:
        plan(max_calls=75 + 33).check()
    assert str(refused.value) == (
        "--promptopt-max-calls=108: running the train and validation cases once takes 75 calls and an "
        "iteration about 34, so 109 is the least; raise it or deselect some"
    )


def test_answers_that_are_known_need_no_call() -> None:
    plan(max_calls=34).check(known=75)
    with pytest.raises(SettingsError, match="so 34 is the least"):
        plan(max_calls=33).check(known=75)
