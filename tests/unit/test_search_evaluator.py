"""A search is given training and validation cases; to ask for another one is its fault and costs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

import pytest

from pytest_promptopt.journal import Journal
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.halting import Phase, Stop
from pytest_promptopt.optimizer.prompt_groups import SEARCHED, PromptGroup, connected_groups
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.screening import ScreeningEvaluator
from pytest_promptopt.optimizer.search_evaluator import SearchEvaluator, UnknownCaseError
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.results import RunResult
from pytest_promptopt.settings import Settings
from tests.refine_world import HELDOUT, SETTINGS, TRAIN, VALIDATION, FakePrompt, Need, World, needs

CASES = needs("a b") + needs("a", VALIDATION) + needs("a b", HELDOUT)


BETTER = {"route.md": "Route {{ ticket }}. a b"}


def evaluator_of(world: World) -> SearchEvaluator:
    (group,) = connected_groups(world.prompts, world.cases)
    return SearchEvaluator(group, ScreeningEvaluator(world, group.prompts))


def test_it_holds_training_and_validation_cases_only() -> None:
    evaluator = evaluator_of(World(CASES))
    assert [case.split for case in evaluator.cases] == [TRAIN, TRAIN, VALIDATION]
    (results,) = evaluator.evaluate([Trial({}, tuple(case.id for case in evaluator.cases))])
    assert [result.case for result in results] == list(evaluator.cases)
    assert evaluator.runs == 3


class Disguised(str):
    """Equal to a training case for whoever looks, and the id of a held-out one."""

    def __eq__(self, other: object) -> bool:
        return str(other) == "train-1-a"

    def __hash__(self) -> int:
        return hash("train-1-a")


@pytest.mark.parametrize("ids", [["heldout-1-a"], ["train-1-a", "heldout-2-b"], ["of another file"]])
def test_another_case_is_an_error_before_anything_is_run(ids: list[str]) -> None:
    world = World(CASES)
    evaluator = evaluator_of(world)
    with pytest.raises(UnknownCaseError) as refused:
        evaluator.evaluate([Trial({}, ("train-1-a",)), Trial({}, tuple(ids))])
    assert str(refused.value) == (
        f"{ids[-1]!r} is none of the 2 training and 1 validation cases of this search; held-out cases score "
        "its result and are not run for it"
    )
    assert (world.evaluated, evaluator.runs) == ([], 0)


def test_the_error_tells_a_case_that_is_held_out_and_one_that_does_not_exist_by_the_same_words() -> None:
    said = set()
    for id in ("heldout-1-a", "nowhere"):
        with pytest.raises(UnknownCaseError) as refused:
            evaluator_of(World(CASES)).evaluate([Trial({}, (id,))])
        said.add(str(refused.value).replace(id, "ID"))
    assert len(said) == 1


def test_what_is_run_are_the_ids_that_were_checked() -> None:
    world = World(CASES)
    evaluator_of(world).evaluate([Trial({}, (Disguised("heldout-1-a"),))])
    assert [str.__str__(id) for trials in world.evaluated for trial in trials for id in trial.cases] == [
        "train-1-a"
    ]


def test_the_cases_of_another_group_of_prompts_are_not_its_own_either() -> None:
    world = World(
        [Need("one", "a", prompts=("one.md",)), Need("two", "a", prompts=("two.md",))],
        prompts=[FakePrompt("one.md"), FakePrompt("two.md")],
    )
    group = connected_groups(world.prompts, world.cases)[0]
    evaluator = SearchEvaluator(group, ScreeningEvaluator(world, group.prompts))
    with pytest.raises(UnknownCaseError):
        evaluator.evaluate([Trial({}, ("two",))])


# ------------------------------------------------------------------------------------------------- in a run


def asking(ids: Iterable[str]) -> type[BaseSearch]:
    """A strategy that runs these cases, and then holds what it has seen."""

    class Asking(BaseSearch):
        def search(self) -> Stop:
            self.halted(Phase.TRAINING, self.best)
            self.evaluate([{}], list(ids))
            return Stop("enough", "it was answered")

    return Asking


def ended(ids: Iterable[str]) -> tuple[World, RunResult]:
    world = World(CASES, strategy=asking(ids))
    return world, world.run()


def test_a_strategy_that_asks_for_a_held_out_case_has_ended_its_search() -> None:
    world, result = ended(["heldout-1-a"])
    (prompt,) = result.prompts
    assert (prompt.outcome, prompt.stop) == ("unchanged", "error")
    assert "'heldout-1-a' is none of the 2 training" in prompt.why
    assert result.errors == (prompt.why,)
    assert not [t for trials in world.evaluated for t in trials if "heldout-1-a" in t.cases]
    assert ended(["train-1-a"])[1].prompts[0].stop == "enough"


def test_a_group_that_is_searched_has_no_held_out_case() -> None:
    seen: list[PromptGroup] = []

    class Looking(BaseSearch):
        def search(self) -> Stop:
            seen.append(self.group)
            self.halted(Phase.TRAINING, self.best)
            return Stop("enough", "it was seen")

    world = World(CASES, strategy=Looking)
    scores = world.result().scores
    (group,) = seen
    assert [case.split for case in group.cases] == [TRAIN, TRAIN, VALIDATION]
    # The account of the run counts them, though they were not scored.
    assert [(score.split, score.cases) for score in scores] == [(TRAIN, 2), (VALIDATION, 1), (HELDOUT, 2)]


def test_the_scores_of_held_out_cases_are_never_those_that_a_strategy_gives() -> None:
    class Boasting(BaseSearch):
        def search(self) -> Stop:
            self.halted(Phase.TRAINING, self.best)
            (after,) = self.evaluate([BETTER], [case.id for case in self.group.cases])
            by_split = {split: tuple(r for r in after if r.case.split is split) for split in SEARCHED}
            made_up = tuple(replace(result, case=replace(result.case, split=HELDOUT)) for result in after)
            self.best = EvaluatedCandidate("1.1", BETTER, {**by_split, HELDOUT: made_up})
            return Stop("enough", "it is perfect")

    # Fresh answers would not confirm it, so the held-out cases would not be scored.
    world = World(CASES, strategy=Boasting, luck=True)
    result = world.run()
    scores = {score.split: score.after for score in result.prompts[0].scores}
    assert (scores[TRAIN], scores[HELDOUT]) == (0.0, None), "the original stays"
    assert result.errors == (
        "the strategy's search has a result of 'train-1-a' as one of the heldout cases in `final.results`; "
        "accepted: results of its own cases, by their split",
    )


# ------------------------------------------------------------------------------------------ what it may keep


def test_a_search_keeps_and_gives_back_calls_of_its_own_only() -> None:
    world = World(CASES, left=lambda: 40)
    (group,) = connected_groups(world.prompts, world.cases)
    context = world.context()
    context.call_budget.reserve("scoring held-out cases", 7)
    budget = world.search_context(group, run=context).call_budget
    budget.reserve(5)
    assert (budget.reserved, budget.total_reserved, budget.available(), budget.left()) == (5, 12, 28, 40)
    assert (budget.affords(28), budget.affords(29)) == (True, False)
    budget.reserve(0)
    assert budget.total_reserved == 7
    with pytest.raises(ValueError, match="-7 calls cannot be kept; accepted: 0 or more"):
        budget.reserve(-7)


def test_a_search_cannot_begin_the_phases_that_follow_it() -> None:
    world = World(CASES)
    (group,) = connected_groups(world.prompts, world.cases)
    context = world.search_context(group)
    context.enter_phase(Phase.VALIDATION)
    for phase in (Phase.CONFIRMATION, Phase.HELDOUT):
        with pytest.raises(ValueError, match="a search cannot enter the phase"):
            context.enter_phase(phase)


# ---------------------------------------------------------------------------------------------------- phases


def test_a_phase_is_made_ready_for_before_those_who_watch_are_told() -> None:
    told: list[tuple[Phase, list[Phase]]] = []
    world = World(CASES, ["a b"])
    world.hooks = SearchHooks(progress=lambda phase, prompts: told.append((phase, list(world.phases))))
    assert world.result().outcome == "improved"
    assert world.phases[0] == Phase.TRAINING
    assert world.phases[-2:] == [Phase.CONFIRMATION, Phase.HELDOUT]
    assert told == [(phase, world.phases[:number]) for number, phase in enumerate(world.phases, 1)]


def test_who_watches_changes_nothing_by_it() -> None:
    def broken(phase: Phase, prompts: tuple[str, ...]) -> None:
        raise ValueError("cannot draw")

    watched, unwatched = World(CASES, ["a b"], hooks=SearchHooks(progress=broken)), World(CASES, ["a b"])
    assert [world.result().outcome for world in (watched, unwatched)] == ["improved", "improved"]
    assert watched.phases == unwatched.phases
    assert watched.evaluated == unwatched.evaluated


class Closed(World):
    """One phase cannot be made ready for."""

    closed: ClassVar[Phase]

    def context(self, settings: Settings = SETTINGS, journal: Journal | None = None) -> RunContext:
        def fail(phase: Phase) -> None:
            if phase is self.closed:
                raise OSError("the account is gone")

        return replace(super().context(settings, journal), prepare_phase=fail)


def test_a_phase_that_cannot_be_made_ready_for_ends_the_search_in_a_sentence() -> None:
    class AtTraining(Closed):
        closed = Phase.TRAINING

    result = AtTraining(CASES, ["a b"]).run()
    assert result.prompts[0].stop == "error"
    assert "the account is gone" in result.errors[0]


@pytest.mark.parametrize(
    ("phase", "outcome", "note"),
    [
        (Phase.CONFIRMATION, "not shown", "the result could not be judged: "),
        (Phase.HELDOUT, "improved", "the held-out cases could not be run: "),
    ],
)
def test_nor_does_one_after_the_search_keep_the_run_from_its_result(
    phase: Phase, outcome: str, note: str
) -> None:
    class AfterIt(Closed):
        closed = phase

    result = AfterIt(CASES, ["a b"]).run()
    assert "the account is gone" in result.errors[0]
    assert result.prompts[0].outcome == outcome
    assert f"{note}{result.errors[0]}" in result.prompts[0].note


def test_how_long_something_took_is_told_by_the_clock_of_the_run() -> None:
    class Timed(World):
        def clock(self) -> float:
            """Each request takes an hour, nothing else takes any time."""
            return 3600.0 * len(self.asked)

    result = Timed(needs("a b"), ["a", "a b"]).run()
    assert [iteration.elapsed for iteration in result.prompts[0].iterations] == [3600.0, 3600.0]
    assert result.elapsed == 7200.0
