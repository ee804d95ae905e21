"""Several prompts under one ceiling: what is kept for whom, and that each gets it back in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

import pytest

from pytest_promptopt.errors import ModelError
from pytest_promptopt.optimizer.halting import Phase
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.records import Answer, CaseResult, Request
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.hybrid import Hybrid
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


@dataclass
class Told(Paid):
    """Notes requests, and which runs under a new text followed them."""

    events: list[str] = field(default_factory=list)

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        self.events.append("asked")
        return super().ask(requests)

    def evaluate(self, trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        self.events += ["run" for trial in trials if trial.overlay and trial.samples is None]
        return super().evaluate(trials)


def told(ceiling: int, strategy: Strategy) -> Told:
    """Two rules of which a text states one at most, so that the search goes on until its calls are gone."""
    numbers = count(1)
    cases = needs("b " * 10 + "c " * 10 + "- " * 20) + needs("b " * 5 + "c " * 5 + "- " * 10, VALIDATION)
    world = Told(
        cases,
        lambda _: f"n{(number := next(numbers))} {'bc'[number % 2]}",
        ceiling=ceiling,
        strategy=strategy,
    )
    world.left = world.remaining
    return world


@pytest.mark.parametrize("ceiling", [81, 95, 116, 130])
@pytest.mark.parametrize("strategy", [RefineSearch, Evolve, Hybrid])
def test_no_text_is_asked_for_without_calls_to_run_it(strategy: Strategy, ceiling: int) -> None:
    world = told(ceiling, strategy)
    world.run(candidates=3, max_iterations=8)
    assert world.remaining() >= 0
    assert "asked" not in world.events[-1:]


@pytest.mark.parametrize(("strategy", "ceiling"), [(Evolve, 164), (Hybrid, 192)])
def test_a_generation_has_as_many_children_as_the_ceiling_allows(strategy: Strategy, ceiling: int) -> None:
    result = told(ceiling, strategy).result(candidates=3, max_iterations=8)
    assert len(result.iterations[0].candidates) == 1
    assert result.outcome == "improved"


@pytest.mark.parametrize("ceiling", [193, 242, 249])
def test_of_each_iteration_some_candidate_is_run_on_the_cases_that_decide(ceiling: int) -> None:
    result = told(ceiling, RefineSearch).result(candidates=3, max_iterations=8)
    validating = [each for each in result.iterations if each.phase is Phase.VALIDATION]
    left_out = [[c.why.startswith("no calls were left") for c in each.candidates] for each in validating]
    assert not any(map(all, left_out))
    assert result.outcome == "improved"
