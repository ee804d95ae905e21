"""What the next iteration makes, and when training gives way to validation."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.confirmation_power import foreseen_calls
from pytest_promptopt.optimizer.halting import HaltReason, Phase
from pytest_promptopt.optimizer.prompt_groups import connected_groups
from pytest_promptopt.optimizer.race import BATCH
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.records import Split
from pytest_promptopt.settings import NO_MODEL
from pytest_promptopt.strategies.refine.economy import SHARE, Economy
from pytest_promptopt.strategies.refine.iteration_planner import FIRST_SET, IterationPlanner
from pytest_promptopt.strategies.refine.search import RefineSearch
from pytest_promptopt.strategies.refine.search_budget import SearchBudget
from tests.refine_world import SETTINGS, VALIDATION, World, answer, needs, new_prompt

CASES = [*needs("a " * 12), *needs("a " * 8, VALIDATION)]


def searching(world: World, **settings: Any) -> tuple[RefineSearch, IterationPlanner]:
    """A search that has measured the original, and what plans its next iteration."""
    (group,) = connected_groups(world.prompts, world.cases)
    search = RefineSearch(group, world.search_context(group, replace(SETTINGS, **settings)))
    assert search.start_or_resume() is None
    return search, IterationPlanner(search, search.state, SearchBudget(search, search.state))


def with_another_best(search: RefineSearch) -> None:
    search.best = replace(search.best, id="1.1")


class TestTrainingGivesWayToValidation:
    def stop_after(self, *won: float, **given: Any) -> tuple[RefineSearch, IterationPlanner]:
        search, planner = searching(
            World(CASES, left=lambda: given.get("left", 500)), least_gain=0, optimizer_model="demo"
        )
        with_another_best(search)
        for share in won:
            search.state.economy.note(share, 20, 20)
        return search, planner

    def test_when_its_iterations_win_less_for_their_calls(self) -> None:
        _, planner = self.stop_after(0.0, 0.0, 0.0)
        stop = planner.unpaid(Phase.TRAINING)
        assert stop is not None
        assert stop.halt == HaltReason.RETURNS
        assert "one that goes by the validation cases promises more for its calls" in stop.why

    def test_not_while_they_win_as_much_as_any_first_one(self) -> None:
        _, planner = self.stop_after(0.3, 0.3)
        assert planner.unpaid(Phase.TRAINING) is None

    def test_not_for_a_loss_that_the_calls_for_the_validation_cases_outweigh(self) -> None:
        search, planner = self.stop_after(0.22)
        assert search.state.economy.iterations.expected < SHARE
        assert planner.unpaid(Phase.TRAINING) is None

    def test_not_before_training_has_found_anything(self) -> None:
        search, planner = self.stop_after(0.0, 0.0, 0.0)
        search.best = search.original
        assert planner.unpaid(Phase.TRAINING) is None

    def test_not_where_calls_have_no_end(self) -> None:
        _, planner = self.stop_after(0.0, 0.0, 0.0, left=None)
        assert planner.unpaid(Phase.TRAINING) is None

    def test_not_once_validation_cases_decide(self) -> None:
        _, planner = self.stop_after(0.0, 0.0, 0.0)
        assert planner.unpaid(Phase.VALIDATION) is None

    def test_and_validation_begins_anew(self) -> None:
        search, planner = self.stop_after(0.0, 0.0, 0.0)
        planner.begin_validation()
        assert search.state.economy.iterations.expected == SHARE

    def test_in_a_whole_search(self) -> None:
        """Texts that win nothing more in training, and a rule that only validation cases need."""
        world = World(
            [*needs("a a a a b b b b"), *needs("a a c c", VALIDATION)],
            replies=lambda request: "a c" if "<patterns>" in request.messages[-1].content else "a",
            left=lambda: 120 - sum(map(len, world.asked)),
        )
        result = world.result(max_iterations=12)
        assert result.iterations[-1].phase == Phase.VALIDATION
        assert "c" in result.after


@pytest.mark.parametrize("ceiling", [None, 5_000])
@pytest.mark.parametrize(("least_gain", "ended"), [(1, True), (0, False)])
def test_a_search_ends_where_the_next_iteration_promises_too_little_for_its_calls(
    least_gain: float, ended: bool, ceiling: int | None
) -> None:
    """Every text is another one and as good for nothing as the one before; the ceiling is far."""
    number = count()
    world = World(
        needs("a " * 10 + "- " * 90),
        lambda request: answer(f"useless {next(number)}"),
        left=lambda: None if ceiling is None else ceiling - sum(map(len, world.asked)),
    )
    result = world.result(max_iterations=15, plateau=50, least_gain=least_gain)
    assert (result.stop == HaltReason.RETURNS) == ended
    if ended:
        assert re.fullmatch(
            r"the next iteration is expected to win 0\.\d points for \d+ calls, less than 1 for 100",
            result.why,
        )


def test_a_text_that_gained_less_on_validation_keeps_more_calls_for_showing_its_gain() -> None:
    """It passes all training cases; the validation cases, once they are run, count as they are."""
    world = World(CASES, left=lambda: 1_000)
    search, _ = searching(world)
    budget = SearchBudget(search, search.state)
    overlay = {"route.md": "Route {{ ticket }}. a"}
    (found,) = search.evaluate([overlay], search.group.ids(Split.TRAIN, Split.VALIDATION))
    learning, base = search.state.learning, search.original.posterior
    assert base is not None
    better = EvaluatedCandidate("1.1", overlay, {}, RatePosterior(base.cases, learning, base=base)).ran(found)
    before = search.original.results[Split.VALIDATION]
    no_better = replace(better, results={**better.results, Split.VALIDATION: before})
    assert budget.judging_calls(no_better) > budget.judging_calls(better)


class TestCallsKeptForShowingTheGain:
    """An iteration takes 50 calls. A text is found that passes what needs "a", and not what needs "b"."""

    def kept(self, rest: str, left: int = 100) -> tuple[int, int]:
        """Of the calls left those kept; `rest` are further cases of either split, ``-`` one that passes."""
        world = World([*needs("a " * 8 + rest), *needs("a " * 4 + rest, VALIDATION)], left=lambda: left)
        search, _ = searching(world)
        overlay = {"route.md": "Route {{ ticket }}. a"}
        (found,) = search.evaluate([overlay], search.group.ids(Split.TRAIN, Split.VALIDATION))
        learning, base = search.state.learning, search.original.posterior
        assert base is not None
        posterior = RatePosterior(base.cases, learning, base=base)
        text = EvaluatedCandidate("1.1", overlay, {}, posterior).ran(found)
        budget = SearchBudget(search, search.state)
        search.state.economy = Economy(floor=0.0, cost=50)
        return budget.judging_calls(text), budget.least_judging_calls(text)

    def test_all_where_hardly_anything_is_left_to_win(self) -> None:
        kept, _ = self.kept("- " * 8)
        assert kept == 100

    def test_more_than_show_it_in_nine_of_ten_runs_where_little_is_left_to_win(self) -> None:
        """All 12 cases that need "a" are fixed, of 30."""
        kept, _ = self.kept("- " * 8 + "b ", left=150)
        assert foreseen_calls(30, fixed=12, broken=0, alpha=SETTINGS.alpha, each=1) < kept < 100

    def test_so_few_that_an_iteration_fits_where_it_may_win_much(self) -> None:
        kept, least = self.kept("b " * 24)
        assert least <= kept <= 50


def test_what_a_validation_iteration_keeps_stays_kept_when_the_incumbent_is_run_on_further_cases() -> None:
    search, _ = searching(World(CASES, left=lambda: 200))
    assert search.original.posterior is not None
    overlay = {"route.md": "Route {{ ticket }}. a"}
    posterior = RatePosterior(search.original.posterior.cases, search.state.learning)
    search.best = EvaluatedCandidate("1.1", overlay, {}, posterior)
    race = SimpleNamespace(incumbent_move=lambda moves, price: posterior.unrun[:5], runners=[])
    call_budget, search_budget = search.context.call_budget, search._search_budget
    with search_budget.keeping(31):
        assert search._races._ran_incumbent(cast(Any, race), [], 0.0)
        assert len(search.best.evidence(Split.TRAIN)) == 5
        assert call_budget.reserved == search_budget.judging_calls(search.best) + 31


class TestTurns:
    def made(self, *, rewrites: float, examples: float, count: int = 10) -> list[tuple[int, int]]:
        search, planner = searching(World(CASES), examples=4, optimizer_model="demo")
        ways = search.state.ways
        for kind, won in ((Kind.REWRITE, rewrites), (Kind.EXAMPLES, examples)):
            for _ in range(30):
                ways[kind].note(won)
        return [planner.worth_making(1) for _ in range(count)]

    def test_two_ways_that_win_alike_are_gone_alike(self) -> None:
        assert set(self.made(rewrites=0.2, examples=0.2)) == {(1, 1)}

    def test_the_way_that_wins_less_has_its_turn_now_and_then(self) -> None:
        made = self.made(rewrites=0.1, examples=0.2)
        assert sum(rewrites for rewrites, _ in made) == 4, "a fifth by their squares, doubled: 0.4 each time"
        assert sum(drawn for _, drawn in made) == 16
        assert len(set(made)) > 1

    def test_a_way_that_wins_nothing_has_none(self) -> None:
        assert {rewrites for rewrites, _ in self.made(rewrites=0.0, examples=0.3)} == {0}


def test_the_first_set_of_examples_waits_where_calls_are_few() -> None:
    def drawn(free: int, *lost: float) -> int:
        left = 1000
        search, planner = searching(World(CASES, left=lambda: left), examples=4, optimizer_model="demo")
        left = free + search.context.call_budget.total_reserved
        for won in lost:
            search.state.ways[Kind.REWRITE].note(won)
        return planner.worth_making(1)[1]

    assert drawn(FIRST_SET * BATCH) == 1
    assert drawn(FIRST_SET * BATCH - 1) == 0
    assert drawn(FIRST_SET * BATCH - 1, 0.0, 0.0, 0.0) == 1, "rewriting has paid little"


def test_without_a_model_that_writes_sets_of_examples_are_all_there_is() -> None:
    _, planner = searching(World(CASES), examples=4, optimizer_model=NO_MODEL)
    assert planner.worth_making(1) == (0, 2)


@pytest.mark.parametrize(("text", "tries"), [("no variable at all", "refused"), ("useless", "run")])
def test_a_candidate_that_was_refused_has_won_nothing_as_one_that_was_run_for_nothing(
    text: str, tries: str
) -> None:
    reply = new_prompt(text) if tries == "refused" else text
    world = World(CASES, replies=lambda request: reply)
    (group,) = connected_groups(world.prompts, world.cases)
    search = RefineSearch(group, world.search_context(group, replace(SETTINGS, max_iterations=1)))
    search.run()
    assert search.state.ways[Kind.REWRITE].tries >= 1
    assert search.state.ways[Kind.REWRITE].expected < SHARE
