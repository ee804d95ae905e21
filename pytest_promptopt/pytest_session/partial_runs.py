"""Prompts of which the command line has only a part of the cases run: no gate can be decided on these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.text import plural


def partial_prompts(
    config: pytest.Config, run: Iterable[PromptCase], left_out: Iterable[PromptCase]
) -> dict[str, str]:
    """Prompt -> how many of its cases are run, in words, for each that lacks some.

    :param left_out: of those that were collected.
    """
    counted, lacking = _count(run), _count(left_out)
    if choice := unseen_choice(config):
        return dict.fromkeys(counted, choice)
    return {
        prompt: f"{counted[prompt]} of its {plural(counted[prompt] + lacking[prompt], 'case')} were run"
        for prompt in counted
        if lacking[prompt]
    }


def unseen_choice(config: pytest.Config) -> str:
    """How the command line leaves out cases that nobody hears of, in words; empty when it does not.

    Of others, as those of ``-k``, pytest tells.
    """
    if any("::" in arg for arg in config.args):
        return "only tests that the command line names were run"
    # There is no such option without pytest's cache.
    if config.getoption("lf", False) and config.cache.get("cache/lastfailed", {}):
        return "only what failed last was run"
    return ""


def _count(cases: Iterable[PromptCase]) -> Counter[str]:
    each = {(prompt, case.case.id) for case in cases for prompt in case.case.prompts}
    return Counter(prompt for prompt, _ in each)
