"""Several prompts under one ceiling: what is kept for whom, and that each gets it back in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.paid_world import Paid, paid
from tests.refine_world import VALIDATION, FakePrompt, Need, answer, needs

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
