"""Several prompts under one ceiling: what is kept for whom, and that each gets it back in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.records import Answer, CaseResult, Request
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.paid_world import Paid, paid
from tests.refine_world import VALIDATION, FakePrompt, Need, World, answer, needs

SUITE = needs("a " * 20 + "- " * 20) + needs("a " * 10 + "- " * 10, VALIDATION)


def two_prompts(first: Sequence[Need], second: Sequence[Need], ceiling: int) -> Paid:
    """a.md and b.md, which share no case; one candidate mends either."""
    prompts = [FakePrompt("a.md"), FakePrompt("b.md")]
    cases = [
        replace(need, id=f"{prompt.name}-{need.id}", prompts=(prompt.name,))
        for prompt, suite in zip(prompts, (first, second), strict=True)
        for need in suite
    ]
    return paid(cases, lambda request: answer("a"), ceiling, prompts=prompts)


@pytest.mark.parametrize("ceiling", [300, 400])
def test_the_last_prompt_may_spend_what_was_kept_for_its_turn(ceiling: int) -> None:
    world = two_prompts(SUITE, SUITE, ceiling)
    first, second = world.run().prompts
    assert (first.outcome, second.outcome) == ("improved", "improved")
    assert second.iterations
    assert world.kept == 0


@dataclass
class AskingTwice(World):
    """Every test asks its prompt twice; what is kept is noted."""

    times: int = 2
    noted: list[int] = field(default_factory=list)

    def keep(self, calls: int) -> None:
        self.noted.append(calls)

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        return tuple(
            replace(
                result,
                outcomes=tuple(replace(each, calls=each.calls * self.times) for each in result.outcomes),
            )
            for result in super()._results(trial)
        )


def test_a_test_that_asks_twice_has_twice_as_many_calls_kept_for_confirming_its_gain() -> None:
    """Its text is run on all ten cases, so that nothing else is kept."""
    once, twice = (
        AskingTwice(needs("a " * 6 + "- " * 4), ["a"], left=lambda: 1000, times=times) for times in (1, 2)
    )
    for world in (once, twice):
        assert world.result().outcome == "improved"
    least = min(filter(None, once.noted))
    assert min(filter(None, twice.noted)) == 2 * least


def test_the_more_a_text_has_gained_the_fewer_calls_are_kept_from_the_search() -> None:
    """Both texts are run on all twenty cases, so that all that is kept is for fresh answers."""
    kept: list[list[int]] = []
    for fixed in (4, 16):
        world = AskingTwice(needs("a " * fixed + "b " * (20 - fixed)), left=lambda: 1000, times=1)
        seen: list[int] = []

        def reply(request: Request, world: AskingTwice = world, seen: list[int] = seen) -> Answer:
            seen.append(world.noted[-1])
            return answer("a" if len(seen) == 1 else "out of ideas")

        world.replies = reply
        world.result(max_iterations=2)
        kept.append(seen)
    (before, small, *_), (_, large, *_) = kept
    assert 0 < large < before, "what a large gain does not need is given back"
    assert large < small


@pytest.mark.parametrize("strategy", [RefineSearch, Evolve])
def test_a_prompt_with_nothing_to_mend_gives_back_what_was_kept_for_it(strategy: Strategy) -> None:
    world = two_prompts(needs("- " * 40) + needs("- " * 20, VALIDATION), SUITE, 200)
    world.strategy = strategy
    first, second = world.run().prompts
    assert (first.outcome, second.outcome) == ("passing", "improved")


def test_the_best_text_is_scored_with_the_calls_that_were_kept_for_it() -> None:
    """By itself `evolve` runs the training cases only."""
    world = two_prompts(SUITE, SUITE, 300)
    world.strategy = Evolve
    assert [result.note for result in world.run().prompts] == ["", ""]


@pytest.mark.parametrize("strategy", [RefineSearch, Evolve])
def test_a_later_prompt_does_not_spend_what_confirming_an_earlier_one_takes(strategy: Strategy) -> None:
    kept: list[int] = []
    for first in (needs("- " * 40) + needs("- " * 20, VALIDATION), SUITE):
        world = two_prompts(first, SUITE, 480)
        world.strategy = strategy
        seen: list[int] = []
        world.replies = partial(noting, world, seen)
        assert world.run().prompts[1].outcome == "improved"
        kept.append(seen[-1])
    nothing_to_confirm, something = kept
    assert something > nothing_to_confirm


def noting(world: Paid, seen: list[int], request: Request) -> Answer:
    """Answers, and notes what is kept at that moment."""
    seen.append(world.kept)
    return answer("a")
