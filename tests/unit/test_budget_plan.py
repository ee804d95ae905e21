"""What a ceiling on calls buys, known before the first call."""

from __future__ import annotations

import re
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.optimizer.confirmation_power import least_pairs
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.strategy import ScoringNeeds, scoring_needs
from pytest_promptopt.records import Case, Split
from pytest_promptopt.runs.budget_plan import BudgetPlan
from pytest_promptopt.settings import Mode, Settings
from pytest_promptopt.strategies import declared_needs
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.external.engine import ExternalSearch
from pytest_promptopt.strategies.hybrid import Hybrid
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.paid_world import paid_rules

#: As the default strategy declares it.
FORESEEING = RefineSearch.scoring_needs


def plan(
    train: int = 50,
    validation: int = 25,
    heldout: int = 20,
    *,
    samples: int = 1,
    prompts: tuple[str, ...] = ("p.md",),
    needs: tuple[ScoringNeeds, ...] = (FORESEEING,),
    **settings: Any,
) -> BudgetPlan:
    splits = [Split.TRAIN] * train + [Split.VALIDATION] * validation + [Split.HELDOUT] * heldout
    cases = tuple(Case(str(n), prompts, split, samples=samples) for n, split in enumerate(splits))
    return BudgetPlan([PromptGroup((), cases)], Settings(rootdir=Path(), **settings), needs)


def test_it_says_what_the_ceiling_buys_and_what_for() -> None:
    assert plan(max_calls=350).bought() == (
        "promptopt: --promptopt-max-calls=350 buys about 3 iterations; of the calls 75 run the prompt as it "
        "is, 30 complete the best text's results and 68 confirm its gain, 40 for scoring the held-out cases "
        "(all)"
    )
    assert "buys about 8 iterations; of" in str(plan(max_calls=1000).bought())
    assert "buys about 5 iterations; of" in str(plan(max_calls=1000, max_iterations=5).bought())


@pytest.mark.parametrize(("ceiling", "runs"), [(300, 3), (1000, 1)])
def test_it_is_near_what_a_search_makes_of_the_ceiling(ceiling: int, runs: int) -> None:
    """Half of it to twice as much, in a world where most searches use up their calls."""
    foreseen = re.search(r"buys about (\d+) iterations", str(plan(heldout=0, max_calls=ceiling).bought()))
    assert foreseen is not None
    made = []
    for seed in range(runs):
        world = paid_rules(ceiling, seed, flipped=0.2)
        result = world.result(seed=seed, candidates=3, max_iterations=20, max_calls=ceiling)
        made.append(len(result.iterations))
    assert 0.5 <= statistics.median(made) / int(foreseen[1]) <= 2.0


def test_few_iterations_are_said_to_be_few() -> None:
    assert "buys about 2 iterations: few, raise it; of the calls" in str(plan(max_calls=300).bought())
    assert "buys about 0 iterations: few, raise it; of the calls" in str(plan(max_calls=110).bought())


def test_of_a_pipeline_every_stage_makes_a_call() -> None:
    both = str(plan(prompts=("plan.md", "code.md"), max_calls=1000).bought())
    assert "150 run the prompt as it is, 60 complete the best text's results and 136 confirm its gain" in both
    assert "150 run the prompt" in str(plan(samples=2, max_calls=1000).bought())


def test_calls_that_cases_were_seen_to_make_count() -> None:
    """An application may ask more than its prompt."""
    seen = plan(max_calls=1000)
    (group,) = seen.groups
    cases = tuple(replace(case, seen_calls=2) for case in group.cases)
    twice = replace(seen, groups=[replace(group, cases=cases)])
    assert twice.bought() == plan(prompts=("plan.md", "code.md"), max_calls=1000).bought()
    with pytest.raises(SettingsError, match="takes 150 calls and an iteration about 64, so 214 is the least"):
        replace(twice, settings=replace(twice.settings, max_calls=213)).check()


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
    assert len(plan(heldout=50, max_calls=600, samples=3).heldout) == 33


def test_the_first_iteration_goes_before_the_held_out_cases() -> None:
    short = plan(heldout=80, max_calls=135)
    assert short.least == 75 + 4 + 30
    assert len(short.heldout) == (135 - short.least - 2 * least_pairs(0.05)) // 2 > 0


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


# ------------------------------------------------------------------------------- what a strategy declares


def test_without_foresight_every_candidate_is_run_on_all_training_cases() -> None:
    """So an iteration takes more calls, and fewer are left over for the end."""
    bought = str(plan(max_calls=1000, needs=(ScoringNeeds(),)).bought())
    assert "buys about 5 iterations; of" in bought
    assert "75 run the prompt as it is, 25 complete the best text's results and" in bought
    decided = plan(max_calls=1000, needs=(ScoringNeeds(validation_each_iteration=True),)).bought()
    assert "75 run the prompt as it is, 0 complete the best text's results and" in str(decided)


def test_without_foresight_one_candidate_is_enough_for_a_beginning() -> None:
    plan(max_calls=75 + 51, needs=(ScoringNeeds(),)).check()
    with pytest.raises(SettingsError, match="an iteration about 51, so 126 is the least"):
        plan(max_calls=75 + 50, needs=(ScoringNeeds(),)).check()


def test_of_several_strategies_the_neediest_is_planned_for() -> None:
    both = plan(max_calls=1000, needs=(FORESEEING, ScoringNeeds())).bought()
    assert "buys about 5 iterations" in str(both)
    assert "30 complete the best text's results" in str(both)


def test_a_strategy_that_declares_nothing_may_need_everything() -> None:
    def search(group: object, context: object) -> Any: ...

    assert scoring_needs(search) == ScoringNeeds(
        optimizer_model=True, foresight=False, validation_each_iteration=False
    )
    assert scoring_needs(Evolve) == ScoringNeeds()
    assert scoring_needs(ExternalSearch).validation_each_iteration


def test_without_a_model_that_writes_only_a_strategy_that_does_without_is_taken() -> None:
    class Own(Evolve):
        scoring_needs = ScoringNeeds(optimizer_model=False)

    settings = Settings(rootdir=Path(), optimizer_model="none")
    assert declared_needs({"refine": RefineSearch, "own": Own}, settings) == [FORESEEING, Own.scoring_needs]
    with pytest.raises(SettingsError) as refused:
        declared_needs({"refine": RefineSearch, "evolve": Evolve, "hybrid": Hybrid}, settings)
    assert str(refused.value) == (
        "--promptopt-optimizer-model=none: the strategy evolve, hybrid needs a model that writes; name one, "
        "or use --promptopt-strategy=refine"
    )


def test_a_declaration_of_another_kind_is_a_settings_error() -> None:
    class Search(Evolve):
        scoring_needs = "foresight"  # type: ignore[assignment]

    with pytest.raises(SettingsError) as refused:
        scoring_needs(Search)
    assert str(refused.value) == (
        "the strategy Search: `scoring_needs` is str; accepted: ScoringNeeds, or no such attribute"
    )


def test_in_a_migration_both_models_answer_the_held_out_cases() -> None:
    moved = plan(heldout=80, max_calls=300, mode=Mode.OPTIMIZE, model="a/new", from_model="a/old")
    assert len(moved.heldout) == 25
    assert "100 for scoring the held-out cases (25 of 80, drawn at random)" in str(moved.bought())
