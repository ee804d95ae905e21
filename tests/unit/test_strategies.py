"""The ways to search, each in the same small world: whatever the strategy, the run around it is the same."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.journal import Journal, read_events
from pytest_promptopt.optimizer.acceptance import Verdict
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.protocols import StopRun
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.prompts.examples import Example, with_examples
from pytest_promptopt.records import Case, CaseResult, Outcome, Request, Split, Status
from pytest_promptopt.results import Iteration
from pytest_promptopt.strategies import BUILT_IN, EXTERNAL, load_strategy
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.hybrid import GENERATIONS, Hybrid
from pytest_promptopt.strategies.pareto import (
    cases_won,
    draw_parent,
    find_complementary_pair,
    front_members,
    pareto_front,
)
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.paid_world import paid
from tests.refine_world import HELDOUT, VALIDATION, FakePrompt, Need, World, needs

#: Those that need nothing but this package.
OWN = [RefineSearch, Evolve, Hybrid]


def learner(request: Request) -> str:
    """An optimizer that adds the first rule it is shown to be missing; a merge has the rules of all."""
    text = request.messages[-1].content
    rules = re.findall(r"Route \{\{ ticket \}\}\.([^\n<]*)", text)
    words = dict.fromkeys(" ".join(rules).split())
    if "<version>" not in text:
        missing = [rule for rule in re.findall(r'expected "label-(\w+)"', text) if rule not in words]
        words |= dict.fromkeys(missing[:1])
    return " ".join(words) or "nothing"


# ----------------------------------------------------------------------------- whatever the strategy


@pytest.mark.parametrize("own", OWN)
class TestEachStrategy:
    def test_turns_a_red_prompt_green(self, own: type[RefineSearch | Evolve]) -> None:
        world = World(
            needs("a b c -") + needs("a b", VALIDATION) + needs("a c", HELDOUT), learner, strategy=own
        )
        result = world.result(candidates=2, max_iterations=8)
        assert (result.outcome, result.written) == ("improved", True)
        assert [(score.split, score.after) for score in result.scores] == [
            ("train", 1.0),
            ("validation", 1.0),
            ("heldout", 1.0),
        ]

    def test_leaves_a_passing_prompt_alone(self, own: type[RefineSearch | Evolve]) -> None:
        world = World(needs("- -") + needs("z", HELDOUT), strategy=own)
        assert (world.result().outcome, world.asked) == ("passing", [])

    def test_needs_evidence(self, own: type[RefineSearch | Evolve]) -> None:
        world = World([Need("train-1-a", "a", errs=True)], strategy=own)
        assert (world.result().stop, world.asked) == ("no evidence", [])

    def test_stops_at_the_last_iteration_on_a_plateau_and_when_nothing_new_comes(
        self, own: type[RefineSearch | Evolve]
    ) -> None:
        numbers = iter(range(100))
        world = World(needs("a b"), lambda _: f"x{next(numbers)}", strategy=own)
        assert world.result(max_iterations=2).stop == "max iterations"
        assert world.result(max_iterations=20, plateau=4).stop == "plateau"
        silent = World(needs("a b"), strategy=own).result(max_iterations=20)
        assert silent.stop == "no progress"
        assert "was refused: " in silent.note

    def test_gives_the_same_run_for_the_same_seed(self, own: type[RefineSearch | Evolve]) -> None:
        def one(seed: int) -> list[str]:
            world = World(needs("a b c d e f g h i j " * 3), learner, strategy=own)
            world.run(candidates=3, seed=seed)
            return world.requests()

        assert one(1) == one(1)
        assert one(1) != one(2)

    @pytest.mark.parametrize("moment", ["evaluate 1", "evaluate 2", "ask 1", "ask 2", "confirm 1"])
    def test_ends_cleanly_at_ctrl_c(
        self, own: type[RefineSearch | Evolve], moment: str, tmp_path: Path
    ) -> None:
        world = World(needs("a b c"), learner, strategy=own, interrupt=moment)
        journal = Journal.create(tmp_path, "r")
        result = world.run(journal=journal)
        assert result.interrupted
        assert world.written == {}
        assert [event.event for event in read_events(journal.path)][-1] == "end"

    def test_ends_at_a_ceiling_with_the_best_so_far(self, own: type[RefineSearch | Evolve]) -> None:
        error = StopRun("budget used up", "all calls are used")
        cases = needs("a b c d") + needs("a", VALIDATION)
        world = World(cases, ["a"], strategy=own, interrupt="ask 2", error=error)
        result = world.result()
        assert (result.stop, result.outcome) == ("budget used up", "improved")
        assert [score.after for score in result.scores] == [0.25, 1.0]

    def test_obeys_the_acceptance_rule(self, own: type[RefineSearch | Evolve]) -> None:
        never = SearchHooks(accept=lambda comparison: Verdict(False, "I never like anything"))
        result = World(needs("a b"), learner, strategy=own, hooks=never).result(max_iterations=3)
        assert result.outcome == "unchanged"
        assert "I never like anything" in {c.why for i in result.iterations for c in i.candidates}

    def test_takes_no_regression_where_none_is_allowed(self, own: type[RefineSearch | Evolve]) -> None:
        def broken(**settings: float) -> bool:
            prompts = [FakePrompt(prose="Route {{ ticket }} b")]
            world = World(needs("a a a b"), ["a not b"] * 4, prompts, strategy=own)
            return bool(world.result(max_iterations=1, **settings).broken)

        assert broken()
        assert not broken(no_regressions=True)

    def test_refuses_a_text_that_loses_a_variable_before_a_call(
        self, own: type[RefineSearch | Evolve]
    ) -> None:
        world = World(needs("a"), ["<new_prompt>no variable</new_prompt>"] * 2 + ["a"] * 9, strategy=own)
        result = world.result()
        assert result.iterations[0].candidates[0].verdict == "refused"
        assert result.outcome == "improved"

    def test_refines_the_prompts_of_a_pipeline(self, own: type[RefineSearch | Evolve]) -> None:
        prompts = [FakePrompt("plan.md"), FakePrompt("code.md", "Route {{ ticket }}. a")]
        cases = [Need(f"a{n}", "a", prompts=("plan.md", "code.md")) for n in range(6)]
        cases += [Need(f"b{n}", "b", prompts=("code.md",)) for n in range(6)]
        results = World(cases, learner, prompts=prompts, strategy=own).run(candidates=2).prompts
        assert "improved" in {prompt.outcome for prompt in results}
        assert {prompt.pipeline for prompt in results} == {("plan.md", "code.md")}

    def test_tells_no_text_of_a_validation_or_held_out_case(self, own: type[RefineSearch | Evolve]) -> None:
        def canary(split: Split, number: int) -> Need:
            word = f"canary{split}{number}"
            return Need(f"{word}id", f"v{number}", split, expected=f"{word}expected", secret=f"{word}input")

        hidden = [canary(split, number) for split in (VALIDATION, HELDOUT) for number in range(3)]
        texts = ["a", "a v0 not a", "a b", "b c", "a b v0", "v1", "a b v0 v1", "x", "a b v1 v0 y", "z"]
        heard: list[Iteration] = []
        hooks = SearchHooks(categorize=lambda case: case.message, iteration_finished=heard.append)
        world = World(needs("a b c c") + hidden, texts * 3, hooks=hooks, strategy=own)
        world.run(candidates=2, max_iterations=8)
        assert len(heard) >= 3
        assert "canary" not in "".join(world.requests())


# ----------------------------------------------------------------------------- by name


def test_a_strategy_is_found_by_its_name_and_that_of_a_plugin_goes_first() -> None:
    assert load_strategy("refine", {}) is RefineSearch
    assert load_strategy("refine", {"refine": Evolve}) is Evolve
    assert load_strategy("mine", {"mine": Hybrid}) is Hybrid


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(SettingsError) as error:
        load_strategy("refined", {"mine": RefineSearch})
    assert str(error.value) == (
        f"--promptopt-strategy: there is no 'refined'; accepted: {', '.join({**BUILT_IN, **EXTERNAL})}, mine"
    )


# ----------------------------------------------------------------------------- the front over cases


def version(id: str, *passed: int) -> EvaluatedCandidate:
    """A text whose training cases pass as given."""
    results = (
        CaseResult(
            case := Case(f"c{number}", ("route.md",), Split.TRAIN),
            (Outcome(case.id, Status.PASSED if rate else Status.FAILED, float(rate)),),
        )
        for number, rate in enumerate(passed)
    )
    return EvaluatedCandidate(id, {"route.md": id}, {Split.TRAIN: tuple(results)})


def passes(one: EvaluatedCandidate) -> tuple[float, int]:
    return sum(result.rate or 0.0 for result in one.evidence(Split.TRAIN)), 0


def on_front(*versions: EvaluatedCandidate) -> set[str]:
    leaders = pareto_front(versions, passes)
    return {one.id for one in front_members(leaders, max(versions, key=passes))}


def test_a_text_stays_while_it_is_the_best_on_some_case() -> None:
    assert on_front(version("mean", 1, 1, 1, 0), version("odd", 0, 0, 0, 1)) == {"mean", "odd"}
    assert on_front(version("mean", 1, 1, 1, 0), version("less", 1, 1, 0, 0)) == {"mean"}
    assert on_front(version("a", 1, 1, 0), version("b", 0, 1, 1), version("c", 0, 1, 0)) == {"a", "b"}


def test_the_best_text_always_stays() -> None:
    assert "abc" in on_front(version("abc", 1, 1, 1, 0), version("ad", 1, 0, 0, 1), version("bc", 0, 1, 1, 0))
    assert on_front(version("only", 0, 0)) == {"only"}


def test_who_leads_on_more_cases_is_drawn_more_often() -> None:
    leaders = pareto_front([many := version("many", 1, 1, 1, 1, 0), version("one", 0, 0, 0, 0, 1)], passes)
    rng = random.Random(0)
    drawn = [draw_parent(leaders, rng, many).id for _ in range(500)]
    assert 350 < drawn.count("many") < 450


def test_only_texts_that_pass_different_cases_are_crossed() -> None:
    one, two, less = version("one", 1, 0, 1), version("two", 0, 1, 1), version("less", 1, 0, 0)
    rng = random.Random(0)
    assert find_complementary_pair([one, two], rng) == (one, two)
    assert find_complementary_pair([one, less], rng) is None
    assert cases_won(two, one) == {"c1"}


# ----------------------------------------------------------------------------- evolve


def merges(world: World) -> list[str]:
    return [request for request in world.requests() if "<version>" in request]


def test_from_the_second_generation_on_two_texts_that_pass_different_cases_are_merged() -> None:
    world = World(needs("a a a b b b c c"), ["a", "b", "a b", "a b c"], strategy=Evolve)
    result = world.result(candidates=2)
    (merge,) = merges(world)
    assert re.findall(r"<version>\n(.*)\n</version>", merge) == [
        "Route {{ ticket }}. a",
        "Route {{ ticket }}. b",
    ]
    assert result.iterations[1].candidates[0].direction == "Do what 1.1 and 1.2 do."
    assert result.after.endswith("a b c")


def test_a_merger_is_told_what_each_text_fixed_and_none_of_the_examples_in_them() -> None:
    prose = with_examples("Route {{ ticket }}.", [Example({"ticket": "some message"}, "some label")])
    world = World(
        needs("a a a b b b c c"),
        ["a", "b", "a b", "a b c"],
        strategy=Evolve,
        prompts=[FakePrompt(prose=prose)],
    )
    world.run(candidates=2)
    merge = merges(world)[0]
    assert "some message" not in merge
    assert "fixed 3 of 8 failing run" in merge


def test_a_text_that_is_worse_on_the_whole_survives_while_it_is_best_somewhere() -> None:
    world = World(needs("a a a a b b b"), ["a", "b", "x", "y"], strategy=Evolve)
    first, second = world.result(candidates=2, max_iterations=2).iterations
    assert [(c.verdict, c.why.partition(":")[0]) for c in first.candidates] == [
        ("accepted", "better"),
        ("accepted", "kept as a parent"),
    ]
    assert {c.verdict for c in second.candidates} == {"rejected"}


def test_the_best_in_training_that_falls_on_validation_gives_way_to_an_earlier_best() -> None:
    cases = needs("a b") + needs("- - - -", VALIDATION)
    cases += [Need(f"validation-9-{n}", "z", VALIDATION) for n in range(4)]
    world = World(cases, ["a z", "a b"], strategy=Evolve)
    result = world.result(max_iterations=2)
    assert result.after.endswith("a z")
    assert [score.after for score in result.scores] == [0.5, 1.0]


@pytest.mark.parametrize("strategy", [RefineSearch, Evolve, Hybrid])
def test_every_call_of_a_search_is_in_the_spend_of_one_iteration(strategy: Strategy) -> None:
    world = paid(needs("a a b b c c d d"), ["a", "b", "a b c", "a b c d"], 1000, strategy=strategy)
    spent: list[int] = []
    world.hooks = SearchHooks(
        measured=lambda scores: spent.append(1000 - world.remaining()),
        iteration_finished=lambda iteration: spent.append(1000 - world.remaining()),
    )
    iterations = world.result(max_iterations=4).iterations
    assert len(iterations) > 2
    assert [iteration.spend.calls for iteration in iterations] == [b - a for a, b in pairwise(spent)]


def test_hybrid_refines_what_two_generations_brought() -> None:
    world = World(needs("a b c d e " * 3), learner, strategy=Hybrid)
    result = world.result(candidates=2, max_iterations=8)
    assert (result.outcome, result.stop) == ("improved", "target reached")
    assert [iteration.number for iteration in result.iterations] == [*range(1, len(result.iterations) + 1)]
    assert len(result.iterations) > GENERATIONS
    assert set(result.after.split()[-5:]) == set("abcde")
